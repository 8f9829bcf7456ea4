"""Which images the model may speak about: pure rules over a header, each answer a coded reason.

docs/decisions/0010-scope-where-headers-are-silent.md argues the cases where headers are silent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from pydicom import Dataset
from pydicom.uid import UID

from core.identity import MANUFACTURER_MODEL, SERIES_DESCRIPTION_PREFIX
from core.settings import OutsideIntendedUse, Settings
from imaging.elements import items, number, text
from imaging.header import age_days, has_unknown_character_set
from imaging.reasons import Annotation, ScopeReason
from imaging.view import View, read_view

_FOR_PROCESSING: Final = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.1.1.1",  # Digital X-Ray Image Storage - For Processing
        "1.2.840.10008.5.1.4.1.1.1.2.1",  # Digital Mammography, likewise
        "1.2.840.10008.5.1.4.1.1.1.3.1",  # Digital Intra-Oral, likewise
    }
)
# (scheme, value) of Anatomic Region codes that are the chest, new and old SNOMED (PS3.16 CID 4009)
_CHEST_CODES: Final = frozenset(
    {
        ("SCT", "51185008"),  # Chest
        ("SCT", "816094009"),  # Thorax
        ("SCT", "39607008"),  # Lung
        ("SCT", "43799004"),  # Thoracic cavity
        ("SRT", "T-D3000"),
        ("SRT", "T-28000"),
        ("SNM3", "T-D3000"),
        ("SNM3", "T-28000"),
        ("99SDM", "T-D3000"),
    }
)
_DESCRIPTIONS: Final = ("SeriesDescription", "ProtocolName", "StudyDescription", "PerformedProcedureStepDescription")
_WORD: Final = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class ScopeRules:
    """What is in scope here.

    Attributes
    ----------
    modalities : frozenset of str
        (0008,0060) values.
    chest_synonyms : frozenset of str
        What means chest, normalised by `normalise`.
    ages_days : (float, float)
        The model's intended ages, days: first included, last excluded. From the bundle's manifest.
    withhold_outside_ages : bool
        Whether a known age outside it is OUT_OF_SCOPE, or only marked.
    """

    modalities: frozenset[str]
    chest_synonyms: frozenset[str]
    ages_days: tuple[float, float]
    withhold_outside_ages: bool

    @classmethod
    def from_settings(cls, settings: Settings, intended_ages_days: tuple[float, float]) -> Self:
        """Combine what the site configured with what the model was made for."""
        return cls(
            modalities=frozenset(modality.upper() for modality in settings.modalities),
            chest_synonyms=frozenset(normalise(word) for word in settings.chest_synonyms),
            ages_days=intended_ages_days,
            withhold_outside_ages=settings.outside_intended_use is OutsideIntendedUse.WITHHOLD,
        )


@dataclass(frozen=True, slots=True)
class ScopeDecision:
    """In scope if `reason` is None; `annotations` stand beside the result in either case."""

    reason: ScopeReason | None
    annotations: tuple[Annotation, ...] = ()


def normalise(value: str) -> str:
    """Bring a body part or description to upper-case words parted by single spaces."""
    return " ".join(_WORD.findall(value.upper()))


def decide_scope(dataset: Dataset, rules: ScopeRules) -> ScopeDecision:
    """Decide whether an image is one the model may speak about.

    The first rule that excludes it gives the reason: not an image, our own
    result, modality, for processing, frames, colour, body part, view, age.

    Raises
    ------
    RejectedInput
        ``BAD_HEADER`` if an element the rules need cannot be read.
    """
    remarks: list[Annotation] = []
    if has_unknown_character_set(dataset):
        remarks.append(Annotation.UNKNOWN_CHARACTER_SET)
    if text(dataset, "BurnedInAnnotation").strip().upper() == "YES":
        remarks.append(Annotation.BURNED_IN_ANNOTATION)
    reason = _object_reason(dataset, rules)
    if reason is None:
        for judge in (_judge_body_part, _judge_view, _judge_age):
            reason, remark = judge(dataset, rules)
            if remark is not None:
                remarks.append(remark)
            if reason is not None:
                break
    return ScopeDecision(reason, tuple(remarks))


def _object_reason(dataset: Dataset, rules: ScopeRules) -> ScopeReason | None:
    """Judge what kind of object it is; the first rule broken gives the reason."""
    excluded: tuple[tuple[ScopeReason, Callable[[], bool]], ...] = (
        (ScopeReason.NOT_AN_IMAGE, lambda: not _is_image(dataset)),
        (ScopeReason.OWN_RESULT, lambda: _is_ours(dataset)),
        (ScopeReason.MODALITY, lambda: text(dataset, "Modality").strip().upper() not in rules.modalities),
        (ScopeReason.FOR_PROCESSING, lambda: _is_for_processing(dataset)),
        (ScopeReason.MULTI_FRAME, lambda: (number(dataset, "NumberOfFrames") or 1) > 1),
        (ScopeReason.COLOUR, lambda: _is_colour(dataset)),
    )
    return next((reason for reason, holds in excluded if holds()), None)


def _is_colour(dataset: Dataset) -> bool:
    """Return whether it is colour for certain; an absent element is a broken pixel module, judged when decoding."""
    photometric = text(dataset, "PhotometricInterpretation").strip().upper()
    samples = number(dataset, "SamplesPerPixel") or 1
    return samples > 1 or (bool(photometric) and not photometric.startswith("MONOCHROME"))


def _is_image(dataset: Dataset) -> bool:
    """Return whether the object holds an image, by its pixel module, else by the name of its class."""
    sop_class = UID(text(dataset, "SOPClassUID").rstrip("\0 "))
    return number(dataset, "Rows") is not None or "Image Storage" in sop_class.name


def _is_ours(dataset: Dataset) -> bool:
    model = text(dataset, "ManufacturerModelName").strip().upper()
    description = text(dataset, "SeriesDescription").strip().upper()
    return model == MANUFACTURER_MODEL.upper() or description.startswith(SERIES_DESCRIPTION_PREFIX.upper())


def _is_for_processing(dataset: Dataset) -> bool:
    intent = text(dataset, "PresentationIntentType").strip().upper()
    return intent == "FOR PROCESSING" or text(dataset, "SOPClassUID").rstrip("\0 ") in _FOR_PROCESSING


def _judge_body_part(dataset: Dataset, rules: ScopeRules) -> tuple[ScopeReason | None, Annotation | None]:
    body_part = normalise(text(dataset, "BodyPartExamined"))
    regions = items(dataset, "AnatomicRegionSequence")
    says = [body_part in rules.chest_synonyms] if body_part else []
    says += [_is_chest(region, rules) for region in regions]
    if any(says):
        return None, None if all(says) else Annotation.CONTRADICTING_BODY_PART
    if not body_part and not regions and _described_as_chest(dataset, rules):
        return None, Annotation.UNKNOWN_BODY_PART
    return ScopeReason.BODY_PART, None


def _is_chest(region: Dataset, rules: ScopeRules) -> bool:
    code = (text(region, "CodingSchemeDesignator").strip().upper(), text(region, "CodeValue").strip().upper())
    return code in _CHEST_CODES or normalise(text(region, "CodeMeaning")) in rules.chest_synonyms


def _described_as_chest(dataset: Dataset, rules: ScopeRules) -> bool:
    described = [f" {normalise(text(dataset, keyword))} " for keyword in _DESCRIPTIONS]
    return any(f" {synonym} " in words for synonym in rules.chest_synonyms for words in described)


def _judge_view(dataset: Dataset, _: ScopeRules) -> tuple[ScopeReason | None, Annotation | None]:
    match read_view(dataset).view:
        case View.AP:
            return None, None
        case View.PA:
            return None, Annotation.VIEW_PA
        case View.UNKNOWN:
            return None, Annotation.UNKNOWN_VIEW
        case View.OTHER:
            return ScopeReason.VIEW, None


def _judge_age(dataset: Dataset, rules: ScopeRules) -> tuple[ScopeReason | None, Annotation | None]:
    days = age_days(dataset)
    if days is None:
        return None, Annotation.UNKNOWN_AGE
    if rules.ages_days[0] <= days < rules.ages_days[1]:
        return None, None
    return (ScopeReason.AGE if rules.withhold_outside_ages else None), Annotation.OUTSIDE_INTENDED_USE_AGE
