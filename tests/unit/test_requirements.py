"""The locks are what anybody's pip can install: hashed, complete, and from no place of ours."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
EXTRAS = {
    "runtime.txt": {"postgres"},
    "train.txt": {"postgres", "train"},
    "gpu.txt": {"postgres", "train", "gpu"},
    "dev.txt": {"postgres", "train", "dev"},
}


def entries(lock: Path) -> list[str]:
    """Return the requirements with their hashes, one string each."""
    return [
        entry for entry in lock.read_text().replace("\\\n", " ").splitlines() if entry and not entry.startswith("#")
    ]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_each_requirement_is_pinned_and_hashed(lock: Path) -> None:
    for entry in entries(lock):
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z0-9,-]+\])?==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_no_place_is_named(lock: Path) -> None:
    assert not re.search(r"://|--index|--find-links|--extra-index|@ file|^-e ", lock.read_text(), re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_the_lock_satisfies_what_the_project_asks_for(lock: Path) -> None:
    source = lock.with_suffix(".in")
    if source.exists():
        asked = [line for line in source.read_text().splitlines() if not line.startswith("#")]
    else:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        asked = [*project["dependencies"]]
        for extra in EXTRAS[lock.name]:
            asked += project["optional-dependencies"][extra]
    pinned: dict[str, set[str]] = {}
    for entry in entries(lock):
        requirement = Requirement(entry.partition(" --hash")[0].strip())
        (version,) = (specifier.version for specifier in requirement.specifier)
        pinned.setdefault(canonicalize_name(requirement.name), set()).add(version)
    for line in asked:
        requirement = Requirement(line)
        versions = pinned.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is not in {lock.name}; run make lock"
        assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), line
