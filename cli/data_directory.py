"""The data directory: made where it is missing, and proved writable before anything is promised."""

from __future__ import annotations

import secrets

from core.errors import Misconfigured
from core.files import make_directories
from core.settings import Settings


def prepare_data(settings: Settings) -> None:
    """Make the data directory and prove that it can be written.

    Raises
    ------
    Misconfigured
        If it cannot.
    """
    try:
        make_directories(settings.data_dir)
        probe = settings.data_dir / f".probe-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        message = (
            f"the data directory cannot be written: {settings.data_dir.absolute()} ({error.strerror}). "
            "Give this user the right to write there, or set LUNGWATCH_DATA_DIR to another place."
        )
        raise Misconfigured(message) from None
