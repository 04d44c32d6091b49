"""Batches over HTTP, by the openai client: every line asked once, whatever dies, and told in OpenAI's files."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from job_api import Api, add_model, running_api
from openai.types.chat import ChatCompletion

from commonweal.core.blobs import Blobs
from commonweal.core.clock import ManualClock
from commonweal.core.database import Database
from commonweal.core.errors import Unavailable
from commonweal.serve.api.batch_asking import answerer
from commonweal.serve.batches import orders
from commonweal.serve.batches.loop import Batcher, BatchOptions
from commonweal.serve.batches.reading import check, split

CHAT = "/v1/chat/completions"
QUICK = BatchOptions(at_once=4, tick_seconds=0.01, pause_seconds=0.01)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1e6)


@pytest.fixture
def batching(database: Database, blobs: Blobs, clock: ManualClock) -> Iterator[Api]:
    add_model(database, blobs)
    with running_api(database, blobs, clock=clock) as running:
        yield running


def line(number: int, *, url: str = CHAT, **body: Any) -> dict[str, Any]:
    asked = {"model": "tiny", "messages": [{"role": "user", "content": f"hello {number}"}], **body}
    return {"custom_id": f"line-{number}", "method": "POST", "url": url, "body": asked}


def upload(client: openai.OpenAI, lines: list[Any]) -> str:
    content = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines).encode()
    return client.files.create(file=("in.jsonl", content), purpose="batch").id


def create(client: openai.OpenAI, lines: list[Any], endpoint: Any = CHAT, **asked: Any) -> Any:
    file = upload(client, lines)
    return client.batches.create(input_file_id=file, endpoint=endpoint, completion_window="24h", **asked)


def drive(api: Api, batch: str, options: BatchOptions = QUICK) -> None:
    async def run() -> None:
        serve = api.serve
        await Batcher(serve.database, serve.blobs, answerer(serve), serve.clock, options).drive(batch)

    asyncio.run(run())


def told(client: openai.OpenAI, file: str | None) -> list[dict[str, Any]]:
    assert file is not None
    return [json.loads(text) for text in client.files.content(file).read().splitlines()]


def test_every_line_is_answered_in_a_file(batching: Api) -> None:
    client = batching.client()
    batch = create(client, [line(n) for n in range(9)], metadata={"for": "test"})
    assert (batch.object, batch.status, batch.endpoint) == ("batch", "validating", CHAT)
    assert batch.expires_at == batch.created_at + 86_400
    drive(batching, batch.id)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.metadata, batch.model) == ("completed", {"for": "test"}, "tiny")
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (9, 9, 0)
    assert batch.usage is not None
    assert (batch.usage.input_tokens, batch.usage.output_tokens, batch.usage.total_tokens) == (27, 18, 45)
    assert batch.usage.input_tokens_details.cached_tokens == 9
    assert batch.in_progress_at
    assert batch.finalizing_at
    assert batch.completed_at
    assert batch.error_file_id is None
    answers = told(client, batch.output_file_id)
    assert [answer["custom_id"] for answer in answers] == [f"line-{n}" for n in range(9)]
    response = answers[3]["response"]
    assert (response["status_code"], answers[3]["error"]) == (200, None)
    completion = ChatCompletion.model_validate(response["body"], strict=True)
    assert completion.choices[0].message.content == "echo hello 3"
    file = client.files.retrieve(str(batch.output_file_id))
    assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")
    asked = batching.desk.asked
    assert len(asked) == len({ask.id for ask in asked}) == 9
    assert {(ask.account, ask.priority < 0) for ask in asked} == {("ann", True)}


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/completions", {"model": "tiny", "prompt": "a"}),
        ("/v1/embeddings", {"model": "tiny", "input": "a"}),
        ("/v1/responses", {"model": "tiny", "input": "a"}),
    ],
)
def test_other_endpoints(batching: Api, endpoint: str, body: dict[str, Any]) -> None:
    client = batching.client()
    one = {"custom_id": "x", "method": "POST", "url": endpoint, "body": body}
    batch = create(client, [one], endpoint)
    drive(batching, batch.id)
    batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed", batch
    (answer,) = told(client, batch.output_file_id)
    assert answer["response"]["body"]["object"] in ("text_completion", "list", "response")
    assert batch.usage.input_tokens > 0


def test_what_fails_is_in_the_file_of_errors(batching: Api) -> None:
    client = batching.client()
    batching.desk.answer = lambda ask: "FAIL" if ask.request.messages[-1].content == "hello 1" else "fine"  # type: ignore[index]
    lines = [line(0), line(1), line(2, model="unknown"), line(3, temperature=9), line(4, messages=[])]
    batch = create(client, lines)
    drive(batching, batch.id)
    batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed"
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 4)
    assert batch.model is None
    errors = told(client, batch.error_file_id)
    codes = [(one["response"]["status_code"], one["response"]["body"]["error"]["code"]) for one in errors]
    assert codes[:2] == [(400, "context_length_exceeded"), (404, "model_not_found")]
    assert {status for status, _ in codes[2:]} == {400}


def test_an_input_that_cannot_be_read_fails_with_its_lines(batching: Api) -> None:
    client = batching.client()
    missing = {"custom_id": "m", "method": "POST", "url": CHAT}
    lines = [
        line(0),
        "not json",
        "[1]",
        line(0),
        line(4) | {"url": "/v1/embeddings"},
        line(5) | {"method": "GET"},
        missing,
        line(7) | {"body": "x"},
        line(8, stream=True),
        line(9) | {"custom_id": ""},
        line(10) | {"custom_id": 7},
    ]
    batch = create(client, lines)
    drive(batching, batch.id)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("failed", None, None)
    assert batch.failed_at
    found = [(error.line, error.code, error.param) for error in batch.errors.data]
    assert found == [
        (2, "invalid_json_line", None),
        (3, "invalid_json_line", None),
        (4, "duplicate_custom_id", "custom_id"),
        (5, "mismatched_url", "url"),
        (6, "invalid_method", "method"),
        (7, "missing_required_parameter", "body"),
        (8, "invalid_body", "body"),
        (9, "unsupported_parameter", "body.stream"),
        (10, "invalid_custom_id", "custom_id"),
        (11, "invalid_custom_id", "custom_id"),
    ]
    assert batching.desk.asked == []
    empty = create(client, ["", "  "])
    drive(batching, empty.id)
    assert client.batches.retrieve(empty.id).errors.data[0].code == "empty_file"  # type: ignore[union-attr, index]


def test_nobody_having_time_is_no_error(batching: Api) -> None:
    client = batching.client()
    batching.desk.busy = 7
    batch = create(client, [line(n) for n in range(3)])
    drive(batching, batch.id)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.request_counts.completed) == ("completed", 3)
    assert len(batching.desk.asked) == 10


def test_a_model_that_nobody_serves_holds_up_no_other_batch(
    batching: Api, database: Database, blobs: Blobs
) -> None:
    add_model(database, blobs, "lonely")
    client = batching.client()
    stuck = create(client, [line(n, model="lonely") for n in range(9)])
    other = create(client, [line(n) for n in range(9)])

    def answer(ask: Any) -> str:
        if ask.request.model == "lonely":
            raise Unavailable("nobody serves it")
        return "fine"

    batching.desk.answer = answer

    async def run() -> None:
        serve = batching.serve
        options = BatchOptions(at_once=2, tick_seconds=0.01, pause_seconds=30.0)
        batcher = Batcher(serve.database, serve.blobs, answerer(serve), serve.clock, options)
        first = asyncio.create_task(batcher.drive(stuck.id))
        while len(batching.desk.asked) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await asyncio.wait_for(batcher.drive(other.id), 20)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    asyncio.run(run())
    assert client.batches.retrieve(other.id).status == "completed"
    assert client.batches.retrieve(stuck.id).request_counts.completed == 0  # type: ignore[union-attr]


def test_what_is_answered_is_never_asked_again(batching: Api, database: Database) -> None:
    """The process dies after each number of answers; others go on."""
    client = batching.client()
    batch = create(client, [line(n) for n in range(12)])

    for died in range(1, 12):
        begun = len(batching.desk.asked)

        async def run(died: int = died, begun: int = begun) -> None:
            serve = batching.serve
            batcher = Batcher(serve.database, serve.blobs, answerer(serve), serve.clock, QUICK)
            task = asyncio.create_task(batcher.drive(batch.id))
            while not task.done() and len(batching.desk.asked) < begun + 1 + died % 3:  # noqa: ASYNC110
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(run())
        with database.transaction() as connection:
            before = orders.answered(connection, batch.id)
        asked = {ask.request.messages[-1].content for ask in batching.desk.asked[begun:]}  # type: ignore[index]
        with database.transaction() as connection:
            assert before <= orders.answered(connection, batch.id)
        batching.desk.answer = lambda ask, seen=died: f"by process {seen}"  # type: ignore[misc]
        assert asked or client.batches.retrieve(batch.id).status != "in_progress"
    drive(batching, batch.id)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.request_counts.completed) == ("completed", 12)
    assert [answer["custom_id"] for answer in told(client, batch.output_file_id)] == [
        f"line-{n}" for n in range(12)
    ]


def test_an_answer_that_is_there_stays(batching: Api, database: Database) -> None:
    client = batching.client()
    batch = create(client, [line(n) for n in range(3)])
    kept = json.dumps({"custom_id": "line-1", "kept": True})
    with database.transaction() as connection:
        assert orders.keep(connection, batch.id, orders.Answered(line=2, good=True, body=kept))
        assert not orders.keep(connection, batch.id, orders.Answered(line=2, good=False, body="other"))
    drive(batching, batch.id)
    answers = told(client, client.batches.retrieve(batch.id).output_file_id)
    assert answers[1] == {"custom_id": "line-1", "kept": True}
    asked = {ask.request.messages[-1].content for ask in batching.desk.asked}  # type: ignore[index]
    assert asked == {"hello 0", "hello 2"}


def test_a_death_while_the_files_are_written_changes_nothing(
    batching: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = batching.client()
    batch = create(client, [line(n) for n in range(3)])
    forget = orders.forget_answers

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(orders, "forget_answers", dies)
    with pytest.raises(KeyboardInterrupt):
        drive(batching, batch.id)
    between = client.batches.retrieve(batch.id)
    assert (between.status, between.output_file_id) == ("finalizing", None)
    assert list(client.files.list(purpose="batch_output")) == []
    monkeypatch.setattr(orders, "forget_answers", forget)
    drive(batching, batch.id)
    assert client.batches.retrieve(batch.id).status == "completed"
    assert len(client.files.list(purpose="batch_output").data) == 1
    assert len(batching.desk.asked) == 3


def test_cancelling_keeps_what_was_answered(batching: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is answered while its batch is being cancelled, too, however long the database takes to keep it."""
    client, keep = batching.client(), orders.keep

    def kept_slowly(*given: Any) -> bool:
        time.sleep(0.1)
        return keep(*given)

    monkeypatch.setattr(orders, "keep", kept_slowly)
    batch = create(client, [line(n) for n in range(6)])

    def answer(ask: Any) -> str:
        if len(batching.desk.asked) == 3:
            assert client.batches.cancel(batch.id).status == "cancelling"
            batching.desk.busy = 10**6
        return "fine"

    batching.desk.answer = answer
    drive(batching, batch.id, BatchOptions(at_once=1, tick_seconds=0.01, pause_seconds=0.01))
    after = client.batches.retrieve(batch.id)
    assert after.status == "cancelled"
    assert after.cancelling_at
    assert after.cancelled_at
    assert 2 <= after.request_counts.completed <= 3  # type: ignore[union-attr]
    assert len(told(client, after.output_file_id)) == after.request_counts.completed  # type: ignore[union-attr]
    with batching.serve.database.transaction() as connection:
        assert not orders.answered(connection, batch.id), "an answer came after the files were written"
    assert client.batches.cancel(batch.id).status == "cancelled"
    done = create(client, [line(0)])
    batching.desk.busy = 0
    drive(batching, done.id)
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(done.id)
    early = create(client, [line(0)])
    client.batches.cancel(early.id)
    drive(batching, early.id)
    assert client.batches.retrieve(early.id).status == "cancelled"


def test_what_is_not_answered_in_a_day_expires(batching: Api, clock: ManualClock) -> None:
    client = batching.client()
    batch = create(client, [line(n) for n in range(5)])

    def answer(ask: Any) -> str:
        if len(batching.desk.asked) == 2:
            clock.sleep(90_000)
            batching.desk.busy = 10**6
        return "fine"

    batching.desk.answer = answer
    drive(batching, batch.id, BatchOptions(at_once=1, tick_seconds=0.01, pause_seconds=0.01))
    after = client.batches.retrieve(batch.id)
    assert after.status == "expired"
    errors = told(client, after.error_file_id)
    assert {error["error"]["code"] for error in errors} == {"batch_expired"}
    assert after.request_counts is not None
    assert after.request_counts.failed == len(errors) >= 3
    assert after.request_counts.completed == 5 - len(errors)


def test_lists_are_paged_and_nobody_elses(batching: Api, clock: ManualClock) -> None:
    ann, bob = batching.client("ann"), batching.client("bob")
    made = []
    for _ in range(5):
        made.append(create(ann, [line(0)]).id)
        clock.sleep(1)
    assert [batch.id for batch in ann.batches.list(limit=2)] == made[::-1]
    assert list(bob.batches.list()) == []
    for call in (bob.batches.retrieve, bob.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            call(made[0])
    with pytest.raises(openai.NotFoundError):
        bob.batches.list(after=made[0])
    file = ann.batches.retrieve(made[0]).input_file_id
    with pytest.raises(openai.NotFoundError) as caught:
        bob.batches.create(input_file_id=file, endpoint=CHAT, completion_window="24h")
    assert caught.value.param == "input_file_id"


def test_a_private_model_is_not_reached_through_a_batch(
    batching: Api, database: Database, blobs: Blobs
) -> None:
    add_model(database, blobs, "private", owner="ann", public=False)
    bob = batching.client("bob")
    batch = create(bob, [line(0, model="private")])
    drive(batching, batch.id)
    (error,) = told(bob, bob.batches.retrieve(batch.id).error_file_id)
    assert error["response"]["body"]["error"]["code"] == "model_not_found"


def test_bodies_that_cannot_be(batching: Api) -> None:
    client = batching.client()
    file = upload(client, [line(0)])
    other = client.files.create(file=("a", b"x"), purpose="user_data").id
    for asked, param in (
        ({"input_file_id": other}, "input_file_id"),
        ({"endpoint": "/v1/moderations"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {"k": "x" * 600}}, "metadata.k"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after.seconds"),
    ):
        whole: dict[str, Any] = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
        with pytest.raises(openai.BadRequestError) as caught:
            client.batches.create(**whole | asked)
        assert caught.value.param == param


def test_outputs_expire_where_that_is_asked_for(batching: Api, clock: ManualClock) -> None:
    client = batching.client()
    batch = create(client, [line(0)], output_expires_after={"anchor": "created_at", "seconds": 3600})
    drive(batching, batch.id)
    output = str(client.batches.retrieve(batch.id).output_file_id)
    assert client.files.retrieve(output).expires_at == clock.now() + 3600


def test_the_loop_finds_batches_and_goes_on_past_a_mistake(batching: Api) -> None:
    client = batching.client()
    made = [create(client, [line(0), line(1)]).id for _ in range(3)]

    async def run() -> None:
        serve = batching.serve
        batcher = Batcher(serve.database, serve.blobs, answerer(serve), serve.clock, QUICK)
        validate, failed = batcher._validate, list[str]()

        def sometimes(batch: Any) -> None:
            if batch.id == made[1] and not failed:
                failed.append(batch.id)
                raise ZeroDivisionError
            validate(batch)

        batcher._validate = sometimes  # type: ignore[method-assign]
        task = asyncio.create_task(batcher.run())
        for _ in range(2000):
            await asyncio.sleep(0.01)
            if not await asyncio.to_thread(batcher.waiting):
                break
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert failed

    asyncio.run(run())
    assert {client.batches.retrieve(batch).status for batch in made} == {"completed"}


@given(st.lists(st.binary(max_size=12)), st.integers(1, 7))
@settings(max_examples=200, deadline=None)
def test_lines_do_not_depend_on_how_they_come(lines: list[bytes], size: int) -> None:
    whole = b"\n".join(lines)
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert list(split(pieces)) == list(split([whole]))


@given(st.lists(st.binary(max_size=40) | st.text(max_size=40).map(str.encode), max_size=5))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_an_input_or_told_what_is_wrong(lines: list[bytes]) -> None:
    found = check(split([b"\n".join(lines)]), CHAT)
    assert found.errors
