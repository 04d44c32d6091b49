"""Strangers' bytes at files, fine-tuning and batches: every answer is a success or an error in OpenAI's shape, never a
5xx."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
import schemathesis
from hypothesis import given, settings
from job_api import Api, add_model, running_api

from commonweal.core.blobs import open_blobs
from commonweal.core.database import connect
from commonweal.serve.api.complaints import complaint
from commonweal.serve.tuning.recipe import model_name
from fuzzing import FUZZ
from tuning_fakes import FakeTrainer

HEADERS = {"Authorization": "Bearer key-ann"}


@pytest.fixture(scope="module")
def fuzzed(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("create database fuzzed_jobs")
    database = connect(
        postgres_url.replace("/postgres?", "/fuzzed_jobs?").replace("@/postgres", "@/fuzzed_jobs")
    )
    blobs = open_blobs(str(tmp_path_factory.mktemp("fuzzed") / "store"))
    add_model(database, blobs)
    with running_api(database, blobs, trainer=FakeTrainer(blobs)) as api:
        yield api
    database.close()


@pytest.fixture(scope="module")
def there(fuzzed: Api) -> dict[str, str]:
    """Ids of things that are there, so that not every request ends at an unknown one."""
    client = fuzzed.client()
    file = client.files.create(file=("a.jsonl", b"one\n"), purpose="fine-tune").id
    lines = client.files.create(file=("b.jsonl", b"{}\n"), purpose="batch").id
    job = client.fine_tuning.jobs.create(model="tiny", training_file=file).id
    batch = client.batches.create(
        input_file_id=lines, endpoint="/v1/chat/completions", completion_window="24h"
    ).id
    return {"file": file, "job": job, "batch": batch}


def well_formed(status: int, content: bytes) -> bool:
    if status < 400:
        return True
    told = json.loads(content)["error"]
    return set(told) == {"message", "type", "param", "code"} and bool(told["message"]) and status < 500


def test_no_request_is_a_mistake_of_the_hub(fuzzed: Api, there: dict[str, str]) -> None:
    answers: Counter[int] = Counter()
    schema = schemathesis.openapi.from_url(f"{fuzzed.url}/openapi.json")

    @schema.parametrize()
    def unused(case: Any) -> None: ...

    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(FUZZ, max_examples=12)
        @given(case=operation.as_strategy())
        def one(case: Any) -> None:
            if case.path_parameters and case.method != "DELETE" and answers.total() % 2:
                case.path_parameters.update({k: v for k, v in there.items() if k in case.path_parameters})
            reply = case.call(headers=HEADERS)
            answers[reply.status_code] += 1
            assert well_formed(reply.status_code, reply.content), (case.method, case.path, reply.text[:500])

        one()
    assert answers[200] > 20
    assert answers[400] > 10
    assert answers[404] > 20


@pytest.mark.parametrize(
    "path",
    [
        "files",
        "fine_tuning/jobs",
        "batches",
        "fine_tuning/jobs/{job}/events",
        "fine_tuning/jobs/{job}/checkpoints",
    ],
)
@pytest.mark.parametrize(
    "query",
    ["after=%00", "limit=-1", "limit=99999999999999999999", "limit=x", "order=sideways", "metadata[a%00]=b",
     "metadata[a]=%00", "metadata[]=1", "metadata=null", "after=" + "x" * 5000, "purpose=%00"],
)  # fmt: skip
def test_queries(fuzzed: Api, there: dict[str, str], path: str, query: str) -> None:
    reply = httpx.get(f"{fuzzed.url}/v1/{path.format(**there)}?{query}", headers=HEADERS)
    assert well_formed(reply.status_code, reply.content), reply.text


@pytest.mark.parametrize("path", ["fine_tuning/jobs", "fine_tuning/estimate", "batches"])
@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{", b'"x"', b"\xff", b'{"model": "\\ud800", "training_file": "\\u0000"}',
     b'{"model": "tiny", "training_file": "x", "seed": 1e999}', b'{"a":' * 5000 + b"1" + b"}" * 5000,
     b'{"input_file_id": "\\u0000", "endpoint": "/v1/embeddings", "completion_window": "24h"}',
     b'{"model": "tiny", "training_file": "x", "metadata": {"\\ud83d": "x"}}'],
)  # fmt: skip
def test_bodies(fuzzed: Api, path: str, body: bytes) -> None:
    headers = HEADERS | {"Content-Type": "application/json"}
    reply = httpx.post(f"{fuzzed.url}/v1/{path}", content=body, headers=headers)
    assert reply.status_code >= 400
    assert well_formed(reply.status_code, reply.content), reply.text


@pytest.mark.parametrize(
    "path",
    ["files/..%2f..%2fetc%2fpasswd", "files/%00", "files/a%00b/content", "fine_tuning/jobs/%00/cancel",
     "batches/%ff%fe", "files/" + "x" * 3000, "fine_tuning/jobs/a%2fb"],
)  # fmt: skip
def test_paths(fuzzed: Api, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "PUT"):
        reply = httpx.request(method, f"{fuzzed.url}/v1/{path}", headers=HEADERS)
        assert reply.status_code in (400, 404, 405), (method, reply.text)
        assert well_formed(reply.status_code, reply.content)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(fuzzed: Api) -> None:
    host, port = fuzzed.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-ann\r\n"
            b"Content-Type: application/json\r\nContent-Length: 1000000000000\r\n\r\n{"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")


def test_errors_have_codes() -> None:
    assert complaint(ZeroDivisionError("secret")).body()["error"]["code"] == "internal_error"
    assert model_name("a" * 120, "b" * 40, "ftjob_0123456789abcdef", step=10**9).startswith("ft:aaa")
    assert len(model_name("a" * 120, "b" * 40, "ftjob_0123456789abcdef", step=10**6)) <= 120
