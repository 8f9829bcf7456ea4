"""What the metrics of workers and of the ledger are called."""

from __future__ import annotations

from typing import Final

from core.metrics.families import Family

WORKER: Final = "lungwatch_worker_"
LEDGER: Final = "lungwatch_ledger_"


def _worker(name: str, kind: str, help: str, *labels: str) -> Family:  # noqa: A002 - Prometheus' word
    return Family(WORKER + name, kind, labels, help)


def _ledger(name: str, help: str, *labels: str) -> Family:  # noqa: A002 - Prometheus' word
    return Family(LEDGER + name, "gauge", labels, help)


DECODE: Final = _worker(
    "decode_seconds",
    "histogram",
    "Time in a helper from a file to its master: digests, header, decoding, shrinking.",
    "syntax",
)
PREPARE: Final = _worker("prepare_seconds", "histogram", "Time from an image's master to its model input.")
INFERENCE: Final = _worker("inference_seconds", "histogram", "Time of one batch in the network.")
BATCH: Final = _worker("batch_images", "histogram", "Images in one batch.")
COMMIT: Final = _worker(
    "commit_seconds", "histogram", "Time to record and commit one receipt's end, waiting for the database included."
)
ACKNOWLEDGED: Final = _worker(
    "acknowledged_to_row_seconds", "histogram", "From the acknowledgement to the listener's peer to the committed row."
)
FINISHED: Final = _worker("receipts_finished_total", "counter", "Receipts brought to their end, by state.", "state")
QUARANTINED: Final = _worker("quarantined_total", "counter", "Receipts put into quarantine, by reason.", "reason")
ATTEMPTS: Final = _worker("attempts_total", "counter", "Images started, each time one was.")
FAILED: Final = _worker(
    "attempts_failed_total", "counter", "Starts that ended without a result and cost an attempt.", "reason"
)
HOST_FAILED: Final = _worker(
    "host_failures_total", "counter", "Receipts given back uncharged because this host could not do its part."
)
HELPERS: Final = _worker(
    "helper_starts_total", "counter", "Decode helpers started, by what became of the one before.", "cause"
)
BATCHES_FAILED: Final = _worker(
    "batches_failed_total", "counter", "Batches that failed as a whole, so that each image was tried by itself."
)
LEASES_LOST: Final = _worker("leases_lost_total", "counter", "Receipts that another worker had taken over meanwhile.")
MODEL: Final = _worker("model_info", "gauge", "Always 1; the model in service is its labels.", "version", "runtime")
WELL: Final = _worker("well", "gauge", "1 while the worker can work, 0 while it says what keeps it from it.")
START_TIME: Final = _worker("start_time_seconds", "gauge", "When the worker started, Unix time.")
BUILD: Final = _worker("build_info", "gauge", "Always 1; the version is its label.", "version")

LEDGER_UP: Final = _ledger("up", "1 while the ledger answers; while 0, nothing else of it is shown.")
WAITING: Final = _ledger("receipts_waiting", "Receipts without an end yet, those in hand too.", "urgency")
OLDEST: Final = _ledger(
    "oldest_waiting_seconds", "Age of the oldest of them since it was received; 0 where there is none.", "urgency"
)
IN_HAND: Final = _ledger("receipts_in_hand", "Of them, how many a worker holds under a lease.")
OVERDUE: Final = _ledger("receipts_overdue", "Of them, how many are overdue.")
IN_QUARANTINE: Final = _ledger("receipts_quarantined", "Receipts in quarantine now.", "reason")
RESCORING: Final = _ledger("rescoring_waiting", "Images that wait for the champion to score them again.")
UNSETTLED: Final = _ledger("studies_unsettled", "Studies whose present revision is open.")
FLAGGED: Final = _ledger("flagged_waiting", "Rows that wait for a reader.")

# as documented; a test holds what is shown, and docs/metrics.md, to them
WORKER_FAMILIES: Final = (
    DECODE,
    PREPARE,
    INFERENCE,
    BATCH,
    COMMIT,
    ACKNOWLEDGED,
    FINISHED,
    QUARANTINED,
    ATTEMPTS,
    FAILED,
    HOST_FAILED,
    HELPERS,
    BATCHES_FAILED,
    LEASES_LOST,
    MODEL,
    WELL,
    START_TIME,
    BUILD,
)
LEDGER_FAMILIES: Final = (
    LEDGER_UP,
    WAITING,
    OLDEST,
    IN_HAND,
    OVERDUE,
    IN_QUARANTINE,
    RESCORING,
    UNSETTLED,
    FLAGGED,
)
