"""From ``Desk.stream`` over a real WebSocket to a member's engine and back, and the money."""

from __future__ import annotations

import asyncio
from pathlib import Path

from serving_hub import RICH, credit, exact, member, prepare, rows, running_hub, served

from commonweal.core.database import Database
from commonweal.core.streaming import Ended, Piece, Usage


def test_an_ask_is_answered_and_paid(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def main() -> None:
        async with running_hub(database) as hub, member(hub, tmp_path, served(), name="mem_a"):
            events = await hub.events(hub.ask("one two three", id="ask-1"))
            assert [type(event) for event in events] == [Piece] * 16 + [Ended, Usage]
            assert events[-1] == Usage(prompt_tokens=3, completion_tokens=16)

    asyncio.run(main())
    exact(database, start={"alice": RICH})
    (row,) = rows(database)
    cost = -(-(3 * 1000 + 16 * 3000) // 1000)
    assert (row.ask, row.account, row.member, row.outcome) == ("ask-1", "alice", "mem_a", "done")
    assert (row.prompt_tokens, row.completion_tokens, row.microcredits) == (3, 16, cost)
    assert credit(database, "member:mem_a") == cost - cost // 10
    assert credit(database, "hub") == cost // 10
