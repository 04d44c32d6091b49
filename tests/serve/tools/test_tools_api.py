"""Chat with the hub's tools, through the real openai client."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from scripted_desk import call
from tools_hub import ToolsHub

ASK: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "How large is Upper?"}]}
SQL = "SELECT people FROM town WHERE name = 'Upper'"
WEATHER: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def with_tools(*tools: Any) -> dict[str, Any]:
    return ASK | {"extra_body": {"commonweal": {"tools": list(tools)}}}


def test_a_question_is_computed(hub: ToolsHub) -> None:
    hub.says([call("calculator", '{"expression": "6 * 7"}')], "It is 42.")
    answer = hub.client().chat.completions.create(**with_tools("calculator"))
    assert answer.choices[0].message.content == "It is 42. "
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (200, 20)
    assert answer.model_extra is not None
    (run,) = answer.model_extra["commonweal"]["tool_runs"]
    assert (run["name"], run["output"], run["failed"]) == ("calculator", "42", False)


def test_sql_on_an_uploaded_database(hub: ToolsHub, towns_file: str) -> None:
    hub.says([call("sql", f'{{"query": "{SQL}"}}')], "250000 people.")
    answer = hub.client().chat.completions.create(**with_tools({"type": "sql", "file_id": towns_file}))
    assert answer.model_extra is not None
    (run,) = answer.model_extra["commonweal"]["tool_runs"]
    assert run["detail"] == {"query": SQL, "columns": ["people"], "rows": [[250000]], "more": False}
    (tool,) = hub.desk.asks[0].request.tools
    assert "people INTEGER -- such as 250000" in tool.description
    assert (hub.desk.asks[1].request.messages or ())[-1].content == "people\n250000"


def test_a_stream_tells_runs_as_they_come(hub: ToolsHub, towns_file: str) -> None:
    hub.says([call("sql", f'{{"query": "{SQL}"}}')], [call("sql", '{"query": "DROP TABLE town"}')], "250000.")
    chunks = list(
        hub.client().chat.completions.create(
            **with_tools({"type": "sql", "file_id": towns_file}),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    told = [(chunk.model_extra or {}).get("commonweal", {}).get("tool_runs") for chunk in chunks]
    runs = [run for some in told for run in some or ()]
    assert [(run["turn"], run["failed"]) for run in runs] == [(0, False), (1, True)]
    assert "not allowed" in runs[1]["output"]
    texts = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    assert "".join(text or "" for text in texts) == "250000. "
    assert told.index(None) > [bool(some) for some in told].index(True)
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 30


def test_a_tool_of_the_clients_is_handed_out(hub: ToolsHub) -> None:
    hub.says([call("calculator", '{"expression": "1+1"}')], [call("weather", "{}", "call_9")])
    answer = hub.client().chat.completions.create(**with_tools("calculator"), tools=[WEATHER])
    assert answer.choices[0].finish_reason == "tool_calls"
    (theirs,) = answer.choices[0].message.tool_calls or ()
    assert theirs.id == "call_9"


def test_passages_are_cited(hub: ToolsHub) -> None:
    client = hub.client()
    file = client.files.create(file=("bees.md", b"# Bees\n\nBees make honey in summer."), purpose="user_data")
    hub.says("They make honey [1], not [2].")
    answer = client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "What do bees make?"}],
        extra_body={"commonweal": {"tools": [{"type": "retrieval", "file_ids": [file.id]}]}},
    )
    assert answer.model_extra is not None
    told = answer.model_extra["commonweal"]
    (cited,) = told["annotations"]
    text = answer.choices[0].message.content or ""
    assert text[cited["start_index"] : cited["end_index"]] == "[1]"
    assert (cited["type"], cited["file_id"], cited["filename"]) == ("file_citation", file.id, "bees.md")
    assert cited["passage"]["text"] == "# Bees\n\nBees make honey in summer."
    assert [passage["file_id"] for passage in told["passages"]] == [file.id]
    asked = (hub.desk.asks[0].request.messages or ())[-1].content
    assert asked.index("Bees make honey") < asked.index("Question: What do bees make?")


def test_a_stream_tells_passages_first_and_citations_last(hub: ToolsHub) -> None:
    client = hub.client()
    file = client.files.create(file=("bees.md", b"Bees make honey."), purpose="user_data")
    store = client.vector_stores.create(name="notes", file_ids=[file.id])
    hub.says("Honey [1].")
    tools = [{"type": "retrieval", "vector_store_ids": [store.id]}]
    chunks = list(
        client.chat.completions.create(**ASK, extra_body={"commonweal": {"tools": tools}}, stream=True)
    )
    told = [list((chunk.model_extra or {}).get("commonweal", {})) for chunk in chunks]
    assert told[0] == ["passages"]
    assert told[-2] == ["annotations"]
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("tools", "param", "told"),
    [
        (["calculatr"], "commonweal.tools[0]", "calculator"),
        ([7], "commonweal.tools[0]", "Known: calculator, sql, retrieval"),
        ("calculator", "commonweal.tools", "array"),
        ([{"type": "sql"}], "commonweal.tools[0].file_id", "required"),
        ([{"type": "sql", "file_id": "a\0b"}], "commonweal.tools[0].file_id", "pattern"),
        ([{"type": "sql", "file_id": "x", "name": "rm -rf"}], "commonweal.tools[0].name", "pattern"),
        ([{"type": "retrieval"}], "commonweal.tools[0]", "needs file_ids"),
        ([{"type": "retrieval", "file_ids": ["x"], "max_passages": 999}], "commonweal.tools[0].max_passages", "20"),
        (["calculator", "calculator"], "commonweal.tools[1]", "two tools 'calculator'"),
        (["calculator"] * 9, "commonweal.tools", "at most 8"),
    ],
)  # fmt: skip
def test_bad_tools_are_explained(hub: ToolsHub, tools: Any, param: str, told: str) -> None:
    answer = hub.post("/v1/chat/completions", ASK | {"commonweal": {"tools": tools}})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param), error
    assert told in error["message"]
    assert hub.desk.asks == []


def test_anothers_file_is_not_found(hub: ToolsHub, towns_file: str) -> None:
    store = hub.client().vector_stores.create(name="mine").id
    for tool in (
        {"type": "sql", "file_id": towns_file},
        {"type": "retrieval", "file_ids": [towns_file]},
        {"type": "retrieval", "vector_store_ids": [store]},
    ):
        for stream in (False, True):
            body = ASK | {"commonweal": {"tools": [tool]}, "stream": stream}
            answer = hub.post("/v1/chat/completions", body, "bob")
            assert answer.status_code == 404
            assert answer.json()["error"]["param"] == "commonweal.tools[0]"
    assert hub.desk.asks == []


def test_files_of_the_wrong_kind_are_explained(hub: ToolsHub, towns_file: str) -> None:
    text = hub.client().files.create(file=("a.txt", b"plain"), purpose="user_data").id
    answer = hub.post(
        "/v1/chat/completions", ASK | {"commonweal": {"tools": [{"type": "sql", "file_id": text}]}}
    )
    assert answer.status_code == 400
    assert "no SQLite database" in answer.json()["error"]["message"]
    tools = [{"type": "retrieval", "file_ids": [towns_file]}]
    answer = hub.post("/v1/chat/completions", ASK | {"commonweal": {"tools": tools}})
    assert answer.status_code == 400
    assert "SQLite database, which cannot be read" in answer.json()["error"]["message"]


def test_two_tools_of_one_name_are_the_clients_mistake(hub: ToolsHub) -> None:
    mine: Any = {"type": "function", "function": {"name": "calculator"}}
    with pytest.raises(openai.BadRequestError, match="two tools 'calculator'"):
        hub.client().chat.completions.create(**with_tools("calculator"), tools=[mine])
    with pytest.raises(openai.BadRequestError, match="n can only be 1"):
        hub.client().chat.completions.create(**with_tools("calculator"), n=2)


def test_unicode_that_is_none_does_not_break_the_answer(hub: ToolsHub, towns_file: str) -> None:
    hub.says([call("sql", '{"query": "SELECT \'\\ud800\'"}')], "Hm.")
    answer = hub.client().chat.completions.create(**with_tools({"type": "sql", "file_id": towns_file}))
    assert answer.choices[0].message.content == "Hm. "
