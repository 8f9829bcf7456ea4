"""Who may send, at a running listener: judged by the peers file as it is at that moment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.echo import echo
from core.files import write_durably
from core.settings import Settings
from dicom_listener.rejections import Rejection
from tests.peers.data_sets import CR_STORAGE, data_set, new_uid
from tests.peers.listener import REPOSITORY, ListenerProcess
from tests.peers.raw import VERIFICATION, Closed, Context, RawPeer, Rejected
from tests.waiting import wait_until

PACS, CR_ROOM, ELSEWHERE = "127.0.0.1", "127.0.1.7", "127.0.2.2"
# PS3.8 Table 9-11 and PS3.5 6.2: not spaces alone, no control characters, no backslash
NO_AE_TITLES = (b"", b"PA\nCS", b"PA\\CS", b"\xffPACS")
CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
COMMITMENT = "1.2.840.10008.1.20.1"
ACCEPTED, NO_ABSTRACT = 0, 3
PEERS = f"""
[[peer]]
ae_title = "PACS"
addresses = ["{PACS}"]

[[peer]]
ae_title = "CR7"
addresses = ["127.0.1.0/24"]
sop_classes = ["ComputedRadiographyImageStorage"]
"""


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[ListenerProcess]:
    write_durably(tmp_path / "data" / "peers.toml", PEERS.encode())
    with ListenerProcess(tmp_path / "data") as process:
        yield process


def peers_file(listener: ListenerProcess) -> Path:
    return listener.data / "peers.toml"


def why_not(listener: ListenerProcess, calling: str, source: str, called: bytes = b"LUNGWATCH") -> object:
    """The numbers of the rejection, or None if the association was accepted."""
    with RawPeer(listener.port, source=source) as peer:
        try:
            peer.associate(calling=calling.encode(), called=called)
        except Rejected as rejected:
            return rejected.why
    return None


def test_title_and_address_must_fit_and_the_reason_is_the_right_one(listener: ListenerProcess) -> None:
    stranger, misnamed = Rejection.CALLING_AE_TITLE.numbers, Rejection.CALLED_AE_TITLE.numbers
    for calling, source, expected in [
        ("PACS", PACS, None),
        (" PACS ", PACS, None),
        ("CR7", CR_ROOM, None),
        ("PACS", CR_ROOM, stranger),
        ("CR7", PACS, stranger),
        ("pacs", PACS, stranger),
        ("OTHER", PACS, stranger),
    ]:
        assert why_not(listener, calling, source) == expected, (calling, source)
    assert why_not(listener, "PACS", PACS, called=b"ELSE") == misnamed


def test_a_peer_sends_what_it_may_and_nothing_else(listener: ListenerProcess) -> None:
    contexts = [Context(CR_STORAGE), Context(CT_STORAGE), Context(VERIFICATION), Context(COMMITMENT)]
    with RawPeer(listener.port, source=CR_ROOM) as peer:
        peer.associate(contexts, calling=b"CR7")
        assert peer.results == {1: ACCEPTED, 3: NO_ABSTRACT, 5: ACCEPTED, 7: ACCEPTED}
        instance = new_uid()
        assert peer.store(instance, data_set(instance)).status == 0x0000
    with RawPeer(listener.port, source=PACS) as peer:
        peer.associate(contexts, calling=b"PACS")
        assert set(peer.results.values()) == {ACCEPTED}
    with RawPeer(listener.port, source=CR_ROOM) as peer:
        # an association with nothing to do is accepted, each of its contexts rejected
        peer.associate([Context(CT_STORAGE)], calling=b"CR7")
        assert peer.results == {1: NO_ABSTRACT}


def test_a_change_holds_for_the_next_association_without_a_restart(listener: ListenerProcess) -> None:
    assert why_not(listener, "XR9", ELSEWHERE) == Rejection.CALLING_AE_TITLE.numbers
    with RawPeer(listener.port, source=CR_ROOM) as stays:
        stays.associate(calling=b"CR7")
        for arguments in (("add", "XR9", "--address", ELSEWHERE), ("remove", "CR7")):
            subprocess.run(
                [sys.executable, "-m", "cli", "peers", *arguments],
                env={**os.environ, "LUNGWATCH_DATA_DIR": str(listener.data), "PYTHONPATH": str(REPOSITORY)},
                capture_output=True,
                check=True,
            )
        # every process sees it
        for _ in range(6):
            assert why_not(listener, "XR9", ELSEWHERE) is None
            assert why_not(listener, "CR7", CR_ROOM) == Rejection.CALLING_AE_TITLE.numbers
        instance = new_uid()
        assert stays.store(instance, data_set(instance)).status == 0x0000, "what is open goes on"


def test_a_file_that_goes_wrong_or_goes_away_opens_no_door(listener: ListenerProcess) -> None:
    for spoil in (
        lambda: write_durably(peers_file(listener), b"unknown = 'accept'\n[[peers]]\n"),
        lambda: peers_file(listener).unlink(),
    ):
        spoil()
        for _ in range(4):
            assert why_not(listener, "PACS", PACS) is None
            assert why_not(listener, "OTHER", PACS) == Rejection.CALLING_AE_TITLE.numbers
    # a process that looks late finds the file gone already, and says that
    said = [event["problem"] for event in listener.events if event["event"] == "peers_file_wrong"]
    assert any("did you mean peer?" in problem for problem in said)
    write_durably(peers_file(listener), b"unknown = 'accept'\n")
    assert why_not(listener, "OTHER", PACS) is None


def test_a_process_started_later_goes_by_what_the_file_last_said(tmp_path: Path) -> None:
    with ListenerProcess(tmp_path / "data") as listener:
        assert why_not(listener, "OTHER", PACS) is None, "there is no file yet"
        write_durably(peers_file(listener), PEERS.encode())
        # by the parent; none of the processes that are to die needs to have seen it
        listener.wait_for("peers_file_read")
        peers_file(listener).unlink()
        before = {process.pid for process in listener.association_processes}
        for process in listener.association_processes:
            process.kill()
        wait_until(
            lambda: len({process.pid for process in listener.association_processes} - before) == len(before),
            20,
            "others take their places",
        )
        for _ in range(6):
            assert why_not(listener, "OTHER", PACS) == Rejection.CALLING_AE_TITLE.numbers
            assert why_not(listener, "PACS", PACS) is None


def test_every_process_goes_by_what_the_file_last_said(tmp_path: Path) -> None:
    """Of which nobody had asked anything while it stood there, too."""
    with ListenerProcess(tmp_path / "data", settings={"listener_processes": 3}) as listener:
        write_durably(peers_file(listener), PEERS.encode())

        def read() -> int:
            return sum(event["event"] == "peers_file_read" for event in listener.events)

        wait_until(lambda: read() == 4, 20, "the parent and its three processes have read it")
        peers_file(listener).unlink()
        for _ in range(12):
            assert why_not(listener, "OTHER", PACS) == Rejection.CALLING_AE_TITLE.numbers


def test_where_others_are_accepted_none_may_borrow_a_known_name(listener: ListenerProcess) -> None:
    write_durably(peers_file(listener), b"unknown = 'accept'\n" + PEERS.encode())
    assert why_not(listener, "OTHER", ELSEWHERE) is None
    assert why_not(listener, "PACS", ELSEWHERE) == Rejection.CALLING_AE_TITLE.numbers


@pytest.mark.parametrize("calling", NO_AE_TITLES)
def test_what_is_no_ae_title_is_nobodys(listener: ListenerProcess, calling: bytes) -> None:
    # rejected or aborted; test_listener_text shows that it forges nothing
    with RawPeer(listener.port, source=PACS) as peer, pytest.raises(Closed):
        peer.associate(calling=calling)


def test_who_is_refused_is_logged_once_a_minute(listener: ListenerProcess) -> None:
    event = "association_rejected_calling_ae_title"
    for number in range(12):
        assert why_not(listener, f"OTHER{number}", PACS) == Rejection.CALLING_AE_TITLE.numbers
    listener.wait_for(event)
    lines = [line for line in listener.events if line["event"] == event]
    assert 1 <= len(lines) <= 2, "one for each of the two processes"
    for line in lines:
        assert line["peer"].startswith("OTHER")
        assert line["address"] == PACS


def test_a_listener_that_does_not_know_us_is_alive(listener: ListenerProcess) -> None:
    settings = Settings(data_dir=listener.data, listen_host="127.0.0.1")
    assert why_not(listener, "LUNGWATCH", PACS) == Rejection.CALLING_AE_TITLE.numbers
    assert echo(settings) is None
    port = listener.port
    listener.kill()
    wait_until(lambda: echo(settings) == f"nothing listens at 127.0.0.1 port {port}", 10, "nobody listens any more")


def test_a_wrong_file_at_start_is_refused(tmp_path: Path) -> None:
    write_durably(tmp_path / "data" / "peers.toml", PEERS.replace("addresses", "adresses").encode())
    process = ListenerProcess(tmp_path / "data")
    with pytest.raises(AssertionError, match="did you mean addresses"):
        process.start()
    assert process.wait() == 2
