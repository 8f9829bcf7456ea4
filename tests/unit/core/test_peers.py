from __future__ import annotations

import os
import threading
import time
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from core.errors import Misconfigured
from core.files import write_durably
from core.peers import EVERYBODY, Peer, Peers, PeersFile, Unknown, parse
from core.rarely import Rarely
from core.settings import Settings

ONE = b'[[peer]]\nae_title = "PACS1"\naddresses = ["10.1.2.3"]\n'
TWO = ONE + b'[[peer]]\nae_title = "PACS2"\naddresses = ["10.1.2.4"]\n'


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def titles(peers: Peers) -> list[str]:
    return [peer.ae_title for peer in peers.peers]


def test_the_title_and_the_address_must_both_fit() -> None:
    peers = parse(TWO, Path("peers.toml"))
    assert titles(peers) == ["PACS1", "PACS2"]
    assert peers.find("PACS1", ip_address("10.1.2.3")) is peers.peers[0]
    assert peers.find("PACS1", ip_address("10.1.2.4")) is None
    assert peers.find("pacs1", ip_address("10.1.2.3")) is None
    assert peers.find(None, ip_address("10.1.2.3")) is None
    assert peers.find("PACS1", ip_address("2001:db8::1")) is None


def test_the_file_s_keys_become_the_peer() -> None:
    (peer,) = parse(
        ONE + b'sop_classes = ["CTImageStorage"]\nreport_to = "pacs:104"\ncertificate = "' + b"0a" * 32 + b'"',
        Path("peers.toml"),
    ).peers
    assert peer == Peer(
        "PACS1", (ip_network("10.1.2.3"),), frozenset({"1.2.840.10008.5.1.4.1.1.2"}), "pacs", 104, "0a" * 32
    )


def test_an_ipv4_address_seen_as_ipv6_is_the_same_address() -> None:
    peers = parse(ONE, Path("peers.toml"))
    assert peers.find("PACS1", ip_address("::ffff:10.1.2.3")) is peers.peers[0]
    assert peers.find("PACS1", ip_address("::ffff:10.1.2.4")) is None
    assert peers.find("PACS1", ip_address("fe80::1%eth0")) is None


def test_the_most_specific_entry_speaks() -> None:
    wide = Peer("PACS1", (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")))
    narrow = Peer("PACS1", (ip_network("10.1.0.0/16"),))
    for order in ((wide, narrow), (narrow, wide)):
        peers = Peers(order, Unknown.REFUSE)
        assert peers.find("PACS1", ip_address("10.1.2.3")) is narrow
        assert peers.find("PACS1", ip_address("10.2.2.3")) is wide
        assert peers.find("PACS1", ip_address("2001:db8::1")) is wide


def test_who_is_admitted() -> None:
    home, elsewhere = ip_address("10.1.2.3"), ip_address("192.0.2.1")
    closed = parse(ONE, Path("peers.toml"))
    assert closed.admits("PACS1", home)
    assert not closed.admits("OTHER", elsewhere)
    opened = Peers(closed.peers, Unknown.ACCEPT)
    assert opened.admits("OTHER", elsewhere)
    assert opened.admits(None, elsewhere)
    assert not opened.admits("PACS1", elsewhere), "nobody may borrow a known peer's name"
    assert EVERYBODY.admits("PACS1", elsewhere)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("10.1.2.4", False),
        ("192.168.7.1", True),
        ("192.169.7.1", False),
        ("2001:db8::5", True),
        ("2001:db9::5", False),
        ("::10.1.2.3", False),
    ],
)
def test_where_some_peer_may_come_from(address: str, expected: bool) -> None:
    networks = tuple(ip_network(text) for text in ("10.1.2.3", "192.168.0.0/16", "2001:db8::/32"))
    peers = Peers((Peer("PACS1", networks[:1]), Peer("PACS2", networks[1:])), Unknown.REFUSE)
    assert peers.expects(ip_address(address)) is expected
    assert not EVERYBODY.expects(ip_address(address))
    anywhere = Peers((Peer("PACS1", (ip_network("0.0.0.0/0"),)),), Unknown.REFUSE)
    assert anywhere.expects(ip_address(address)) is (":" not in address or "ffff" in address)


def test_finding_one_of_hundreds_is_quick() -> None:
    peers = Peers(
        tuple(Peer(f"MODALITY{number}", (ip_network((number << 8, 24)),)) for number in range(1000)), Unknown.REFUSE
    )
    began = time.process_time()
    for number in range(1000):
        assert peers.find(f"MODALITY{number}", ip_address((number << 8) + 7)) is not None
        assert peers.expects(ip_address((number << 8) + 7))
    # measured 4 us each; looking at every entry takes a hundred times as long
    assert time.process_time() - began < 1


def test_without_a_file_everybody_may_send(tmp_path: Path) -> None:
    with capture_logs() as logs:
        file = PeersFile(tmp_path / "peers.toml")
    assert file.current() is EVERYBODY
    assert [line["event"] for line in logs] == ["everybody_may_send"]


@pytest.mark.parametrize("content", [b"", b"# later\n"])
def test_an_empty_file_refuses_everybody_and_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "peers.toml"
    path.write_bytes(content)
    with capture_logs() as logs:
        peers = PeersFile(path).current()
    assert peers == Peers((), Unknown.REFUSE)
    assert [(line["event"], line["log_level"]) for line in logs] == [("nobody_may_send", "warning")]


def test_a_file_asked_for_by_name_must_exist(settings: Settings, tmp_path: Path) -> None:
    assert PeersFile.from_settings(settings).current() is EVERYBODY
    named = settings.model_copy(update={"peers_file": tmp_path / "mine.toml"})
    with pytest.raises(Misconfigured, match="LUNGWATCH_PEERS_FILE"):
        PeersFile.from_settings(named)


def test_wrong_at_start_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "peers.toml"
    path.write_bytes(b"peer = 1")
    with pytest.raises(Misconfigured, match=r"peers\.toml"):
        PeersFile(path)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, make: object) -> None:
    path = tmp_path / "peers.toml"
    assert callable(make)
    make(path)
    before = open_descriptors()
    with pytest.raises(Misconfigured, match="no regular file"):
        PeersFile(path)
    assert open_descriptors() == before


def test_a_change_is_seen_at_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "peers.toml"
    file = PeersFile(path)
    assert file.current() is EVERYBODY
    write_durably(path, ONE)
    assert titles(file.current()) == ["PACS1"]
    write_durably(path, TWO)
    assert titles(file.current()) == ["PACS1", "PACS2"]
    # same size, same inode: only the times differ
    path.write_bytes(TWO.replace(b"PACS2", b"PACS3"))
    os.utime(path, ns=(1, 1))
    assert titles(file.current()) == ["PACS1", "PACS3"]


def test_unchanged_content_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "peers.toml"
    path.write_bytes(ONE)
    file = PeersFile(path)
    assert file.current() is file.current()


def test_a_file_that_becomes_wrong_or_disappears_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "peers.toml"
    path.write_bytes(ONE)
    now = [0.0]
    file = PeersFile(path, rarely=Rarely(60, lambda: now[0]))
    good = file.current()
    with capture_logs() as logs:
        write_durably(path, b"unknown = 'accept'\npeer = 1")
        for second in (0, 1, 59, 60):
            now[0] = second
            assert file.current() is good
        path.unlink()
        now[0] = 200
        for _ in range(3):
            assert file.current() is good, "never falls open"
    assert [line["event"] for line in logs] == ["peers_file_wrong"] * 3
    assert [line["left_out"] for line in logs] == [0, 2, 0]
    assert "two brackets" in logs[0]["problem"]
    assert "is gone" in logs[2]["problem"]
    with capture_logs() as logs:
        write_durably(path, TWO)
        assert titles(file.current()) == ["PACS1", "PACS2"]
    assert [line["event"] for line in logs] == ["peers_file_read"]


def test_what_cannot_be_read_now_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "peers.toml"
    path.write_bytes(ONE)
    file = PeersFile(path)
    good = file.current()
    write_durably(path, TWO)
    with monkeypatch.context() as patched:

        def out_of_descriptors(*_: object) -> int:
            raise OSError(24, "Too many open files")

        patched.setattr(os, "open", out_of_descriptors)
        with capture_logs() as logs:
            assert file.current() is good
        assert "Too many open files" in logs[0]["problem"]
    assert titles(file.current()) == ["PACS1", "PACS2"], "though the file did not change in between"


def test_many_threads_see_one_of_the_contents(tmp_path: Path) -> None:
    path = tmp_path / "peers.toml"
    path.write_bytes(ONE)
    file = PeersFile(path)
    stop = threading.Event()
    seen: set[int] = set()

    def look() -> None:
        while not stop.is_set():
            seen.add(len(file.current().peers))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(40):
        write_durably(path, TWO if number % 2 else ONE)
    stop.set()
    for thread in threads:
        thread.join()
    assert seen <= {1, 2}
    assert len(file.current().peers) == 2
