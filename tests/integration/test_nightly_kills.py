"""A night killed anywhere, stopped past its lease, or started twice: one ending, one promotion (fault rows 32, 34)."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError

from bundle.load import locate
from db.models.learning import Evaluation, NightlyRun, Snapshot
from db.models.model import ChampionChange, ModelVersion
from db.registry import champion
from db.vocabulary import NightState, NightStep
from tests.integration.night_kit import FIRST, LENIENT, NightSite, begun, copied
from tests.integration.night_process import ending, kill_at, start
from tests.waiting import wait_until
from training.nightly.promotion import open_registered

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.usefixtures("few_resamples"),
    # Keras' variables and NumPy 2; nothing of ours
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

# from the claim to the end, in the order they are passed where the challenger's bundle was written already
STEPS = (
    "nightly.claimed",
    "promotion.admitted",
    "nightly.trained",
    "nightly.examined",
    "nightly.judged",
    "nightly.decided",
    "promotion.swapped",
    "nightly.promoted",
    "nightly.reported",
)


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[NightSite]:
    """A copy of a site whose night was killed twice, to go on with."""
    with copied(begun(tmp_path_factory), tmp_path) as copy:
        yield copy


def ended(site: NightSite) -> NightlyRun:
    with site.readers() as session:
        return session.scalars(select(NightlyRun)).one()


def count(site: NightSite, table: type) -> int:
    with site.readers() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def serves(site: NightSite) -> str:
    """Return the champion's name, after its bundle was verified and brought up."""
    with site.readers() as session:
        reign = champion(session)
    assert reign is not None
    open_registered(site.settings, reign.model)
    return reign.model.name


def test_row_34_a_fit_that_was_killed_goes_on_after_its_last_epoch(site: NightSite) -> None:
    done = site.run(0)
    assert done is not None
    assert done.state is NightState.PROMOTED
    with site.readers() as session:
        model = session.scalars(select(ModelVersion).where(ModelVersion.name == "nightly")).one()
    report = json.loads((site.settings.data_dir / (ended(site).report or "") / "report.json").read_text())
    # three epochs in all, by two processes, and none of them twice
    assert [epoch["number"] for epoch in report["epochs"]] == [1, 2, 3]
    assert model.manifest["training"]["epochs_done"] == 3
    assert not list(site.settings.bundles.glob("nightly-*.partial"))
    assert (ended(site).attempts, count(site, Snapshot)) == (2, 2)


@pytest.mark.parametrize("failpoint", STEPS)
def test_row_34_kill_9_at_any_step_leaves_one_champion_and_the_next_start_ends_the_night(
    site: NightSite, failpoint: str
) -> None:
    kill_at(failpoint, site.settings, FIRST, LENIENT)
    swapped = STEPS.index(failpoint) > STEPS.index("promotion.swapped")
    # the old or the new one, whole, at any moment
    assert serves(site) == ("nightly" if swapped else "first")
    assert count(site, ChampionChange) == (2 if swapped else 1)
    site.let_lapse()
    assert site.run(0) is not None
    assert ended(site).state is NightState.PROMOTED, ended(site).reason
    assert serves(site) == "nightly"
    assert (count(site, ChampionChange), count(site, ModelVersion)) == (2, 2)
    # champion (which is the anchor) and challenger on the test set, once each; nobody was reviewed lately
    assert count(site, Evaluation) == 2
    folder = site.settings.data_dir / (ended(site).report or "")
    assert "PROMOTED" in (folder / "report.txt").read_text()
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_row_32_two_that_start_at_once_promote_once(site: NightSite) -> None:
    processes = [start(site.settings, FIRST, LENIENT) for _ in range(3)]
    said = [ending(process) for process in processes]
    assert [one[0] for one in said if one is not None] == ["PROMOTED"], said
    assert (count(site, ChampionChange), count(site, NightlyRun)) == (2, 1)


def stop_between_transactions(process: subprocess.Popen[str], site: NightSite) -> None:
    """Stop a process, and let its lease end; one that is stopped while it writes would lock all of SQLite."""

    def stopped() -> bool:
        process.send_signal(signal.SIGSTOP)
        try:
            site.let_lapse()
        except OperationalError:
            process.send_signal(signal.SIGCONT)
            return False
        return True

    wait_until(stopped, 90, "it is stopped where it writes nothing")
    assert process.poll() is None


def test_row_32_a_holder_stopped_past_its_lease_and_continued_changes_nothing(site: NightSite) -> None:
    stopped = start(site.settings, FIRST, LENIENT, lease_seconds=3)
    wait_until(lambda: ended(site).step is NightStep.EXAMINE or stopped.poll() is not None, 60, "it examines")
    stop_between_transactions(stopped, site)
    follower = site.run(0)
    assert follower is not None
    assert follower.state is NightState.PROMOTED
    row = ended(site)
    stopped.send_signal(signal.SIGCONT)
    said = ending(stopped)
    assert said is not None
    assert said[0] == "RUNNING"
    assert "held by somebody else" in said[1]
    assert (count(site, ChampionChange), count(site, Evaluation)) == (2, 2)
    after = ended(site)
    assert (after.token, after.state, after.finished_at) == (row.token, row.state, row.finished_at)


def test_row_26_a_challenger_that_is_tampered_with_before_its_promotion_is_refused(site: NightSite) -> None:
    kill_at("nightly.decided", site.settings, FIRST, LENIENT)
    site.let_lapse()
    with site.readers() as session:
        model = session.scalars(select(ModelVersion).where(ModelVersion.name == "nightly")).one()
    path = locate(model.location, site.settings.bundles) / "model.tflite"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = site.run(0)
    assert done is not None
    assert done.state is NightState.FAILED
    assert "model.tflite is damaged or was altered" in done.reason
    assert serves(site) == "first"
    assert count(site, ChampionChange) == 1


def test_a_night_that_never_comes_to_its_end_is_given_up_with_a_report(site: NightSite) -> None:
    with site.sessions.begin() as session:
        session.execute(update(NightlyRun).values(attempts=3))
    done = site.run(0)
    assert done is not None
    assert done.state is NightState.FAILED
    assert "started 3 times and killed each time" in done.reason
    assert "FAILED" in (site.tonight(FIRST).folder / "4" / "report.txt").read_text()
    assert serves(site) == "first"
    assert site.run(0) is None


def test_a_champion_changed_by_hand_during_the_night_stands(
    site: NightSite,
) -> None:
    kill_at("nightly.decided", site.settings, FIRST, LENIENT)
    site.let_lapse()
    with site.sessions.begin() as session:
        session.execute(update(NightlyRun).values(champion_token=99))
    done = site.run(0)
    assert done is not None
    assert done.state is NightState.KEPT
    assert "champion changed" in done.reason
    assert serves(site) == "first"


@pytest.mark.parametrize("attempts", [2, 3])
def test_row_34_a_night_killed_after_its_swap_has_promoted_whatever_comes_after(site: NightSite, attempts: int) -> None:
    kill_at("nightly.promoted", site.settings, FIRST, LENIENT)
    site.let_lapse()
    with site.sessions.begin() as session:
        session.execute(update(NightlyRun).values(attempts=attempts))
    # its hours are over, or its starts
    hours = {2: 1e-9, 3: 5.0}[attempts]
    site.settings = site.settings.model_copy(update={"nightly_hours": hours})
    done = site.run(0)
    assert done is not None
    assert done.state is NightState.PROMOTED, done.reason
    assert "Better" in done.reason
    assert serves(site) == "nightly"
