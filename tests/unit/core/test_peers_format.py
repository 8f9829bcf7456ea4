"""The peers file as a person writes it: what is taken, and what is said of what is not."""

from __future__ import annotations

import contextlib
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Misconfigured
from core.peers_format import LARGEST, certificate_digest, network, parse, report_address

PATH = Path("peers.toml")
PEER = '[[peer]]\nae_title = "PACS1"\naddresses = ["10.1.2.3"]\n'


def said_of(text: str) -> str:
    with pytest.raises(Misconfigured) as refusal:
        parse(text.encode(), PATH)
    said = str(refusal.value)
    assert said.startswith("peers.toml ")
    assert said.isprintable()
    return said


def test_everything_that_may_stand_in_it() -> None:
    content = parse(
        b"""\xef\xbb\xbf# with the mark some editors put in front
        unknown = "accept"
        [[peer]]
        ae_title = " PACS 1 "
        addresses = ["10.1.2.3", "10.1.3.0/24", "2001:db8::/64", "::ffff:10.9.0.0/112"]
        sop_classes = ["DigitalXRayImageStorageForPresentation", "1.2.3.4"]
        report_to = "[2001:DB8::3]:104"
        certificate = "AB:cd"
        """.replace(b"AB:cd", b":".join([b"AB"] * 32)),
        PATH,
    )
    (entry,) = content.peer
    assert content.unknown == "accept"
    assert entry.ae_title == "PACS 1"
    assert entry.addresses == [
        ip_network(text) for text in ("10.1.2.3/32", "10.1.3.0/24", "2001:db8::/64", "10.9.0.0/16")
    ]
    assert entry.sop_classes == ["1.2.840.10008.5.1.4.1.1.1.1", "1.2.3.4"]
    assert entry.report_to == ("2001:db8::3", 104)
    assert entry.certificate == "ab" * 32


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "\n\n"])
def test_an_empty_file_names_nobody_and_refuses_others(text: str) -> None:
    content = parse(text.encode(), PATH)
    assert (content.unknown, content.peer) == ("refuse", [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unkown = 'accept'", '"unkown" is no key; did you mean unknown?'),
        ("colour = 'red'", '"colour" is no key; there are unknown, peer'),
        ("unknown = 'acept'", 'unknown is "acept"; write "refuse" or "accept"'),
        ("unknown = true", "unknown is True; write"),
        ("[peer]\nae_title = 'A'", "begin each peer with [[peer]]"),
        ("peer = 5", "begin each peer with [[peer]]"),
        ("peer = [5]", "peer 1: is no table"),
        (PEER + "adresses = []", 'peer 1 (PACS1): "adresses" is no key; did you mean addresses?'),
        (PEER + PEER.replace("PACS1", "B") + "aet = 'x'", 'peer 2 (B): "aet" is no key'),
        ("[[peer]]\nae_title = 'A'", "peer 1 (A): addresses is missing"),
        ("[[peer]]\naddresses = ['10.1.2.3']", "peer 1: ae_title is missing"),
        (PEER.replace("PACS1", "A" * 17), "is no AE title: 1 to 16"),
        (PEER.replace("PACS1", "   "), "is no AE title"),
        (PEER.replace("PACS1", "PA\\\\CS"), "is no AE title"),
        (PEER.replace("PACS1", "R\u00f6ntgen"), "is no AE title"),
        (PEER.replace('"PACS1"', "7"), "ae_title is 7"),
        (PEER.replace('["10.1.2.3"]', "[]"), "addresses is empty; name at least one"),
        (PEER.replace('["10.1.2.3"]', "'10.1.2.3'"), "addresses is no list; write addresses = [...]"),
        (PEER.replace("10.1.2.3", "10.1.2.3/24"), "write 10.1.2.0/24 for the network or 10.1.2.3 for the one address"),
        (PEER.replace("10.1.2.3", "2001:db8::1/64"), "write 2001:db8::/64 for the network or 2001:db8::1"),
        (PEER.replace("10.1.2.3", "pacs.example"), "host names are not taken"),
        (PEER.replace("10.1.2.3", "10.1.2.3/33"), "is neither an IP address nor a network"),
        (PEER.replace("10.1.2.3", "fe80::1%eth0"), "write it without"),
        (PEER.replace('"10.1.2.3"', "3"), "addresses: 3 is no text"),
        (PEER + "sop_classes = []", "sop_classes is empty; name at least one, or leave the key out"),
        (PEER + "sop_classes = ['CTImageStorag']", "did you mean CTImageStorage?"),
        (PEER + "report_to = '10.1.2.3'", "report_to: "),
        (PEER + "certificate = 'abc'", "is no SHA-256 of a certificate"),
        (PEER + PEER, "peer 2 (PACS1): addresses: 10.1.2.3/32 is in peer 1"),
        (PEER + PEER.replace("10.1.2.3", "::ffff:10.1.2.3"), "is in peer 1"),
        (PEER.replace('"]', '", "10.1.2.3/32"]'), "is in peer 1"),
        ("a =", "is not valid TOML: Invalid value"),
        ("a = " + "[" * 100_000, "is not UTF-8 text in TOML"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(text: str, expected: str) -> None:
    assert expected in said_of(text)


def test_one_ae_title_may_have_several_entries() -> None:
    content = parse((PEER + PEER.replace("10.1.2.3", "10.1.2.0/24")).encode(), PATH)
    assert [entry.ae_title for entry in content.peer] == ["PACS1", "PACS1"]


def test_what_is_quoted_can_forge_nothing() -> None:
    said = said_of('[[peer]]\nae_title = "A\\nB\\u001b[2J' + "x" * 500 + '"\naddresses = ["10.1.2.3"]')
    assert len(said) < 500


def test_many_mistakes_are_counted_and_some_told() -> None:
    said = said_of("".join(f"key_{number} = 1\n" for number in range(30)))
    assert "and 22 more" in said
    assert len(said) < 2000


def test_another_encoding_and_a_huge_file_are_refused() -> None:
    with pytest.raises(Misconfigured, match="not UTF-8"):
        parse("# \u00e4".encode("latin-1"), PATH)
    with pytest.raises(Misconfigured, match="larger than 1 MiB"):
        parse(b"#" * (LARGEST + 1), PATH)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("10.1.2.3:104", ("10.1.2.3", 104)),
        ("pacs_1.example:11112", ("pacs_1.example", 11112)),
        ("[2001:DB8::3]:65535", ("2001:db8::3", 65535)),
        ("localhost:1", ("localhost", 1)),
    ],
)
def test_report_addresses(written: str, expected: tuple[str, int]) -> None:
    assert report_address(written) == expected


@pytest.mark.parametrize(
    "written",
    ["10.1.2.3", ":104", "10.1.2.3:0", "10.1.2.3:65536", "10.1.2:104", "10.1.2.300:104", "2001:db8::3:104",
     "[10.1.2.3]:104", "a b:104", "-a:104", "a..b:104", "a:+104", "a:\u0661", f"{'a' * 254}:104", "", 104],
)  # fmt: skip
def test_no_report_addresses(written: object) -> None:
    with pytest.raises(ValueError, match=r"is no host and port|has no valid|has port"):
        report_address(written)


def test_digests() -> None:
    assert certificate_digest("0F" * 32) == certificate_digest(":".join(["0f"] * 32)) == "0f" * 32


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    said = ""
    try:
        parse(content, PATH)
    except Misconfigured as refusal:
        said = str(refusal)
    assert said == "" or said.isprintable()


@given(st.text(max_size=60))
def test_any_text_is_a_network_or_refused(written: str) -> None:
    with contextlib.suppress(ValueError):
        assert network(written).prefixlen >= 0
