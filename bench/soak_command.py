"""What both soaks' command lines have in common."""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def parser(module: str, says: str | None) -> argparse.ArgumentParser:
    """Return a parser of what both take.

    Parameters
    ----------
    module : str
        As ``python -m`` calls it.
    says : str or None
        The module's docstring; its first line says what it does.
    """
    made = argparse.ArgumentParser(prog=f"python -m {module}", description=(says or "").partition("\n")[0])
    made.add_argument("--minutes", type=float, default=10.0, help="how long; 10")
    made.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32), help="drawn anew unless given")
    made.add_argument("--scratch", type=Path, default=Path("/var/tmp"), help="on a disk; /var/tmp")  # noqa: S108
    made.add_argument("--json", type=Path, help="write the figures here too")
    made.add_argument("--keep", action="store_true", help="leave the scratch folder, with the logs")
    return made


@contextmanager
def scratch(options: argparse.Namespace) -> Iterator[Path]:
    """Make a folder that another account may pass through, as PostgreSQL's must, and remove it unless it is to stay."""
    folder = Path(tempfile.mkdtemp(prefix="lungwatch-soak-", dir=options.scratch))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def tell(what: str) -> None:
    """Print at once, also into a file."""
    print(what, flush=True)


def write(options: argparse.Namespace, figures: Mapping[str, object]) -> None:
    """Write the figures where a file was asked for."""
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
