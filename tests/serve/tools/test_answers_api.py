"""Questions to a database: the model writes the query, the hub the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scripted_desk import Answer
from tools_hub import ToolsHub

from commonweal.core.completion import CompletionFailed
from commonweal.serve.tools.databases import Found
from commonweal.serve.tools.questions import sql_of
from commonweal.serve.tools.wording import worded


def sql(query: str) -> str:
    return json.dumps({"sql": query})


def asked(hub: ToolsHub, file: str, *script: Answer, name: str = "ann", **body: Any) -> tuple[int, Any]:
    hub.says(*script)
    whole = {"model": "tiny", "question": "How many towns are there?", "file_id": file} | body
    answer = hub.post("/v1/answers", whole, name)
    return answer.status_code, answer.json()


def test_an_answer_is_what_the_database_says(hub: ToolsHub, towns_file: str) -> None:
    status, answer = asked(hub, towns_file, sql("SELECT count(*) AS n FROM town;"))
    assert status == 200, answer
    assert (answer["answer"], answer["sql"]) == ("3", "SELECT count(*) AS n FROM town")
    assert (answer["columns"], answer["rows"], answer["more_rows"]) == (["n"], [[3]], False)
    assert answer["attempts"] == [{"sql": "SELECT count(*) AS n FROM town", "error": None}]
    assert answer["usage"]["total_tokens"] == 110
    (ask,) = hub.desk.asks
    messages = ask.request.messages or ()
    assert "people INTEGER -- such as 250000" in messages[0].content
    assert messages[-1].content == "How many towns are there?"
    assert json.loads(ask.request.schema or "")["required"] == ["sql"]
    assert ask.request.temperature == 0


def test_examples_are_shown(hub: ToolsHub, towns_file: str) -> None:
    examples = [{"question": "Which countries?", "sql": 'SELECT "full name" FROM country'}]
    asked(hub, towns_file, sql("SELECT 1"), examples=examples)
    messages = hub.desk.asks[0].request.messages or ()
    assert [message.role for message in messages] == ["system", "user", "assistant", "user"]
    assert json.loads(messages[2].content) == {"sql": 'SELECT "full name" FROM country'}


def test_a_query_that_fails_is_repaired_once(hub: ToolsHub, towns_file: str) -> None:
    status, answer = asked(
        hub, towns_file, sql("SELECT count(*) FROM city"), sql("SELECT count(*) FROM town")
    )
    assert (status, answer["answer"]) == (200, "3")
    assert [attempt["error"] for attempt in answer["attempts"]] == ["no such table: city", None]
    assert answer["usage"]["total_tokens"] == 220
    assert "no such table: city" in (hub.desk.asks[1].request.messages or ())[-1].content
    assert len({ask.id for ask in hub.desk.asks}) == 2


def test_what_cannot_be_answered_says_what_was_tried(hub: ToolsHub, towns_file: str) -> None:
    status, answer = asked(hub, towns_file, sql("DELETE FROM town"), sql(""))
    error = answer["error"]
    assert (status, error["code"]) == (422, "unanswerable")
    assert "DELETE FROM town -> not allowed" in error["message"]
    assert "(no query) -> no query" in error["message"]
    assert asked(hub, towns_file, sql("SELECT count(*) FROM town"))[1]["answer"] == "3"


def test_a_base_model_goes_on_with_the_query(hub: ToolsHub, towns_file: str) -> None:
    status, answer = asked(
        hub, towns_file, "max(people) FROM twn", "max(people) FROM town", form="completion"
    )
    assert (status, answer["answer"], answer["sql"]) == (200, "250000", "SELECT max(people) FROM town")
    first, second = (ask.request for ask in hub.desk.asks)
    assert (first.prompt or "").endswith("-- How many towns are there?\nSELECT")
    assert first.messages is None
    assert ";" in first.stop
    assert "-- error: no such table: twn" in (second.prompt or "")


def test_an_engine_without_grammars_is_asked_for_text(hub: ToolsHub, towns_file: str) -> None:
    fenced = "Here you are:\n```sql\nSELECT count(*) FROM town;\n```"
    status, answer = asked(hub, towns_file, CompletionFailed("unsupported", "no grammar"), fenced)
    assert (status, answer["answer"]) == (200, "3")
    assert [ask.request.schema is None for ask in hub.desk.asks] == [False, True]


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"question": ""}, 400, "question"),
        ({"model": "none"}, 404, "does not exist"),
        ({"file_id": "file_none"}, 404, "no file"),
        ({"file_id": "a\0"}, 400, "file_id"),
        ({"examples": [{"question": "x"}]}, 400, "examples[0].sql"),
        ({"form": "poem"}, 400, "form"),
        ({"colour": "red"}, 400, "colour"),
    ],
)
def test_bad_bodies_are_explained(
    hub: ToolsHub, towns_file: str, body: dict[str, Any], status: int, told: str
) -> None:
    answered, answer = asked(hub, towns_file, **body)
    assert answered == status, answer
    assert told in answer["error"]["message"]
    assert hub.desk.asks == []


def test_anothers_database_is_not_found(hub: ToolsHub, towns_file: str) -> None:
    status, answer = asked(hub, towns_file, name="bob")
    assert (status, answer["error"]["param"]) == (404, "file_id")
    text = hub.client().files.create(file=("a.txt", b"plain"), purpose="user_data").id
    status, answer = asked(hub, text)
    assert (status, answer["error"]["code"]) == (400, "invalid_file")


@pytest.mark.parametrize(
    ("columns", "rows", "said"),
    [
        (("n",), (), "There are no such rows."),
        (("n",), ((None,),), "NULL"),
        (("n",), (("a",), ("b",)), "a, b"),
        (("n", "m"), (("a", 1),), "n: a, m: 1"),
        (("n", "m"), (("a|b", 1), ("c\n", 2)), "| n | m |\n| --- | --- |\n| a\\|b | 1 |\n| c  | 2 |"),
        (("n",), tuple((number,) for number in range(11)), "11 rows."),
    ],
)
def test_a_result_in_words(columns: tuple[str, ...], rows: tuple[Any, ...], said: str) -> None:
    assert worded(Found(status="ok", columns=columns, rows=rows)) == said
    assert worded(Found(status="ok", columns=("n",), rows=((1,),) * 9, cut=True)) == "More than 9 rows."


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"sql": 7}', ""),
        ("[1]", ""),
        ('{"sql": "SELECT 1', ""),
        ("I do not know.", ""),
        (" select 1; ", "select 1"),
        ("[" * 100_000, ""),
        ('{"sql": "SELECT \'\\ud800\'"}', "SELECT '?'"),
    ],
)
def test_the_query_in_what_a_model_wrote(text: str, found: str) -> None:
    assert sql_of(text, "chat") == found
