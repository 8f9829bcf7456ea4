"""``docs/faults.md``: which test holds which row of the fault matrix, read off the tests' names.

A test that shows row 20 is called ``test_row_20_…``, one that shows rows 9 and
10 ``test_rows_09_10_…``. ``python -m tests.tools.fault_table`` writes the page;
a unit test fails where it is out of date or a row has lost its tests.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "faults.md"
_NAMED = re.compile(r"test_rows?_((?:\d\d_)+)")

# what goes wrong, and what must be true all the same
ROWS = {
    1: (
        "The listener is killed (`kill -9`) at any step of a store",
        "what was acknowledged is kept, the rest swept",
    ),
    2: (
        "A worker or its helper is killed, stopped past its lease or cut off",
        "at most three attempts, one result; a late holder writes nothing",
    ),
    3: (
        "Beat, or the registrar that rings, is killed (`kill -9`) around a message",
        "no message is needed, and one more does nothing",
    ),
    4: ("The broker refuses connections", "answers to senders and their latency do not change"),
    5: ("The broker hangs", "likewise; an attempt to ring is given up within 6 s"),
    6: ("The broker is wiped", "what is pending is found again without it"),
    7: ("The database is down, hangs or is locked", "C-STORE and C-ECHO go on; registration resumes by itself"),
    8: (
        "The disk is full, out of inodes, read-only or below the watermark",
        "`0xA700`, nothing half written, recovery",
    ),
    9: ("A data set is cut short, or its sender vanishes", "`0xC000`, or nothing is stored"),
    10: ("A data set of no bytes", "`0xC000`"),
    11: ("One instance comes a hundred times, eight at once", "`0x0000` each time, one image, one result"),
    12: (
        "Other content under a known UID",
        "the first stays in force: a corrected header keeps the score, other pixels are a conflict that is told",
    ),
    13: (
        "A transfer syntax we do not take, or bytes other than negotiated",
        "refused; kept for quarantine",
    ),
    14: ("Command and data set name different instances or classes", "`0xA900`"),
    15: (
        "A few bytes that declare 65535 columns or a thousand frames",
        "refused from the header, nothing is decoded; the next image has its turn",
    ),
    16: (
        "Deflate and RLE that unfold a thousand times",
        "the context is refused; from the spool, refused without unfolding, memory stays bounded",
    ),
    17: ("Sequences nested by the hundred or thousand", "refused within a second"),
    18: ("Malformed and mutated sessions", "nothing is kept: no thread, descriptor, memory or file"),
    19: (
        "Hundreds of associations, connections and requests",
        "refused within 1 s; known peers have places",
    ),
    20: ("Peers that stall, trickle or read no answer", "cut by a deadline; their places are free again"),
    21: (
        "TLS handshakes that stall; bad certificates, versions and ciphers",
        "refused; others are not held up",
    ),
    22: ("PDUs of 4 GiB, messages above the cap, requests without waiting", "aborted; memory stays bounded"),
    23: ("The wall clock jumps by hours or a day", "no association is aborted early or kept longer"),
    24: (
        "A bundle is corrupt: flipped bits, cut short",
        "it is not registered, not promoted and not loaded; the one before keeps serving, and the heartbeat says so",
    ),
    25: ("A bundle is missing or cannot be read", "likewise; with none at all images stay PENDING, none is guessed"),
    26: (
        "A bundle is exchanged, signed by nobody we trust, or carries a payload",
        "refused before anything parses it; the payload never runs",
    ),
    27: ("Decoding asks for more memory than a helper may use, or the system kills it", "as row 28"),
    28: (
        "The decoder crashes",
        "it costs its helper and one attempt of that image; after three, quarantine; its neighbours notice nothing",
    ),
    29: ("The decoder hangs or spins", "ended by its deadline; else as row 28"),
    30: (
        "The model answers NaN, infinity, a number out of range or another shape",
        "NO_RESULT, and a flag that a person sees",
    ),
    31: ("A message is delivered ten times, or to several at once", "one result"),
    32: (
        "Two nights, beats or promoters at once; a holder stopped past its lease and continued",
        "one effective night, one promotion; the stale holder writes nothing",
    ),
    33: (
        "A worse model, metrics that are no numbers, an empty or leaked test set",
        "not promoted, with a stored reason; the champion stays",
    ),
    34: (
        "A fit, a night or a promotion is killed (`kill -9`) at any step",
        "the old model or the new, whole; the next start goes on",
    ),
    35: ("Identifiers on their way to the log", "none arrives"),
    36: ("Control characters, escapes and other scripts in AE titles", "one line of printable JSON"),
    40: ("Paths in UIDs and AE titles", "no file outside the spool or named by received text"),
}
_HEAD = """\
# Faults, and the tests that hold them

Each row is a fault that Lungwatch is built to survive and what must be true all the same. The tests start the real
processes and do the real thing: `kill -9`, a full tmpfs, a stopped Redis, bytes from a scripted peer. While they
attack, a known peer stores from the same address and is answered within two seconds each time; afterwards threads,
descriptors and memory are what they were. `pytest -k _20_` runs one row. What becomes of every file that
pydicom ships, good and bad, is a [table of its own](test-files.md).

## Fuzz and soak

`make fuzz` plays mutated DICOM sessions against a real listener, eight at once, for ten minutes; the test run does it
for one. A valid session (contexts and user items, C-ECHO, C-STORE in several transfer syntaxes, storage commitment,
release) is drawn from a seed and changed in up to six of some eighty ways: parts of the request, of command and data
sets, presentation data values, PDUs, single bits, order, timing, the end of the connection. A second, plain reading
of the same bytes says what may be answered. Held after each round: every answer is to the message that was asked,
what is acknowledged lies in the spool with these very bytes, nothing lies there that nobody sent whole, sessions that
were not changed succeed, a known peer is served within two seconds, the log has no event that nobody foresaw and no
received text, no process has died; every ten seconds also threads, descriptors, memory, temporary files, gaps, files
elsewhere. A finding names its seed and keeps its sessions: `make fuzz FUZZ="--seed 5"` draws them again,
`FUZZ="--replay FILE"` plays them again, and a person may take lines out of that file. In the test run
`LUNGWATCH_TEST_FUZZ_SEED` gives the seed.

`make soak-receiving` runs listener and registrar for ten minutes under known peers (0.2 to 15 MB, up to eight
associations, one in three over TLS), ten kinds of attack at once, a `kill -9` of an association process every minute
and one restart by SIGTERM. A known peer that is cut off sends again. Each entry is compared with its name, with its
receipt and with what was sent, then removed, so the disk does not fill. It ends with 1 unless all that was
acknowledged, to anybody, was found byte for byte (SHA-256 of the data set), nothing else was, the sequences have no
gap, no store failed but by our own kills, and the listener holds what it held at the beginning.

`make soak-journey` runs all of it as a hospital does: `lungwatch serve` with two workers, on PostgreSQL and Redis. A
burst tells the highest rate; then known peers send computed radiographs in five transfer syntaxes at half of it for
ten minutes, while every twenty seconds a process drawn at random (association processes, registrar, workers, their
helpers, Redis, the supervisor itself) gets a `kill -9`, or is stopped for up to half a minute. What has no supervisor
is started again as systemd would. It ends with 1 unless every acknowledged instance has one classified receipt and
one prediction, nothing was quarantined or is pending, one picture has one score under one model, `lungwatch reconcile
--digests` comes out even and `serve` stops in order. `make soak` runs both, `SOAK="--minutes 60"` for an hour each.

An hour of it on 2026-11-30, on two cores that other programs used as well: 15,178 instances sent at 4.2 a second
(half of the 8.5 a second of the burst before), all acknowledged, 637 stores cut off and sent again; 179 strikes, 94
of them SIGSTOPs (helpers 31, workers 34, registrar 34, listener 34, Redis 26, supervisor 20); 15,178 CLASSIFIED, as
many predictions, nothing pending, lost, doubled or quarantined; `reconcile --digests` even. Half of them had their
row 13 s after they were durable, 95 % within 387 s: what a stopped or killed worker had claimed waits for its lease,
and everything else behind a machine that was busy.

Twenty minutes on the same day, when the machine did nothing else, of what was changed since: 11,111 instances sent at
9.2 a second (half of 18.5), 182 stores cut off and sent again; 59 strikes; 11,111 CLASSIFIED, as many predictions,
two DUPLICATE for answers lost with the listener; `reconcile --digests` even. Half of them had their row 0.29 s after
they were durable, 95 % within 16 s.

## Tests

This page is written by `python -m tests.tools.fault_table` from the names of the tests, and a test keeps it so.

| row | fault | what must be true | tests |
|---|---|---|---|
"""


def named_by_row() -> dict[int, dict[Path, list[str]]]:
    """Return, for each row, the tests named for it by file."""
    found: dict[int, dict[Path, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted((REPOSITORY / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (match := _NAMED.match(node.name)):
                for row in match[1].split("_")[:-1]:
                    found[int(row)][path.relative_to(REPOSITORY)].append(node.name)
    return found


def page() -> str:
    """Return the text of the page."""
    tests = named_by_row()
    lines = []
    for row, (fault, expected) in ROWS.items():
        files = [f"[{path.name}](../{path}) ({len(names)})" for path, names in tests.get(row, {}).items()]
        lines.append(f"| {row} | {fault} | {expected} | {', '.join(files)} |\n")
    return _HEAD + "".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
