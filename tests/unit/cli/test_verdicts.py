from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from db.models.verdict import Verdict
from db.vocabulary import FlagKind, Outcome, VerdictOrigin
from tests.factories.rows import (
    FlagFactory,
    ImageFactory,
    PredictionFactory,
    StudyFactory,
    StudyRevisionFactory,
    VerdictFactory,
    ago,
    digest,
    rows_in,
)
from tests.unit.cli.conftest import Lungwatch

SECRETS = ("A1", "A2", "A3", "TWIN", "1.2.840", "P-7")


def waiting(sessions: sessionmaker[Session], *accessions: str) -> None:
    """Studies that are flagged, settled, and of one patient each."""
    with sessions.begin() as session, rows_in(session):
        for accession in accessions:
            study = StudyFactory(accession_number=accession, patient_id="P-7", study_uid=f"1.2.840.{accession[1:]}")
            image = ImageFactory(study=study, outcome=Outcome.SUSPECTED, master_digest=digest(accession))
            PredictionFactory(image=image, master_digest=digest(accession), created_at=ago(250))
            FlagFactory(study=study)
            StudyRevisionFactory(study=study, outcome=Outcome.SUSPECTED)


def stored(sessions: sessionmaker[Session]) -> int:
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(Verdict)) or 0


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(["accession_number,reader,read_at,verdict,model_visible,comment", *lines]))
    return str(path)


def at(seconds_ago: float) -> str:
    return ago(seconds_ago).isoformat()


def test_a_verdict_is_entered_shown_and_takes_the_study_out_of_the_list(
    lungwatch: Lungwatch, sessions: sessionmaker[Session]
) -> None:
    waiting(sessions, "A1", "A2")
    said = lungwatch("verdicts", "add", "A1", "no_pneumonia", "--reader", " Dr B ", "--blind", "--comment", "clear")
    assert (said.code, said.out) == (0, "")
    assert not any(secret in said.err for secret in SECRETS)
    (row,) = json.loads(lungwatch("verdicts", "list", "--json").out)
    assert row | {"verdict_id": 1, "read_at": "", "recorded_at": "", "entered_by": ""} == {
        "verdict_id": 1,
        "study_uid": "1.2.840.1",
        "accession_number": "A1",
        "revision": 1,
        "reader": "dr b",
        "read_at": "",
        "verdict": "NO_PNEUMONIA",
        "model_visible": False,
        "comment": "clear",
        "origin": "COMMAND",
        "entered_by": "",
        "recorded_at": "",
        "stands": True,
    }
    assert row["entered_by"]
    assert abs((datetime.fromisoformat(row["read_at"]) - datetime.now(UTC)).total_seconds()) < 120
    listed = json.loads(lungwatch("results", "--flagged", "--json").out)
    assert [one["accession_number"] for one in listed] == ["A2"]
    (story,) = json.loads(lungwatch("trace", "A1", "--json").out)
    assert [(one["reader"], one["verdict"]) for one in story["verdicts"]] == [("dr b", "NO_PNEUMONIA")]
    assert "dr b" in lungwatch("trace", "A1").out
    assert "dr b" in lungwatch("verdicts", "list").out
    when = ("--at", row["read_at"])
    again = lungwatch(
        "verdicts", "add", "A1", "NO_PNEUMONIA", "--reader", "dr b", "--blind", "--comment", "clear", *when
    )
    assert "entered before" in again.err
    assert stored(sessions) == 1


def test_what_cannot_be_entered_says_why_and_quotes_nothing(
    lungwatch: Lungwatch, sessions: sessionmaker[Session]
) -> None:
    waiting(sessions, "A1")
    with sessions.begin() as session, rows_in(session):
        StudyFactory(accession_number="A3")
    for code, said, *arguments in (
        (1, "no study has this", "A2", "PNEUMONIA", "--reader", "r", "--blind"),
        (1, "has not settled", "A3", "PNEUMONIA", "--reader", "r", "--blind"),
        (2, "--blind or --model-visible", "A1", "PNEUMONIA", "--reader", "r"),
        (2, "future", "A1", "PNEUMONIA", "--reader", "r", "--blind", "--at", "2999-01-01T00:00"),
        (2, "formula", "A1", "PNEUMONIA", "--reader", "r", "--blind", "--comment", "=1+1"),
        (2, "reader", "A1", "PNEUMONIA", "--reader", "=", "--blind"),
        (2, "ILL", "A1", "ILL", "--reader", "r", "--blind"),
    ):
        found = lungwatch("verdicts", "add", *arguments)
        assert (found.code, said in found.err) == (code, True), found.err
        assert not any(secret in found.err for secret in SECRETS)
    assert stored(sessions) == 0


def test_a_table_is_entered_whole_or_not_at_all(
    lungwatch: Lungwatch, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    waiting(sessions, "A1", "A2")
    good = (f"A1,r,{at(20)},PNEUMONIA,no,", f"A2,r,{at(20)},NO_PNEUMONIA,yes,{'x' * 40}")
    bad = write(tmp_path / "bad.csv", *good, f"A3,r,{at(20)},PNEUMONIA,no,", f"A1,q,{at(20)},ILL,no,")
    for extra in ((), ("--dry-run",), ("--skip-unknown",)):
        said = lungwatch("verdicts", "import", bad, *extra)
        assert (said.code, stored(sessions)) == (1, 0)
        assert "BAD_VERDICT" in said.out
        assert not any(secret in said.out + said.err for secret in SECRETS)
    found = json.loads(lungwatch("verdicts", "import", bad, "--dry-run", "--json").out)
    assert [(one["line"], one["kind"]) for one in found["problems"]] == [(4, "UNKNOWN_STUDY"), (5, "BAD_VERDICT")]
    path = write(tmp_path / "good.csv", *good)
    found = json.loads(lungwatch("verdicts", "import", path, "--dry-run", "--json").out)
    assert (found["entered"], found["known"], stored(sessions)) == (2, 0, 0)
    assert "2 verdicts entered" in lungwatch("verdicts", "import", path).err
    assert "0 verdicts entered, 2 were entered before" in lungwatch("verdicts", "import", path).err
    assert stored(sessions) == 2
    with sessions() as session:
        assert {one.origin for one in session.scalars(select(Verdict))} == {VerdictOrigin.FILE}
    # what others have is left out only on request
    mixed = write(tmp_path / "mixed.csv", *good, f"A3,r,{at(20)},PNEUMONIA,no,", f"A1,q,{at(5)},UNREADABLE,no,")
    assert lungwatch("verdicts", "import", mixed).code == 1
    said = lungwatch("verdicts", "import", mixed, "--skip-unknown")
    assert (said.code, stored(sessions)) == (0, 3)
    assert "1 UNKNOWN_STUDY" in said.err
    rows = list(csv.DictReader(io.StringIO(lungwatch("verdicts", "list", "--csv", "--limit", "2").out)))
    assert [(row["reader"], row["verdict"]) for row in rows] == [("q", "UNREADABLE"), ("r", "NO_PNEUMONIA")]
    assert lungwatch("verdicts", "import", str(tmp_path / "none.csv")).code == 2
    assert lungwatch("verdicts", "import", path, "--timezone", "Nowhere/Land").code == 2
    (tmp_path / "empty.csv").touch()
    said = lungwatch("verdicts", "import", str(tmp_path / "empty.csv"))
    assert (said.code, "line 1" in said.err) == (2, True)


def test_labels_and_disagreements_come_from_verdicts(lungwatch: Lungwatch, sessions: sessionmaker[Session]) -> None:
    waiting(sessions, "A1", "A2")
    assert "Readers disagree on no study" in lungwatch("verdicts", "disagreements").err
    for accession, verdict, reader in (
        ("A1", "PNEUMONIA", "a"),
        ("A1", "NO_PNEUMONIA", "b"),
        ("A2", "OTHER_ABNORMAL", "a"),
    ):
        assert lungwatch("verdicts", "add", accession, verdict, "--reader", reader, "--model-visible").code == 0
    (found,) = json.loads(lungwatch("verdicts", "disagreements", "--unresolved", "--json").out)
    assert (found["accession_number"], found["together"]) == ("A1", "DISPUTED")
    assert [(one["reader"], one["verdict"]) for one in found["readings"]] == [("a", "PNEUMONIA"), ("b", "NO_PNEUMONIA")]
    assert "a: PNEUMONIA, b: NO_PNEUMONIA" in lungwatch("verdicts", "disagreements").out
    foreseen = json.loads(lungwatch("labels", "derive", "--dry-run", "--json").out)
    assert json.loads(lungwatch("labels", "list", "--json").out) == []
    done = json.loads(lungwatch("labels", "derive", "--json").out)
    assert done == foreseen | {"dry_run": False}
    assert (done["studies"], done["without"], done["changes"]["first"]) == (2, {"DISPUTED": 1}, 1)
    said = lungwatch("labels", "derive")
    assert "1 as before" in said.err
    (label,) = json.loads(lungwatch("labels", "list", "--origin", "verdict", "--json").out)
    assert (label["label"], label["subgroup"], label["master_digest"]) == ("NORMAL", "other_abnormal", digest("A2"))
    assert len(label["verdict_ids"]) == 1
    # no identifier of a patient leaves the ledger with a label
    for arguments in (("labels", "list"), ("labels", "list", "--csv"), ("labels", "list", "--json")):
        assert "P-7" not in lungwatch(*arguments).out


def test_the_model_is_judged_by_what_was_read_blind(lungwatch: Lungwatch, sessions: sessionmaker[Session]) -> None:
    assert "No study was drawn" in lungwatch("verdicts", "audit").err
    with sessions.begin() as session, rows_in(session):
        for number in range(40):
            outcome = Outcome.SUSPECTED if number < 12 else Outcome.NOT_SUSPECTED
            revision = StudyRevisionFactory(outcome=outcome)
            FlagFactory(
                study_id=revision.study_id,
                kind=FlagKind.AUDIT,
                draw_probability=0.5 if number < 12 else 0.1,
                study_revision=1,
            )
            if number != 20:
                kind = "PNEUMONIA" if number < 14 else "NO_PNEUMONIA"
                VerdictFactory(study_revision=revision, verdict=kind, model_visible=False)
    found = json.loads(lungwatch("verdicts", "audit", "--json").out)
    # 12 that stand for 2 each, against 2 that stand for 10 each and a 27th for those unread
    assert found["sensitivity"]["value"] == round(24 / (24 + 2 * 10 * 28 / 27), 5)
    assert found["specificity"]["problem"] is None
    assert [(cell["drawn"], cell["answered"], cell["unread"]) for cell in found["cells"]] == [(12, 12, 0), (28, 27, 1)]
    said = lungwatch("verdicts", "audit")
    assert "0.536" in said.out
    assert "too few: none that is NO_RESULT or OUT_OF_SCOPE or PENDING was drawn" in said.out
    assert "No study was drawn" in lungwatch("verdicts", "audit", "--until", "1h").err
