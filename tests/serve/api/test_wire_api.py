"""Strangers' bytes: whatever is sent, the answer has OpenAI's shape, and never is a mistake of the hub."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from api_world import World, identify, running_world
from hypothesis import given, settings
from hypothesis import strategies as st

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.errors import NotAuthorized, Overloaded
from commonweal.serve.api.context import Account, Serve
from commonweal.serve.api.errors import LARGEST_BODY, OpenAIError
from fuzzing import FUZZ

OPTIONS = {"requests_per_minute": 10**7, "tokens_per_minute": 10**12}
JSON = {"Content-Type": "application/json"}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "tiny", "messages": [{"role": "user", "content": "x"}]},
    "/v1/completions": {"model": "tiny", "prompt": "x"},
    "/v1/embeddings": {"model": "tiny", "input": "x"},
    "/v1/responses": {"model": "tiny", "input": "x"},
}


def well_formed(reply: httpx.Response) -> bool:
    """Success, or an error in OpenAI's shape that is no mistake of the hub."""
    assert reply.headers["x-request-id"].startswith("req_")
    if reply.status_code < 400:
        return True
    told = OpenAIError.model_validate_json(reply.content, extra="forbid").error
    assert told.message
    return reply.status_code < 500


@pytest.fixture(scope="module")
def http(module_world: World) -> Iterator[httpx.Client]:
    with module_world.http() as client:
        yield client


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"nonsense", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"1" * 5000, b"null", b"[]",
        b'"x"', b'{"model": "\\ud800"}', b'{"model": NaN}', b'{"model": Infinity}', b"{'model': 1}",
        b'\xef\xbb\xbf{"model": "tiny"}', b'{"model": "tiny",}',
    ],
)  # fmt: skip
def test_not_json_is_a_clear_refusal(http: httpx.Client, path: str, content: bytes) -> None:
    reply = http.post(path, content=content, headers=JSON)
    assert well_formed(reply)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_json"), reply.text


@pytest.mark.parametrize(
    "extra",
    [
        '"temperature": NaN', '"temperature": 1e999', '"seed": 1' + "0" * 40, '"max_tokens": 1e3',
        '"n": -9223372036854775809', '"logit_bias": {"1": NaN}', '"logit_bias": {"99999999999999": 1}',
        '"temperature": -0.0001', '"stop": ["' + "x" * 5000 + '"]', '"user": "\\ud800"',
        '"seed": 9223372036854775808',
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_numbers_beyond_reason(http: httpx.Client, path: str, extra: str) -> None:
    text = json.dumps(BODIES[path])[:-1] + ", " + extra + "}"
    reply = http.post(path, content=text.encode(), headers=JSON)
    assert well_formed(reply)
    assert reply.status_code == 400, reply.text


@pytest.mark.parametrize("depth", [10, 63, 100, 500, 1000, 20_000])
def test_deep_schemas(http: httpx.Client, depth: int) -> None:
    """orjson reads 1,024 levels; what is nested less than that is refused for its depth."""
    schema = '{"a":' * depth + "1" + "}" * depth
    for field in (
        f'"tools": [{{"type": "function", "function": {{"name": "f", "parameters": {schema}}}}}]',
        f'"response_format": {{"type": "json_schema", "json_schema": {{"name": "f", "schema": {schema}}}}}',
        f'"metadata": {schema}',
    ):
        text = json.dumps(BODIES["/v1/chat/completions"])[:-1] + ", " + field + "}"
        reply = http.post("/v1/chat/completions", content=text.encode(), headers=JSON)
        assert well_formed(reply)
        assert reply.status_code == (200 if depth < 64 or (depth <= 1000 and "metadata" in field) else 400)


def test_too_large_a_body_is_413_whether_it_says_so_or_not(http: httpx.Client) -> None:
    large = b'{"model": "' + b"x" * LARGEST_BODY + b'"}'
    said = http.post("/v1/chat/completions", content=large, headers=JSON)
    pieces = (large[at : at + 2**20] for at in range(0, len(large), 2**20))
    chunked = http.post("/v1/chat/completions", content=pieces, headers=JSON)
    for reply in (said, chunked):
        assert well_formed(reply)
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "too_large")


def test_a_body_in_pieces_is_a_body(http: httpx.Client) -> None:
    text = json.dumps(BODIES["/v1/chat/completions"]).encode()
    reply = http.post("/v1/chat/completions", content=iter([text[:10], text[10:]]))
    assert reply.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404), ("POST", "/v1/images/generations", 404), ("GET", "/v1/", 404),
        ("GET", "/v1/responses/resp_1", 404), ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/embeddings", 405), ("PUT", "/v1/models", 405), ("POST", "/v1/models", 405),
        ("PATCH", "/v1/models/tiny", 405), ("GET", "/v1/%00", 404), ("GET", "/v1/..%2f..%2fetc", 404),
    ],
)  # fmt: skip
def test_what_there_is_not(http: httpx.Client, method: str, path: str, status: int) -> None:
    reply = http.request(method, path)
    assert well_formed(reply)
    assert reply.status_code == status
    assert method in reply.json()["error"]["message"]


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic x", "Bearer", "key-ann", "Bearer \xff"])
def test_every_route_wants_a_valid_key(world: World, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    asks = [("POST", path, body) for path, body in BODIES.items()]
    asks += [
        ("GET", "/v1/models", None),
        ("GET", "/v1/models/tiny", None),
        ("DELETE", "/v1/models/tiny", None),
    ]
    for method, path, body in asks:
        reply = httpx.request(method, world.url + path, headers=headers, json=body)
        assert well_formed(reply)
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
        assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert not world.desk.asks


def test_surrogates_in_what_an_error_repeats(http: httpx.Client) -> None:
    for name in ("\u2028", "<script>", "\N{GRINNING FACE}" * 100, "'; drop table served_models; --"):
        reply = http.post("/v1/chat/completions", json=BODIES["/v1/chat/completions"] | {"model": name})
        assert well_formed(reply)
        assert reply.status_code in (400, 404)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("path", BODIES)
def test_any_value_in_any_field(http: httpx.Client, module_world: World, path: str) -> None:
    paths = httpx.get(f"{module_world.url}/openapi.json").json()
    operation = paths["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    fields = sorted(paths["components"]["schemas"][operation["$ref"].rsplit("/", 1)[1]]["properties"])
    assert len(fields) >= 5
    seen: Counter[int] = Counter()

    @settings(FUZZ, max_examples=150)
    @given(field=st.sampled_from(fields), value=json_values)
    def one(field: str, value: Any) -> None:
        reply = http.post(path, content=json.dumps(BODIES[path] | {field: value}).encode(), headers=JSON)
        assert well_formed(reply), (field, value, reply.text)
        seen[reply.status_code] += 1

    one()
    assert seen[400] > 30


def test_no_request_is_answered_with_a_mistake_of_the_hub(module_world: World) -> None:
    """Requests made from the hub's own OpenAPI description: each operation answers some of them well."""
    module_world.desk.reset()
    schema = schemathesis.openapi.from_url(f"{module_world.url}/openapi.json")
    seen: Counter[tuple[str, int]] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(FUZZ, max_examples=40)
        @given(case=operation.as_strategy())
        def one(case: Any) -> None:
            if isinstance(case.body, dict):
                likely = BODIES[case.path] if len(case.body) % 2 else {"model": "tiny"}
                case.body.update(likely)
            reply = case.call(headers={"Authorization": "Bearer key-ann"})
            told = {name: value[0] for name, value in reply.headers.items()}
            answer = httpx.Response(reply.status_code, headers=told, content=reply.content)
            assert well_formed(answer), (case.method, case.path, case.body, reply.text[:500])
            seen[case.path, reply.status_code] += 1

        one()
    assert {path for path, status in seen if status == 200} >= set(BODIES) | {"/v1/models"}


def test_every_route_is_described(module_world: World) -> None:
    described = httpx.get(f"{module_world.url}/openapi.json").json()
    assert set(described["paths"]) == set(BODIES) | {"/v1/models", "/v1/models/{model}"}
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert operation["description"] or operation["summary"], path
            assert "401" in operation["responses"]
            assert "422" not in operation["responses"], "validation is 400 here"


# Keys.


def test_a_key_is_looked_up_once_in_a_while_and_wrong_ones_are_counted(
    database: Database, blobs: Blobs
) -> None:
    looked_up: list[str] = []
    wrong: list[str] = []

    def look_up(secret: str) -> Account:
        looked_up.append(secret)
        if secret in revoked:
            raise NotAuthorized("this key was revoked")
        return identify(secret)

    def count(address: str) -> None:
        wrong.append(address)
        if len(wrong) > 2:
            raise Overloaded("too many wrong keys", retry_after=7)

    revoked: set[str] = set()
    with running_world(database, blobs, key_seconds=0.3) as world:
        serve: Serve = world.serve
        object.__setattr__(serve, "identify", look_up)
        object.__setattr__(serve, "wrong_key", count)
        body = BODIES["/v1/chat/completions"]
        for _ in range(5):
            assert world.post("/v1/chat/completions", body).status_code == 200
        assert len(looked_up) < 5
        revoked.add("key-ann")
        serve.keys.forget("key-ann")  # what the seconds would have done
        statuses = [world.post("/v1/chat/completions", body).status_code for _ in range(3)]
        assert statuses == [401, 401, 429]
        assert wrong == ["127.0.0.1"] * 3
