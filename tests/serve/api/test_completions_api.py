"""Completions, embeddings and models through the real openai client."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from api_world import WORDS, Gate, World, default_script, make_model, raising
from openai import OpenAI

from commonweal.core.completion import CompletionFailed
from commonweal.serve.catalogue import publish

TEXT = "".join(WORDS)


@pytest.fixture
def client(world: World) -> OpenAI:
    """Not strict: by the client's types, a completion's chunk cannot be unfinished, nor base64 a vector."""
    return world.client(_strict_response_validation=False)


def test_a_whole_answer(world: World) -> None:
    client = world.client()
    answer = client.completions.create(model="tiny", prompt="Once", stop="x", seed=3)
    assert (answer.choices[0].text, answer.choices[0].finish_reason, answer.choices[0].logprobs) == (
        TEXT,
        "stop",
        None,
    )
    assert answer.usage is not None
    assert answer.usage.total_tokens == 15
    assert (world.desk.request.prompt, world.desk.request.max_tokens) == ("Once", 16)


def test_a_stream(client: OpenAI) -> None:
    *chunks, last = client.completions.create(
        model="tiny", prompt="Once", stream=True, stream_options={"include_usage": True}
    )
    assert "".join(chunk.choices[0].text for chunk in chunks) == TEXT
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert last.usage is not None
    assert (last.choices, last.usage.total_tokens) == ([], 15)


@pytest.mark.parametrize(
    ("prompt", "arrive"),
    [
        ("a", [("a", ())]),
        (["a", "b"], [("a", ()), ("b", ())]),
        ([5, 6], [("", (5, 6))]),
        ([[5], [6, 7]], [("", (5,)), ("", (6, 7))]),
        ([""], [("", ())]),
    ],
)
def test_every_shape_of_a_prompt(world: World, client: OpenAI, prompt: Any, arrive: list[Any]) -> None:
    answer = client.completions.create(model="tiny", prompt=prompt, n=2, max_tokens=2)
    assert sorted((ask.request.prompt, ask.request.ids) for ask in world.desk.asks) == sorted(arrive)
    assert [choice.index for choice in answer.choices] == list(range(2 * len(arrive)))
    assert len({ask.id for ask in world.desk.asks}) == len(arrive)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4 * len(arrive)


def test_many_prompts_in_one_stream(world: World, client: OpenAI) -> None:
    said: dict[int, str] = {}
    for chunk in client.completions.create(model="tiny", prompt=["a"] * 50, n=2, stream=True):
        said[chunk.choices[0].index] = said.get(chunk.choices[0].index, "") + chunk.choices[0].text
    assert said == dict.fromkeys(range(100), TEXT)
    assert len(world.desk.asks) == 50


def test_one_of_many_prompts_fails_and_the_others_are_ended(world: World, client: OpenAI) -> None:
    gate = Gate()
    failing = raising(CompletionFailed("too_long", "too many tokens"))
    world.desk.script = lambda ask: {"a": gate.script, "b": failing}.get(
        ask.request.prompt or "", default_script
    )(ask)
    with pytest.raises(openai.BadRequestError, match="too many tokens"):
        client.completions.create(model="tiny", prompt=["a", "c", "b"])
    assert world.desk.open == 0
    with pytest.raises(openai.APIError, match="too many tokens"):
        list(client.completions.create(model="tiny", prompt=["a", "c", "b"], stream=True))
    assert world.desk.open == 0


@pytest.mark.parametrize("stream", [False, True])
def test_echo_without_log_probabilities_costs_nothing(world: World, client: OpenAI, stream: bool) -> None:
    if stream:
        chunks = client.completions.create(model="tiny", prompt="Once", echo=True, stream=True)
        text = "".join(chunk.choices[0].text for chunk in chunks)
    else:
        text = client.completions.create(model="tiny", prompt="Once", echo=True).choices[0].text
    assert text == "Once" + TEXT
    assert [ask.request.kind for ask in world.desk.asks] == ["generate"]


def test_echo_as_evaluation_harnesses_ask_for_it(world: World) -> None:
    """Token ids of several texts, one token generated, and log-probabilities of all: first null, then numbers."""
    body = {
        "model": "tiny", "prompt": [[5, 6, 7], [8, 9]], "echo": True, "max_tokens": 1, "logprobs": 1,
        "temperature": 0, "seed": 1234,
    }  # fmt: skip
    reply = world.post("/v1/completions", body)
    first, second = reply.json()["choices"]
    assert first["text"] == "<5><6><7>Four"
    assert first["logprobs"] == {
        "tokens": ["<5>", "<6>", "<7>", "Four"],
        "token_logprobs": [None, -0.5, -0.5, -0.5],
        "top_logprobs": [None, {"<6>": -0.5}, {"<7>": -0.5}, {"Four": -0.5}],
        "text_offset": [0, 3, 6, 9],
    }
    assert second["logprobs"]["tokens"] == ["<8>", "<9>", "Four"]
    kinds = sorted((ask.request.kind, ask.request.ids) for ask in world.desk.asks)
    assert kinds == [("generate", (5, 6, 7)), ("generate", (8, 9)), ("score", (5, 6, 7)), ("score", (8, 9))]
    assert len({ask.id for ask in world.desk.asks}) == 4


@pytest.mark.parametrize("stream", [False, True])
def test_only_scoring(world: World, client: OpenAI, stream: bool) -> None:
    body: dict[str, Any] = {"model": "tiny", "prompt": "a b c", "echo": True, "max_tokens": 0, "logprobs": 0}
    if stream:
        chunks = list(client.completions.create(**body, stream=True, stream_options={"include_usage": True}))
        assert chunks[0].choices[0].text == "a b c"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.prompt_tokens == 3
    else:
        answer = client.with_options().completions.with_raw_response.create(**body).http_response.json()
        assert answer["choices"][0]["text"] == "a b c"
        assert answer["choices"][0]["logprobs"]["token_logprobs"] == [None, -0.5, -0.5]
        assert answer["usage"] == {
            "prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 0},
        }  # fmt: skip
    assert [ask.request.kind for ask in world.desk.asks] == ["score"]


def test_offsets_go_on_in_a_stream(client: OpenAI) -> None:
    chunks = list(client.completions.create(model="tiny", prompt="x", logprobs=2, stream=True, max_tokens=3))
    offsets = [c.choices[0].logprobs.text_offset for c in chunks if c.choices[0].logprobs is not None]
    assert offsets == [[0], [4], [9]]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"prompt": None}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": [[]]}, "prompt"),
    ({"prompt": [1, "a"]}, "prompt"),
    ({"prompt": ["a", 1]}, "prompt"),
    ({"prompt": [True]}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": [2**40]}, "prompt"),
    ({"prompt": [1.5]}, "prompt"),
    ({"prompt": {"text": "a"}}, "prompt"),
    ({"prompt": ["a"] * 3000}, "prompt"),
    ({"prompt": ["a"] * 100, "n": 100}, "n"),
    ({"best_of": 3}, "best_of"),
    ({"suffix": "end"}, "suffix"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"logprobs": 21}, "logprobs"),
    ({"logprobs": True}, "logprobs"),
    ({"messages": []}, "messages"),
    ({"stop": ["x"] * 17}, "stop"),
]


@pytest.mark.parametrize(("change", "param"), REFUSED, ids=[str(r[0])[:40] for r in REFUSED])
def test_a_bad_request_names_the_field(world: World, change: dict[str, Any], param: str) -> None:
    reply = world.post("/v1/completions", {"model": "tiny", "prompt": "x"} | change)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text
    assert not world.desk.asks


def test_more_stops_than_openai_has_for_harnesses(world: World, client: OpenAI) -> None:
    client.completions.create(model="tiny", prompt="x", stop=[str(n) for n in range(16)], n=1, best_of=1)
    assert len(world.desk.request.stop) == 16


# Embeddings.


def test_vectors_as_base64_and_as_numbers(world: World, client: OpenAI) -> None:
    """The client asks for base64 by itself, and makes numbers of it."""
    answer = client.embeddings.create(model="tiny", input=["ab", "abcd"])
    assert [item.embedding for item in answer.data] == [[2.0, 0.0, 0.25], [4.0, 0.0, 0.25]]
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.usage.prompt_tokens == 4
    same = client.embeddings.create(model="tiny", input="ab", encoding_format="float")
    assert same.data[0].embedding == [2.0, 0.0, 0.25]
    assert world.desk.request.kind == "embed"


def test_vectors_of_token_ids(client: OpenAI) -> None:
    answer = client.embeddings.create(model="tiny", input=[[1, 2], [3]], dimensions=3)
    assert [item.embedding[1] for item in answer.data] == [3.0, 3.0]


@pytest.mark.parametrize(
    "change",
    [{"input": ""}, {"input": ["a", ""]}, {"dimensions": 2}, {"encoding_format": "hex"}, {"input": []}],
)
def test_bad_requests_for_vectors(world: World, change: dict[str, Any]) -> None:
    reply = world.post("/v1/embeddings", {"model": "tiny", "input": "x"} | change)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, next(iter(change))), reply.text


# Models.


def test_models_that_i_may_use(client: OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert set(listed) >= {"tiny", "org/tiny-chat"}
    assert "secret" not in listed
    assert (listed["tiny"].owned_by, listed["tiny"].created) == ("operator", 1_700_000_000)
    assert client.models.retrieve("org/tiny-chat").id == "org/tiny-chat"


def test_a_slash_may_be_sent_as_it_is(world: World) -> None:
    with world.http() as http:
        for path in ("/v1/models/org/tiny-chat", "/v1/models/org%2Ftiny-chat"):
            assert http.get(path).json()["id"] == "org/tiny-chat"


@pytest.mark.parametrize("name", ["secret", "nothing", "a%00b", "..%2f..%2fetc", "x" * 300])
def test_models_that_are_not_there_for_me(world: World, name: str) -> None:
    with world.http() as http:
        reply = http.get(f"/v1/models/{name}")
    assert reply.status_code in (400, 404)
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_an_end_to_a_model_of_ones_own(world: World) -> None:
    with world.serve.database.transaction() as connection:
        publish(connection, make_model("ann/mine", owner="ann"))
    ann = world.client("ann")
    assert ann.completions.create(model="ann/mine", prompt="x", max_tokens=1).model == "ann/mine"
    with pytest.raises(openai.NotFoundError):
        world.client("bob").models.delete("ann/mine")
    assert ann.models.delete("ann/mine").deleted
    with pytest.raises(openai.NotFoundError):
        ann.models.retrieve("ann/mine")
    with pytest.raises(openai.NotFoundError):
        ann.completions.create(model="ann/mine", prompt="x")
