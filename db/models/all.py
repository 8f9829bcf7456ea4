"""Every table, for migrations and tests that need the whole metadata."""

from db.models.commitment import Commitment
from db.models.dataset import DataSet, DataSetImage, Label, LabelledImage, LabelVerdict
from db.models.flag import Flag
from db.models.learning import DriftReference, Evaluation, NightlyRun, PatientSide, Snapshot, TestSet, TestSetImage
from db.models.model import Champion, ChampionChange, Heartbeat, ModelVersion
from db.models.prediction import Prediction
from db.models.receipt import Receipt, ReceiptRetry
from db.models.rescoring import Rescoring, ShadowPrediction
from db.models.retention import RemovedMaster, RetentionRun
from db.models.study import Image, Study, StudyRevision
from db.models.verdict import Verdict

__all__ = [
    "Champion",
    "ChampionChange",
    "Commitment",
    "DataSet",
    "DataSetImage",
    "DriftReference",
    "Evaluation",
    "Flag",
    "Heartbeat",
    "Image",
    "Label",
    "LabelVerdict",
    "LabelledImage",
    "ModelVersion",
    "NightlyRun",
    "PatientSide",
    "Prediction",
    "Receipt",
    "ReceiptRetry",
    "RemovedMaster",
    "Rescoring",
    "RetentionRun",
    "ShadowPrediction",
    "Snapshot",
    "Study",
    "StudyRevision",
    "TestSet",
    "TestSetImage",
    "Verdict",
]
