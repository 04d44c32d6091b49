"""The hub counts prompts itself, with the model's own tokenizer, and then believes nobody else's number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from serving_hub import RICH, STORE, exact, member, prepare, rows, running_hub, served
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bytewise import bytewise
from commonweal.core.completion import Message, Request
from commonweal.core.database import Database
from commonweal.core.hashing import BlobHash
from commonweal.core.streaming import Usage
from commonweal.models.engine.asking import Encoder
from commonweal.models.text import LocalText
from commonweal.serve.billing.prompts import Prompts
from commonweal.serve.catalogue import identity_of
from commonweal.serve.gateway.frames import ModelSpec

TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}<assistant>"
CHAT = (Message(role="user", content="What is the capital of France?"),)
HUGE = "a" * 20_000  # counted in a thread


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of bytes, which merges nothing."""
    folder = tmp_path_factory.mktemp("counted")
    backend = bytewise()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(str(folder))
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        bos_token_id=None,
        eos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(str(folder))
    return folder


def files_of(folder: Path) -> dict[str, BlobHash]:
    return {file.name: STORE.put(file.read_bytes()) for file in folder.iterdir() if file.is_file()}


def model_of(folder: Path, **changes: Any) -> ModelSpec:
    files = files_of(folder)
    made = ModelSpec(
        name="counted",
        identity=identity_of(files, base=None),
        kind="full",
        files=files,
        quantization="none",
        parameters=1000,
        window=4096,
    )
    return replace(made, **changes)


def counted(model: ModelSpec, requests: list[Request], vouched: Callable[[str], bool]) -> list[int | None]:
    """What is counted once the tokenizer is there; before that nothing is."""

    async def main() -> list[int | None]:
        prompts = Prompts(STORE.get, vouched)
        assert await prompts(model, requests[0]) is None
        await prompts.settled()
        return [await prompts(model, request) for request in requests]

    return asyncio.run(main())


def test_they_are_counted_as_the_engine_counts(folder: Path) -> None:
    requests = [
        Request(model="m", prompt="hello"),
        Request(model="m", prompt=HUGE),
        Request(model="m", messages=CHAT),
        Request(model="m", kind="score", prompt="hello", ids=(1, 2, 3)),
    ]
    found = counted(model_of(folder), requests, lambda identity: True)
    encoder = Encoder(LocalText(str(folder)), vocabulary=256, window=None, most=10**9)
    encoded = [encoder.encoded(request) for request in requests]
    assert found == [len(one.prompt) + len(one.continuation) for one in encoded]
    assert found[:2] == [5, 20_000]
    adapter = ModelSpec(
        name="adapter",
        identity="a",
        kind="adapter",
        files={},
        quantization="none",
        parameters=1,
        window=4096,
        base=model_of(folder),
    )
    assert counted(adapter, requests[:1], lambda identity: True) == [5]


def test_programs_of_strangers_are_not_run(folder: Path) -> None:
    asked: list[str] = []
    model = model_of(folder)
    found = counted(model, [Request(model="m", messages=CHAT)], lambda identity: bool(asked.append(identity)))
    assert (found, asked) == ([None], [model.identity])


def test_what_cannot_be_counted_is_not(folder: Path) -> None:
    broken = dict(model_of(folder).files) | {"tokenizer.json": STORE.put(b"{")}
    assert counted(model_of(folder, files=broken), [Request(model="m", prompt="a")], lambda _: True) == [None]
    fronted = model_of(folder, files={})
    assert counted(fronted, [Request(model="m", prompt="a")], lambda _: True) == [None]
    template = {"chat_template.jinja": STORE.put(b"{{ 1 / 0 }}")}
    failing = model_of(folder, files=dict(model_of(folder).files) | template, identity="failing")
    requests = [Request(model="m", messages=CHAT), Request(model="m", prompt="ab")]
    assert counted(failing, requests, lambda _: True) == [None, 2]


def test_a_worker_cannot_bill_another_number(folder: Path, database: Database, tmp_path: Path) -> None:
    """The mock engine counts words, which are not this model's tokens."""
    files, words = files_of(folder), "one two three"
    model = served(files=files, identity=identity_of(files, base=None))
    prepare(database, model)

    async def main() -> None:
        prompts = Prompts(STORE.get, lambda identity: True)
        async with running_hub(database, count_prompt=prompts) as hub, member(hub, tmp_path, model):
            await hub.text(hub.ask(words))
            await prompts.settled()
            said = await hub.events(hub.ask(words))
            assert said[-1] == Usage(prompt_tokens=len(words), completion_tokens=16)

    asyncio.run(main())
    assert [row.prompt_tokens for row in rows(database)] == [3, len(words)]
    exact(database, start={"alice": RICH})
