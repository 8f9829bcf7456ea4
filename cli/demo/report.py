"""What the demo says at its end: a table for people, a document for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from cli.demo.account import Account
from cli.demo.sheet import headline
from cli.output import likelihood, printable
from db.vocabulary import Outcome, ReceiptState

_STYLES: Final = {
    Outcome.SUSPECTED: "bold red",
    Outcome.NO_RESULT: "yellow",
    Outcome.OUT_OF_SCOPE: "dim",
    ReceiptState.CONFLICT: "yellow",
    ReceiptState.DUPLICATE: "dim",
    ReceiptState.HEADER_REVISION: "dim",
}
_OWN_RESULT: Final = frozenset({ReceiptState.CLASSIFIED, ReceiptState.OUT_OF_SCOPE, ReceiptState.QUARANTINED})


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything the demo found.

    Attributes
    ----------
    surplus : int
        Receipts beyond what was acknowledged.
    serve_exit : int
        Exit code of `serve` after SIGTERM.
    seconds_to_listen, seconds : float
        From the command's start.
    """

    accounts: Sequence[Account]
    surplus: int
    serve_exit: int
    reconciled: bool
    reconcile_said: str
    seconds_to_listen: float
    seconds: float

    @property
    def problems(self) -> list[str]:
        """What is not as it must be, a line each."""
        lines = [f"{one.sending.title}: {one.problem}" for one in self.accounts if one.problem]
        if self.surplus:
            lines.append(f"{self.surplus:+d} receipts beyond what was acknowledged")
        if self.serve_exit:
            lines.append(f"serve left with exit code {self.serve_exit} when it was told to stop")
        if not self.reconciled:
            lines.append(f"reconcile is not clean: {self.reconcile_said}")
        return lines

    @property
    def clean(self) -> bool:
        """Whether every instance is accounted for."""
        return not self.problems


def as_table(summary: Summary) -> Table:
    """Build the table."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    for name in ("#", "Study", "Transfer syntax", "Receipt", "Outcome", "Probability", "Flags", "Remarks", "Latency"):
        table.add_column(name, justify="right" if name in {"#", "Probability", "Latency"} else "left", overflow="fold")
    for number, account in enumerate(summary.accounts, 1):
        table.add_row(*_cells(number, account))
    return table


def _cells(number: int, account: Account) -> list[Text]:
    receipt, result = account.receipt, account.result
    own = result if receipt is not None and receipt.state in _OWN_RESULT else None
    word = headline(account)
    outcome = word if own is not None or receipt is None else ""
    remarks: list[str] = []
    if own is not None:
        remarks = [*([own.reason] if own.reason else []), *own.annotations]
    if receipt is not None and receipt.reason and receipt.reason not in remarks:
        remarks.insert(0, receipt.reason)
    seconds = receipt.seconds if receipt else None
    return [
        Text(str(number)),
        Text(printable(account.sending.title)),
        Text(account.sending.syntax),
        Text(
            str(receipt.state) if receipt else account.answer.why or "missing", style="red" if account.problem else ""
        ),
        Text(outcome, style=_STYLES.get(outcome, "")),  # type: ignore[call-overload]
        Text(likelihood(own.probability) if own else ""),
        Text(", ".join(own.flags) if own else ""),
        Text(", ".join(remarks)),
        Text(f"{seconds:.1f} s" if seconds is not None else ""),
    ]


def closing(summary: Summary, picture: Path, *, phantoms: bool) -> list[str]:
    """Return the lines under the table."""
    taken = sum(one.answer.acknowledged for one in summary.accounts)
    delays = sorted(one.receipt.seconds for one in summary.accounts if one.receipt and one.receipt.seconds is not None)
    lines = [
        "",
        f"{len(summary.accounts)} sent, {taken} acknowledged, {len(delays)} disposed of in {summary.seconds:.1f} s",
    ]
    if delays:
        lines[-1] += f"; latency median {delays[len(delays) // 2]:.1f} s, longest {delays[-1]:.1f} s"
    if phantoms:
        lines.append("Phantoms are computed and show nobody: their probabilities say nothing of the model.")
    lines.append(f"Picture: {picture}")
    if summary.clean:
        lines.append("Every instance is accounted for, reconcile is clean.")
    else:
        lines.append("NOT accounted for:")
        lines += [f"  {printable(problem)}" for problem in summary.problems]
    return lines


def as_data(summary: Summary, picture: Path) -> dict[str, Any]:
    """Return the document for ``--json``."""
    return {
        "clean": summary.clean,
        "problems": summary.problems,
        "seconds": round(summary.seconds, 2),
        "seconds_to_listen": round(summary.seconds_to_listen, 2),
        "picture": picture,
        "reconciled": summary.reconciled,
        "instances": [_instance(one) for one in summary.accounts],
    }


def _instance(account: Account) -> dict[str, Any]:
    receipt, result = account.receipt, account.result
    return {
        "title": account.sending.title,
        "transfer_syntax": account.sending.transfer_syntax_uid,
        "status": account.answer.status,
        "receipt": receipt.state if receipt else None,
        "expected": sorted(account.sending.expected),
        "receipt_reason": receipt.reason if receipt else None,
        "outcome": result.outcome if result else None,
        "reason": result.reason if result else None,
        "probability": result.probability if result else None,
        "flags": result.flags if result else (),
        "annotations": result.annotations if result else (),
        "model": result.model_version if result else None,
        "seconds": receipt.seconds if receipt else None,
        "problem": account.problem,
    }
