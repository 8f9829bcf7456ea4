"""Coded reasons: why an image has no result, is out of scope, or carries a remark. Stored by value, queryable."""

from __future__ import annotations

from enum import StrEnum


class Rejection(StrEnum):
    """Why an instance cannot be processed (QUARANTINED) or an image has NO_RESULT."""

    EMPTY = "EMPTY"
    NOT_DICOM = "NOT_DICOM"
    TRUNCATED = "TRUNCATED"
    BAD_HEADER = "BAD_HEADER"
    BAD_UID = "BAD_UID"
    TRANSFER_SYNTAX = "TRANSFER_SYNTAX"
    NO_PIXEL_DATA = "NO_PIXEL_DATA"
    OVER_BUDGET = "OVER_BUDGET"
    DECODE_FAILED = "DECODE_FAILED"
    BAD_PIXEL_MODULE = "BAD_PIXEL_MODULE"
    BLANK = "BLANK"
    # what happened to the helper, or after it
    CRASHED = "CRASHED"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    TIMED_OUT = "TIMED_OUT"
    MISSING_FILE = "MISSING_FILE"
    DIGEST_MISMATCH = "DIGEST_MISMATCH"
    NOT_FINITE = "NOT_FINITE"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    INFERENCE_FAILED = "INFERENCE_FAILED"
    UNFAMILIAR = "UNFAMILIAR"


class ScopeReason(StrEnum):
    """Why an instance is OUT_OF_SCOPE."""

    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    MODALITY = "MODALITY"
    BODY_PART = "BODY_PART"
    VIEW = "VIEW"
    COLOUR = "COLOUR"
    MULTI_FRAME = "MULTI_FRAME"
    FOR_PROCESSING = "FOR_PROCESSING"
    OWN_RESULT = "OWN_RESULT"
    AGE = "AGE"


class Annotation(StrEnum):
    """Remarks that stand beside a result wherever it shows."""

    OUTSIDE_INTENDED_USE_AGE = "OUTSIDE_INTENDED_USE:AGE"
    UNKNOWN_AGE = "UNKNOWN_AGE"
    VIEW_PA = "VIEW_PA"
    UNKNOWN_VIEW = "UNKNOWN_VIEW"
    UNKNOWN_BODY_PART = "UNKNOWN_BODY_PART"
    CONTRADICTING_BODY_PART = "CONTRADICTING_BODY_PART"
    UNKNOWN_CHARACTER_SET = "UNKNOWN_CHARACTER_SET"
    BURNED_IN_ANNOTATION = "BURNED_IN_ANNOTATION"
