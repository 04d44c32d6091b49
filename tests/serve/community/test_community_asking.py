"""Conversations over a real connection: asked, stopped, asked again, compared blind, flagged."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx
import pytest
from community_hub import CommunityHub, said

from commonweal.core.completion import CompletionFailed, ToolCall
from commonweal.core.errors import Overloaded
from commonweal.core.streaming import Ended, Piece, Usage
from commonweal.serve.community.comparing import swapped
from commonweal.serve.desk import Ask


def begin(client: httpx.Client, **body: Any) -> str:
    response = client.post("/v1/community/conversations", json=body)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def say(client: httpx.Client, conversation: str, content: str | None, **body: Any) -> list[dict[str, Any]]:
    """The events of one answer."""
    sent = {"model": "small", **body} | ({} if content is None else {"content": content})
    response = client.post(f"/v1/community/conversations/{conversation}/messages", json=sent)
    assert response.status_code == 200, response.text
    return events(response.text)


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def answer(client: httpx.Client, conversation: str, content: str | None, **body: Any) -> dict[str, Any]:
    last = say(client, conversation, content, **body)[-1]
    assert last["type"] == "done", last
    message: dict[str, Any] = last["message"]
    return message


def read(client: httpx.Client, conversation: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/community/conversations/{conversation}").json()
    return found


def test_an_answer_is_streamed_and_kept_with_all_that_made_it(hub: CommunityHub) -> None:
    hub.desk.script = lambda ask: said("One two three.")
    with hub.client() as client:
        conversation = begin(client, consent="publish", licence="CC-BY-4.0")
        told = say(
            client,
            conversation,
            "Count, please",
            model="tuned",
            temperature=0.5,
            top_p=0.9,
            max_tokens=99,
            seed=7,
            stop=["."],
            system="Be brief.",
        )
        found = read(client, conversation)
    assert [event["type"] for event in told] == ["began", "delta", "delta", "delta", "done"]
    assert "".join(event["text"] for event in told[1:-1]) == "One two three."
    question, kept = found["messages"]
    assert (question["role"], question["content"], question["parent"]) == ("user", "Count, please", None)
    assert kept == told[-1]["message"]
    assert kept["parent"] == question["id"]
    assert kept["source"]["model"] == kept["source"]["adapter"] == "tuned"
    assert kept["source"]["base"] == "small"
    assert len(kept["source"]["identity"]) == 64
    assert kept["sampling"] == {"temperature": 0.5, "top_p": 0.9, "max_tokens": 99, "stop": ["."]}
    assert (kept["seed"], kept["system"], kept["finish"]) == (7, "Be brief.", "stop")
    assert (kept["consent"], kept["licence"]) == ("publish", "CC-BY-4.0")
    assert kept["spent"]["prompt_tokens"] == 7
    assert kept["spent"]["completion_tokens"] == 3
    assert kept["spent"]["microcredits"] == -(-(7 * 100 + 3 * 300) // 1000)
    assert found["title"] == "Count, please"
    asked = hub.desk.asks[0].request
    assert [(m.role, m.content) for m in asked.messages or ()] == [
        ("system", "Be brief."),
        ("user", "Count, please"),
    ]
    assert (asked.seed, asked.max_tokens, asked.stop) == (7, 99, (".",))


def test_without_a_seed_one_is_drawn_and_kept(hub: CommunityHub) -> None:
    with hub.client() as client:
        kept = answer(client, begin(client), "Hello")
    assert kept["seed"] == hub.desk.asks[0].request.seed is not None


def test_asking_again_makes_a_sibling_and_each_branch_sees_its_own_past(hub: CommunityHub) -> None:
    with hub.client() as client:
        conversation = begin(client)
        hub.desk.script = lambda ask: said("First.")
        first = answer(client, conversation, "Hello")
        hub.desk.script = lambda ask: said("Second.")
        second = answer(client, conversation, None, parent=first["parent"])
        assert second["parent"] == first["parent"]
        answer(client, conversation, "Go on", parent=second["id"])
        asked = hub.desk.asks[-1].request.messages or ()
        assert [m.content for m in asked] == ["Hello", "Second.", "Go on"]
        wrong = client.post(
            f"/v1/community/conversations/{conversation}/messages",
            json={"model": "small", "parent": first["id"]},
        )
    assert wrong.status_code == 400
    assert "only a user's message" in wrong.json()["error"]["message"]


def test_a_reader_who_leaves_stops_the_answer_and_what_came_is_kept(hub: CommunityHub) -> None:
    gate = threading.Event()
    hub.desk.script = lambda ask: ["One ", "two ", gate, "three "]
    with hub.client() as client:
        conversation = begin(client)
        sent = {"model": "small", "content": "Count"}
        url = f"/v1/community/conversations/{conversation}/messages"
        with client.stream("POST", url, json=sent) as response:
            seen = ""
            for line in response.iter_lines():
                seen += line
                if '"two "' in line:
                    break
        found = _eventually(lambda: read(client, conversation)["messages"][1:])
    assert hub.desk.closed == [hub.desk.asks[0].id]
    assert [(m["content"], m["finish"]) for m in found] == [("One two ", "stopped")]
    assert found[0]["spent"]["microcredits"] is None
    assert found[0]["spent"]["completion_tokens"] == 2


def _eventually(look: Any) -> Any:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if found := look():
            return found
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Overloaded("nobody is free", retry_after=3.2), 429, "overloaded"),
        (CompletionFailed("too_long", "it does not fit"), 400, "context_length_exceeded"),
    ],
)
def test_what_the_desk_refuses_is_an_event_with_the_error(
    hub: CommunityHub, error: Exception, status: int, code: str
) -> None:
    hub.desk.script = lambda ask: [error]
    with hub.client() as client:
        conversation = begin(client)
        told = say(client, conversation, "Hello")
        found = read(client, conversation)
    assert [event["type"] for event in told] == ["began", "error"]
    assert told[-1]["error"]["code"] == code
    assert [m["role"] for m in found["messages"]] == ["user"]
    assert hub.desk.closed


def test_an_answer_that_breaks_off_is_kept_as_far_as_it_came(hub: CommunityHub) -> None:
    hub.desk.script = lambda ask: ["Half ", "an ", CompletionFailed("unreachable", "the worker was lost")]
    with hub.client() as client:
        conversation = begin(client)
        told = say(client, conversation, "Hello")
        kept = read(client, conversation)["messages"][1]
    assert told[-1]["error"]["code"] == "worker_lost"
    assert (kept["content"], kept["finish"]) == ("Half an ", "error")


def test_an_unknown_model_is_named_with_the_near_ones(hub: CommunityHub) -> None:
    with hub.client() as client:
        conversation = begin(client)
        response = client.post(
            f"/v1/community/conversations/{conversation}/messages", json={"model": "smal", "content": "Hi"}
        )
        assert response.status_code == 404
        assert "small" in response.json()["error"]["message"]
        assert read(client, conversation)["messages"] == []


def test_a_flagged_question_reaches_no_model_and_waits_for_a_person(hub: CommunityHub) -> None:
    with hub.client() as client, hub.client("cw-op") as operator:
        conversation = begin(client)
        url = f"/v1/community/conversations/{conversation}/messages"
        response = client.post(url, json={"model": "small", "content": "How do I build a pipe bomb?"})
        assert (response.status_code, response.json()["error"]["code"]) == (400, "content_filter")
        kept = read(client, conversation)["messages"][0]
        assert kept["withheld"]
        assert kept["content"] == ""
        assert hub.desk.asks == []
        again = client.post(url, json={"model": "small", "parent": kept["id"]})
        assert again.json()["error"]["code"] == "content_filter"
        (review,) = operator.get("/v1/community/reviews").json()["data"]
        assert review["because"] == ["flagged: weapons"]
        assert review["messages"][0]["content"] == "How do I build a pipe bomb?"
        accepted = operator.post(f"/v1/community/reviews/{review['id']}", json={"status": "accepted"})
        assert accepted.status_code == 200, accepted.text
        assert read(client, conversation)["messages"][0]["content"] == "How do I build a pipe bomb?"
        assert answer(client, conversation, None, parent=kept["id"])["content"]


def test_a_flagged_answer_ends_where_it_turned_and_is_withheld(hub: CommunityHub) -> None:
    hub.desk.script = lambda ask: said("Well then I will kill you and more words follow")
    with hub.client() as client:
        conversation = begin(client)
        told = say(client, conversation, "Hello")
        kept = read(client, conversation)["messages"][1]
    shown = "".join(event.get("text", "") for event in told)
    assert shown == "Well then I will kill "
    assert told[-1]["message"]["finish"] == "content_filter"
    assert told[-1]["message"]["content"] == kept["content"] == ""
    assert hub.desk.closed


def test_two_drafts_hide_their_models_until_the_choice(hub: CommunityHub) -> None:
    with hub.client() as client, hub.client("cw-bob") as other:
        conversation = begin(client)
        url = f"/v1/community/conversations/{conversation}/drafts"
        response = client.post(url, json={"models": ["small", "large"], "content": "Which?"})
        assert response.status_code == 201, response.text
        made = response.json()
        assert made["seed"] is None
        hidden = made["drafts"] + read(client, conversation)["messages"][1:]
        for draft in hidden:
            assert (draft["source"], draft["spent"], draft["seed"]) == (None, None, None)
        assert "small" not in json.dumps([{**d, "content": ""} for d in hidden])
        assert "small" not in json.dumps(
            [
                {**m, "content": ""}
                for m in client.get("/v1/community/me").json()["conversations"][0]["messages"]
            ]
        )
        went_on = client.post(
            f"/v1/community/conversations/{conversation}/messages",
            json={"model": "small", "content": "More", "parent": made["first"]},
        )
        assert went_on.status_code == 409
        choosing = f"/v1/community/comparisons/{made['id']}"
        assert other.post(choosing, json={"choice": "first"}).status_code == 404
        chosen = client.post(choosing, json={"choice": "second", "comment": "clearer"}).json()
        assert client.post(choosing, json={"choice": "first"}).status_code == 409
    models = [message["source"]["model"] for message in chosen["messages"]]
    assert models == (["large", "small"] if swapped(chosen["seed"]) else ["small", "large"])
    assert chosen["feedback"]["message"] == made["second"]
    assert chosen["feedback"]["other"] == made["first"]
    assert not chosen["feedback"]["tie"]


def test_the_order_of_drafts_is_even() -> None:
    assert 400 < sum(swapped(seed) for seed in range(1000)) < 600


def test_a_draft_that_fails_leaves_nothing(hub: CommunityHub) -> None:
    hub.desk.script = lambda ask: (
        [CompletionFailed("unreachable", "lost")] if ask.request.model == "large" else said("Fine.")
    )
    with hub.client() as client:
        conversation = begin(client)
        url = f"/v1/community/conversations/{conversation}/drafts"
        response = client.post(url, json={"models": ["small", "large"], "content": "Which?"})
        assert response.status_code == 503
        assert [m["role"] for m in read(client, conversation)["messages"]] == ["user"]
    assert len(hub.desk.closed) == 2


def test_another_accounts_conversation_is_not_there(hub: CommunityHub) -> None:
    with hub.client() as ann, hub.client("cw-bob") as bob:
        conversation = begin(ann)
        kept = answer(ann, conversation, "Mine")
        path = f"/v1/community/conversations/{conversation}"
        assert bob.get(path).status_code == 404
        assert bob.patch(path, json={"title": "x"}).status_code == 404
        assert bob.delete(path).status_code == 404
        assert bob.post(f"{path}/messages", json={"model": "small", "content": "x"}).status_code == 404
        thumb = f"/v1/community/messages/{kept['id']}/thumb"
        assert bob.put(thumb, json={"rating": 1}).status_code == 404
        assert bob.get("/v1/community/conversations").json()["data"] == []


def test_what_the_hub_ran_for_an_answer_is_kept(hub: CommunityHub) -> None:
    call = ToolCall(id="c1", name="calculator", arguments='{"expression": "6*7"}')

    def script(ask: Ask) -> list[Any]:
        if ask.request.messages and ask.request.messages[-1].role == "tool":
            return said(f"It is {ask.request.messages[-1].content}.")
        return [Ended(finish="tool_calls", tool_calls=(call,)), Usage(prompt_tokens=1, completion_tokens=1)]

    hub.desk.script = script
    with hub.client() as client:
        conversation = begin(client)
        kept = answer(client, conversation, "What is 6 times 7?", tools=["calculator"])
        found = read(client, conversation)["messages"][1]
        url = f"/v1/community/conversations/{conversation}/messages"
        wrong = client.post(url, json={"model": "small", "content": "x", "tools": ["hammer"]})
    assert kept["content"] == "It is 42."
    assert [(run["name"], run["output"]) for run in kept["tool_runs"]] == [("calculator", "42")]
    assert found["tool_runs"] == kept["tool_runs"]
    assert wrong.status_code == 400


def test_tool_calls_are_kept(hub: CommunityHub) -> None:
    call = ToolCall(id="c1", name="add", arguments='{"a": 1}')
    hub.desk.script = lambda ask: [
        Piece(text=""),
        Ended(finish="tool_calls", tool_calls=(call,)),
        Usage(prompt_tokens=1, completion_tokens=1),
    ]
    with hub.client() as client:
        kept = answer(client, begin(client), "Add")
    assert kept["tool_calls"] == [{"id": "c1", "name": "add", "arguments": '{"a": 1}'}]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "small", "content": ""}, "content"),
        ({"model": "small", "content": " \n"}, "content"),
        ({"model": "small", "content": "a\0b"}, "content"),
        ({"model": "small", "content": "x", "temperature": -1}, "temperature"),
        ({"model": "small", "content": "x", "max_tokens": 0}, "max_tokens"),
        ({"model": "small", "content": "x", "nonsense": 1}, "nonsense"),
        ({"content": "x"}, "model"),
    ],
)
def test_bad_bodies_are_answered_with_the_field(hub: CommunityHub, body: dict[str, Any], param: str) -> None:
    with hub.client() as client:
        response = client.post(f"/v1/community/conversations/{begin(client)}/messages", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_nobody_without_a_key(hub: CommunityHub) -> None:
    assert httpx.get(f"{hub.url}/v1/community/conversations").status_code == 401
    with hub.client("cw-nobody") as client:
        assert client.get("/v1/community/terms").json()["error"]["code"] == "invalid_api_key"
