"""What a request may ask for beside text: schemas, calls, stops, chats, scores, embeddings; adapters; and its end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_models import save_adapter, save_model
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from commonweal.core.completion import Completion, CompletionFailed, Message, Request, Tool
from commonweal.core.errors import ConfigError, NotFound
from commonweal.core.streaming import Event, Piece, Usage, Vector, collected
from commonweal.models.chat import render_chat
from commonweal.models.engine.local import LocalEngine

HELLO = (Message(role="user", content="What is the capital of France?"),)
WEATHER = Tool(
    name="weather",
    description="Tells the weather.",
    parameters={
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 1, "maximum": 9},
            "unit": {"enum": ["C", "F"]},
        },
        "required": ["city", "days", "unit"],
        "additionalProperties": False,
    },
)
CLOCK = Tool(name="clock", description="Tells the time.", parameters={"type": "object", "properties": {}})


def ask(prompt: str | None = "The sky is", **more: Any) -> Request:
    return Request(**{"model": "m", "prompt": prompt, "max_tokens": 20, **more})


async def answers(engine: LocalEngine, requests: list[Request]) -> list[Completion]:
    return await asyncio.gather(*[collected(engine.stream(request)) for request in requests])


async def events(engine: LocalEngine, request: Request) -> list[Event]:
    return [event async for event in engine.stream(request)]


async def failed(engine: LocalEngine, request: Request) -> CompletionFailed:
    with pytest.raises(CompletionFailed) as error:
        await collected(engine.stream(request))
    return error.value


def ids(completion: Completion) -> list[int]:
    return [int(token.id or 0) for token in completion.choices[0].tokens]


# Schemas.


def test_answers_fit_their_schema_whatever_the_model_would_say(llama: Path, serving: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}, "ok": {"type": "boolean"}},
        "required": ["n", "ok"],
        "additionalProperties": False,
    }
    fixed = [ask(schema=json.dumps(schema), temperature=2.0, seed=i, max_tokens=60) for i in range(6)]
    got = serving({"m": llama}, lambda engine: answers(engine, [*fixed, ask()]))
    for one in got[:6]:
        value = json.loads(one.text)
        assert set(value) == {"n", "ok"}
        assert 0 <= value["n"] <= 99
        assert one.choices[0].finish == "stop"
    [free] = serving({"m": llama}, lambda engine: answers(engine, [ask()]))
    assert ids(got[6]) == ids(free)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "must be a JSON object"),
        ('{"type": "nothing"}', "nothing"),
        ('{"type": "object", "$ref": "#/$defs/none"}', "none"),
        ('{"type": "string", "pattern": "("}', "regex"),
        ('{"type": "array", "uniqueItems": true, "contains": {"type": "null"}}', "contains"),
    ],
)
def test_a_schema_that_cannot_be_kept_to_is_refused_with_the_reason(
    schema: str, said: str, llama: Path, serving: Any
) -> None:
    error = serving({"m": llama}, lambda engine: failed(engine, ask(schema=schema)))
    assert error.kind == "bad_request"
    assert said in error.message


# Calls.


@pytest.mark.parametrize("choice", ["required", "weather"])
def test_a_forced_call_has_valid_arguments_from_any_model(choice: str, llama: Path, serving: Any) -> None:
    tools = (WEATHER, CLOCK) if choice == "required" else (CLOCK, WEATHER)
    requests = [
        ask(None, messages=HELLO, tools=tools, tool_choice=choice, max_tokens=80, temperature=1.5, seed=seed)
        for seed in range(6)
    ]
    for got in serving({"m": llama}, lambda engine: answers(engine, requests)):
        choice_made = got.choices[0]
        assert choice_made.finish == "tool_calls"
        assert choice_made.text == ""
        [call] = choice_made.tool_calls
        assert call.name in ("weather", "clock") if choice == "required" else call.name == "weather"
        arguments = json.loads(call.arguments)
        if call.name == "weather":
            assert set(arguments) == {"city", "days", "unit"}
            assert arguments["unit"] in ("C", "F")
            assert 1 <= arguments["days"] <= 9
        assert call.id.startswith("call_")


def test_tools_that_may_be_called_leave_a_text_a_text(llama: Path, serving: Any) -> None:
    request = ask(None, messages=HELLO, tools=(CLOCK,))
    [got] = serving({"m": llama}, lambda engine: answers(engine, [request]))
    assert not got.choices[0].tool_calls
    assert got.choices[0].finish in ("stop", "length")


def test_an_unknown_tool_is_a_bad_request(llama: Path, serving: Any) -> None:
    request = ask(None, messages=HELLO, tools=(CLOCK,), tool_choice="hammer")
    assert "hammer" in serving({"m": llama}, lambda engine: failed(engine, request)).message


# Stops and chats.


def test_a_stop_string_ends_the_text_before_it(llama: Path, serving: Any) -> None:
    [free] = serving({"m": llama}, lambda engine: answers(engine, [ask(max_tokens=40)]))
    stop = free.text[10:13]
    [got] = serving({"m": llama}, lambda engine: answers(engine, [ask(max_tokens=40, stop=(stop,))]))
    assert got.text == free.text[: free.text.index(stop)]
    assert got.choices[0].finish == "stop"
    assert got.completion_tokens == len(got.choices[0].tokens)


def test_a_chat_is_asked_in_the_templates_own_tokens_and_ends_with_its_turn(
    llama: Path, serving: Any
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(llama))
    prompt = render_chat(tokenizer, HELLO).ids
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    requests = [ask(None, messages=HELLO), ask(None, messages=HELLO, bias=((end, 100.0),))]
    got = serving({"m": llama}, lambda engine: answers(engine, requests))
    model = AutoModelForCausalLM.from_pretrained(str(llama), dtype=torch.float32)
    tokens = torch.tensor([prompt])
    alone = model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=20, do_sample=False)
    written = alone[0, len(prompt) :].tolist()
    stops = [at for at, token in enumerate(written) if token in (0, end)]
    assert ids(got[0]) == written[: stops[0] if stops else None]
    assert got[0].prompt_tokens == len(prompt)
    assert (got[1].text, got[1].choices[0].finish) == ("", "stop")


def test_a_chat_that_the_template_refuses_is_a_bad_request(llama: Path, serving: Any) -> None:
    assert serving({"m": llama}, lambda engine: failed(engine, ask(None, messages=()))).kind == "bad_request"


# Scores and embeddings.


def test_what_was_written_is_scored_as_it_was_written(llama: Path, serving: Any) -> None:
    """An audit: the same ids after the same prompt have the same log-probabilities, for chats too."""

    async def use(engine: LocalEngine) -> list[tuple[Completion, Completion]]:
        made = []
        for request in (ask(temperature=1.0, seed=2), ask(None, messages=HELLO, temperature=1.0, seed=2)):
            written = await collected(engine.stream(request))
            again = Request(
                model="m",
                kind="score",
                prompt=request.prompt,
                messages=request.messages,
                ids=tuple(ids(written)),
            )
            made.append((written, await collected(engine.stream(again))))
        return made

    for written, scored in serving({"m": llama}, use):
        assert ids(scored) == ids(written)
        for a, b in zip(written.choices[0].tokens, scored.choices[0].tokens, strict=True):
            assert a.logprob == pytest.approx(b.logprob, abs=1e-3)
        assert scored.completion_tokens == 0


def test_a_chats_answer_is_scored_by_its_text(llama: Path, serving: Any) -> None:
    """With the end of its turn, as the model would write it."""
    asked = [Request(model="m", kind="score", messages=HELLO, continuation=text) for text in ("Yes.", "No!")]
    yes, no = serving({"m": llama}, lambda engine: answers(engine, asked))
    for got, text in ((yes, "Yes."), (no, "No!")):
        tokens = got.choices[0].tokens
        assert "".join(token.text for token in tokens).startswith(text)
        assert all(token.logprob is not None for token in tokens)
    assert yes.choices[0].logprob != no.choices[0].logprob


def test_an_echo_scores_every_token_but_the_first(llama: Path, serving: Any) -> None:
    text = "The sea is green."
    request = Request(model="m", kind="score", prompt="", continuation=text, logprobs=2)
    [got] = serving({"m": llama}, lambda engine: answers(engine, [request]))
    tokens = got.choices[0].tokens
    assert "".join(token.text for token in tokens) == text
    assert all(token.logprob is not None for token in tokens)


def test_embeddings_are_of_length_one_and_do_not_depend_on_what_runs_beside(
    llama: Path, serving: Any
) -> None:
    texts = ["The sky is blue.", "The sea", "France and Paris, of course. " * 3]
    requests = [Request(model="m", kind="embed", prompt=text) for text in texts]

    async def use(engine: LocalEngine) -> list[list[Event]]:
        return await asyncio.gather(*[events(engine, request) for request in requests])

    together = serving({"m": llama}, use)
    model = AutoModelForCausalLM.from_pretrained(str(llama), dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(str(llama))
    for text, (vector, usage) in zip(texts, together, strict=True):
        assert isinstance(vector, Vector)
        assert isinstance(usage, Usage)
        with torch.inference_mode():
            hidden = model.model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        expected = (hidden / hidden.norm()).tolist()
        assert list(vector.values) == pytest.approx(expected, abs=1e-4)
        assert usage.prompt_tokens == len(tokenizer(text).input_ids)


# Adapters.


def test_adapters_mixed_in_one_batch_write_what_peft_writes_with_each(
    llama: Path, tmp_path: Path, serving: Any
) -> None:
    folders = {f"a{i}": save_adapter(tmp_path / f"a{i}", llama, seed=i, rank=2 + i) for i in range(1, 4)}
    names = ["m", "a1", "a2", "m", "a3", "a1"]
    prompts = ["The sky is", "The sea", "What is the capital", "a", "France", "The sky is"]
    requests = [ask(prompt, model=name) for name, prompt in zip(names, prompts, strict=True)]
    got = serving(
        {"m": llama},
        lambda engine: answers(engine, requests),
        adapters={name: ("m", folder) for name, folder in folders.items()},
    )
    tokenizer = AutoTokenizer.from_pretrained(str(llama))
    for name, prompt, one in zip(names, prompts, got, strict=True):
        model: Any = AutoModelForCausalLM.from_pretrained(str(llama), dtype=torch.float32)
        if name != "m":
            model = PeftModel.from_pretrained(model, str(folders[name]))
        tokens = tokenizer(prompt, return_tensors="pt").input_ids
        written = model.generate(
            input_ids=tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=20, do_sample=False
        )[0, tokens.shape[1] :].tolist()
        assert ids(one) == (written[: written.index(0)] if 0 in written else written), name
    assert len({tuple(ids(one)) for one in (got[0], got[1], got[5])}) >= 2


@pytest.mark.parametrize("architecture", ["gpt2", "mamba2", "gpt_neox"])
def test_adapters_of_other_architectures_are_peftss_too(
    architecture: str, tmp_path: Path, serving: Any
) -> None:
    base = save_model(tmp_path / "base", architecture)
    more = {"exclude_modules": ["out_proj", "conv1d"]} if architecture == "mamba2" else {}
    folder = save_adapter(tmp_path / "adapter", base, seed=1, use_rslora=True, **more)
    requests = [ask(model="a", logprobs=0), ask(logprobs=0)]
    got = serving({"m": base}, lambda engine: answers(engine, requests), adapters={"a": ("m", folder)})
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32), str(folder)
    )
    prompt = AutoTokenizer.from_pretrained(str(base))("The sky is").input_ids
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([prompt + ids(got[0])])).logits[0, len(prompt) - 1 : -1]
    expected = torch.log_softmax(logits, dim=-1)
    for at, token in enumerate(got[0].choices[0].tokens):
        assert token.logprob == pytest.approx(float(expected[at, ids(got[0])[at]]), abs=1e-3)
    assert ids(got[0]) != ids(got[1])


def test_an_adapter_that_is_none_or_does_not_fit_is_refused(
    llama: Path, tmp_path: Path, serving: Any
) -> None:
    other = save_model(tmp_path / "other", "llama", hidden_size=48)
    wrong = save_adapter(tmp_path / "wrong", other, seed=1)
    dora = save_adapter(tmp_path / "dora", llama, seed=1, use_dora=True)

    async def use(engine: LocalEngine) -> list[str]:
        said = []
        for folder in (wrong, dora, llama, tmp_path / "nowhere"):
            with pytest.raises(ConfigError) as error:
                await engine.load_adapter("a", "m", folder)
            said.append(error.value.message)
        with pytest.raises(NotFound):
            await engine.load_adapter("a", "nobody", wrong)
        assert [loaded.name for loaded in engine.models()] == ["m"]
        await collected(engine.stream(ask()))
        return said

    said = serving({"m": llama}, use)
    assert "in the model" in said[0]
    assert "use_dora" in said[1]
    assert "adapter_config.json" in said[2]


# Coming and going.


def test_who_hears_enough_frees_the_slot_at_the_next_step(llama: Path, serving: Any) -> None:
    async def use(engine: LocalEngine) -> None:
        stream = engine.stream(ask(max_tokens=200, bias=((0, -100.0),)))
        assert isinstance(await anext(stream), Piece)
        assert engine.capacity("m").free_slots == 0
        waiting = asyncio.create_task(collected(engine.stream(ask(max_tokens=3))))
        await stream.aclose()  # type: ignore[attr-defined]
        await waiting
        assert engine.capacity("m").free_slots == 1

    serving({"m": llama}, use, slots=1)


def test_a_model_that_is_unloaded_fails_its_requests_and_is_unknown_after(llama: Path, serving: Any) -> None:
    async def use(engine: LocalEngine) -> str:
        stream = engine.stream(ask(max_tokens=200, bias=((0, -100.0),)))
        await anext(stream)
        await engine.unload("m")
        with pytest.raises(CompletionFailed) as error:
            async for _ in stream:
                pass
        with pytest.raises(NotFound):
            await collected(engine.stream(ask()))
        return error.value.message

    assert "unloaded" in serving({"m": llama}, use)


def test_a_request_that_runs_out_of_memory_fails_alone(
    llama: Path, serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from commonweal.models.engine.memory import Network

    logits = Network.logits

    def small(self: Network, ids_BT: torch.Tensor, *rest: Any) -> Any:
        if ids_BT.shape[1] > 60:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: out of memory")
        return logits(self, ids_BT, *rest)

    monkeypatch.setattr(Network, "logits", small)

    async def use(engine: LocalEngine) -> tuple[CompletionFailed, list[Completion]]:
        good = asyncio.gather(*[collected(engine.stream(ask(max_tokens=30))) for _ in range(3)])
        bad = await failed(engine, ask("The sea. " * 20, max_tokens=5))
        return bad, list(await good)

    bad, good = serving({"m": llama}, use, chunk=1000)
    assert "memory" in bad.message
    assert len({tuple(ids(one)) for one in good}) == 1


def test_a_step_that_fails_gives_up_the_youngest_request_alone(
    llama: Path, serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from commonweal.models.engine.memory import SharedMemory

    step = SharedMemory.step

    def narrow(self: SharedMemory, tokens: Any) -> Any:
        if len(tokens) > 2:
            raise MemoryError
        return step(self, tokens)

    monkeypatch.setattr(SharedMemory, "step", narrow)

    async def use(engine: LocalEngine) -> list[Completion | BaseException]:
        streams = [collected(engine.stream(ask(seed=i, temperature=1.0))) for i in range(5)]
        return await asyncio.gather(*streams, return_exceptions=True)

    got = serving({"m": llama}, use)
    assert sum(isinstance(one, Completion) for one in got) >= 2
    assert any(isinstance(one, CompletionFailed) for one in got)
    monkeypatch.setattr(SharedMemory, "step", step)
    for seed, one in enumerate(got):
        if isinstance(one, Completion):
            request = ask(seed=seed, temperature=1.0)
            [alone] = serving({"m": llama}, lambda engine, request=request: answers(engine, [request]))
            assert ids(one) == ids(alone)


def test_an_engine_outlives_a_turn_that_fails_as_a_whole(
    llama: Path, serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from commonweal.models.engine.choosing import Chooser

    choose = Chooser.choose

    async def use(engine: LocalEngine) -> None:
        monkeypatch.setattr(Chooser, "choose", lambda *_: 1 / 0)
        assert (await failed(engine, ask())).kind == "server_error"
        monkeypatch.setattr(Chooser, "choose", choose)
        await collected(engine.stream(ask()))

    serving({"m": llama}, use)


def test_numbers_that_are_none_fail_their_request_alone(
    tmp_path: Path, serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state-space model, whose rows are computed one by one, of which one breaks."""
    from commonweal.models.engine.memory import Network

    folder = save_model(tmp_path, "mamba2")
    logits = Network.logits

    def broken(self: Network, ids_BT: torch.Tensor, *rest: Any) -> Any:
        if ids_BT.shape[1] == 1 and int(ids_BT) == 77:
            raise RuntimeError("broken")
        return logits(self, ids_BT, *rest)

    monkeypatch.setattr(Network, "logits", broken)
    good, bad = ask(bias=((77, -100.0),)), ask(bias=((77, 100.0),))

    async def use(engine: LocalEngine) -> list[Completion | BaseException]:
        streams = [collected(engine.stream(request)) for request in (good, bad, good)]
        return await asyncio.gather(*streams, return_exceptions=True)

    first, second, third = serving({"m": folder}, use)
    assert isinstance(second, CompletionFailed)
    assert second.kind == "server_error"
    assert isinstance(first, Completion)
    assert isinstance(third, Completion)
    assert ids(first) == ids(third)


def test_a_closed_engine_says_so(llama: Path) -> None:
    async def main() -> None:
        engine = LocalEngine()
        await engine.load("m", llama)
        running = asyncio.create_task(failed(engine, ask(max_tokens=200, bias=((0, -100.0),))))
        await asyncio.sleep(0)
        await engine.close()
        assert (await running).kind == "unreachable"
        assert (await failed(engine, ask())).kind == "unreachable"

    asyncio.run(main())


def test_int8_is_near_and_another_model(llama: Path, serving: Any) -> None:
    async def use(engine: LocalEngine) -> tuple[Completion, Completion]:
        made = await engine.load("small", llama, quantization="int8")
        assert made.quantization == "int8"
        written = await collected(engine.stream(ask()))
        again = Request(model="small", kind="score", prompt="The sky is", ids=tuple(ids(written)))
        return written, await collected(engine.stream(again))

    written, scored = serving({"m": llama}, use)
    pairs = zip(written.choices[0].tokens, scored.choices[0].tokens, strict=True)
    gaps = [abs((a.logprob or 0.0) - (b.logprob or 0.0)) for a, b in pairs]
    assert 1e-4 < max(gaps) < 1.0


# Tokens in place of text, and answers as long as there is room.


def test_token_ids_are_a_prompt(llama: Path, serving: Any) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    words = tuple(tokenizer("The sky is").input_ids)
    text, tokens = serving({"m": llama}, lambda engine: answers(engine, [ask(), ask("", ids=words)]))
    assert ids(text) == ids(tokens)
    assert tokens.prompt_tokens == len(words)
    embedded = serving({"m": llama}, lambda engine: events(engine, ask("", kind="embed", ids=words)))
    same = serving({"m": llama}, lambda engine: events(engine, ask("The sky is", kind="embed")))
    assert [e for e in embedded if isinstance(e, Vector)] == [e for e in same if isinstance(e, Vector)]


def test_a_text_given_by_ids_is_scored_from_its_own_beginning(llama: Path, serving: Any) -> None:
    """With its beginning token or without, and a single token too."""
    tokenizer = AutoTokenizer.from_pretrained(llama)
    bare = tuple(tokenizer("The sky is", add_special_tokens=False).input_ids)
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    asked = [ask("", kind="score", ids=each) for each in (bare, (begin, *bare), (begin,))]
    without, with_it, alone = serving({"m": llama}, lambda engine: answers(engine, asked))
    told = [token.logprob for token in without.choices[0].tokens]
    again = [token.logprob for token in with_it.choices[0].tokens]
    assert ids(without) == list(bare)
    assert all(logprob is not None for logprob in told)
    assert again[0] is None
    assert again[1:] == pytest.approx(told, abs=1e-5)
    assert [token.logprob for token in alone.choices[0].tokens] == [None]


def test_an_answer_may_be_as_long_as_there_is_room(llama: Path, serving: Any) -> None:
    async def story(engine: LocalEngine) -> tuple[Completion, CompletionFailed]:
        fits = await collected(engine.stream(ask(max_tokens=10**6, fit=True, temperature=0.0)))
        return fits, await failed(engine, ask(max_tokens=10**6))

    fits, refused = serving({"m": llama}, story)
    assert refused.kind == "too_long"
    [loaded] = serving({"m": llama}, _loaded)
    assert (fits.prompt_tokens or 0) + (fits.completion_tokens or 0) <= loaded.window
    assert fits.choices[0].finish in ("stop", "length")


async def _loaded(engine: LocalEngine) -> Any:
    return engine.models()
