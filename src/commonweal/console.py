"""What the command line shows: tables, progress and errors, for people at 80 columns; JSON for programs.

Renders what it is given and decides nothing. Everything a stranger could have named (members, jobs, messages) is
escaped, so it cannot paint the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from commonweal.core.errors import CommonwealError
from commonweal.ledger.amounts import shown
from commonweal.pool import wire

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """One JSON document on one line: for streams of events."""
    print(json.dumps(_plain(value), ensure_ascii=False), flush=True)


def print_error(error: CommonwealError) -> None:
    """What went wrong, and what to do next."""
    err.print(f"[bold red]error:[/] {safe(error.message)}")
    if error.hint:
        err.print(f"  {safe(error.hint)}")


def safe(text: object) -> str:
    """A stranger's text without control characters or markup."""
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text)))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> Table:
    """A quiet table; the columns named in ``right`` are numbers."""
    made = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    for row in rows:
        made.add_row(*(safe(cell) for cell in row))
    return made


def jobs_table(jobs: Iterable[wire.JobView]) -> Table:
    rows = [
        (job.id, job.name[:20], job.status, job.rounds, progress_of(job), shown(job.spent), ago(job.updated))
        for job in jobs
    ]
    return table(
        ("job", "name", "status", "rounds", "loss", "spent", "updated"),
        rows,
        right=("rounds", "loss", "spent"),
    )


def progress_of(job: wire.JobView) -> str:
    """A training job's latest loss; other kinds have none."""
    loss = (job.state.get("losses") or {}).get("last")
    return f"{loss:.3f}" if isinstance(loss, int | float) else "-"


def members_table(members: Iterable[wire.MemberRow]) -> Table:
    rows = [
        (
            member.name[:14],
            member.id,
            member.state,
            f"{member.reputation:.2f}",
            member.accepted,
            member.refused,
            rate(member.upload),
            shown(member.earned),
        )
        for member in members
    ]
    return table(
        ("name", "member", "state", "rep", "good", "bad", "up/s", "earned"),
        rows,
        right=("rep", "good", "bad", "up/s", "earned"),
    )


def balances_table(balances: Iterable[wire.Balance]) -> Table:
    rows = [(b.account, shown(b.available), shown(b.held), shown(b.escrow)) for b in balances]
    return table(("account", "available", "held", "escrow"), rows, right=("available", "held", "escrow"))


ROUND_COLUMNS = ("round", "step", "H", "loss", "bits/B", "tokens", "who", "late", "up", "down", "fewer", "s")


def round_row(record: dict[str, Any]) -> tuple[str, ...]:
    """One line of the live table of a training job."""
    accepted = sum(member["verdict"] == "ok" for member in record["members"])
    refused = len(record["members"]) - accepted
    return (
        str(record["round"]),
        str(record["step"]),
        str(record["inner_steps"]),
        _number(record["loss"], ".3f"),
        _number(record["bits_per_byte"], ".3f"),
        count(record["tokens"]),
        f"{accepted}" + (f"-{refused}" if refused else ""),
        str(record["stragglers"]),
        size(record["up_bytes"]),
        size(record["down_bytes"]),
        _number(record["fewer_bytes"], ".0f", "x"),
        f"{record['seconds']:.1f}",
    )


class RoundLines:
    """The live table of rounds, one line at a time: it scrolls, and can be piped."""

    _WIDTHS = (5, 5, 3, 6, 6, 6, 4, 4, 6, 6, 6, 5)

    def __init__(self, console: Console = out) -> None:
        self._console = console
        self._console.print(self._line(ROUND_COLUMNS), style="dim")

    def add(self, record: dict[str, Any]) -> None:
        self._console.print(safe(self._line(round_row(record))))
        for member in record["members"]:
            if member["verdict"] != "ok":
                self._console.print(f"      refused {safe(member['member'])}: {safe(member['verdict'])}")
        if record.get("message"):
            self._console.print(f"      {safe(record['message'])}")

    def _line(self, cells: Sequence[str]) -> str:
        return " ".join(cell.rjust(width) for cell, width in zip(cells, self._WIDTHS, strict=True))


def size(number: float) -> str:
    """Bytes for people.

    >>> size(999), size(12_345), size(3_000_000)
    ('999', '12.3k', '3.0M')
    """
    return count(number)


def rate(speed: float | None) -> str:
    return "-" if speed is None else size(speed)


def count(number: float) -> str:
    """A number with three figures or so.

    >>> count(12), count(1_234), count(56_789_000)
    ('12', '1.2k', '56.8M')
    """
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            return f"{number / limit:.1f}{unit}"
    return f"{number:.0f}"


def ago(moment: float) -> str:
    """A moment of today as a time, an older one as a date."""
    then = datetime.fromtimestamp(moment)
    return then.strftime("%H:%M:%S" if then.date() == datetime.now().date() else "%Y-%m-%d")


def is_terminal() -> bool:
    return sys.stdout.isatty()


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
