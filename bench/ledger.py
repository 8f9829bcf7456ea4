"""``python -m bench.ledger``: the ledger with ten million images in PostgreSQL, and what people wait for.

The queries are those the product makes, in an order drawn anew each round, so
that a machine that is slow for a while is slow for all of them.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.orm import Session

from bench import machine
from bench.ledger_load import Size, load
from bench.ledger_queries import Ledger, Query, Results, queries, stamp
from bench.ledger_report import Measured, Run, bars, markdown, save
from bench.ledger_report import load as load_run
from bench.postgres import Postgres, programs
from bench.report import insert
from core.settings import Settings
from db import worklist
from db.base import make_engine, make_readers, make_sessions
from db.migrate import upgrade

_LARGE: Final = ("receipt", "image", "study", "prediction", "flag", "study_revision", "labelled_image", "label")
_INSERT: Final = "insert of a result, with commit"
_INSERT_BAR: Final = 50.0
# milliseconds on the wall's clock and on processors
Time = tuple[float, float]
_QUICK: Final = "--images 20000 --warm 3 --cold 1"


def main(arguments: Sequence[str]) -> int:
    """Load, measure and write; return the exit code."""
    options = parse(arguments)
    if options.render is not None:
        _write(load_run(options.render), options.out)
        return 0
    if programs() is None:
        print("no PostgreSQL server is installed: apt-get install postgresql", file=sys.stderr)
        return 2
    folder = options.keep or Path(tempfile.mkdtemp(prefix="lungwatch-bench-", dir=options.scratch))
    # its owner is PostgreSQL's account
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    try:
        run = measure(options, folder)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    _write(run, options.out)
    for what, bound, said, met in bars(run):
        print(f"{'met   ' if met else 'MISSED'} {what}: {said}, {bound}")
    return 0


def measure(options: argparse.Namespace, folder: Path) -> Run:
    """Load a ledger into the folder, unless there is one, and measure it cold and warm."""
    date, facts = datetime.now(UTC).date().isoformat(), machine.facts(folder)
    server = Postgres(folder / "postgres")
    facts = {name: value for name, value in facts.items() if name not in {"pynetdicom", "dcmtk", "Orthanc"}}
    facts["PostgreSQL"] = server.version
    loaded = server.make()
    chance = random.Random(options.seed)  # noqa: S311 - repeatable
    seconds = None
    with server.running(), _engine(server, folder) as engine:
        if loaded:
            began = time.monotonic()
            upgrade(engine)
            load(engine, Size.of(options.images), lambda said: print(f"{time.monotonic() - began:6.0f} s  {said}"))
            seconds = time.monotonic() - began
    server.forget()
    with server.running(), _engine(server, folder) as engine:
        bench = _Bench(engine, chance)
        bench.rounds(options.cold, bench.cold)
        bench.rounds(options.warm, bench.warm)
        return bench.run(date, facts, seconds)


class _Bench:
    """The queries and their times."""

    def __init__(self, engine: Engine, chance: random.Random) -> None:
        self._engine = engine
        self._chance = chance
        self._readers, self._sessions = make_readers(engine), make_sessions(engine)
        with engine.connect() as connection:
            # what the arguments are drawn from, found out without filling the cache with more than the flags
            connection.execute(text("SELECT 1"))
        with self._readers() as session:
            self._ledger = Ledger(session)
        self._results = Results(self._ledger, stamp())
        self._queries = queries(self._ledger)
        self.cold: dict[str, list[Time]] = {}
        self.warm: dict[str, list[Time]] = {}

    def rounds(self, count: int, times: dict[str, list[Time]]) -> None:
        """Run every query so often, in an order drawn anew each time."""
        for number in range(count):
            for query in self._chance.sample(self._queries, len(self._queries)):
                with (self._sessions if query.writes else self._readers)() as session:
                    watch = _Watch(session)
                    query.run(session, self._chance)
                    times.setdefault(query.name, []).append(watch.read())
                    session.rollback()
            with self._sessions.begin() as session:
                self._results.prepare(session)
            with self._sessions() as session:
                watch = _Watch(session)
                self._results.insert(session)
                session.commit()
                times.setdefault(_INSERT, []).append(watch.read())
            if number % 20 == 0:
                print(f"round {number} of {count}", flush=True)

    def run(self, date: str, facts: dict[str, str], seconds: float | None) -> Run:
        """Bring everything together."""
        measured = [self._measured(query) for query in self._queries]
        measured.insert(4, self._together(_INSERT, _INSERT_BAR, *self._plan_of_insert()))
        with self._engine.connect() as connection:
            counts = {
                row.relname: int(row.reltuples)
                for row in connection.execute(text("SELECT relname, reltuples FROM pg_class WHERE relkind = 'r'"))
                if row.relname in _LARGE
            }
            size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
        counts = {name: counts[name] for name in _LARGE}
        return Run(date, facts, counts, size, seconds, self._ledger.waiting, measured, self._page_plan())

    def _measured(self, query: Query) -> Measured:
        with _seen(self._engine) as seen, (self._sessions if query.writes else self._readers)() as session:
            query.run(session, self._chance)
            session.rollback()
        return self._together(query.name, query.bar_milliseconds, *_indexes_and_scans(self._engine, seen))

    def _together(self, name: str, bar: float | None, indexes: list[str], scans: list[str]) -> Measured:
        cold = [wall for wall, _ in self.cold.get(name, [])]
        warm = [wall for wall, _ in self.warm[name]]
        return Measured(name, bar, cold, warm, [processor for _, processor in self.warm[name]], indexes, scans)

    def _plan_of_insert(self) -> tuple[list[str], list[str]]:
        with self._sessions.begin() as session:
            self._results.prepare(session)
        with _seen(self._engine) as seen, self._sessions() as session:
            self._results.insert(session)
            session.rollback()
        return _indexes_and_scans(self._engine, [one for one in seen if one[0].startswith(("SELECT", "UPDATE"))])

    def _page_plan(self) -> str:
        with _seen(self._engine) as seen, self._readers() as session:
            worklist.places(session, limit=51)
        statement, parameters = seen[-1]
        with self._engine.connect() as connection:
            rows = connection.exec_driver_sql(
                f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {statement}", parameters
            )
            return "\n".join(row[0] for row in rows)


class _Watch:
    """What passes from now on, on the wall's clock and on processors: ours and the server's, one after the other."""

    def __init__(self, session: Session) -> None:
        self._backend = Path(f"/proc/{session.connection().connection.driver_connection.info.backend_pid}/schedstat")  # type: ignore[union-attr]
        self._processor, self._wall = self._on_processor(), time.perf_counter()

    def read(self) -> Time:
        """Return milliseconds, of the wall's clock and of processors."""
        wall, processor = time.perf_counter() - self._wall, self._on_processor() - self._processor
        return round(wall * 1000, 3), round(processor * 1000, 3)

    def _on_processor(self) -> float:
        return time.thread_time() + int(self._backend.read_text().split()[0]) / 1e9


@contextmanager
def _engine(server: Postgres, folder: Path) -> Iterator[Engine]:
    engine = make_engine(Settings(database_url=SecretStr(server.url), data_dir=folder / "data"))
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _seen(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Note the statements that are executed."""
    seen: list[tuple[str, Any]] = []

    def note(_c: Connection, _u: Any, statement: str, parameters: Any, _x: Any, _m: bool) -> None:  # noqa: FBT001
        seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def _indexes_and_scans(engine: Engine, seen: list[tuple[str, Any]]) -> tuple[list[str], list[str]]:
    indexes: set[str] = set()
    scans: set[str] = set()
    with engine.connect() as connection:
        for statement, parameters in seen:
            plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
            for node in _nodes(plan[0]["Plan"]):
                if "Index Name" in node:
                    indexes.add(node["Index Name"])
                if node["Node Type"] == "Seq Scan" and node["Relation Name"] in _LARGE:
                    scans.add(node["Relation Name"])
    return sorted(indexes), sorted(scans)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _write(run: Run, out: Path) -> None:
    save(run, out / "figures" / "ledger.json")
    insert(out / "performance.md", markdown(run), "bench-ledger")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=10_000_000, help="in the ledger; 10000000 (22 GB)")
    parser.add_argument("--warm", type=int, default=200, help="executions of each query; 200")
    parser.add_argument("--cold", type=int, default=20, help="of these right after a restart, nothing cached; 20")
    parser.add_argument("--seed", type=int, default=5, help="of order and arguments")
    parser.add_argument("--scratch", type=Path, default=Path("/var/tmp"), help="on a disk; /var/tmp")  # noqa: S108
    parser.add_argument("--keep", type=Path, help="folder to load into and leave; one loaded before is measured again")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of performance.md; docs")
    parser.add_argument("--render", type=Path, help="write the report from these raw figures, measure nothing")
    parser.add_argument("--quick", action="store_true", help="a trial that everything works: " + _QUICK)
    options = parser.parse_args(arguments)
    return parser.parse_args([*_QUICK.split(), *arguments]) if options.quick else options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
