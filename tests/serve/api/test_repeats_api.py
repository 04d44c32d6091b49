"""A request that is sent again is answered once, and two that are equal on purpose twice."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from api_world import Gate, World, default_script, eventually, raising, running_world
from fastapi.responses import Response

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.errors import Conflict, Overloaded
from commonweal.serve.api.repeats import Attempt, Repeats, claimed

OPTIONS = {"linger_seconds": 30.0}
BODY: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
PATH = "/v1/chat/completions"


def post(
    world: World, count: int | None = None, name: str = "ann", body: Any = BODY, **options: Any
) -> httpx.Response:
    headers = dict(options.pop("headers", {}))
    if count is not None:
        headers["x-stainless-retry-count"] = str(count)
    with world.http(name) as http:
        return http.post(PATH, json=body, headers=headers, **options)


def leave(world: World, count: int | None = 0, **options: Any) -> None:
    """Ask, and be gone before the answer."""
    with pytest.raises(httpx.ReadTimeout):
        post(world, count, timeout=0.3, **options)


def test_equal_requests_on_purpose_are_two(world: World) -> None:
    answers = {post(world, 0).json()["id"], post(world, 0).json()["id"], post(world).json()["id"]}
    assert len(answers) == len(world.desk.asks) == 3


def test_a_repeat_joins_what_its_lost_client_asked(world: World) -> None:
    gate = Gate()
    world.desk.script = gate.script
    leave(world)
    with ThreadPoolExecutor() as pool:
        again = pool.submit(post, world, 1)
        gate.opened.set()
        reply = again.result(10)
    assert reply.status_code == 200
    assert reply.headers["x-commonweal-replayed"] == "true"
    assert reply.json()["id"].removeprefix("chatcmpl-") == world.desk.asks[0].id.removeprefix("req_")
    assert reply.headers["x-request-id"] != world.desk.asks[0].id
    assert len(world.desk.asks) == 1


def test_a_repeat_gets_what_was_answered_to_nobody(world: World) -> None:
    gate = Gate()
    world.desk.script = gate.script
    leave(world)
    gate.opened.set()
    eventually(lambda: world.desk.open == 0)
    assert world.desk.cut == 0
    assert post(world, 1).headers["x-commonweal-replayed"] == "true"
    assert len(world.desk.asks) == 1
    assert "x-commonweal-replayed" not in post(world, 0).headers


def test_the_real_client_repeats_after_its_timeout_and_is_answered_once(world: World) -> None:
    gate = Gate()
    world.desk.script = gate.script
    threading.Timer(0.6, gate.opened.set).start()
    client = world.client(max_retries=3, timeout=0.4)
    answer = client.chat.completions.create(**BODY)
    assert answer.choices[0].message.content
    assert len(world.desk.asks) == 1


def test_a_repeat_joins_a_request_whose_connection_broke_without_a_word(world: World) -> None:
    gate = Gate()
    world.desk.script = gate.script
    with ThreadPoolExecutor() as pool:
        first = pool.submit(post, world, 0)
        eventually(lambda: len(world.desk.asks) == 1)
        second = pool.submit(post, world, 1)
        gate.opened.set()
        assert first.result(10).json() == second.result(10).json()
    assert len(world.desk.asks) == 1


def test_a_repeat_after_an_error_is_a_new_request(world: World) -> None:
    """Also while an equal one, asked on purpose, is under way: their samples stay two."""
    gate = Gate()
    world.desk.script = gate.script
    with ThreadPoolExecutor() as pool:
        first = pool.submit(post, world, 0)
        eventually(lambda: len(world.desk.asks) == 1)
        world.desk.script = raising(Overloaded("busy"))
        assert post(world, 0).status_code == 429
        world.desk.script = default_script
        again = post(world, 1)
        gate.opened.set()
        assert first.result(10).json()["id"] != again.json()["id"]
    assert len(world.desk.asks) == 3


def test_nobodys_request_is_anothers(world: World) -> None:
    post(world, 0, name="ann")
    assert "x-commonweal-replayed" not in post(world, 1, name="bob").headers
    assert "x-commonweal-replayed" not in post(world, 1, body=BODY | {"seed": 1}).headers
    assert len(world.desk.asks) == 3


def test_an_idempotency_key_is_the_request(world: World) -> None:
    headers = {"Idempotency-Key": "k1"}
    first, second = (post(world, headers=headers).json()["id"] for _ in range(2))
    assert first == second
    refused = post(world, headers=headers, body=BODY | {"seed": 1})
    assert (refused.status_code, refused.headers["x-should-retry"]) == (409, "false")
    assert post(world, headers={"Idempotency-Key": "k2"}).json()["id"] != first
    assert post(world, headers={"Idempotency-Key": "k" * 256}).status_code == 400


def test_who_does_not_come_back_is_not_worked_for(database: Database, blobs: Blobs) -> None:
    with running_world(database, blobs, linger_seconds=0.05) as world:
        world.desk.script = Gate().script
        leave(world)
        eventually(lambda: world.desk.open == 0)
        assert world.desk.cut == 1
        leave(world, None)  # a client that does not repeat
        eventually(lambda: world.desk.open == 0)
        world.desk.script = default_script
        assert "x-commonweal-replayed" not in post(world, 1).headers


def attempt(client: Any, running: bool = False) -> Attempt:
    found = Attempt(body=b"", client=client)
    if running:
        found.task = Running()  # type: ignore[assignment]
    return found


class Running:
    def done(self) -> bool:
        return False


def test_which_attempt_a_repeat_repeats() -> None:
    gone, answered, open_ = attempt("gone"), attempt("answered"), attempt("waiting", running=True)
    assert claimed([], 0) is None
    assert claimed([gone, open_, answered], 1) is gone
    assert claimed([open_, answered], 1) == "explained"
    assert claimed([open_, answered], 0) is open_
    assert claimed([answered], 0) is answered


async def _answer(size: int) -> Response:
    return Response(b"x" * size)


async def _nobody_leaves() -> None:
    await asyncio.Event().wait()


def test_answers_are_kept_for_a_time_and_within_a_size() -> None:
    now = [0.0]

    async def story() -> None:
        repeats = Repeats(keep_seconds=30, keep_bytes=10_000, linger_seconds=1, now=lambda: now[0])
        gone = asyncio.create_task(_nobody_leaves())
        for key in range(10):
            begun = repeats.begin(key, b"", _answer(2000))
            await repeats.answered(key, begun, gone, repeats=True)
        kept = [key for key in range(10) if repeats.earlier(key, b"", named=False) is not None]
        assert kept == [7, 8, 9]
        now[0] = 29.0
        assert repeats.earlier(9, b"", named=True) is not None
        with pytest.raises(Conflict):
            repeats.earlier(9, b"other", named=True)
        now[0] = 31.0
        assert repeats.earlier(9, b"", named=True) is None
        repeats.failed("a")
        now[0] = 62.0
        assert repeats.earlier("a", b"", named=False) is None
        assert not repeats._asked
        assert repeats._bytes == 0
        gone.cancel()

    asyncio.run(story())
