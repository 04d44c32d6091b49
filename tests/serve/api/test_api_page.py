"""docs/api.md: its Python runs with the real openai client, and its numbers and codes are the code's."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from api_world import make_model, running_world

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.streaming import Ended, Event, Piece, Usage
from commonweal.models.engine.mock import MockEngine, MockOptions
from commonweal.serve.api import complaints, sampling_body
from commonweal.serve.api.context import ServeOptions
from commonweal.serve.api.errors import LARGEST_BODY
from commonweal.serve.catalogue import publish
from commonweal.serve.desk import Ask

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, flags=re.M | re.S)


class MockDesk:
    """The mock engine, which makes no JSON: where a schema is wanted, the page's own example."""

    def __init__(self) -> None:
        self.asks: list[Ask] = []
        self._engine = MockEngine(MockOptions())

    async def stream(self, ask: Ask) -> AsyncIterator[Event]:
        self.asks.append(ask)
        if ask.request.schema is not None:
            yield Piece(text='{"city": "Paris", "since": 987}')
            yield Ended()
            yield Usage(prompt_tokens=1, completion_tokens=1)
            return
        async for event in self._engine.stream(ask.request):
            yield event


def test_the_python_of_the_page_runs(
    database: Database, blobs: Blobs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(BLOCKS) >= 10
    desk = MockDesk()
    with running_world(database, blobs, desk) as world:
        with database.transaction() as connection:
            publish(connection, make_model("stdlib-3m"))
        space: dict[str, Any] = {}
        for block in BLOCKS:
            code = block.replace("http://127.0.0.1:8000/v1", f"{world.url}/v1").replace("cw-...", "key-ann")
            exec(compile(code, str(PAGE), "exec"), space)
    told = capsys.readouterr().out
    for words in ("Paris", "tokens", "[0, 1, 2, 3]", "2 64", "trusted", "Did you mean stdlib-3m?"):
        assert words in told
    kinds = {ask.request.kind for ask in desk.asks}
    assert kinds == {"generate", "score", "embed"}
    assert sum(ask.trusted for ask in desk.asks) == 1


def rows() -> dict[str, int]:
    found = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (\d+) \|", TEXT, flags=re.M)
    return {code: int(status) for codes, status in found for code in re.findall(r"`(\w+)`", codes)}


def test_the_codes_of_failures_are_documented_with_their_status() -> None:
    told = rows()
    for status, _, code in complaints._FAILURES.values():
        assert told[code] == status, code
    assert len(told) > 20


def test_the_numbers_of_the_page_are_the_codes() -> None:
    options = {field.name: getattr(ServeOptions(), field.name) for field in fields(ServeOptions)}
    assert f"{options['requests_per_minute']:,} requests" in TEXT
    assert f"{options['tokens_per_minute'] // 10**6} million tokens a minute" in TEXT
    assert f"After {options['patience_seconds']:.0f} seconds of waiting" in TEXT
    assert f"every {options['keep_alive_seconds']:.0f} seconds" in TEXT
    assert f"for {options['repeat_seconds']:.0f} seconds" in TEXT
    assert f"for {options['linger_seconds']:.0f} more seconds" in TEXT
    assert f"more than {LARGEST_BODY // 2**20} MiB" in TEXT
    assert f"at most {sampling_body.DEFAULT_TOKENS:,} tokens" in TEXT
