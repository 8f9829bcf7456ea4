"""Sending, waiting and showing progress, until everything acknowledged is disposed of and settled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from sqlalchemy.orm import Session, sessionmaker

from cli.demo.account import Progress, Sent, progress
from cli.demo.sender import send
from cli.demo.sending import Sending
from cli.demo.server import Server

_POLL_SECONDS: Final = 0.1
_Show: TypeAlias = Callable[[], Progress]
_Done: TypeAlias = Callable[[Progress], bool]


@dataclass
class Watch:
    """Sends what it is given and keeps the bars true.

    Parameters
    ----------
    server : Server
        Where to.
    sessions : sessionmaker
        Readers of its ledger.
    total : int
        How many instances there will be.
    patience : float
        Seconds without any progress after which waiting ends.
    """

    server: Server
    sessions: sessionmaker[Session]
    total: int
    patience: float
    console: Console
    sent: list[Sent] = field(default_factory=list)

    def run(self, sendings: Iterable[Sending]) -> Sequence[Sent]:
        """Send all and wait; returns what was sent whether or not all of it was disposed of in time.

        Raises
        ------
        ServeFailed
            If `serve` ends.
        KeyboardInterrupt
            If somebody ended the demo.
        """
        columns = (TextColumn("{task.description:<12}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
        with Bars(*columns, console=self.console, transient=not self.console.is_terminal) as bars:
            sending = bars.add_task("acknowledged", total=self.total)
            disposed = bars.add_task("disposed of", total=self.total)
            settled = bars.add_task("settled", total=None)

            def show() -> Progress:
                seen = progress(self.sessions)
                bars.update(disposed, completed=seen.disposed)
                bars.update(settled, completed=seen.settled, total=seen.studies or None)
                return seen

            for one in sendings:
                self.server.check_alive()
                if one.again:
                    # a PACS sends again later; what "first" means would be a race otherwise
                    self._wait(show, lambda seen: seen.disposed >= self._acknowledged())
                self.sent.append(Sent(one, send(one, self.server.port, self.server.ae_title)))
                bars.update(sending, completed=self._acknowledged())
                show()
            self._wait(show, lambda seen: seen.disposed >= self._acknowledged() and seen.settled >= seen.studies)
        return self.sent

    def _acknowledged(self) -> int:
        return sum(one.answer.acknowledged for one in self.sent)

    def _wait(self, show: _Show, done: _Done) -> None:
        before, moved = None, time.monotonic()
        while not done(seen := show()):
            self.server.check_alive()
            now = time.monotonic()
            if seen != before:
                before, moved = seen, now
            elif now - moved > self.patience:
                return
            time.sleep(_POLL_SECONDS)
