"""What a person must know of a night, in words: what became of it, why, and what to look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from db.vocabulary import NightState, NightStep
from training.nightly.report.measured import Measures
from training.nightly.report.night import Examined, Night, Role

_TEST: Final = "frozen test set"
_RECENT: Final = "newest reviewed weeks"
# drift that is none, or cannot be told, is no reason to be disturbed
_DISTURBING: Final = ("NOTICE", "STRONG")
_STEPS: Final = tuple(NightStep)


def headline(night: Night) -> str:
    """Say in one sentence what became of the night."""
    champion = _title(night, Role.CHAMPION, "the champion")
    challenger = _title(night, Role.CHALLENGER, "the challenger")
    match night.state:
        case NightState.PROMOTED:
            words = f"{challenger} is in service from now on; {champion} was before."
        case NightState.KEPT:
            words = f"{champion} stays in service; {challenger} does not take its place."
        case NightState.SHADOWED:
            words = f"{champion} stays in service; {challenger} passed, and scores live studies without being shown."
        case NightState.EVALUATED:
            words = f"{champion} stays in service; it was examined again, and nothing was trained."
        case NightState.CONTINUES:
            words = f"{champion} stays in service; the night was too short for a fit, and a later one goes on with it."
        case NightState.FAILED:
            words = _failed(night, champion)
        case NightState.RUNNING:
            words = f"The night is not over; {champion} is in service."
    return words


def _failed(night: Night, champion: str) -> str:
    if not night.steps:
        return f"The night failed before its first step; {champion} stays in service."
    step = night.steps[-1].step
    # from there on it may have been replaced already
    unchanged = _STEPS.index(step) < _STEPS.index(NightStep.PROMOTE)
    ending = f"; {champion} stays in service." if unchanged else "; `lungwatch models list` tells which is in service."
    return f"The night failed in the step {step}{ending}"


def reasons(night: Night) -> tuple[str, ...]:
    """Return the gate's reason and the night's own, but one that the other holds."""
    gate, own = night.decision.reason if night.decision else "", night.reason or ""
    kept = [gate] if gate and gate not in own else []
    return tuple(kept + ([own] if own and own not in gate else [])) or tuple(filter(None, [own]))


def warnings(night: Night, test: Measures | None, recent: Measures | None) -> tuple[str, ...]:
    """Return what a person should look at, a sentence each."""
    return tuple(_warnings(night, test, recent))


def _warnings(night: Night, test: Measures | None, recent: Measures | None) -> Iterator[str]:
    yield from night.notes
    if night.drift and night.drift.level in _DISTURBING:
        ending = " It blocks promotion." if night.drift.blocks else ""
        where = ", ".join(panel.name for panel in night.drift.panels if panel.level == night.drift.level)
        yield f"Drift: {night.drift.level}" + (f" in {where}." if where else ".") + ending
    if night.material:
        if night.material.test_set is None:
            yield "There is no frozen test set, so nothing can be promoted: `lungwatch testset freeze` makes one."
        if count := night.material.changed_in_test:
            yield (
                f"{count} pictures of the test set are labelled otherwise by now; they are judged by the frozen "
                "label until `lungwatch testset freeze` takes the new one over."
            )
        if count := night.material.pixels_gone:
            yield f"{count} labelled pictures could not be used: their pixels are gone."
    for examined, measures in ((night.test, test), (night.recent, recent)):
        if examined is None or measures is None or not measures.images:
            continue
        for role, found in measures.models.items():
            if found.problem:
                yield f"The {role} cannot be measured on the {named(night, examined)}: {found.problem}."


def size(measures: Measures) -> str:
    """Say how many pictures there are."""
    if not measures.images:
        return "No pictures"
    return (
        f"{measures.images:,} pictures of {measures.patients:,} patients, {measures.ill_images:,} of them with "
        f"pneumonia ({measures.ill_patients:,} patients)"
    )


def named(night: Night, examined: Examined) -> str:
    """Return what a set of pictures is called."""
    if examined is not night.test:
        return _RECENT
    version = night.material.test_set if night.material else None
    return _TEST + (f", version {version}" if version is not None else "")


def duration(seconds: float) -> str:
    """Return a time as a person says it."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{seconds:.1f} s"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _title(night: Night, role: Role, otherwise: str) -> str:
    model = night.model(role)
    return model.title if model else otherwise
