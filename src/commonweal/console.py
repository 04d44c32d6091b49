"""What the command line shows: tables, progress and errors, for people at 80 columns; JSON for programs.

Renders what it is given and decides nothing. Everything a stranger could have named (members, jobs, messages) is
escaped, so it cannot paint the terminal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from commonweal.core.errors import CommonwealError
from commonweal.train.refusals import REFUSALS

if TYPE_CHECKING:
    from commonweal.pool import wire

LINE = 78


class ReaderGone(Exception):
    """Whoever read the output has stopped reading: that ends the program, and is no error of it."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        self.quiet = True
        raise ReaderGone


out = _Console(highlight=False, soft_wrap=True)
err = _Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    _print(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """One JSON document on one line: for streams of events."""
    _print(json.dumps(_plain(value), ensure_ascii=False))


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise ReaderGone from None


def print_error(error: CommonwealError) -> None:
    """What went wrong, and what to do next."""
    err.print(f"[bold red]error:[/] {safe(error.message)}")
    for line in (error.hint or "").splitlines():
        err.print(f"  {safe(line)}")


def safe(text: object) -> str:
    """A stranger's text without control characters or markup."""
    return escape(printable(text))


def printable(text: object) -> str:
    """A stranger's text without control characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


@contextmanager
def live_line(text: str, *, shown: bool = True) -> Iterator[Callable[[str], None]]:
    """A line at the bottom of the terminal that says what is waited for. Nothing where output is no terminal."""
    if not shown or not out.is_terminal:
        yield lambda text: None
        return
    with out.status(safe(text[:LINE])) as status:
        yield lambda text: status.update(safe(text[:LINE]))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> Table:
    """A quiet table; the columns named in ``right`` are numbers. Nothing in it is cut: a table may be wider than
    the terminal, an id that lost its end is of no use."""
    made = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    rows = [[str(cell) for cell in row] for row in rows]
    for index, column in enumerate(columns):
        width = max([cell_len(column), *(cell_len(printable(row[index])) for row in rows)])
        justify: Literal["left", "right"] = "right" if column in right else "left"
        made.add_column(column, justify=justify, no_wrap=True, min_width=width)
    for row in rows:
        made.add_row(*(safe(cell) for cell in row))
    return made


def jobs_table(jobs: Iterable[wire.JobView]) -> Table:
    rows = [
        (job.id, job.name[:16], job.status, job.rounds, progress_of(job), money(job.spent), ago(job.updated))
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
            money(member.earned),
        )
        for member in members
    ]
    return table(
        ("name", "member", "state", "rep", "good", "bad", "up/s", "earned"),
        rows,
        right=("rep", "good", "bad", "up/s", "earned"),
    )


def balances_table(balances: Iterable[wire.Balance], names: Mapping[str, str]) -> Table:
    """``names`` is what members call themselves, by account."""
    from commonweal.ledger.amounts import shown  # late: the ledger brings a database with it

    rows = [
        (b.account, names.get(b.account, "")[:14], shown(b.available), shown(b.held), shown(b.escrow))
        for b in balances
    ]
    columns = ("account", "name", "available", "held", "escrow")
    return table(columns, rows, right=("available", "held", "escrow"))


def progress_line(
    job: wire.JobView, members: Mapping[str, int], elapsed: float, share: float, left: float | None
) -> str:
    """What goes on between two rounds: ``elapsed`` seconds in this one, ``share`` of the job done, and perhaps
    ``left`` seconds until its end."""
    settings = job.spec.get("settings", {})
    here = sum(members.get(state, 0) for state in ("idle", "working"))
    needed = settings.get("rounds", {}).get("min_members", 1)
    number = job.state.get("round", job.rounds)
    if here < needed:
        return f"round {number} waits for members: {here} here, {needed} needed; see commonweal join"
    return (
        f"round {number}: {members.get('working', 0)} of {here} members at work, {duration(elapsed)}; "
        f"{share:.0%} done" + (f", about {duration(left)} left" if left is not None else "")
    )


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

    def __init__(self, name_of: Callable[[str], str] = str, console: Console = out) -> None:
        self._console, self._name_of = console, name_of
        self._console.print(self._line(ROUND_COLUMNS), style="dim")

    def add(self, record: dict[str, Any]) -> None:
        self._console.print(safe(self._line(round_row(record))))
        for member in record["members"]:
            if member["verdict"] != "ok":
                name, why = self._name_of(member["member"]), REFUSALS.get(member["verdict"], "")
                self._console.print(
                    f"      [yellow]refused[/] {safe(name)}: {safe(member['verdict'])}"
                    + (f" ({why})" if why else "")
                )
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


def share(done: int, whole: int | None) -> str:
    """How much of a transfer is here; ``whole`` is None where nobody says.

    >>> share(1_200_000, 4_800_000), share(1_200_000, None)
    ('1.2M of 4.8MB', '1.2MB')
    """
    return f"{size(done)}B" if whole is None else f"{size(done)} of {size(whole)}B"


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


def money(microcredits: int) -> str:
    """Credits for people to compare: three decimals.

    >>> money(1_234_567), money(0), money(12_345_600_000)
    ('1.235', '0', '12,345.600')
    """
    return f"{microcredits / 1_000_000:,.3f}" if microcredits else "0"


def duration(seconds: float) -> str:
    """
    >>> duration(7.2), duration(100), duration(7300)
    ('7 s', '1 min 40 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def ago(moment: float) -> str:
    """A moment of today as a time, an older one as a date."""
    then = datetime.fromtimestamp(moment)
    return then.strftime("%H:%M:%S" if then.date() == datetime.now().date() else "%Y-%m-%d")


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
