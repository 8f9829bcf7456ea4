"""One structlog pipeline for our code and the libraries': JSON lines, constant event names, no identifiers.

Event names are constant snake_case words; facts are keywords; ids of ours
(receipt, study, image numbers) may be logged, identifiers of people and DICOM
UIDs never. Exceptions are logged by type and by our own messages only: the
text of a library's exception may quote the data set it choked on.
"""

from __future__ import annotations

import logging
import sys
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Final

import structlog

from core.errors import LungwatchError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from structlog.typing import EventDict, Processor

    from core.settings import Settings

# These log received text (UIDs, AE titles, query keys, values): only their warnings pass,
# and of those only the logger's name, see _hide_library_text. "py" is py.warnings, whose texts quote values.
_LIBRARIES: Final = (
    "py",
    "pydicom",
    "pynetdicom",
    "sqlalchemy",
    "alembic",
    "kombu",
    "amqp",
    "PIL",
    "tensorflow",
    "absl",
)


def safe_error(error: BaseException) -> dict[str, str]:
    """Describe an exception without quoting data: our own messages in full, others by type and place."""
    described = {"error": type(error).__name__}
    if isinstance(error, LungwatchError):
        described["message"] = str(error)
    place = _innermost(error.__traceback__)
    if place:
        described["at"] = place
    return described


def _innermost(traceback: TracebackType | None) -> str | None:
    place = None
    while traceback is not None:
        code = traceback.tb_frame.f_code
        place = f"{code.co_qualname}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


def _hide_exception_text(_: object, __: str, event: EventDict) -> EventDict:
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event.update(safe_error(error))
    event.pop("exception", None)
    event.pop("stack_info", None)
    return event


def _hide_library_text(_: object, __: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    record = event.get("_record")
    if isinstance(record, logging.LogRecord) and record.name.partition(".")[0] in _LIBRARIES:
        event["event"] = "library_message"
        event["place"] = f"{record.module}:{record.lineno}"
    return event


def configure(settings: Settings) -> None:
    """Send everything, ours and the libraries', to standard error in one form."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide_exception_text,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _hide_library_text],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    # pydicom's warnings quote the value they are about
    warnings.filterwarnings("ignore", module=r"(pydicom|pynetdicom)(\..*)?")
    logging.captureWarnings(capture=True)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
