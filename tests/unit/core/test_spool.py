from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.spool import BadEntryName, Entry, Spool, listeners, new_incarnation, place, stored_path

DIGEST = "ab" * 32


def test_entry_names_read_back() -> None:
    entry = Entry(new_incarnation(), 7, DIGEST)
    assert Entry.parse(entry.file_name) == entry
    assert Entry.parse(entry.name) == entry


def test_entries_sort_in_the_order_they_were_written() -> None:
    earlier, later = Entry("0" * 20, 9, DIGEST), Entry("0" * 20, 10, DIGEST)
    assert earlier.name < later.name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x.dcm",
        f"{'0' * 20}-1-{DIGEST}.dcm",
        f"{'0' * 20}-0000000001-{DIGEST[:-1]}.dcm",
        "../../etc/passwd",
        f"{'0' * 20}-0000000001-{DIGEST}.dcm.tmp",
        f"{'G' * 20}-0000000001-{DIGEST}",
        f"{'0' * 20}-0000000001-{DIGEST}\n",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(BadEntryName):
        Entry.parse(name)


@given(st.text(max_size=120))
def test_any_text_is_an_entry_or_refused(name: str) -> None:
    try:
        entry = Entry.parse(name)
    except BadEntryName:
        return
    assert entry.name == name.removesuffix(".dcm")


def test_incarnations_differ() -> None:
    assert len({new_incarnation() for _ in range(100)}) == 100


@pytest.mark.parametrize("name", ["", "../x", "Listener", "a" * 33, "a/b", "-a"])
def test_a_listener_name_cannot_leave_the_spool(name: str) -> None:
    with pytest.raises(ValueError, match="listener's name"):
        Spool(Path("/data"), name)


def test_listeners_are_found_by_their_folders(tmp_path: Path) -> None:
    assert list(listeners(tmp_path)) == []
    for name in ("b", "a"):
        Spool(tmp_path, name).new.mkdir(parents=True)
    (tmp_path / "spool" / "Not one").mkdir()
    assert [spool.listener for spool in listeners(tmp_path)] == ["a", "b"]


def test_stored_files_are_sharded_by_digest(tmp_path: Path) -> None:
    entry = Entry("0" * 20, 1, DIGEST)
    assert stored_path(tmp_path, entry) == tmp_path / "stored" / "ab" / entry.file_name


def test_a_file_is_looked_for_where_it_was_moved_even_before_the_ledger_says_so(tmp_path: Path) -> None:
    entry = Entry(new_incarnation(), 1, "ab" * 32)
    new, stored = Spool(tmp_path, "one").path(entry), stored_path(tmp_path, entry)
    assert place(tmp_path, "one", entry, stored=False) == new
    assert place(tmp_path, "one", entry, stored=True) == stored
    stored.parent.mkdir(parents=True)
    stored.touch()
    assert place(tmp_path, "one", entry, stored=False) == stored
    new.parent.mkdir(parents=True)
    new.touch()
    assert place(tmp_path, "one", entry, stored=False) == new
