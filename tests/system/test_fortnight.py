"""Thirteen nights of one hospital: studies arrive, readers read, and the champion changes only for the better.

The listener, registrar and worker are real and run all the time; what time it is at night is said to the nightly job.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from db.base import make_engine, make_readers, make_sessions
from db.migrate import upgrade
from db.registry import champion
from db.vocabulary import ImageClass, NightKind, NightState, Use
from imaging.phantom_objects import Patient
from tests.factories import dicom_objects as objects
from tests.factories.chests import drawn
from tests.integration.night_kit import ILL, LENIENT, WELL, NightSite, prepare, recipes
from tests.system.serving import Serving, send
from tests.waiting import wait_until
from training.nightly.under_way import Ending

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.tensorflow,
    pytest.mark.usefixtures("few_resamples"),
    # Keras' variables and NumPy 2; nothing of ours
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

FIRST = datetime.now(UTC).date()
_SWITCH_SECONDS = 30


@dataclass
class Hospital:
    """What happens at a hospital by day, and its nights."""

    serving: Serving
    site: NightSite
    folder: Path
    sent: int = 0
    read: dict[str, ImageClass] = field(default_factory=dict)
    nights: int = 0

    def day(self, ill: int, well: int, *, mistaken: bool = False) -> list[str]:
        """Let studies arrive and be read; mistaken readers say the contrary. Returns accession numbers."""
        truth = {}
        files = []
        for label in [ILL] * ill + [WELL] * well:
            self.sent += 1
            accession = f"A{self.sent:05}"
            truth[accession] = label
            picture = drawn(label, 50_000 + self.sent)
            study = objects.phantom(
                f"fortnight {self.sent}",
                picture=picture,
                bits_stored=16,
                accession_number=accession,
                patient=Patient(patient_id=f"P{self.sent:05}"),
            )
            files.append(objects.write(self.folder, study, f"{accession}.dcm"))
        assert set(send(self.serving.port, files)) == {0}
        for file in files:
            file.unlink()
        wait_until(lambda: self.settled() == self.sent, 120, "every study has settled")
        self.read |= truth
        self.verdicts(truth, mistaken=mistaken)
        return list(truth)

    def settled(self) -> int:
        (count,) = self.serving.ask("SELECT count(*) FROM study_revision")
        return int(count)

    def verdicts(self, said: dict[str, ImageClass], *, mistaken: bool = False) -> None:
        """Let one reader say so, as the RIS exports it."""
        rows = self.folder / "ris.csv"
        with rows.open("w", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(("accession_number", "read_at", "verdict", "reader", "model_visible"))
            for accession, label in said.items():
                pneumonia = (label is ILL) != mistaken
                verdict = "PNEUMONIA" if pneumonia else "NO_PNEUMONIA"
                table.writerow((accession, datetime.now(UTC).isoformat(), verdict, "jd", "yes"))
        done = self.serving.run("verdicts", "import", str(rows))
        assert done.returncode == 0, done.stderr

    def night(self, **changes: object) -> Ending:
        """Run the next night."""
        ending = self.site.run_on(FIRST + timedelta(days=self.nights), **changes)
        self.nights += 1
        assert ending is not None
        return ending

    def champion(self) -> str:
        with self.site.readers() as session:
            reign = champion(session)
        assert reign is not None
        return f"{reign.model.name} {reign.model.version}"

    def serves(self) -> str:
        """Send a study and return the model that scored it."""
        self.day(1, 0)
        name, version = self.serving.ask(
            "SELECT m.name, m.version FROM prediction p JOIN model_version m ON m.id = p.model_version_id "
            "ORDER BY p.id DESC LIMIT 1"
        )
        return f"{name} {version}"

    def report(self, number: int) -> dict[str, Any]:
        """Return the report of a night, counted from 1."""
        night = (FIRST + timedelta(days=number - 1)).isoformat()
        found: dict[str, Any] = json.loads(
            (self.site.settings.data_dir / "nights" / night / "1" / "report.json").read_text()
        )
        return found


@pytest.fixture
def hospital(make_settings: Callable[..., Settings], tmp_path: Path) -> Iterator[Hospital]:
    settings = make_settings(signing_key_file=tmp_path / "key.pem", **LENIENT)
    prepare(settings)
    engine = make_engine(settings)
    upgrade(engine)
    site = NightSite(settings, make_sessions(engine), make_readers(engine))
    site.begin()
    serving = Serving(
        settings.data_dir.resolve(), signing_key_file=str(settings.signing_key_file), champion_poll_seconds="0.5"
    )
    with serving:
        yield Hospital(serving, site, tmp_path)
    engine.dispose()


def test_row_33_a_fortnight(hospital: Hospital) -> None:
    first = hospital.champion()

    # 1: too few labels, so the champion is examined again and nothing is trained
    hospital.day(3, 3)
    assert hospital.night().state is NightState.EVALUATED
    assert hospital.report(1)["decision"] is None

    # 2: a new reader has it the wrong way round
    poisoned = hospital.day(20, 20, mistaken=True)
    ending = hospital.night()
    assert ending.state is NightState.KEPT, ending
    assert hospital.report(2)["decision"]["verdict"] in {"KEEP", "REFUSED", "INSUFFICIENT_EVIDENCE"}
    assert hospital.champion() == first

    # 3: somebody saw it and reads them again, and pictures come from another ward
    hospital.verdicts({accession: hospital.read[accession] for accession in poisoned})
    for count, use in ((50, Use.VALIDATION), (20, Use.WATCH), (60, Use.FIT)):
        hospital.site.arrive(count, count, use)
    ending = hospital.night(recipes=lambda _: recipes(2))
    assert ending.state is NightState.PROMOTED, ending
    second = hospital.champion()
    assert second != first
    wait_until(lambda: hospital.serves() == second, _SWITCH_SECONDS, "the worker serves the new champion")

    # 4
    assert hospital.night().state is NightState.EVALUATED

    # 5: a person rolls it back, and what is only as good does not come back
    done = hospital.serving.run("models", "rollback", "--reason", "readers did not like it")
    assert done.returncode == 0, done.stderr
    assert hospital.champion() == first
    # to fit on there is what the model rolled back was fitted on, so that the challenger is as good but for chance
    hospital.site.arrive(15, 15, Use.VALIDATION)
    ending = hospital.night(recipes=lambda _: recipes(2))
    assert ending.state is NightState.KEPT, ending
    assert "the anchor" in ending.reason
    assert hospital.champion() == first
    wait_until(lambda: hospital.serves() == first, _SWITCH_SECONDS, "the worker serves the old one again")

    # 6
    assert hospital.night().state is NightState.EVALUATED

    # 7: until something beats it
    hospital.site.arrive(200, 200, Use.FIT)
    ending = hospital.night(recipes=lambda _: recipes(8))
    assert ending.state is NightState.PROMOTED, ending
    third = hospital.champion()
    assert third not in {first, second}
    wait_until(lambda: hospital.serves() == third, _SWITCH_SECONDS, "the worker serves the third")

    # 8 to 12: days with little to learn from
    for _ in range(5):
        hospital.day(1, 1)
        assert hospital.night().state is NightState.EVALUATED

    # 13: the weekly night from scratch, with no more to learn than before
    hospital.day(14, 14)
    hospital.site.settings = hospital.site.settings.model_copy(
        update={"nightly_scratch_weekday": (FIRST + timedelta(days=12)).weekday()}
    )
    ending = hospital.night(recipes=lambda _: recipes(2))
    assert ending.state in {NightState.KEPT, NightState.PROMOTED}, ending
    assert hospital.report(13)["kind"] == NightKind.FROM_SCRATCH

    listed = json.loads(hospital.serving.run("nightly", "list", "--json").stdout)
    assert len(listed) == 13
    assert all(night["reason"] for night in listed)
    # nothing was lost or done twice meanwhile, and each result names one model
    assert hospital.serving.run("reconcile", "--digests").returncode == 0
    assert hospital.serving.ask("SELECT count(*), count(DISTINCT image_id) FROM prediction") == (
        hospital.sent,
        hospital.sent,
    )
    history = json.loads(hospital.serving.run("models", "history", "--json").stdout)
    kinds = [change["what"] for change in reversed(history)]
    assert kinds[:4] == ["INSTALLED", "PROMOTED", "ROLLED_BACK", "PROMOTED"]
