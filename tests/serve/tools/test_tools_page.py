"""The page of tools: its examples run, in their order, and its numbers are the code's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from scripted_desk import Answer, call
from tools_hub import ToolsHub

from commonweal.serve.retrieval import cutting, reading
from commonweal.serve.tools import conversation, databases, tables, wording
from commonweal.serve.tools.wanted import WantsCalculator, WantsRetrieval, WantsSql

PAGE = (Path(__file__).parents[3] / "docs" / "tools.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.M | re.S)
WORTH = '{"query": "SELECT sum(price * stock) FROM item"}'
SCRIPTS: list[tuple[list[Answer], str]] = [
    ([], ""),
    ([[call("sql", WORTH)], "It is worth 1018.80."], "It is worth 1018.80. \nsql " + WORTH + " -> sum"),
    (['{"sql": "SELECT name FROM item WHERE stock = 0"}'], 'chair\nSELECT name FROM item WHERE stock = 0\n[["chair"]]'),
    (["At nine [1]."], "[1] is handbook.md\n# Opening hours\n\nThe shop is open from nine to six."),
    ([], "handbook.md # Opening hours"),
]  # fmt: skip


def test_the_examples_do_what_they_say(
    hub: ToolsHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from commonweal.serve.catalogue import ServedModel, publish

    model = ServedModel(
        name="stdlib-3m", kind="full", owner="operator", files={}, identity="0" * 64,
        parameters=1000, window=2048, price_in=10, price_out=30, created=1.0,
    )  # fmt: skip
    with hub.serve.database.transaction() as connection:
        publish(connection, model)
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    for example, (script, printed) in zip(EXAMPLES, SCRIPTS, strict=True):
        hub.says(*script)
        code = example.replace("http://127.0.0.1:8000", hub.url).replace("cw-...", "key-ann")
        exec(code, space)
        assert printed in capsys.readouterr().out
        assert len(hub.desk.asks) == len(script)


def test_the_tools_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", PAGE, flags=re.M))
    for kind in (WantsCalculator, WantsSql, WantsRetrieval):
        fields = set(kind.model_fields) - {"type"}
        described = rows.pop(kind.model_fields["type"].default)
        assert fields == set(re.findall(r"`(\w+)`", described)) - {"sql"}
    assert rows == {}


def test_the_numbers_are_those_of_the_code() -> None:
    options = databases.DatabaseOptions()
    for text in (
        f"at most {conversation.MOST_TURNS} turns",
        f"first {tables.SHOWN_ROWS} `rows`",
        f"table of up to {wording.MOST_ROWS} rows",
        f"up to {reading.LARGEST >> 20} MiB\neach",
        f"about {cutting.WORDS} words",
        f"{options.query.seconds:g} seconds, {options.memory >> 20} MiB, {options.query.rows:,} rows",
    ):
        assert text in PAGE, text
