"""A night from its claim to its report, on drawn chests: what each kind of night does, and what it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.settings import Settings
from db.base import make_engine, make_readers, make_sessions
from db.migrate import upgrade
from db.registry import champion
from db.vocabulary import NightState, Use
from tests.integration.night_kit import FIRST, LENIENT, NightSite, freeze, prepare

pytestmark = [
    pytest.mark.usefixtures("few_resamples"),
    pytest.mark.tensorflow,
    # Keras' variables and NumPy 2; nothing of ours
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]


@pytest.fixture
def site(make_settings: Callable[..., Settings], tmp_path: Path) -> NightSite:
    settings = make_settings(signing_key_file=tmp_path / "key.pem", **LENIENT)
    prepare(settings)
    engine = make_engine(settings)
    upgrade(engine)
    made = NightSite(settings, make_sessions(engine), make_readers(engine))
    yield made
    engine.dispose()


def test_better_data_lead_to_a_promotion(site: NightSite) -> None:
    site.arrive(70, 70, Use.TEST)
    site.arrive(25, 25, Use.VALIDATION)
    site.arrive(15, 15, Use.WATCH)
    site.arrive(40, 40, Use.FIT, mislabelled=0.5)
    site.crown()
    freeze(site)
    site.arrive(150, 150, Use.FIT)
    ending = site.run(0)
    folder = site.settings.data_dir / "nights" / FIRST.isoformat()
    assert ending is not None
    assert ending.state is NightState.PROMOTED
    with site.readers() as session:
        reign = champion(session)
    assert reign is not None
    assert reign.model.name == "nightly"
    assert json.loads((folder / "report.json").read_text())
