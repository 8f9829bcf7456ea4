"""Every setting, read once a process from ``LUNGWATCH_…`` and ``.env``, then passed down frozen.

`.env.example` documents each of them; a test holds the two together.
"""

from __future__ import annotations

import difflib
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Self

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core.errors import Misconfigured

_PREFIX: Final = "LUNGWATCH_"
# read by tests and failpoints, never by the product
_NOT_SETTINGS: Final = ("LUNGWATCH_TEST_", "LUNGWATCH_SHARED_DATA", "LUNGWATCH_FAILPOINT")
_MEGABYTE: Final = 1 << 20
_GIGABYTE: Final = 1 << 30
_TERABYTE: Final = 1 << 40
_HOUR: Final = 3600.0
_DAY: Final = 24 * _HOUR
# beyond this a time in the ledger could not be reckoned, and nobody means it
_MONTH: Final = 30 * _DAY


class OutsideIntendedUse(StrEnum):
    """What to do with an image the model was not made for."""

    WITHHOLD = "withhold"
    ANNOTATE = "annotate"


class RuntimeChoice(StrEnum):
    """Which runtime classifies: AUTO takes TensorFlow where it sees a GPU, else LiteRT."""

    AUTO = "auto"
    LITERT = "litert"
    KERAS = "keras"


class GateMetric(StrEnum):
    """The one figure in which a challenger must be better than the champion."""

    AUC = "auc"
    SENSITIVITY = "sensitivity"
    SPECIFICITY = "specificity"
    LOG_LOSS = "log_loss"


def _split(value: object) -> object:
    """Let a list be written as ``a,b,c``."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


class Settings(BaseSettings):
    """The frozen settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
    )

    # where things are kept
    data_dir: Path = Field(Path("data"), description="Spool, stored files, masters, bundles and the SQLite ledger.")
    database_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL; unset means SQLite in the data directory, one host only."
    )
    database_password_file: Path | None = Field(
        None, description="File whose content replaces the password in the database URL (container secrets)."
    )
    broker_url: SecretStr = Field(
        SecretStr("memory://"),
        description="redis://… or amqp://…; memory:// keeps Celery inside one process and workers look by themselves.",
    )
    broker_password_file: Path | None = Field(
        None, description="File whose content replaces the password in the broker URL (container secrets)."
    )

    # DICOM listener
    ae_title: str = Field("LUNGWATCH", description="Our AE title.", min_length=1, max_length=16)
    listen_host: str = Field("0.0.0.0", description="Address the listener binds.")  # noqa: S104 - a PACS is elsewhere
    listen_port: int = Field(11112, description="Port the listener binds; 0 lets the system choose.", ge=0, le=65535)
    listener_name: str = Field(
        "listener",
        description="Name of this listener's spool; one a listener host.",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$",
    )
    listen_plain: bool = Field(default=True, description="Accept associations without TLS on the listen port.")
    listener_processes: int = Field(2, description="Association processes that share the port.", ge=1, le=64)
    maximum_pdu_size: int = Field(
        128 * 1024, description="Largest P-DATA PDU we ask for, bytes.", ge=4096, le=_MEGABYTE
    )
    maximum_message_size: int = Field(
        128 * _MEGABYTE, description="Largest instance accepted, bytes.", ge=_MEGABYTE, le=_TERABYTE
    )
    check_called_ae_title: bool = Field(
        default=True, description="Reject associations that call us by another AE title."
    )
    peers_file: Path | None = Field(
        None,
        description="Who may send (lungwatch peers); unset: peers.toml in the data directory, everybody if absent.",
    )
    maximum_associations: int = Field(64, description="Associations served at once.", ge=1, le=10_000)
    maximum_associations_per_peer: int = Field(
        32,
        description="Associations one AE title at one address may hold at once.",
        ge=1,
        le=10_000,
    )
    reserved_associations: int = Field(
        16,
        description="Of those served at once, how many only peers in the peers file may hold; at most half.",
        ge=0,
        le=10_000,
    )
    request_timeout: float = Field(
        10.0,
        description="Seconds a new connection has for its TLS handshake, and again for its A-ASSOCIATE-RQ.",
        gt=0,
        le=_HOUR,
    )
    pdu_timeout: float = Field(30.0, description="Seconds a PDU may take once it has begun.", gt=0, le=_HOUR)
    message_timeout: float = Field(600.0, description="Seconds a message may take once it has begun.", gt=0, le=_DAY)
    network_timeout: float = Field(60.0, description="Seconds an association may be idle.", gt=0, le=_HOUR)
    tls_port: int | None = Field(
        None, description="Port for DICOM over TLS, 2762 by the standard; 0 lets the system choose.", ge=0, le=65535
    )
    tls_certificate_file: Path | None = Field(
        None, description="Our certificate (PEM), with the chain above it; read again when it changes."
    )
    tls_key_file: Path | None = Field(None, description="Private key (PEM) of our certificate, without a password.")
    tls_client_ca_file: Path | None = Field(
        None, description="Authorities (PEM) whose client certificates are accepted; set, every client must show one."
    )
    metrics_host: str = Field("127.0.0.1", description="Address the Prometheus endpoints bind.")
    listener_metrics_port: int | None = Field(
        11190,
        description="Port of the listener's Prometheus endpoint; 0 lets the system choose, empty means none.",
        ge=0,
        le=65535,
    )
    free_space_fraction: float = Field(0.10, description="Refuse (0xA700) below this share of the disk.", ge=0, lt=1)
    free_space_bytes: int = Field(
        5 * _GIGABYTE, description="Refuse (0xA700) below this many bytes.", ge=0, le=1024 * _TERABYTE
    )
    drain_timeout: float = Field(
        30.0, description="Seconds that associations in flight may take after SIGTERM.", gt=0, le=_HOUR
    )

    # storage commitment
    commitment_seconds: float = Field(
        3600.0, description="How long a commitment request waits for instances that are not there yet.", ge=0, le=_MONTH
    )
    commitment_attempts: int = Field(
        24, description="Attempts to report a commitment, with growing pauses of up to an hour.", ge=1, le=1000
    )

    # registrar
    registrar_interval: float = Field(0.1, description="Seconds between looks into the spool.", gt=0, le=_HOUR)
    registrar_batch: int = Field(500, description="Receipts inserted in one transaction.", ge=1, le=100_000)
    urgent_ae_titles: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="AE titles of peers whose images are claimed first; unauthenticated text, any peer may use one.",
    )

    # scope
    modalities: Annotated[tuple[str, ...], NoDecode] = Field(
        ("CR", "DX"), description="Modality (0008,0060) in scope.", min_length=1
    )
    chest_synonyms: Annotated[tuple[str, ...], NoDecode] = Field(
        ("CHEST", "THORAX", "LUNG", "LUNGS", "RIBS", "CHEST_PA", "CHEST_AP"),
        description="BodyPartExamined (0018,0015) values that mean chest.",
        min_length=1,
    )
    outside_intended_use: OutsideIntendedUse = Field(
        OutsideIntendedUse.WITHHOLD, description="withhold: OUT_OF_SCOPE(AGE); annotate: classify and mark."
    )

    # pixels
    maximum_decoded_bytes: int = Field(
        512 * _MEGABYTE,
        description="Header budget: rows x columns x samples x bytes x frames.",
        ge=_MEGABYTE,
        le=_TERABYTE,
    )

    # worker
    batch_size: int = Field(16, description="Receipts claimed at once.", ge=1, le=1024)
    lease_seconds: float = Field(120.0, description="How long a claim holds without renewal.", gt=0, le=_DAY)
    maximum_attempts: int = Field(3, description="Starts before an image is quarantined.", ge=2, le=10)
    idle_poll_seconds: float = Field(1.0, description="How often an idle worker looks without a bell.", gt=0, le=_HOUR)
    helper_processes: int = Field(2, description="Decode processes a worker.", ge=1, le=64)
    helper_seconds: float = Field(25.0, description="Wall time one image may take in a helper.", gt=0, le=_HOUR)
    helper_cpu_seconds: int = Field(60, description="Processor time a helper may use for one image.", ge=1, le=86_400)
    helper_memory_bytes: int = Field(
        3 * _GIGABYTE, description="Address space of a helper.", ge=512 * _MEGABYTE, le=_TERABYTE
    )
    helper_images: int = Field(500, description="Images after which a helper is replaced.", ge=1, le=1_000_000)
    runtime: RuntimeChoice = Field(RuntimeChoice.AUTO, description="auto, litert or keras.")
    runtime_threads: int = Field(1, description="Threads LiteRT uses.", ge=1, le=64)
    inference_batch: int = Field(32, description="Images a model scores at once, at most.", ge=1, le=1024)
    inference_wait_seconds: float = Field(
        0.02, description="On a GPU, how long an image may wait for others to be scored with it.", ge=0, le=10
    )
    inference_xla: bool = Field(default=False, description="Let TensorFlow compile the model with XLA.")
    gpu: int | None = Field(
        None,
        description="Number of the GPU this worker takes, of those in CUDA_VISIBLE_DEVICES; empty: the first.",
        ge=0,
        le=255,
    )
    gpu_memory_bytes: int | None = Field(
        None,
        description="Most of the GPU's memory a worker takes; empty: as much as it needs, growing.",
        ge=256 * _MEGABYTE,
        le=_TERABYTE,
    )
    champion_poll_seconds: float = Field(
        10.0, description="How often a worker asks which model is champion.", gt=0, le=_HOUR
    )
    worker_metrics_port: int | None = Field(
        11200,
        description="First port of workers' Prometheus endpoints, each takes the next free one; 0: any, empty: none.",
        ge=0,
        le=65535,
    )
    # not longer: `db.single_host` and `status` reckon with it
    heartbeat_seconds: float = Field(10.0, description="How often each process writes that it lives.", gt=0, le=10)

    # decisions
    site_prevalence: float | None = Field(
        None, description="Share of pneumonia among your studies; unset means the training prevalence.", gt=0, lt=1
    )
    settle_seconds: float = Field(
        60.0, description="Quiet time after a study's last image before it settles.", ge=0, le=_MONTH
    )
    overdue_seconds: float = Field(
        900.0, description="Age at which an unfinished image is called overdue.", gt=0, le=_MONTH
    )
    sweep_seconds: float = Field(
        5.0, description="How often workers settle studies and sweep expired leases.", gt=0, le=_HOUR
    )
    audit_share: float = Field(0.02, description="Share of unflagged studies drawn for blind review.", ge=0, le=1)
    audit_flagged_share: float = Field(0.02, description="Share of flagged studies mixed into it.", ge=0, le=1)
    audit_key: SecretStr | None = Field(
        None,
        description="Key of the audit draw; unset means a random one, made once and kept in the data directory.",
        min_length=16,
    )
    patient_key: SecretStr | None = Field(
        None,
        description="Key of patients' digests in labels; unset means a random one, made once in the data directory.",
        min_length=16,
    )
    store_patient_name: bool = Field(default=False, description="Keep PatientName (0010,0010) in the ledger.")

    # models
    bundle_dir: Path | None = Field(None, description="Where bundles lie; unset means bundles/ in the data directory.")
    signing_key_file: Path | None = Field(
        None, description="Ed25519 private key (PEM) that signs new bundles; only where training runs."
    )
    trusted_keys_dir: Path | None = Field(
        None, description="Ed25519 public keys (PEM) accepted beside the pinned release key."
    )

    # nightly job: what it learns from, when, and how long it may take, docs/nightly.md
    nightly_hour: int | None = Field(
        None, description="Local hour (TZ) at which the nightly job begins; empty: only by hand.", ge=0, le=23
    )
    nightly_hours: float = Field(
        5.0, description="Hours a night may take; a fit that is not done goes on the next night.", gt=0, le=12
    )
    nightly_minimum_labels: int = Field(
        50, description="New labels since the last challenger below which a night only examines.", ge=1, le=1_000_000
    )
    nightly_scratch_weekday: int | None = Field(
        6,
        description="Weekday (0 is Monday) on which a challenger is trained from scratch; empty: never.",
        ge=0,
        le=6,
    )
    nightly_fine_tune_epochs: int = Field(4, description="Epochs of fine-tuning the champion.", ge=1, le=1000)
    nightly_scratch_epochs: int = Field(30, description="Epochs of training from scratch.", ge=2, le=1000)
    nightly_sensitivity: float = Field(
        0.97,
        description="What the lower bound of sensitivity must reach at a challenger's operating point.",
        ge=0.5,
        le=0.999,
    )
    nightly_recent_weeks: int = Field(
        4, description="Newest reviewed weeks that models are examined on besides the test set.", ge=1, le=520
    )
    nightly_attempts: int = Field(3, description="Starts of a night before it has failed.", ge=1, le=10)
    nightly_niceness: int = Field(
        15, description="How far the nightly job stands back from workers (nice).", ge=0, le=19
    )

    # gate: what a challenger must show before it takes the champion's place, docs/gate.md
    gate_metric: GateMetric = Field(
        GateMetric.AUC,
        description="What it must be better in: auc, sensitivity, specificity or log_loss.",
    )
    gate_alpha_a_year: float = Field(
        0.05,
        description="Probability that within a year one that is not better is taken for one, at most.",
        gt=0,
        le=0.5,
    )
    gate_exams_a_year: int = Field(
        366, description="Nights of a year that share it; when all are spent, nothing is promoted.", ge=1, le=366
    )
    gate_sensitivity_margin: float = Field(0.02, description="Loss of sensitivity that is as good.", gt=0, le=0.2)
    gate_specificity_margin: float = Field(0.03, description="Loss of specificity that is as good.", gt=0, le=0.2)
    gate_auc_margin: float = Field(0.005, description="Loss of AUC that is as good.", gt=0, le=0.2)
    gate_log_loss_margin: float = Field(0.02, description="Rise of log-loss that is as good, nats.", gt=0, le=1)
    gate_slope_low: float = Field(
        0.67, description="Calibration slope, 1 being right: its whole interval lies above this.", gt=0, lt=1
    )
    gate_slope_high: float = Field(1.5, description="And below this.", gt=1, le=10)
    gate_subgroup_margin: float = Field(
        0.03, description="A subgroup whose whole interval shows a greater loss refuses.", gt=0, le=0.2
    )
    gate_subgroup_images: int = Field(
        100,
        description="With pneumonia (or, for specificity, without): from how many on a subgroup is looked at.",
        ge=1,
        le=1_000_000,
    )
    gate_resamples: int = Field(2000, description="Bootstrap resamples of patients.", ge=200, le=100_000)

    # drift: how far the last weeks may be from the reference, docs/drift.md
    drift_reference_days: int = Field(
        56, description="Days of the first reference, set by itself once they are on record.", ge=7, le=366
    )
    drift_recent_days: int = Field(28, description="Days that are held against the reference.", ge=1, le=366)
    drift_psi_notice: float = Field(0.1, description="Population stability index that is told.", gt=0, le=10)
    drift_psi_strong: float = Field(0.25, description="And that is strong drift.", gt=0, le=10)
    drift_rate_notice: float = Field(
        0.2, description="Change of a share that is told, as Cohen's h: 10 to 17 %, say.", gt=0, le=3
    )
    drift_rate_strong: float = Field(0.5, description="And that is strong drift: 10 to 29 %.", gt=0, le=3)
    drift_chance: float = Field(
        0.01, description="Probability that chance alone raises anything in one look, at most.", gt=0, le=0.5
    )
    drift_masters: int = Field(
        400, description="Master images of each period whose grey levels are measured.", ge=1, le=100_000
    )
    drift_blocks: bool = Field(default=True, description="Promote nothing while drift is strong; false only tells it.")

    # re-scoring and shadow: docs/rescoring.md
    rescore_days: float = Field(
        0.0,
        description="Days back from which a new champion scores studies again that nobody has reviewed; 0: none.",
        ge=0,
        le=36_500,
    )
    shadow_days: float = Field(
        0.0,
        description="Days that a challenger scores live studies unseen before it may be promoted; 0: none.",
        ge=0,
        le=366,
    )
    shadow_images: int = Field(
        200, description="Live images that it and the champion must both have scored by then.", ge=1, le=1_000_000
    )
    shadow_suspected_margin: float = Field(
        0.1, description="Most by which its share of SUSPECTED may differ from the champion's.", gt=0, le=1
    )
    shadow_no_result_margin: float = Field(
        0.02, description="Most by which its share of NO_RESULT may exceed the champion's.", gt=0, le=1
    )

    # test set, docs/test-sets.md
    sealed_days: int = Field(
        90,
        description="Days that the sealed share of the test set stays closed after it was opened.",
        ge=1,
        le=3650,
    )

    # retention
    retention_stored_days: int | None = Field(
        None,
        description="Days that a file in stored/ is kept after its receipt's end; empty keeps all.",
        ge=1,
        le=36_500,
    )
    retention_masters_days: int | None = Field(
        None,
        description="Days that a master is kept after its study settled, no fewer than files; empty keeps all.",
        ge=1,
        le=36_500,
    )
    retention_hour: int = Field(3, description="Local hour of the daily retention run.", ge=0, le=23)

    # beat
    reconcile_hour: int = Field(5, description="Local hour of the daily reconciliation.", ge=0, le=23)

    # logging
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    log_json: bool = Field(default=True, description="One JSON object a line; false for a person's terminal.")

    _split_lists = field_validator("modalities", "chest_synonyms", "urgent_ae_titles", mode="before")(_split)

    @field_validator("ae_title")
    @classmethod
    def _printable_ae(cls, value: str) -> str:
        # PS3.5 6.2, AE: no backslash, no control characters, not only spaces
        if not value.strip() or "\\" in value or not value.isascii() or not value.isprintable():
            message = "an AE title is 1 to 16 printable ASCII characters without backslash"
            raise ValueError(message)
        return value.strip()

    @field_validator("listen_host", "metrics_host")
    @classmethod
    def _an_address(cls, value: str) -> str:
        # to a socket, no address is all of them
        if not value:
            message = "is empty; name an address of this machine, or 0.0.0.0 for all"
            raise ValueError(message)
        return value

    @field_validator(
        "data_dir",
        "database_password_file",
        "broker_password_file",
        "peers_file",
        "tls_certificate_file",
        "tls_key_file",
        "tls_client_ca_file",
        "bundle_dir",
        "signing_key_file",
        "trusted_keys_dir",
        mode="before",
    )
    @classmethod
    def _a_path(cls, value: object) -> object:
        # empty would be the folder we run in; taken for unset, it would for instance ask no client for a certificate
        if value == "":
            message = "is empty; name a place, or leave the setting out"
            raise ValueError(message)
        return value

    @field_validator(
        "tls_port",
        "listener_metrics_port",
        "worker_metrics_port",
        "gpu",
        "gpu_memory_bytes",
        "retention_stored_days",
        "retention_masters_days",
        "nightly_hour",
        "nightly_scratch_weekday",
        mode="before",
    )
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @model_validator(mode="after")
    def _somebody_can_connect(self) -> Self:
        if self.tls_port is None and not self.listen_plain:
            message = "listen_plain is false and tls_port is not set: nobody could connect"
            raise ValueError(message)
        if self.tls_port is not None and (self.tls_certificate_file is None or self.tls_key_file is None):
            message = "tls_port needs tls_certificate_file and tls_key_file"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _each_port_is_its_own(self) -> Self:
        ports = {
            "listen_port": self.listen_port if self.listen_plain else None,
            "tls_port": self.tls_port,
            "listener_metrics_port": self.listener_metrics_port,
        }
        # 0 is whatever is free
        for number in filter(None, ports.values()):
            same = [name for name, port in ports.items() if port == number]
            if len(same) > 1:
                message = f"{' and '.join(same)} are the same, {number}: give each a port of its own"
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _lease_outlives_helpers(self) -> Self:
        if self.lease_seconds <= 2 * self.helper_seconds:
            message = "lease_seconds must be more than twice helper_seconds, or claims expire under a working helper"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _masters_outlive_files(self) -> Self:
        stored, masters = self.retention_stored_days, self.retention_masters_days
        if masters is not None and (stored is None or masters < stored):
            message = (
                "retention_masters_days needs retention_stored_days and may not be less: training and heatmaps start "
                "from masters, which are small"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _strong_is_more_than_a_notice(self) -> Self:
        if self.drift_psi_notice > self.drift_psi_strong or self.drift_rate_notice > self.drift_rate_strong:
            message = "drift_psi_strong and drift_rate_strong may not be less than what is told, drift_…_notice"
            raise ValueError(message)
        return self

    @property
    def bundles(self) -> Path:
        """Where bundles are installed."""
        return self.bundle_dir or self.data_dir / "bundles"

    @property
    def masters(self) -> Path:
        """Where master images are kept."""
        return self.data_dir / "masters"

    @property
    def peers(self) -> Path:
        """The file that says who may send; need not exist."""
        return self.peers_file if self.peers_file is not None else self.data_dir / "peers.toml"

    @property
    def has_broker(self) -> bool:
        """Whether doorbells cross processes."""
        return not self.broker_url.get_secret_value().startswith("memory:")


def load() -> Settings:
    """Read the settings.

    Raises
    ------
    Misconfigured
        Naming each variable that is wrong, without its value where it may be a secret.
    """
    _refuse_unknown_names()
    try:
        return Settings()
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_input=False, include_url=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            said = problem["msg"].removeprefix("Value error, ")
            lines.append(f"LUNGWATCH_{name}: {said}" if name else said)
        message = "settings are wrong (environment or .env): " + "; ".join(lines)
        raise Misconfigured(message) from None


def _refuse_unknown_names() -> None:
    """Refuse misspelt variables: the setting meant would silently keep its default."""
    known = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields}
    dotenv = Settings.model_config.get("env_file")
    given = set(os.environ) | set(dotenv_values(dotenv) if isinstance(dotenv, str) else ())
    for name in sorted(given):
        if name.upper().startswith(_PREFIX) and name.upper() not in known and not name.startswith(_NOT_SETTINGS):
            close = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f"did you mean {close[0]}?" if close else "see .env.example for those there are"
            message = f"{name} is no setting; {hint}"
            raise Misconfigured(message)
