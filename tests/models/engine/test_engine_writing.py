"""What the engine writes: the same as transformers does alone, whatever runs beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_models import SIZES, save_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from commonweal.core.completion import Completion, CompletionFailed, Request
from commonweal.core.streaming import Ended, Event, Piece, Usage, collected
from commonweal.models.engine.local import LocalEngine

PROMPTS = ["The sky is", "What is the capital of France? It is", "a", "The sea is green and the capital of"]


def ask(prompt: str = "The sky is", **more: Any) -> Request:
    return Request(**{"model": "m", "prompt": prompt, "max_tokens": 20, **more})


async def answers(engine: LocalEngine, requests: list[Request]) -> list[Completion]:
    return await asyncio.gather(*[collected(engine.stream(request)) for request in requests])


def ids(completion: Completion, choice: int = 0) -> list[int | None]:
    return [token.id for token in completion.choices[choice].tokens]


def written_alone(folder: Path, prompt: str, count: int) -> list[int]:
    """What transformers' own ``generate`` writes, one prompt at a time."""
    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    tokens = AutoTokenizer.from_pretrained(str(folder))(prompt, return_tensors="pt").input_ids
    made = model.generate(
        tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=count, do_sample=False, use_cache=True
    )[0, tokens.shape[1] :].tolist()
    return made[: made.index(0)] if 0 in made else made


@pytest.mark.parametrize("architecture", sorted(SIZES))
def test_a_batch_of_unequal_prompts_writes_what_each_writes_alone(
    architecture: str, tmp_path: Path, serving: Any
) -> None:
    folder = save_model(tmp_path, architecture)
    requests = [ask(prompt, max_tokens=30) for prompt in PROMPTS]
    got = serving({"m": folder}, lambda engine: answers(engine, requests))
    assert [ids(one) for one in got] == [written_alone(folder, prompt, 30) for prompt in PROMPTS]


def test_requests_enter_and_leave_while_others_run(llama: Path, serving: Any) -> None:
    """More requests than slots, of unequal lengths, so that rows come and go in every order; sampled by seed."""
    requests = [
        ask(PROMPTS[i % 4] * (1 + i % 3), max_tokens=1 + 7 * i % 60, temperature=0.9, seed=i, top_p=[1.0, 0.7][i % 2])
        for i in range(24)
    ]  # fmt: skip
    together = serving({"m": llama}, lambda engine: answers(engine, requests), slots=5, chunk=16)

    async def in_turn(engine: LocalEngine) -> list[Completion]:
        return [await collected(engine.stream(request)) for request in requests]

    alone = serving({"m": llama}, in_turn)
    assert [ids(one) for one in together] == [ids(one) for one in alone]
    assert [one.text for one in together] == [one.text for one in alone]
    for a, b in zip(together, alone, strict=True):
        assert a.choices[0].logprob == pytest.approx(b.choices[0].logprob, abs=1e-3)


def test_a_seed_is_kept_and_choices_differ(llama: Path, serving: Any) -> None:
    request = ask(n=4, temperature=1.0, seed=7)
    first, again = serving({"m": llama}, lambda engine: answers(engine, [request, request]))
    assert [ids(first, i) for i in range(4)] == [ids(again, i) for i in range(4)]
    assert len({tuple(ids(first, i)) for i in range(4)}) == 4
    assert first.prompt_tokens == len(AutoTokenizer.from_pretrained(str(llama))("The sky is").input_ids)
    assert first.completion_tokens == sum(len(choice.tokens) for choice in first.choices)


def test_events_come_in_order_and_the_usage_last(llama: Path, serving: Any) -> None:
    async def events(engine: LocalEngine) -> list[Event]:
        return [event async for event in engine.stream(ask(n=2, temperature=1.0, seed=1))]

    made = serving({"m": llama}, events)
    assert isinstance(made[-1], Usage)
    assert made[-1].seconds > 0
    for index in range(2):
        own = [event for event in made if isinstance(event, Piece | Ended) and event.index == index]
        assert [type(event) for event in own] == [Piece] * (len(own) - 1) + [Ended]


def test_log_probabilities_are_the_models_own(llama: Path, serving: Any) -> None:
    """Checked by one forward pass of transformers over prompt and answer; a bias and a temperature do not move them."""
    request = ask(logprobs=3, temperature=0.7, seed=3, bias=((40, 2.0),), penalties=(0.5, 0.5))
    [got] = serving({"m": llama}, lambda engine: answers(engine, [request]))
    model = AutoModelForCausalLM.from_pretrained(str(llama), dtype=torch.float32)
    prompt = AutoTokenizer.from_pretrained(str(llama))("The sky is").input_ids
    written = [int(i or 0) for i in ids(got)]
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + written])).logits[0, len(prompt) - 1 : -1]
    expected = torch.log_softmax(logits, dim=-1)
    for at, token in enumerate(got.choices[0].tokens):
        assert token.logprob == pytest.approx(float(expected[at, written[at]]), abs=1e-3)
        assert 1 <= len(token.top) <= 3  # those that look alike are one
        assert max(token.top.values()) == pytest.approx(float(expected[at].max()), abs=1e-3)


def test_the_chosen_tokens_log_probability_comes_unasked_and_alternatives_do_not(
    llama: Path, serving: Any
) -> None:
    [got] = serving({"m": llama}, lambda engine: answers(engine, [ask()]))
    assert all(token.logprob is not None and not token.top for token in got.choices[0].tokens)


def test_a_bias_decides_and_a_penalty_keeps_from_repeating(llama: Path, serving: Any) -> None:
    forced = ask(bias=((77, 100.0),), max_tokens=8)
    varied = ask(bias=((77, 100.0),), max_tokens=8, penalties=(0.0, 200.0))
    got = serving({"m": llama}, lambda engine: answers(engine, [forced, varied]))
    assert ids(got[0]) == [77] * 8
    assert ids(got[1])[0] == 77
    assert len(set(ids(got[1]))) == len(ids(got[1]))


def test_a_long_prompt_is_read_in_pieces_between_the_steps_of_others(llama: Path, serving: Any) -> None:
    """The short request, which came first, is written on while the long prompt is read."""
    order: list[str] = []

    async def use(engine: LocalEngine) -> list[Completion]:
        begun = asyncio.Event()

        async def follow(name: str, request: Request) -> Completion:
            async def noted() -> Any:
                async for event in engine.stream(request):
                    order.append(name)
                    begun.set()
                    yield event

            return await collected(noted())

        short = asyncio.create_task(follow("short", ask(max_tokens=60, bias=((0, -100.0),))))
        await begun.wait()
        return [await follow("long", ask("The sea. " * 18, max_tokens=3)), await short]

    long, _ = serving({"m": llama}, use, chunk=4)
    assert order.index("long") > 10
    assert "short" in order[order.index("long") :]
    assert ids(long) == written_alone(llama, "The sea. " * 18, 3)


def test_what_does_not_fit_the_window_or_the_memory_is_refused_with_numbers(
    llama: Path, serving: Any
) -> None:
    async def use(engine: LocalEngine) -> list[CompletionFailed]:
        made = []
        for request in (ask(max_tokens=1200), ask(max_tokens=60, n=2), ask("x" * 1200)):
            with pytest.raises(CompletionFailed) as failed:
                await collected(engine.stream(request))
            made.append(failed.value)
        return made

    failed = serving({"m": llama}, use, cache_tokens=100)
    assert [one.kind for one in failed] == ["too_long"] * 3
    assert {"1024", "1200"} <= set(failed[0].message.replace(".", "").split())
    assert "100" in failed[1].message


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": 0},
        {"n": 33},
        {"temperature": -1.0},
        {"top_p": 1.5},
        {"max_tokens": -1},
        {"bias": ((100_000, 1.0),)},
        {"logprobs": 100_000},
        {"tool_choice": "required"},
        {"prompt": "a lone \ud800"},
        {"prompt": None},
    ],
)
def test_what_no_model_can_do_is_a_bad_request(wrong: dict[str, Any], llama: Path, serving: Any) -> None:
    async def use(engine: LocalEngine) -> str:
        with pytest.raises(CompletionFailed) as failed:
            await collected(engine.stream(ask(**wrong)))
        return failed.value.kind

    assert serving({"m": llama}, use) == "bad_request"


def test_no_tokens_wanted_are_no_tokens_made(llama: Path, serving: Any) -> None:
    [got] = serving({"m": llama}, lambda engine: answers(engine, [ask(max_tokens=0)]))
    assert (got.text, got.choices[0].finish, got.completion_tokens) == ("", "length", 0)
    assert got.prompt_tokens
