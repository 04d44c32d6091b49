from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from making_samples import instance

from commonweal.core.completion import Abilities, Choice, Completion, CompletionFailed, Request, ToolCall
from commonweal.core.errors import ConfigError
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.asking import Asking
from commonweal.evals.adapters.tokens import Estimate
from commonweal.evals.adapters.tools import MOST_TURNS, ToolsAdapter
from commonweal.evals.instance import Instance
from commonweal.evals.metrics.final_answer import FinalAnswer
from commonweal.evals.sample import Answer, Sample
from commonweal.evals.scenarios.later.tool_use import TOOL_USE

ADAPTATION = TOOL_USE[0].adaptation
Model = Callable[[Request], Choice]


def adapter(
    adaptation: Adaptation = ADAPTATION, root: Path | None = None, abilities: Abilities | None = None
) -> ToolsAdapter:
    asking = Asking(adaptation, model="m", abilities=abilities or Abilities(), tokens=Estimate())
    return ToolsAdapter(asking, data_root=root)


def converse(of: ToolsAdapter, about: Instance, model: Model) -> tuple[Sample, list[Request]]:
    answers: list[Answer] = []
    while asks := of.asks(about, (), answers):
        (ask,) = asks
        answers.append(Answer(ask=ask, completion=Completion(choices=(model(ask.request),))))
    return of.sample(about, 0, answers), [answer.ask.request for answer in answers]


def calls(*arguments: object, name: str = "calculator") -> Choice:
    made = tuple(
        ToolCall(id=f"c{n}", name=name, arguments=one if isinstance(one, str) else json.dumps(one))
        for n, one in enumerate(arguments)
    )
    return Choice(text="", finish="tool_calls", tool_calls=made)


def results(request: Request) -> list[str]:
    assert request.messages is not None
    return [message.content for message in request.messages if message.role == "tool"]


def test_a_model_that_calculates_twice_and_answers() -> None:
    def model(request: Request) -> Choice:
        match results(request):
            case []:
                return calls({"expression": "16 - 3 - 4"}, {"expression": "1,000 * 2"})
            case [first, _]:
                return calls({"expression": f"{first} * 2"})
            case [*_, last]:
                return Choice(text=f"She makes it.\nThe answer is {last}.\n")

    made, requests = converse(adapter(), instance("18", text="How much?"), model)
    assert made.output.endswith("The answer is 18.")
    assert made.annotations["tools"] == {"calls": 3, "failed": 0, "turns": 3}
    assert FinalAnswer().score(made)["final_answer_match"] == 1.0
    assert [message.role for message in requests[-1].messages or ()] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
        "tool",
    ]
    first, last = requests[0], requests[-1]
    assert [tool.name for tool in first.tools] == ["calculator"]
    assert first.messages is not None
    assert first.messages[0].content.startswith(ADAPTATION.instructions)
    assert first.messages[0].content.endswith("How much?")
    assert last.messages is not None
    assert [message.tool_call_id for message in last.messages if message.role == "tool"] == ["c0", "c1", "c0"]
    assert results(last) == ["9", "2000", "18"]
    assert len({request.hash() for request in requests}) == 3


def test_the_same_answers_give_the_same_prompts() -> None:
    def model(request: Request) -> Choice:
        return calls({"expression": "2 + 2"}) if not results(request) else Choice(text="The answer is 4.")

    one, two = (converse(adapter(), instance("4"), model)[1] for _ in range(2))
    assert [request.hash() for request in one] == [request.hash() for request in two]


def test_a_model_that_never_stops_calling_is_told_to_and_then_not_asked_again() -> None:
    made, requests = converse(adapter(), instance("4"), lambda request: calls({"expression": "1 + 1"}))
    assert len(requests) == MOST_TURNS
    assert requests[-1].messages is not None
    assert requests[-1].messages[-1].role == "user"
    assert "cannot use tools any more" in requests[-1].messages[-1].content
    assert made.output == ""
    assert FinalAnswer().score(made)["final_answer_match"] == 0.0


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (calls({"expression": "1 / 0"}), "error: division by zero"),
        (calls("not json"), "error: the arguments are not valid JSON"),
        (calls("[1]"), "error: the arguments should be a JSON object"),
        (calls("[" * 100_000), "error: the arguments are not valid JSON"),
        (calls({"expr": "1"}), "error: the argument 'expression' should be a text"),
        (calls({"expression": 1}), "error: the argument 'expression' should be a text"),
        (calls({"query": "SELECT 1"}, name="sql"), "error: there is no tool 'sql'; there is: calculator"),
        (calls(""), "error: the argument 'expression' should be a text"),
    ],
)
def test_a_wrong_call_is_answered_with_what_is_wrong(call: Choice, told: str) -> None:
    made, requests = converse(
        adapter(), instance("4"), lambda request: Choice(text="ok") if results(request) else call
    )
    assert results(requests[-1]) == [told]
    assert made.annotations["tools"]["failed"] == 1


SQL = replace(ADAPTATION, tools=("sql",))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "towns.sqlite") as connection:
        connection.execute("CREATE TABLE town (name TEXT, people INTEGER)")
        connection.executemany("INSERT INTO town VALUES (?, ?)", [(f"t{n}", n or None) for n in range(60)])
    connection.close()
    return tmp_path


def asked_sql(root: Path, sql: str) -> str:
    about = instance(text="?", database="towns.sqlite")
    _, requests = converse(
        adapter(SQL, root),
        about,
        lambda request: Choice(text="ok") if results(request) else calls({"query": sql}, name="sql"),
    )
    return results(requests[-1])[0]


def test_a_model_asks_the_database(root: Path) -> None:
    assert asked_sql(root, "SELECT name, people FROM town LIMIT 2;") == "name | people\nt0 | NULL\nt1 | 1"
    assert asked_sql(root, "SELECT name FROM town").endswith("t49\n(60 rows, the first 50 are shown)")
    assert asked_sql(root, "SELECT nme FROM town") == "error: no such column: nme"
    assert asked_sql(root, "DROP TABLE town").startswith("error: not allowed")
    assert asked_sql(root, "SELECT name FROM town LIMIT 1") == "name\nt0"


def test_without_a_data_root_the_sql_tool_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="data-root"):
        converse(
            adapter(SQL),
            instance(database="towns.sqlite"),
            lambda request: calls({"query": "SELECT 1"}, name="sql"),
        )


def test_an_unknown_tool_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'calculator'"):
        adapter(replace(ADAPTATION, tools=("calculater",)))


def test_a_model_without_tools_is_not_asked() -> None:
    with pytest.raises(CompletionFailed) as caught:
        adapter(abilities=Abilities(tools=False)).asks(instance(), (), ())
    assert caught.value.kind == "unsupported"
