"""What a night is given: settings, ledger, key, time, and how to fit. And the three ways to leave before its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session, sessionmaker

from core.clock import Clock
from core.errors import LungwatchError
from core.settings import Settings
from db.vocabulary import NightKind
from training.fitting.recipe import RECIPES, HardenedRecipe, Stage, vary


class OutOfTime(LungwatchError):
    """The night's hours are over."""


class Stopped(LungwatchError):
    """Somebody asked the process to stop."""


Recipes = Mapping[NightKind, HardenedRecipe]


@dataclass(frozen=True)
class Tonight:
    """One night's order.

    Attributes
    ----------
    night : date
        Its local date.
    sessions : sessionmaker
        Writers; `readers` take no write lock.
    recipes : callable
        How challengers are fitted whose fit began in the night of a date.
    stopping : callable
        Whether somebody wants the process to stop.
    """

    night: date
    settings: Settings
    sessions: sessionmaker[Session]
    readers: sessionmaker[Session]
    key: Ed25519PrivateKey
    clock: Clock
    recipes: Callable[[date], Recipes]
    stopping: Callable[[], bool] = field(default=lambda: False)

    @property
    def folder(self) -> Path:
        """Where this night's reports and answers lie, a folder for each start."""
        return self.settings.data_dir.resolve() / "nights" / self.night.isoformat()

    @property
    def now(self) -> datetime:
        """The present, aware."""
        return self.clock.now()


def recipes(settings: Settings, night: date) -> Recipes:
    """Return how challengers are fitted: the champion's recipe, and a short one that starts from its weights.

    Each night has a seed of its own, and the same night always the same: a fit that takes several nights goes on with
    the recipe of the one it began in.
    """
    whole = vary(RECIPES["champion"], night.toordinal(), settings.nightly_scratch_epochs)
    if not isinstance(whole, HardenedRecipe):
        message = "the champion's recipe is a hardened one"
        raise TypeError(message)
    fine = HardenedRecipe(
        whole.architecture,
        (Stage(whole.stages[-1].size, settings.nightly_fine_tune_epochs),),
        # a tenth of what it is fitted with, and an average over fewer steps, for there are fewer
        learning_rate=whole.learning_rate / 10,
        averaging=0.99,
        seed=night.toordinal(),
    )
    return {NightKind.FROM_SCRATCH: whole, NightKind.FINE_TUNE: fine}
