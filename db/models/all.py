"""Every table, for migrations and tests that need the whole metadata."""

from db.models.flag import Flag
from db.models.model import Champion, Heartbeat, ModelVersion
from db.models.prediction import Prediction
from db.models.receipt import Receipt, ReceiptRetry
from db.models.study import Image, Study, StudyRevision

__all__ = [
    "Champion",
    "Flag",
    "Heartbeat",
    "Image",
    "ModelVersion",
    "Prediction",
    "Receipt",
    "ReceiptRetry",
    "Study",
    "StudyRevision",
]
