"""Strangers' bytes: whatever is sent, the hub answers with its own kind of error, and never with a 5xx."""

from __future__ import annotations

import hashlib
import json
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from pool_hub import running_hub
from pydantic import ValidationError

from commonweal.app import LARGEST_BODY
from commonweal.core.blobs import open_blobs
from commonweal.core.database import connect
from commonweal.pool import wire
from fuzzing import FUZZ

BODIES = [
    wire.Register,
    wire.LeaseRequest,
    wire.Heartbeat,
    wire.Submit,
    wire.Release,
    wire.UploadRequest,
    wire.NewJob,
    wire.NewKey,
    wire.Revoke,
    wire.Resume,
    wire.Grant,
]
ROLES = ["admin", "user", "join", "member"]


@pytest.fixture(scope="module")
def fuzzed(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One hub for all of this module: what strangers send must not matter to the next."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("create database fuzzed")
    database = connect(postgres_url.replace("/postgres?", "/fuzzed?").replace("@/postgres", "@/fuzzed"))
    folder = tmp_path_factory.mktemp("fuzzed")
    with running_hub(
        database, open_blobs(str(folder / "store")), folder, strangers_a_minute=1_000_000
    ) as hub:
        yield hub
    database.close()


@pytest.fixture(scope="module")
def keys(fuzzed: Any) -> dict[str, str]:
    user = fuzzed.admin.post("/keys", json={"role": "user", "label": "fuzz"}).json()["key"]
    member = fuzzed.member("fuzz").client.headers["Authorization"].removeprefix("Bearer ")
    return {"admin": fuzzed.keys.admin, "join": fuzzed.keys.join, "user": user, "member": member}


def well_formed(reply: httpx.Response) -> bool:
    """Success, or an error in the documented shape."""
    if reply.status_code < 400:
        return True
    told = wire.ErrorBody.model_validate_json(reply.content).error
    assert told.message
    assert told.code
    assert told.type == ("server_error" if reply.status_code >= 500 else "invalid_request_error")
    return reply.status_code < 500


def fuzz(fuzzed: Any, key: str, examples: int) -> Counter[int]:
    """The numbers of answers by status."""
    answers: Counter[int] = Counter()
    schema = schemathesis.openapi.from_url(f"{fuzzed.url}/openapi.json")

    @schema.parametrize()
    def unused(case: Any) -> None: ...

    for found in schema.get_all_operations():
        operation = found.ok()
        if not operation.path.startswith(wire.PREFIX):
            continue

        @settings(FUZZ, max_examples=examples)
        @given(case=operation.as_strategy())
        def one(case: Any) -> None:
            if isinstance(case.body, dict) and "wait" in case.body:
                case.body["wait"] = 0
            if case.path.endswith("/lease") and not (isinstance(case.body, dict) and "wait" in case.body):
                return
            reply = case.call(headers={"Authorization": f"Bearer {key}"})
            answers[reply.status_code] += 1
            assert well_formed(_as_httpx(reply)), (
                case.method,
                case.path,
                reply.status_code,
                reply.text[:500],
            )

        one()
    return answers


def _as_httpx(reply: Any) -> httpx.Response:
    return httpx.Response(reply.status_code, content=reply.content)


@pytest.mark.parametrize(("role", "examples"), [("admin", 8), ("member", 6), ("user", 3)])
def test_no_request_is_answered_with_a_mistake_of_the_hub(
    fuzzed: Any, keys: dict[str, str], role: str, examples: int
) -> None:
    answers = fuzz(fuzzed, keys[role], examples)
    assert answers[200] > examples
    assert answers[404] + answers[422] > examples
    assert fuzzed.admin.get("/hello").status_code == 200


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("body", BODIES, ids=lambda b: b.__name__)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_body_is_refused_or_can_be_stored(body: type[wire.Body], data: st.DataObject) -> None:
    """Whatever passes the check is JSON that PostgreSQL takes: no NaN, no NUL, no half surrogate pair."""
    fields = {name: data.draw(json_values, label=name) for name in body.model_fields}
    try:
        accepted = body.model_validate(fields)
    except ValidationError:
        return
    text = json.dumps(accepted.model_dump(), allow_nan=False, ensure_ascii=False)
    assert "\\u0000" not in text
    text.encode()


@pytest.mark.parametrize(
    "report",
    [
        '{"a": NaN}', '{"a": -Infinity}', '{"a": "\\u0000"}', '{"\\ud800": 1}', '{"a": ["\\udfff"]}', "[]", '"x"', "7",
        '{"a": ' + "[" * 40 + "]" * 40 + "}", '{"a": 1' + "0" * 30 + "}", '{"a": 1e999}',
    ],
)  # fmt: skip
def test_what_cannot_be_stored_is_422(fuzzed: Any, keys: dict[str, str], report: str) -> None:
    text = f'{{"fence": 1, "amount_done": 1, "seconds": 1, "report": {report}}}'
    reply = send(fuzzed, keys["member"], "/units/unit_0123456789abcdef/submit", text.encode())
    assert well_formed(reply)
    assert reply.status_code == 422, reply.text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"1" * 5000,
        b"null",
        b"[]",
        b'"\\ud800"',
    ],
)
@pytest.mark.parametrize(
    "path", ["/heartbeat", "/lease", "/members", "/jobs", "/keys", "/keys/revoke", "/uploads"]
)
def test_not_json_is_a_clear_refusal(fuzzed: Any, path: str, content: bytes) -> None:
    key = fuzzed.keys.join if path == "/members" else fuzzed.keys.admin
    reply = send(fuzzed, key, path, content)
    assert well_formed(reply)
    assert reply.status_code in (400, 401, 422)


def send(fuzzed: Any, key: str, path: str, content: Any) -> httpx.Response:
    with fuzzed.client(key) as client:
        return client.post(path, content=content, headers={"Content-Type": "application/json"})


def test_surrogates_in_what_the_error_repeats(fuzzed: Any) -> None:
    reply = send(fuzzed, fuzzed.keys.admin, "/jobs", b'{"kind": "\\ud800", "name": "x"}')
    assert reply.status_code == 422
    assert well_formed(reply)
    reply = send(fuzzed, fuzzed.keys.admin, "/keys/revoke", b'{"account": "\\ud800"}')
    assert reply.status_code == 422


def test_too_large_a_body_is_413_whether_it_says_so_or_not(fuzzed: Any, keys: dict[str, str]) -> None:
    large = b'{"state": "' + b"x" * LARGEST_BODY + b'"}'
    said = send(fuzzed, keys["member"], "/heartbeat", large)
    chunked = send(
        fuzzed,
        keys["member"],
        "/heartbeat",
        iter([large[i : i + 65536] for i in range(0, len(large), 65536)]),
    )
    for reply in (said, chunked):
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "too_large")


def test_a_job_may_be_larger_than_other_bodies(fuzzed: Any) -> None:
    blobs = ["0" * 64] * 30_000
    body = {"kind": "count", "name": "many", "spec": {}, "blobs": blobs, "request_id": "many-blobs"}
    reply = fuzzed.admin.post("/jobs", json=body)
    assert reply.status_code == 422
    assert "was not uploaded" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/%00", "/jobs/job_%00", "/jobs/%ED%A0%80", "/jobs/..%2f..%2fetc", "/blobs/" + "0" * 63,
        "/blobs/" + "G" * 64, "/blobs/..%2F..%2Fpasswd", "/jobs?status=%00", "/jobs?limit=1e9", "/jobs?limit=-1",
        "/credits/history?account=%00", "/credits/history?account=%ED%A0%80",
        "/credits/history?before=99999999999999999999",
        "/jobs/job_0123456789abcdef/rounds?after=99999999999999999999", "/nothing/here", "/members?limit=x",
    ],
)  # fmt: skip
def test_odd_paths_and_queries(fuzzed: Any, path: str) -> None:
    reply = fuzzed.admin.get(path)
    assert well_formed(reply)
    assert reply.status_code in (404, 422)


@pytest.mark.parametrize(("method", "path"), [("GET", "/lease"), ("DELETE", "/jobs"), ("PUT", "/heartbeat")])
def test_a_wrong_method_is_405(fuzzed: Any, method: str, path: str) -> None:
    reply = fuzzed.admin.request(method, path)
    assert (reply.status_code, reply.json()["error"]["code"]) == (405, "method_not_allowed")


def test_every_route_but_the_public_ones_wants_a_valid_key(fuzzed: Any, pool_app: FastAPI) -> None:
    paths = pool_app.openapi()["paths"]
    asked = 0
    for path, methods in paths.items():
        real = path.format(
            unit="unit_" + "0" * 16, blob="0" * 64, job="job_" + "0" * 16, member="mem_" + "0" * 16
        )
        for method, operation in methods.items():
            if path.endswith(("/hello", "/credits/export")):
                continue
            body = _valid_body(operation)
            for header in (None, "Bearer cwmember-wrong", "Basic x", "Bearer"):
                headers = {} if header is None else {"Authorization": header}
                reply = httpx.request(
                    method, fuzzed.url + real, headers=headers, json=body, params={"offset": 0, "size": 1}
                )
                assert reply.status_code == 401, (method, path, reply.text)
                assert reply.headers["WWW-Authenticate"] == "Bearer"
                asked += 1
    assert asked > 80


def _valid_body(operation: dict[str, Any]) -> Any:
    """The least body that passes, so that what refuses the request is the missing key."""
    least: dict[str, Any] = {
        "Register": {"name": "x", "client_version": "9", "roles": ["train"], "request_id": "request-1"},
        "LeaseRequest": {
            "roles": ["train"],
            "kinds": [],
            "wait": 0,
            "free_memory": 0,
            "request_id": "request-1",
        },
        "Heartbeat": {"state": "idle"},
        "Submit": {"fence": 0, "amount_done": 0, "seconds": 0, "report": {}},
        "Release": {"fence": 0},
        "UploadRequest": {"hash": "0" * 64, "size": 0},
        "NewJob": {"kind": "count", "name": "x", "spec": {}, "request_id": "request-1"},
        "NewKey": {"role": "user", "label": "x"},
        "Grant": {"account": "x", "microcredits": 1, "request_id": "request-1"},
    }
    if "requestBody" not in operation:
        return None
    name = (
        operation["requestBody"]["content"]["application/json"]["schema"].get("$ref", "").rsplit("/", 1)[-1]
    )
    return least.get(name, {"account": "x"})


@pytest.mark.parametrize("role", ROLES)
def test_a_key_opens_only_what_it_is_for(fuzzed: Any, keys: dict[str, str], role: str) -> None:
    with fuzzed.client(keys[role]) as client:
        assert (client.post("/keys", json={"role": "user", "label": role}).status_code == 201) is (
            role == "admin"
        )
        assert (client.get("/jobs").status_code == 200) is (role != "join")
        assert (client.post("/heartbeat", json={"state": "idle"}).status_code == 200) is (role == "member")


def test_another_users_job_is_not_mine_to_stop(fuzzed: Any, keys: dict[str, str]) -> None:
    job = fuzzed.submit_job(units=0)
    with fuzzed.client(keys["user"]) as client:
        for action in ("cancel", "pause", "resume"):
            reply = client.post(f"/jobs/{job}/{action}", json={"budget": 0} if action == "resume" else None)
            assert reply.status_code == 404
    assert fuzzed.admin.post(f"/jobs/{job}/cancel").json()["status"] == "cancelled"


@pytest.mark.parametrize(
    ("header", "status", "length"),
    [
        ("bytes=0-", 200, 10), ("bytes=3-", 206, 7), ("bytes=3-5", 206, 3), ("bytes=3-999", 206, 7),
        ("bytes=9-9", 206, 1), ("bytes=10-", 416, None), ("bytes=5-3", 200, 10), ("bytes=-3", 200, 10),
        ("bytes=0-1,4-5", 200, 10), ("bytes=x-", 200, 10), ("lines=1-2", 200, 10), ("", 200, 10),
        ("bytes=" + "9" * 40 + "-", 200, 10), ("bytes=99999999999-", 416, None),
    ],
)  # fmt: skip
def test_ranges(fuzzed: Any, keys: dict[str, str], header: str, status: int, length: int | None) -> None:
    data = b"0123456789"
    name = hashlib.sha256(data).hexdigest()
    with fuzzed.client(keys["member"]) as client:
        client.patch(f"/uploads/{name}", params={"offset": 0, "size": 10}, content=data)
        reply = client.get(f"/blobs/{name}", headers={"Range": header})
    assert reply.status_code == status
    assert well_formed(reply)
    if length is None:
        assert reply.headers["Content-Range"] == "bytes */10"
    else:
        assert len(reply.content) == length


def test_an_announced_size_that_is_not_true(fuzzed: Any, keys: dict[str, str]) -> None:
    with fuzzed.client(keys["member"]) as client:
        assert client.post("/uploads", json={"hash": "a" * 64, "size": 2**40}).status_code == 413
        where = {"offset": 0, "size": 2**39}
        assert client.patch(f"/uploads/{'a' * 64}", params=where, content=b"x").status_code == 413
        assert (
            client.patch(f"/uploads/{'b' * 64}", params={"offset": 5, "size": 9}, content=b"x").status_code
            == 409
        )


def test_claims_beyond_belief_do_not_spread(fuzzed: Any, keys: dict[str, str]) -> None:
    """Speeds stay finite whatever a member claims: the planner reads them."""
    transfers = {"up_bytes": 2**53, "up_seconds": 5e-324, "down_bytes": 2**53, "down_seconds": 1e-300}
    data = b"believe me" * 10_000
    name = hashlib.sha256(data).hexdigest()
    with fuzzed.client(keys["member"]) as client:
        where = {"offset": 0, "size": len(data)}
        assert client.patch(f"/uploads/{name}", params=where, content=data).status_code == 200
        assert client.get(f"/blobs/{name}").content == data
        for slow in (transfers, transfers | {"up_seconds": 1e7, "down_seconds": 1e7}):
            assert client.post("/heartbeat", json={"state": "idle", "transfers": slow}).status_code == 200
    rows = [m for m in fuzzed.admin.get("/members").json() if m["upload"] is not None]
    assert rows
    assert all(1.0 < m["upload"] <= 1e11 for m in rows)
    assert all(1.0 < m["download"] <= 1e11 for m in rows if m["download"] is not None)


def test_a_broken_request_line_does_not_stop_the_hub(fuzzed: Any) -> None:
    host, port = fuzzed.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as raw:
        raw.sendall(b"\x00\xff NONSENSE\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400")
    assert httpx.get(f"{fuzzed.url}/pool/v1/hello").status_code == 200


def test_every_route_documents_its_errors_in_our_shape(pool_app: FastAPI) -> None:
    schema = pool_app.openapi()
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if status == "default" or int(status) >= 400:
                    shape = response["content"]["application/json"]["schema"]["$ref"]
                    assert shape.endswith("/ErrorBody"), (path, status)
            assert {"default", "422", "503"} <= set(operation["responses"])


def test_every_route_says_what_it_does(pool_app: FastAPI) -> None:
    operations = [op for methods in pool_app.openapi()["paths"].values() for op in methods.values()]
    assert len(operations) > 20
    assert [op["operationId"] for op in operations if not op.get("description")] == []
