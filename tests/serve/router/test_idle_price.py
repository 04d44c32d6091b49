"""Who does not wait for an answer pays half."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from serving_hub import RICH, exact, member, prepare, rows, running_hub, served

from commonweal.core.database import Database
from commonweal.serve.batches.loop import PRIORITY


def test_a_batchs_ask_costs_half_and_the_books_are_exact(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def main() -> None:
        async with running_hub(database) as hub, member(hub, tmp_path, served(), name="mem_a"):
            for priority in (0, PRIORITY):
                ask = replace(hub.ask("one two three", id=f"ask{priority}"), priority=priority)
                await hub.events(ask)

    asyncio.run(main())
    exact(database, start={"alice": RICH})
    costs = {row.ask: row.microcredits for row in rows(database)}
    model = served()
    assert costs["ask0"] == model.cost(3, 16)
    assert costs[f"ask{PRIORITY}"] == model.when_idle().cost(3, 16) <= -(-costs["ask0"] // 2) + 1
