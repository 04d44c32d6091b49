"""``commonweal credits --verify``: what the hub claims to have proven must be in the chain that it exports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from commonweal.commands import bookkeeping
from commonweal.pool import wire

EXPORT = re.findall(
    r"^```jsonl\n(.*?)^```$", (Path(__file__).parents[2] / "docs/ledger.md").read_text(), re.M | re.S
)[0].splitlines()
SEALS = ["0" * 64, *re.findall(r'"position":\d+,"seal":"(\w+)","hash"', "".join(EXPORT))]


class Hub:
    """Exports the books of the manual, and claims to have proven them up to a journal."""

    def __init__(self, position: int, seal: str) -> None:
        self._audit = wire.Audit(
            ok=True, journals=position, unsealed=0, accounts=3, issued=10**12, head=seal, position=position,
            at=0.0, problems=[],
        )  # fmt: skip

    def verify(self) -> wire.Audit:
        return self._audit

    def export(self) -> Iterator[str]:
        return iter(EXPORT)


def verify(position: int, seal: str) -> None:
    bookkeeping.verify(cast(Any, Hub(position, seal)), json=False)


@pytest.mark.parametrize("position", range(len(SEALS)))
def test_a_proof_of_a_while_ago_is_good_where_the_chain_goes_on_from_it(
    position: int, capsys: pytest.CaptureFixture[str]
) -> None:
    verify(position, SEALS[position])
    assert f"journal {position}," in capsys.readouterr().out


@pytest.mark.parametrize(
    ("position", "seal", "said"), [(3, SEALS[2], "another seal"), (6, "a" * 64, "is missing")]
)
def test_a_proof_of_other_books_than_those_exported_is_none(position: int, seal: str, said: str) -> None:
    with pytest.raises(bookkeeping.BooksWrong, match=said):
        verify(position, seal)
