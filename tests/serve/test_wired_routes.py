"""Every route that is written is entered, those that the docs tell of are there, and strangers' bytes harm none."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import APIRouter
from fastapi.routing import APIRoute
from hypothesis import given, settings
from whole_hub import Whole

from commonweal.serve import api
from fuzzing import FUZZ

DOCS = Path(__file__).parents[2] / "docs"
TOLD = re.compile(r"(?:(GET|POST|PUT|PATCH|DELETE)[ ,\w]* )?`?(?<![\w.])(/(?:serve/)?v1/[\w/{}.:-]*)")
CONNECT = "/serve/v1/connect"
"""A WebSocket, which OpenAPI does not describe."""
NAMES = re.compile(r"[A-Z_]{2,}|\{\w+(?::path)?\}|:\w+$")
"""How a part of a path that stands for a name is written: {id}, NAME."""


def operations(whole: Whole) -> dict[str, set[str]]:
    """Paths that the hub describes, names left out, and the methods of each."""
    described = httpx.get(f"{whole.url}/openapi.json", timeout=60).json()["paths"]
    made: dict[str, set[str]] = {}
    for path, methods in described.items():
        made.setdefault(NAMES.sub("{}", path), set()).update(method.upper() for method in methods)
    return made


def routes(router: APIRouter, prefix: str = "") -> Iterator[tuple[str, set[str]]]:
    """Paths and methods of its own routes, and of those of the routers in it."""
    for route in router.routes:
        if isinstance(route, APIRoute):
            yield prefix + route.path, route.methods or set()
        else:
            yield from routes(route.original_router, prefix + router.prefix)  # type: ignore[attr-defined]


def test_every_route_that_is_written_is_entered(whole: Whole) -> None:
    there = operations(whole)
    seen = 0
    for module in pkgutil.iter_modules(api.__path__):
        entered = importlib.import_module(f"{api.__name__}.{module.name}")
        for router in vars(entered).values():
            for path, methods in routes(router) if isinstance(router, APIRouter) else ():
                whole_paths = [known for known in there if known.endswith(NAMES.sub("{}", path))]
                assert any(methods <= there[known] for known in whole_paths), f"{module.name}: {path}"
                seen += 1
    assert seen > 60


def test_every_route_of_the_docs_is_there(whole: Whole) -> None:
    there = operations(whole)
    seen = 0
    for page in DOCS.glob("*.md"):
        for method, path in TOLD.findall(page.read_text()):
            path = NAMES.sub("{}", path.rstrip(".:/"))
            if method:
                assert method in there.get(path, set()), f"{page.name}: {method} {path}"
            elif path != CONNECT:
                assert any(known.startswith(path) for known in there), f"{page.name}: {path}"
            seen += 1
    assert seen > 10


def test_responses_are_answered(whole: Whole) -> None:
    whole.publish("tiny")
    user = whole.user(microcredits=10**9)
    with whole.member(whole.registered(whole.keys.join)["key"]), whole.openai(user) as asked:
        answer = asked.responses.create(model="tiny", input="hello", max_output_tokens=20)
    assert answer.output_text


def test_a_score_is_one_number_for_an_answer(whole: Whole) -> None:
    whole.publish("tiny")
    user = whole.user(microcredits=10**9)
    with whole.member(whole.registered(whole.keys.join)["key"]), whole.http(user) as client:
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "continuation": "well met"}
        found = client.post("/serve/v1/score", json=body).raise_for_status().json()
        assert found["object"] == "score"
        assert found["logprob"] == pytest.approx(sum(token["logprob"] for token in found["tokens"]))
        assert len(found["tokens"]) == 2
        assert client.post("/serve/v1/score", json=body | {"prompt": "hi"}).status_code == 400
        assert client.post("/serve/v1/score", json=body | {"continuation": ""}).status_code == 400


def test_a_promotion_changes_what_latest_means(whole: Whole) -> None:
    for name in ("tiny", "tiny-2", "tiny-3"):
        whole.publish(name)
    with whole.http(whole.keys.admin) as client:
        for model in ("tiny-2", "tiny-3"):
            body = {"name": "tiny", "model": model, "record": {"dataset": model}}
            assert client.post("/serve/v1/promotions", json=body).status_code == 201
        told = client.get("/serve/v1/promotions/tiny").json()
        assert [one["model"] for one in told] == ["tiny-3", "tiny-2"]
        assert told[0]["record"] == {"dataset": "tiny-3"}
        assert client.get("/v1/models/tiny:latest").json()["id"] == "tiny-3"
    user = whole.user()
    with whole.http(user) as client:
        body = {"name": "tiny", "model": "tiny-2"}
        assert client.post("/serve/v1/promotions", json=body).status_code in (401, 403, 404)
        assert client.post("/serve/v1/promotions", json=body | {"name": "none"}).status_code == 404


def well_formed(path: str, status: int, content: bytes) -> bool:
    if status < 400:
        return True
    told = json.loads(content)["error"]
    return set(told) == {"message", "type", "param", "code"} and bool(told["message"]) and status < 600


LIKELY = {"model": "tiny", "name": "mine", "prompt": "hi", "continuation": "well", "input": "hi"}


@pytest.mark.timeout(300)
def test_no_request_is_a_mistake_of_the_hub(whole: Whole) -> None:
    """Over all that it describes under /v1 and /serve/v1: a success, or an error in OpenAI's shape that is no 500."""
    whole.publish("tiny")
    headers = {"Authorization": f"Bearer {whole.keys.admin}"}
    schema = schemathesis.openapi.from_url(f"{whole.url}/openapi.json")
    answers: Counter[int] = Counter()
    paths: set[str] = set()
    with whole.member(whole.registered(whole.keys.join)["key"]):
        for found in schema.get_all_operations():
            operation: Any = found.ok()  # type: ignore[union-attr]
            if not operation.path.startswith(("/v1/", "/serve/v1/")):
                continue

            @settings(FUZZ, max_examples=8)
            @given(case=operation.as_strategy())
            def one(case: Any) -> None:
                if isinstance(case.body, dict) and answers.total() % 2:
                    case.body.update({name: value for name, value in LIKELY.items() if name in case.body})
                reply = case.call(headers=headers)
                answers[reply.status_code] += 1
                paths.add(case.path)
                fine = reply.status_code != 500 and well_formed(case.path, reply.status_code, reply.content)
                assert fine, (case.method, case.path, case.body, reply.text[:500])

            one()
    assert len(paths) > 50
    assert answers[200] > 20
    assert answers[400] > 50
