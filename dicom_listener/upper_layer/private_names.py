"""The private names of pynetdicom that we build on: looked for before the listener takes a connection.

Its minor version is pinned, but an installation may hold another all the same; one that lacks a
name would accept associations and then fail at each of them.
"""

from __future__ import annotations

from typing import Final

import pynetdicom
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association

from core.errors import Misconfigured

# by what has them; docs/decisions/0012-receive-path.md says why each is touched
OF_AN_ASSOCIATION: Final = ("_accepted_cx", "_rejected_cx")
OF_A_PROVIDER: Final = ("_recv_pdu", "_process_recv_primitive", "event_queue", "state_machine")


def require_private_names() -> None:
    """Look for each.

    Raises
    ------
    Misconfigured
        Naming what the installed pynetdicom lacks.
    """
    association = Association(ApplicationEntity(), "acceptor")
    owners = ((association, OF_AN_ASSOCIATION), (association.dul, OF_A_PROVIDER))
    missing = [name for owner, names in owners for name in names if not hasattr(owner, name)]
    if missing:
        raise Misconfigured(
            f"pynetdicom {pynetdicom.__version__} lacks {', '.join(missing)}, which the listener builds on; "
            "install the version in requirements/runtime.txt"
        )
