"""`lungwatch peers`: a file that people and the command both write."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import ledger
from cli.__main__ import run
from core.peers import read
from core.settings import Settings
from tests.peers.certificates import Authority
from tests.unit.cli.conftest import Lungwatch, Said
from tests.unit.cli.test_probe import peer as dicom_peer

BY_HAND = """\
# Ward network, agreed with IT in May

unknown = "refuse"  # nobody else

# the PACS
[[peer]]
ae_title = "PACS1"
addresses = [
  "10.1.2.3",  # primary
  "10.1.3.0/24",  # the others
]
# until the new one comes
report_to = "10.1.2.3:104"

# room 3
# second floor
[[peer]]  # was XR2
ae_title = "XR3"
addresses = ["10.1.2.4"]

# reviewed each year
"""


@pytest.fixture
def file(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LUNGWATCH_DATA_DIR", str(settings.data_dir))
    monkeypatch.setattr(ledger, "configure", lambda _: None)
    return settings.peers


@pytest.fixture
def by_hand(file: Path) -> Path:
    file.parent.mkdir()
    file.write_text(BY_HAND)
    return file


@pytest.fixture
def lungwatch(capsys: pytest.CaptureFixture[str]) -> Lungwatch:
    def command(*arguments: str) -> Said:
        capsys.readouterr()
        code = run(["peers", *arguments])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return command


def test_a_fresh_installation(file: Path, lungwatch: Lungwatch) -> None:
    said = lungwatch("list")
    assert (said.code, said.out) == (0, "")
    assert "everybody may send" in said.err
    assert json.loads(lungwatch("list", "--json").out) == {
        "file": str(file.absolute()),
        "exists": False,
        "unknown": "accept",
        "peers": [],
    }
    assert not file.parent.exists(), "looking makes nothing"


def test_the_first_peer_closes_the_door_and_says_so(file: Path, lungwatch: Lungwatch) -> None:
    said = lungwatch("add", "PACS1", "--address", "10.1.2.3", "--address", "2001:db8::/64")
    assert said.code == 0
    assert "PACS1 may send from 10.1.2.3, 2001:db8::/64." in said.err
    assert "WARNING" in said.err
    assert "ALL OTHERS ARE REFUSED" in said.err
    assert 'unknown = "refuse"' in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) & 0o007 == 0
    second = lungwatch("add", "XR3", "--address", "10.1.2.4")
    assert second.code == 0
    assert "WARNING" not in second.err
    assert [peer.ae_title for peer in read(file).peers] == ["PACS1", "XR3"]


def test_every_option_of_add(file: Path, lungwatch: Lungwatch, tmp_path: Path) -> None:
    certificate = Authority(tmp_path / "authority").issue("xr3")
    said = lungwatch(
        *("add", "XR3", "--address", "10.1.2.4", "--report-to", "[2001:DB8::4]:104"),
        *("--sop-class", "DigitalXRayImageStorageForPresentation", "--sop-class", "1.2.3.4"),
        *("--certificate-file", str(certificate.certificate)),
    )
    assert said.code == 0, said.err
    assert "LUNGWATCH_TLS_CLIENT_CA_FILE is not set here" in said.err
    assert '"DigitalXRayImageStorageForPresentation"' in file.read_text(), "stays as it was written"
    listed = json.loads(lungwatch("list", "--json").out)
    assert listed["exists"]
    assert listed["unknown"] == "refuse"
    assert listed["peers"] == [
        {
            "ae_title": "XR3",
            "addresses": ["10.1.2.4"],
            "sop_classes": ["1.2.3.4", "1.2.840.10008.5.1.4.1.1.1.1"],
            "report_to": "[2001:db8::4]:104",
            "certificate": certificate.digest,
        }
    ]
    shown = lungwatch("list").out
    for expected in ("XR3", "10.1.2.4", "DigitalXRayImageStorageForPresentation", "[2001:db8::4]:104"):
        assert expected in shown
    assert certificate.digest[:16] in shown
    same = lungwatch("add", "XR4", "--address", "10.1.2.5", "--certificate", certificate.digest.upper())
    assert same.code == 0
    assert read(file).peers[1].certificate == certificate.digest


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("X" * 17, "--address", "10.1.2.3"), "is no AE title"),
        (("A", "--address", "10.1.2.3/8"), "10.0.0.0/8"),
        (("A", "--address", "pacs.example"), "host names are not taken"),
        (("A",), "--address"),
        (("A", "--address", "10.1.2.3", "--sop-class", "CTImageStorag"), "CTImageStorage"),
        (("A", "--address", "10.1.2.3", "--report-to", "10.1.2.3"), "no host and port"),
        (("A", "--address", "10.1.2.3", "--certificate", "abc"), "no SHA-256"),
        (("A", "--address", "10.1.2.3", "--certificate-file", __file__), "no certificate in PEM form"),
        (("A", "--address", "10.1.2.3", "--certificate-file", __file__, "--certificate", "abc"), "either"),
    ],
)
def test_what_add_does_not_take(file: Path, lungwatch: Lungwatch, arguments: tuple[str, ...], expected: str) -> None:
    said = lungwatch("add", *arguments)
    assert said.code == 2
    assert expected in " ".join(said.err.replace("\u2502", " ").split())
    assert not file.exists()


def test_twice_the_same_is_refused_and_changes_nothing(by_hand: Path, lungwatch: Lungwatch) -> None:
    said = lungwatch("add", "PACS1", "--address", "10.1.2.3")
    assert said.code == 2
    assert "nothing was changed" in said.err
    assert "10.1.2.3/32 is in peer 1" in said.err
    assert by_hand.read_text() == BY_HAND


def test_adding_keeps_what_people_wrote(by_hand: Path, lungwatch: Lungwatch) -> None:
    assert lungwatch("add", "XR9", "--address", "10.1.2.9").code == 0
    assert by_hand.read_text() == BY_HAND + '\n[[peer]]\nae_title = "XR9"\naddresses = ["10.1.2.9"]\n'


def test_removing_takes_its_own_comments_along_and_no_others(by_hand: Path, lungwatch: Lungwatch) -> None:
    first, second = BY_HAND.index("# the PACS"), BY_HAND.index("# room 3")
    said = lungwatch("remove", "PACS1")
    assert (said.code, said.err.strip()) == (0, "PACS1 is no longer named.")
    assert by_hand.read_text() == BY_HAND[:first] + BY_HAND[second:]
    by_hand.write_text(BY_HAND)
    assert lungwatch("remove", "XR3").code == 0
    assert by_hand.read_text() == BY_HAND[:second] + "# reviewed each year\n"


def test_removing_some_addresses_leaves_the_rest(by_hand: Path, lungwatch: Lungwatch) -> None:
    assert lungwatch("remove", "PACS1", "--address", "10.1.2.3").code == 0
    text = by_hand.read_text()
    assert "primary" not in text
    assert '"10.1.3.0/24",  # the others' in text
    assert lungwatch("remove", "PACS1", "--address", "10.1.3.0/24").code == 0
    assert [peer.ae_title for peer in read(by_hand).peers] == ["XR3"]
    assert "# room 3" in by_hand.read_text()
    assert "# the PACS" not in by_hand.read_text()


def test_every_entry_of_an_ae_title_goes(by_hand: Path, lungwatch: Lungwatch) -> None:
    assert lungwatch("add", "PACS1", "--address", "10.9.0.0/16").code == 0
    assert lungwatch("remove", "PACS1").code == 0
    assert [peer.ae_title for peer in read(by_hand).peers] == ["XR3"]


def test_the_last_one_gone_is_said_loudly(by_hand: Path, lungwatch: Lungwatch) -> None:
    assert lungwatch("remove", "PACS1").code == 0
    said = lungwatch("remove", "XR3")
    assert said.code == 0
    assert "EVERYBODY is refused" in said.err
    assert "everybody is refused" in lungwatch("list").err
    assert "# Ward network" in by_hand.read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("remove", "PACS9"), "has no PACS9"),
        (("remove", "XR3", "--address", "10.1.2.5"), "does not have XR3 at 10.1.2.5/32; it has 10.1.2.4/32"),
        (("test", "PACS9"), "PACS9 is no peer in"),
    ],
)
def test_who_is_not_there(by_hand: Path, lungwatch: Lungwatch, arguments: tuple[str, ...], expected: str) -> None:
    said = lungwatch(*arguments)
    assert said.code == 1
    assert expected in said.err
    assert by_hand.read_text() == BY_HAND


def test_removing_without_a_file_makes_none(file: Path, lungwatch: Lungwatch) -> None:
    said = lungwatch("remove", "PACS1")
    assert said.code == 1
    assert "everybody may send" in said.err
    assert not file.exists()


def test_a_file_that_was_asked_for_by_name_and_is_not_there(
    file: Path, lungwatch: Lungwatch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The listener does not start then (`core.peers.PeersFile`), so nobody may send."""
    named = tmp_path / "elsewhere.toml"
    monkeypatch.setenv("LUNGWATCH_PEERS_FILE", str(named))
    for said in (lungwatch("list"), lungwatch("remove", "PACS1")):
        assert "everybody may send" not in said.err
        assert "the listener does not start" in " ".join(said.err.split())
    listed = json.loads(lungwatch("list", "--json").out)
    assert listed == {"file": str(named), "exists": False, "unknown": None, "peers": []}
    said = lungwatch("add", "PACS1", "--address", "10.1.2.3")
    assert "everybody could send" not in said.err
    assert "no listener starts; a new one is begun, and ALL OTHERS ARE REFUSED" in " ".join(said.err.split())
    assert "WARNING" not in lungwatch("add", "XR3", "--address", "10.1.2.4").err
    assert json.loads(lungwatch("list", "--json").out)["unknown"] == "refuse"
    assert not file.exists()


def test_unknown_peers(by_hand: Path, lungwatch: Lungwatch) -> None:
    assert "Peers that are not named may send, too" in lungwatch("unknown", "accept").err
    assert by_hand.read_text() == BY_HAND.replace('"refuse"', '"accept"')
    assert "Others may send, too" in lungwatch("list").err
    said = lungwatch("unknown", "refuse")
    assert "ALL OTHERS ARE REFUSED" in said.err
    assert by_hand.read_text() == BY_HAND
    assert lungwatch("unknown", "perhaps").code == 2


def test_refusing_the_unknown_on_a_fresh_installation(file: Path, lungwatch: Lungwatch) -> None:
    said = lungwatch("unknown", "refuse")
    assert said.code == 0
    assert "EVERYBODY is refused" in said.err
    assert read(file).peers == ()


def test_peers_written_on_one_line(file: Path, lungwatch: Lungwatch) -> None:
    file.parent.mkdir()
    file.write_text('peer = [{ae_title = "A", addresses = ["10.1.2.3"]}, {ae_title = "B", addresses = ["10.1.2.4"]}]\n')
    assert lungwatch("add", "C", "--address", "10.1.2.5").code == 0
    assert lungwatch("remove", "A").code == 0
    assert [peer.ae_title for peer in read(file).peers] == ["B", "C"]


def test_a_wrong_file_is_shown_and_left_alone(by_hand: Path, lungwatch: Lungwatch) -> None:
    wrong = BY_HAND.replace("addresses", "adresses")
    by_hand.write_text(wrong)
    for arguments in (("list",), ("add", "A", "--address", "10.0.0.1"), ("remove", "XR3"), ("unknown", "accept")):
        said = lungwatch(*arguments)
        assert said.code == 2
        assert "did you mean addresses?" in said.err
        assert by_hand.read_text() == wrong


def test_mode_and_link_stay(by_hand: Path, lungwatch: Lungwatch, tmp_path: Path) -> None:
    elsewhere = tmp_path / "etc" / "peers.toml"
    elsewhere.parent.mkdir()
    by_hand.rename(elsewhere)
    by_hand.symlink_to(elsewhere)
    elsewhere.chmod(0o664)
    assert lungwatch("add", "XR9", "--address", "10.1.2.9").code == 0
    assert by_hand.is_symlink()
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o664
    assert len(read(elsewhere).peers) == 3


def test_begun_by_root_it_belongs_to_whom_the_data_belong(file: Path, lungwatch: Lungwatch) -> None:
    # whoever is not root can give nothing away, and need not
    owner = (12345, 23456) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    file.parent.mkdir()
    os.chown(file.parent, *owner)
    assert lungwatch("add", "A", "--address", "10.1.2.3").code == 0
    assert lungwatch("add", "B", "--address", "10.1.2.3").code == 0
    for one in file.parent.iterdir():
        assert (one.stat().st_uid, one.stat().st_gid) == owner, one.name


def test_two_at_once_lose_nothing(file: Path) -> None:
    add = [sys.executable, "-m", "cli", "peers", "add"]
    started = [
        subprocess.Popen([*add, f"XR{number}", "--address", f"10.1.2.{number}"], stderr=subprocess.DEVNULL)
        for number in range(1, 7)
    ]
    assert [one.wait(60) for one in started] == [0] * 6
    assert sorted(peer.ae_title for peer in read(file).peers) == [f"XR{number}" for number in range(1, 7)]


@pytest.fixture
def answering() -> Iterator[int]:
    with dicom_peer(require_called_aet=True) as port:
        yield port


def test_a_peer_is_asked_where_its_reports_go(file: Path, lungwatch: Lungwatch, answering: int) -> None:
    for address, port in (("127.0.0.1", answering), ("10.1.0.0/16", answering), ("10.2.0.0/16", 1)):
        assert lungwatch("add", "PEER", "--address", address, "--report-to", f"127.0.0.1:{port}").code == 0
    said = lungwatch("test", "PEER")
    assert said.code == 1, "one of its two addresses does not answer"
    first, second = said.out.splitlines()
    assert first.startswith(f"PEER at 127.0.0.1:{answering}: answered C-ECHO in ")
    assert "refused the connection" in second
    assert lungwatch("remove", "PEER", "--address", "10.2.0.0/16").code == 0
    told = lungwatch("test", "PEER", "--json")
    assert told.code == 0
    (answer,) = json.loads(told.out)
    assert answer["peer"] == {"ae_title": "PEER", "host": "127.0.0.1", "port": answering}
    assert (answer["step"], answer["rejected"]) == ("ANSWERED", None)
    assert file.exists()


def test_any_host_and_port_may_be_asked(file: Path, lungwatch: Lungwatch, answering: int) -> None:
    said = lungwatch("test", f"127.0.0.1:{answering}")
    assert said.code == 1
    assert "called-AE-title-not-recognized (1/1/7); it is not called ANY-SCP" in said.out
    assert lungwatch("test", f"127.0.0.1:{answering}", "--called-ae", "PEER").code == 0
    assert not file.exists()


def test_a_peer_without_a_report_address(by_hand: Path, lungwatch: Lungwatch) -> None:
    said = lungwatch("test", "XR3")
    assert said.code == 2
    assert "XR3 has no report_to" in said.err
    assert by_hand.read_text() == BY_HAND


def test_over_tls(lungwatch: Lungwatch, answering: int, tmp_path: Path, file: Path) -> None:
    del file
    authority = Authority(tmp_path / "authority")
    said = lungwatch("test", f"127.0.0.1:{answering}", "--tls", "--ca-file", str(authority.certificate))
    assert said.code == 1
    assert "plain DICOM" in said.out


def test_the_runbook_s_file_is_one(by_hand: Path, lungwatch: Lungwatch) -> None:
    runbook = (Path(__file__).resolve().parents[3] / "docs" / "runbook.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```toml\n(.*?)```", runbook, re.DOTALL)
    by_hand.write_text(shown)
    assert lungwatch("list").code == 0
    assert len(read(by_hand).peers) == 1


def test_the_runbook_s_commands_are_taken(
    file: Path, lungwatch: Lungwatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runbook = (Path(__file__).resolve().parents[3] / "docs" / "runbook.md").read_text(encoding="utf-8")
    commands = re.findall(r"^lungwatch peers (add .*)$", runbook, re.MULTILINE)
    assert len(commands) >= 4
    Authority(tmp_path / "authority").issue("pacs").certificate.rename(tmp_path / "pacs.crt")
    monkeypatch.chdir(tmp_path)
    for command in commands:
        file.unlink(missing_ok=True)
        said = lungwatch(*shlex.split(command))
        assert (said.code, len(read(file).peers)) == (0, 1), said.err


def test_help_of_every_command(lungwatch: Lungwatch) -> None:
    shown = lungwatch("--help").out
    for command in ("list", "add", "remove", "test", "unknown"):
        assert command in shown
        assert lungwatch(command, "--help").code == 0


def test_brackets_in_a_comment_begin_no_peer(by_hand: Path, lungwatch: Lungwatch) -> None:
    by_hand.write_text(BY_HAND.replace("# room 3", "# [[peer]] room 3"))
    assert lungwatch("remove", "XR3").code == 0
    assert [peer.ae_title for peer in read(by_hand).peers] == ["PACS1"]
