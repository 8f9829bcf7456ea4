"""Changing the peers file as its owner wrote it: comments and order stay, and no half-made file is ever read."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit.items import AoT

from core.errors import LungwatchError, Misconfigured
from core.files import make_directories, write_durably
from core.peers import Peers, Unknown, parse
from core.peers_format import Network
from core.settings import Settings

_MODE: Final = 0o640
_BEGIN: Final = re.compile(r"[ \t]*\[\[[ \t]*[\"']?peer[\"']?[ \t]*\]\]")
_HEAD: Final = """\
# Who may send to Lungwatch. docs/runbook.md, "Who may send", explains every key; lungwatch peers list checks this file.
# A change is in force for the next association, without a restart.

# what becomes of peers that are not named below: "refuse" or "accept"
unknown = "refuse"
"""


class NoSuchPeer(LungwatchError):
    """The peers file names no such peer."""


@dataclass(frozen=True, slots=True)
class NewPeer:
    """What ``lungwatch peers add`` was told, as it will stand in the file; not checked yet."""

    ae_title: str
    addresses: tuple[str, ...]
    sop_classes: tuple[str, ...] = ()
    report_to: str | None = None
    certificate: str | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change made of the file; `before` is None where there was none."""

    before: Peers | None
    after: Peers


# from the text and its meaning to the new text
Change = Callable[[str, Peers], str]


def change(settings: Settings, make: Change) -> Changed:
    """Change the peers file, or begin one; two at once wait for each other.

    Parameters
    ----------
    settings : Settings
    make : callable
        Gets the text and what it means, returns the new text.

    Returns
    -------
    Changed

    Raises
    ------
    Misconfigured
        If the file was wrong before, or would be afterwards: it is then left as it was.
    """
    # a link, as a configuration map mounts it, stays one
    path = settings.peers.resolve()
    make_directories(path.parent)
    with _alone(path):
        try:
            content, status = path.read_bytes(), path.stat()
        except FileNotFoundError:
            content, status, before = _HEAD.encode(), None, None
        else:
            before = parse(content, path)
        text = content.decode("utf-8-sig")
        changed = make(text, before or parse(content, path)).encode()
        after = _checked(changed, path)
        if status is None or changed != content:
            _write(settings, path, changed, status)
    return Changed(before, after)


def _checked(content: bytes, path: Path) -> Peers:
    try:
        return parse(content, path)
    except Misconfigured as wrong:
        message = f"nothing was changed, because then {wrong}"
        raise Misconfigured(message) from None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    # not the file itself: it is replaced, and a lock would stay with the old one
    lock = path.with_name(f".{path.name}.lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    try:
        if os.geteuid() == 0:
            # else the directory's owner could not lock after root once did
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(settings: Settings, path: Path, content: bytes, status: os.stat_result | None) -> None:
    if status is not None:
        write_durably(path, content, stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid))
    elif os.geteuid() == 0 and settings.data_dir.exists():
        # begun by root: the listener, which runs as the owner of the data directory, must be able to read it
        owner = settings.data_dir.stat()
        write_durably(path, content, _MODE, (owner.st_uid, owner.st_gid))
    else:
        write_durably(path, content, _MODE)


def adding(new: NewPeer) -> Change:
    """Add one entry at the end."""

    def make(text: str, _: Peers) -> str:
        document = tomlkit.parse(text)
        entry = tomlkit.table()
        for key, value in _keys(new):
            entry[key] = value
        existing = document.get("peer")
        if existing is None:
            existing = document["peer"] = tomlkit.aot()
        if isinstance(existing, AoT):
            existing.append(entry)
            return _with_a_line_before_the_last(tomlkit.dumps(document))
        inline = tomlkit.inline_table()
        inline.update(dict(_keys(new)))
        existing.append(inline)
        return tomlkit.dumps(document)

    return make


def _keys(new: NewPeer) -> Iterator[tuple[str, Any]]:
    yield "ae_title", new.ae_title
    yield "addresses", list(new.addresses)
    if new.sop_classes:
        yield "sop_classes", list(new.sop_classes)
    if new.report_to is not None:
        yield "report_to", new.report_to
    if new.certificate is not None:
        yield "certificate", new.certificate


def _with_a_line_before_the_last(text: str) -> str:
    lines = text.splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if _BEGIN.match(line))
    if last and lines[last - 1].strip():
        lines.insert(last, "\n")
    return "".join(lines)


def removing(ae_title: str, networks: Sequence[Network] = ()) -> Change:
    """Remove the entries of an AE title, or only some of its addresses; an entry without any goes altogether."""

    def make(text: str, peers: Peers) -> str:
        gone = [
            [
                place
                for place, network in enumerate(peer.networks)
                if peer.ae_title == ae_title and (not networks or network in networks)
            ]
            for peer in peers.peers
        ]
        _refuse_missing(ae_title, networks, peers)
        document = tomlkit.parse(text)
        entries: Any = document["peer"]
        whole = [number for number, places in enumerate(gone) if len(places) == len(peers.peers[number].networks)]
        for number, places in enumerate(gone):
            if number not in whole:
                for place in reversed(places):
                    del entries[number]["addresses"][place]
        if isinstance(entries, AoT):
            return _without(tomlkit.dumps(document), whole, len(gone))
        for number in reversed(whole):
            del entries[number]
        return tomlkit.dumps(document)

    return make


def _refuse_missing(ae_title: str, networks: Sequence[Network], peers: Peers) -> None:
    there = {network for peer in peers.peers if peer.ae_title == ae_title for network in peer.networks}
    if not there:
        message = f"the peers file has no {ae_title}; lungwatch peers list shows those it has"
        raise NoSuchPeer(message)
    missing = [str(network) for network in networks if network not in there]
    if missing:
        has = ", ".join(str(network) for network in sorted(there, key=str))
        message = f"the peers file does not have {ae_title} at {', '.join(missing)}; it has {has}"
        raise NoSuchPeer(message)


def _without(text: str, numbers: Sequence[int], count: int) -> str:
    """Cut entries out of the text, each with the comment that stands directly above it and none of another's.

    tomlkit counts a comment above an entry to the entry before it, so that
    its own deletion would leave one peer's comment above another.
    """
    lines = text.splitlines(keepends=True)
    begins = [number for number, line in enumerate(lines) if _BEGIN.match(line)]
    if len(begins) != count:
        message = "the peers file is written in a way that cannot be changed from here; change it in an editor"
        raise Misconfigured(message)
    tops = [_top(lines, begin) for begin in begins]
    ends = [*tops[1:], _end_of_last(lines, begins[-1])]
    for number in reversed(numbers):
        del lines[tops[number] : ends[number]]
    return "".join(lines).rstrip() + "\n"


def _top(lines: Sequence[str], begin: int) -> int:
    while begin and _is_comment(lines[begin - 1]):
        begin -= 1
    return begin


def _end_of_last(lines: Sequence[str], begin: int) -> int:
    """Return where the last entry ends: what is said after an empty line at the end of the file is not about it."""
    meant = [number for number in range(begin, len(lines)) if lines[number].strip() and not _is_comment(lines[number])]
    return next((number + 1 for number in range(meant[-1], len(lines)) if not lines[number].strip()), len(lines))


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def treating_unknown(unknown: Unknown) -> Change:
    """Set what becomes of peers that are not named."""

    def make(text: str, _: Peers) -> str:
        document = tomlkit.parse(text)
        document["unknown"] = unknown.value
        return tomlkit.dumps(document)

    return make
