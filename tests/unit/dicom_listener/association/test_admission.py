from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from core.peers import PeersFile
from dicom_listener.association.admission import Admission, Asking
from dicom_listener.association.places import Limits, Places
from dicom_listener.rejections import Rejection
from dicom_listener.storage.disk import Watermark

DICOM = "1.2.840.10008.3.1.1.1"
PEERS = """
unknown = "{unknown}"
[[peer]]
ae_title = "PACS"
addresses = ["10.0.0.0/8"]
[[peer]]
ae_title = "SECURE"
addresses = ["10.0.0.1"]
certificate = "{certificate}"
"""
CERTIFICATE = "ab" * 32


@pytest.fixture
def peers(tmp_path: Path) -> Path:
    path = tmp_path / "peers.toml"
    path.write_text(PEERS.format(unknown="refuse", certificate=CERTIFICATE))
    return path


def make(peers: Path, *, check_called: bool = True, minimum: int = 0, total: int = 4) -> Admission:
    return Admission(
        "LUNGWATCH",
        check_called=check_called,
        peers=PeersFile(peers),
        places=Places(Limits(total, total // 2, total)),
        watermark=Watermark(peers.parent, 0, minimum),
    )


def ask(
    admission: Admission,
    calling: str = "PACS",
    *,
    address: str = "10.0.0.1",
    called: str = "LUNGWATCH",
    certificate: str | None = None,
    application: str = DICOM,
) -> int | Rejection:
    asking = Asking(application, calling, called, ipaddress.ip_address(address), certificate)
    return admission.admit(asking)[1]


def test_a_known_peer_gets_a_place(peers: Path) -> None:
    assert ask(make(peers)) == 0


def test_the_sender_is_who_the_file_knows(peers: Path) -> None:
    admission = make(peers)
    known, _ = admission.admit(Asking(DICOM, "PACS ", "LUNG\nWATCH", ipaddress.ip_address("10.0.0.1"), None))
    assert known.known is not None
    assert (known.ae_title, known.called_ae_title) == ("PACS", "LUNG?WATCH")


@pytest.mark.parametrize(
    ("changes", "rejection"),
    [
        ({"calling": "STRANGER"}, Rejection.CALLING_AE_TITLE),
        ({"address": "192.168.0.1"}, Rejection.CALLING_AE_TITLE),
        ({"calling": ""}, Rejection.CALLING_AE_TITLE),
        ({"called": "OTHER"}, Rejection.CALLED_AE_TITLE),
        ({"called": ""}, Rejection.CALLED_AE_TITLE),
        ({"application": "1.2.3"}, Rejection.APPLICATION_CONTEXT),
        ({"calling": "SECURE"}, Rejection.CERTIFICATE),
        ({"calling": "SECURE", "certificate": "cd" * 32}, Rejection.CERTIFICATE),
    ],
)
def test_who_is_rejected_for_good(peers: Path, changes: dict[str, str], rejection: Rejection) -> None:
    assert ask(make(peers), **changes) is rejection  # type: ignore[arg-type]


def test_the_right_certificate_is_let_in(peers: Path) -> None:
    assert ask(make(peers), "SECURE", certificate=CERTIFICATE) == 0


def test_the_called_ae_title_need_not_be_checked(peers: Path) -> None:
    assert ask(make(peers, check_called=False), called="OTHER") == 0


def test_strangers_that_are_accepted_leave_the_reserved_places(peers: Path) -> None:
    peers.write_text(PEERS.format(unknown="accept", certificate=CERTIFICATE))
    admission = make(peers)
    assert [ask(admission, "STRANGER") for _ in range(3)] == [0, 1, Rejection.LIMIT]
    assert ask(admission) == 2


def test_nobody_borrows_a_known_name(peers: Path) -> None:
    peers.write_text(PEERS.format(unknown="accept", certificate=CERTIFICATE))
    assert ask(make(peers), "PACS", address="192.168.0.1") is Rejection.CALLING_AE_TITLE


def test_without_a_file_everybody_is_let_in(tmp_path: Path) -> None:
    admission = make(tmp_path / "none.toml")
    assert [ask(admission, "ANYBODY", address="192.168.0.1") for _ in range(5)] == [0, 1, 2, 3, Rejection.PEER_LIMIT]


def test_while_draining_nobody_is_let_in(peers: Path) -> None:
    admission = make(peers)
    admission.draining = True
    assert ask(admission) is Rejection.DRAINING


def test_below_the_lower_mark_nobody_is_let_in(peers: Path) -> None:
    assert ask(make(peers, minimum=1 << 60)) is Rejection.NO_SPACE


def test_a_rejection_for_good_comes_before_one_for_now(peers: Path) -> None:
    admission = make(peers, minimum=1 << 60)
    admission.draining = True
    assert ask(admission, "STRANGER") is Rejection.CALLING_AE_TITLE
