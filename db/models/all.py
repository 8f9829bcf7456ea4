"""Every table, for migrations and tests that need the whole metadata."""

from db.models.commitment import Commitment
from db.models.dataset import DataSet, DataSetImage, Label, LabelledImage, LabelVerdict
from db.models.flag import Flag
from db.models.model import Champion, Heartbeat, ModelVersion
from db.models.prediction import Prediction
from db.models.receipt import Receipt, ReceiptRetry
from db.models.retention import RemovedMaster, RetentionRun
from db.models.study import Image, Study, StudyRevision
from db.models.verdict import Verdict

__all__ = [
    "Champion",
    "Commitment",
    "DataSet",
    "DataSetImage",
    "Flag",
    "Heartbeat",
    "Image",
    "Label",
    "LabelVerdict",
    "LabelledImage",
    "ModelVersion",
    "Prediction",
    "Receipt",
    "ReceiptRetry",
    "RemovedMaster",
    "RetentionRun",
    "Study",
    "StudyRevision",
    "Verdict",
]
