"""The edge of every command: an error becomes one readable paragraph on standard error and an exit code.

No traceback reaches a user, and no text of a library's exception does: it may
quote the data set it choked on. `LUNGWATCH_LOG_LEVEL=DEBUG` adds the places
(file, line, function) an unexpected error came through.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Final, TextIO

from core.errors import ExitCode, LungwatchError, Misconfigured, RejectedInput, TransientFailure
from core.logging import safe_error

MEANING: Final = {
    ExitCode.FINE: "all is well",
    ExitCode.FINDING: "done, but look: not clean, not well, refused or not found",
    ExitCode.MISCONFIGURED: "command line, settings or installation are wrong",
    ExitCode.OUTSIDE: "database, broker or disk failed; try again",
    ExitCode.UNEXPECTED: "an error of Lungwatch itself; please report it",
    ExitCode.INTERRUPTED: "interrupted from the keyboard",
}


_OURS: Final = frozenset({"bundle", "cli", "core", "db", "dicom_listener", "imaging", "training", "worker"})


def epilog() -> str:
    """Return the exit codes as the closing lines of ``lungwatch --help``."""
    # the backspace keeps Typer from joining the lines
    return "\n".join(["\b", "Exit codes:", *(f"{code.value:>4}  {MEANING[code]}" for code in ExitCode)])


def explain(error: BaseException) -> tuple[ExitCode, str]:
    """Say what an error means for the person at the terminal.

    Parameters
    ----------
    error : BaseException
        Anything a command let through.

    Returns
    -------
    code : ExitCode
        For the shell.
    message : str
        One paragraph, free of identifiers.
    """
    match error:
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED, "interrupted"
        case LungwatchError():
            return _explain_ours(error)
        case ModuleNotFoundError() if error.name and error.name.partition(".")[0] not in _OURS:
            message = (
                f"the library {error.name} is not installed; "
                "pip install --require-hashes -r requirements/runtime.txt brings everything needed."
            )
            return ExitCode.MISCONFIGURED, message
        case OSError():
            place = f": {error.filename}" if isinstance(error.filename, str) else ""
            return ExitCode.OUTSIDE, f"the operating system refused{place}: {error.strerror or type(error).__name__}"
        case _ if _is_database_failure(error):
            message = (
                f"the database does not answer as it should ({type(error).__name__}). See that it runs, that "
                "LUNGWATCH_DATABASE_URL is right and that the schema is current (lungwatch db check)."
            )
            return ExitCode.OUTSIDE, message
        case _:
            return ExitCode.UNEXPECTED, _explain_unexpected(error)


def _explain_ours(error: LungwatchError) -> tuple[ExitCode, str]:
    match error:
        case Misconfigured():
            return ExitCode.MISCONFIGURED, str(error)
        case RejectedInput():
            return ExitCode.FINDING, f"refused ({error.reason}): {error.detail}"
        case TransientFailure():
            return ExitCode.OUTSIDE, f"{str(error).rstrip('.')}. Trying again may help."
        case _:
            return ExitCode.FINDING, str(error)


def _explain_unexpected(error: BaseException) -> str:
    facts = safe_error(error)
    place = f" at {facts['at']}" if "at" in facts else ""
    return (
        f"an unexpected error in Lungwatch itself: {facts['error']}{place}. "
        "Nothing acknowledged is lost by it. LUNGWATCH_LOG_LEVEL=DEBUG shows the way it came; please report it."
    )


def _is_database_failure(error: BaseException) -> bool:
    # imported here: most commands never load SQLAlchemy, and an error that came from it already has
    if "sqlalchemy.exc" not in sys.modules:
        return False
    from sqlalchemy import exc  # noqa: PLC0415

    return isinstance(error, exc.DBAPIError | exc.TimeoutError)


def report(error: BaseException, stream: TextIO | None = None) -> ExitCode:
    """Print what an error means and return the exit code."""
    stream = stream or sys.stderr
    code, message = explain(error)
    print(f"lungwatch: {message}", file=stream)
    if code is ExitCode.UNEXPECTED and os.environ.get("LUNGWATCH_LOG_LEVEL", "").upper() == "DEBUG":
        for frame in traceback.extract_tb(error.__traceback__):
            print(f"  {frame.filename}:{frame.lineno} {frame.name}", file=stream)
    return code
