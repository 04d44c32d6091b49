"""``commonweal credits``: the books for people, and their proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from commonweal import console
from commonweal.core.errors import CommonwealError, UserError
from commonweal.ledger.amounts import shown
from commonweal.ledger.chain import Head
from commonweal.ledger.export import verify_export
from commonweal.pool.client import PoolClient

TELL_EVERY = 100


class BooksWrong(CommonwealError):
    """The books do not hold."""

    code = "books_wrong"


def grant(client: PoolClient, text: str, *, json: bool) -> None:
    """Issue credits: ``ACCOUNT=CREDITS``."""
    account, _, amount = text.rpartition("=")
    try:
        microcredits = round(float(amount) * 1_000_000)
    except (ValueError, OverflowError):
        microcredits = 0
    if not account or microcredits <= 0:
        raise UserError(f"--grant: '{text}' is not ACCOUNT=CREDITS", hint="such as --grant user:ada=100")
    after = client.grant(account, microcredits, "granted by the operator")
    if json:
        console.print_json(after)
    else:
        console.out.print(f"{console.safe(account)} has {shown(after.available)} credits")


def verify(client: PoolClient, *, json: bool) -> None:
    """Have the hub replay its books, then replay the public export here, in which the head that the hub proved must
    be. Raises BooksWrong."""
    with console.live_line("the hub replays its books", shown=not json) as say:
        audit = client.verify()
        lines = _counted(client.export(), say, "replaying the export")
        check = verify_export(lines, known=Head(position=audit.position, seal=audit.head))
    problems = [*audit.problems, *check.problems]
    if json:
        console.print_json({**audit.model_dump(), "ok": not problems, "problems": problems})
    elif not problems:
        proven = f", proven at {console.ago(audit.at)}" if audit.at else ""
        console.out.print(
            f"the books hold: {audit.journals} journals sum to zero, {audit.accounts} accounts agree with them,\n"
            f"{shown(audit.issued)} credits issued{proven};\n"
            f"the export has that head, journal {audit.position}, in its chain, and replays to\n"
            f"its own, journal {check.head.position}:\n{check.head.seal}"
        )
    if problems or not audit.ok:
        raise BooksWrong(
            "the books do not hold: " + "; ".join(problems[:5]), hint="keep a copy; tell the operator"
        )


def balances(client: PoolClient, *, json: bool) -> None:
    """What every account has."""
    found = client.balances()
    if json:
        console.print_json(found)
        return
    names = {f"member:{member.id}": member.name for member in client.members()}
    console.out.print(console.balances_table(found, names))


def export(client: PoolClient, file: Path, *, json: bool) -> None:
    """Save the public books. Raises UserError."""
    lines = 0
    try:
        with (
            file.open("w", encoding="utf-8") as out,
            console.live_line("fetching the books", shown=not json) as say,
        ):
            for line in _counted(client.export(), say, "fetching the books"):
                out.write(line + "\n")
                lines += 1
    except OSError as error:
        raise UserError(
            f"--export: {file} cannot be written: {error.strerror}", hint="choose a file that you may write"
        ) from None
    if json:
        console.print_json({"file": str(file), "lines": lines})
    else:
        console.out.print(f"{lines} lines in {console.safe(file)}")


def _counted(lines: Iterable[str], say: Callable[[str], None], doing: str) -> Iterator[str]:
    """The same lines, telling from time to time how many there were."""
    for number, line in enumerate(lines, 1):
        if number % TELL_EVERY == 0:
            say(f"{doing}: {console.count(number)} lines")
        yield line


def history(client: PoolClient, account: str, *, json: bool) -> None:
    """The journals of one account, newest first."""
    found = client.history(account)
    if json:
        console.print_json(found)
        return
    rows = [
        (
            console.ago(m["at"]),
            m["kind"],
            shown(m["available"]),
            shown(m["held"]),
            shown(m["escrow"]),
            m["memo"][:24],
        )
        for m in found
    ]
    columns = ("when", "what", "available", "held", "escrow", "memo")
    console.out.print(console.table(columns, rows, right=("available", "held", "escrow")))
