from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = (
    "bench",
    "bundle",
    "cli",
    "core",
    "db",
    "dicom_listener",
    "imaging",
    "training",
    "worker",
    "tests",
    "deploy",
)
# a path that stands by itself, not the end of another one or of a web address
NAMED = re.compile(r"(?<![\w./-])docs/[\w./-]*\w")


def sources() -> list[Path]:
    found = [path for path in REPOSITORY.iterdir() if path.is_file() and path.suffix not in {".db", ".lock"}]
    for package in PACKAGES:
        found += [
            path
            for path in (REPOSITORY / package).rglob("*")
            if path.suffix in {".py", ".md", ".mako", ".lua", ".json", ".toml"} and path != Path(__file__)
        ]
    return found


def test_every_document_named_in_a_source_file_exists() -> None:
    named = {
        (str(source.relative_to(REPOSITORY)), name)
        for source in sources()
        for name in NAMED.findall(source.read_text(errors="replace"))
    }
    assert len(named) > 5, "the pattern finds none, so this test would show nothing"
    assert [(source, name) for source, name in sorted(named) if not (REPOSITORY / name).exists()] == []
