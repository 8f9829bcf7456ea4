"""A PostgreSQL of our own below a scratch folder, so that nobody's data are touched and its cache is known."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# as an administrator would set a machine of this size up; nothing that costs durability
_OPTIONS: Final = {
    "shared_buffers": "2GB",
    "effective_cache_size": "8GB",
    "maintenance_work_mem": "1GB",
    "max_wal_size": "8GB",
    "random_page_cost": "1.1",
    # what is loaded into a table made in the same transaction needs no log; results that are measured are logged
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "listen_addresses": "",
}


def programs() -> Path | None:
    """Return the folder of the newest server's programs, or None where there is none."""
    beside = shutil.which("postgres")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return Path(beside).parent if beside else found[-1].parent if found else None


class Postgres:
    """One server and its folder.

    Attributes
    ----------
    url : str
        Of its database ``postgres``, for a superuser, over a socket in the folder.
    version : str
    """

    def __init__(self, folder: Path) -> None:
        found = programs()
        if found is None:
            raise FileNotFoundError("no PostgreSQL server is installed: apt-get install postgresql")
        self._programs = found
        self._account: str | None = None
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            # PostgreSQL refuses root
            self._account = pwd.getpwnam("postgres").pw_name
            shutil.chown(folder, self._account)
        self.url = f"postgresql+psycopg://postgres@/postgres?host={folder}"
        self.version = self._run("postgres", "--version").split()[2]

    @property
    def data(self) -> Path:
        """Where its files lie."""
        return self._folder / "data"

    def make(self) -> bool:
        """Make an empty database cluster; say whether there was none."""
        if (self.data / "PG_VERSION").exists():
            return False
        self._run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
        return True

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it until the block ends."""
        options = " ".join(f"-c {name}={value}" for name, value in _OPTIONS.items())
        log = str(self._folder / "server.log")
        options += f" -c unix_socket_directories={self._folder}"
        self._run("pg_ctl", "-D", str(self.data), "-l", log, "-w", "-t", "300", "-o", options, "start")
        try:
            yield
        finally:
            self._run("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "-t", "600", "stop")

    def forget(self) -> None:
        """Have the kernel drop what it cached of its files; the server must not run."""
        for path in self.data.rglob("*"):
            if path.is_file():
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(descriptor)

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if program != "pg_ctl" else subprocess.DEVNULL,
            text=True,
            user=self._account,
            cwd=self._folder,
        )
        return done.stdout
