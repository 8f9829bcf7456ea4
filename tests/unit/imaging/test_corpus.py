"""Every file pydicom ships, read in a child process with 3 GB and 25 seconds a file: a typed answer, never a crash."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pydicom.data

CHILD = """
import json, resource, signal, sys, tempfile
from pathlib import Path

resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))

from core.errors import RejectedInput
from imaging.decode.dispatch import decode
from imaging.grayscale import render
from imaging.header import read_header
from imaging.instance import ReadingRules, read_instance
from imaging.scope import ScopeRules

rules = ReadingRules(ScopeRules(frozenset({"CR", "DX"}), frozenset({"CHEST"}), (365, 2192), True), 512 << 20)
masters = Path(tempfile.mkdtemp())


def pixels(content):
    # most of these files are out of scope, so their pixels are asked for directly
    try:
        header = read_header(content)
        module, stored = decode(header, content, 512 << 20)
        render(stored, module, header.dataset)
    except RejectedInput as error:
        return str(error.reason)
    return "DECODED"


for line in sys.stdin:
    path = Path(line.rstrip())
    signal.alarm(25)
    reading = read_instance(path, masters, rules)
    print(json.dumps([path.name, reading.rejected, reading.out_of_scope, pixels(path.read_bytes())]), flush=True)
    signal.alarm(0)
"""
# What must be noticed, by name
EXPECTED = {
    "MR_truncated.dcm": "TRUNCATED",
    "rtplan_truncated.dcm": "TRUNCATED",
    "no_meta.dcm": "NOT_DICOM",
    "rtstruct.dcm": "NOT_DICOM",
    "image_dfl.dcm": "TRANSFER_SYNTAX",
    "MR_small_bigendian.dcm": "TRANSFER_SYNTAX",
    "meta_missing_tsyntax.dcm": "TRANSFER_SYNTAX",
}
PIXELS = {
    "JPEG2000-embedded-sequence-delimiter.dcm": "BAD_PIXEL_MODULE",
    "SC_rgb_small_odd.dcm": "BAD_PIXEL_MODULE",
    "rtdose_1frame.dcm": "BAD_PIXEL_MODULE",
    "MR_small_RLE.dcm": "DECODED",
    "693_J2KI.dcm": "DECODED",
    "examples_overlay.dcm": "DECODED",
}


def test_every_shipped_file_gives_a_typed_answer() -> None:
    root = Path(pydicom.data.__file__).parent
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc", ".json"})
    assert len(files) > 150
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD],
        input="\n".join(map(str, files)),
        capture_output=True,
        text=True,
        timeout=150,
        cwd=Path(__file__).resolve().parents[3],
        check=False,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    assert not child.stderr, "nothing may be printed: library messages quote the file"
    answers = [json.loads(line) for line in child.stdout.splitlines()]
    assert len(answers) == len(files)
    rejected = {name: reason for name, reason, _, _ in answers}
    pixels = {name: state for name, _, _, state in answers}
    assert {name: rejected[name] for name in EXPECTED} == EXPECTED
    assert {name: pixels[name] for name in PIXELS} == PIXELS
