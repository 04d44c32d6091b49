from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import TEXT, save_gpt2, save_llama, save_mamba
from transformers import AutoModelForCausalLM, AutoTokenizer

from commonweal.core.completion import Completion, CompletionFailed, Image, Message, Request
from commonweal.core.errors import ConfigError
from commonweal.evals.completers.local import LocalCompleter, LocalOptions
from commonweal.models.text import LocalText

PROMPTS = [
    "The sky is",
    "Question: which of these is a fruit?\nA. apple\nB. stone\nAnswer:",
    "Question: which of these is a fruit?\nA. apple\nB. cloud and sea\nAnswer:",
    "é",
    TEXT[:400],
]
CONTINUATIONS = [" A", " B", " blue", " the capital of France is Paris.", "\n"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that writes ASCII."""
    return save_llama(tmp_path_factory.mktemp("plain"), every_byte=False)


@pytest.fixture(scope="module", params=[save_llama, save_gpt2, save_mamba], ids=["llama", "gpt2", "mamba"])
def any_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = request.param(tmp_path_factory.mktemp("model"))
    return made


def asked(
    folder: Path, requests: Sequence[Request], *, together: bool = True, options: LocalOptions | None = None
) -> list[Any]:
    async def run() -> list[Any]:
        completer = LocalCompleter(str(folder), options)
        try:
            if together:
                return await asyncio.gather(*map(completer.complete, requests), return_exceptions=True)
            return [await completer.complete(request) for request in requests]
        finally:
            await completer.close()

    return asyncio.run(run())


def scores() -> list[Request]:
    return [
        Request(model="m", kind="score", prompt=prompt, continuation=continuation, logprobs=2)
        for prompt in PROMPTS
        for continuation in CONTINUATIONS
    ]


def generations(**more: Any) -> list[Request]:
    return [Request(model="m", prompt=prompt, max_tokens=12, logprobs=2, **more) for prompt in PROMPTS]


def by_hand(folder: Path, request: Request) -> tuple[float, bool, int]:
    """The sum of log-softmax at the continuation's tokens, from one plain forward pass."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    begin = len(tokenizer(request.prompt)["input_ids"])
    ids = tokenizer(request.prompt + request.continuation, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logprobs = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0].double(), dim=-1)
    places = range(begin, ids.shape[1])
    greedy = all(int(logprobs[i - 1].argmax()) == int(ids[0, i]) for i in places)
    return sum(float(logprobs[i - 1, ids[0, i]]) for i in places), greedy, len(places)


def test_a_score_is_the_log_softmax_of_the_continuation(any_folder: Path) -> None:
    requests = scores()
    for request, made in zip(requests, asked(any_folder, requests), strict=True):
        logprob, greedy, count = by_hand(any_folder, request)
        assert made.choices[0].logprob == pytest.approx(logprob, abs=1e-4)
        assert made.choices[0].greedy == greedy
        assert len(made.choices[0].tokens) == count
        assert "".join(token.text for token in made.choices[0].tokens) == request.continuation


def test_a_batch_gives_what_single_requests_give(any_folder: Path) -> None:
    requests = scores() + generations()
    options = LocalOptions(batch_rows=7)
    for whole in (asked(any_folder, requests), asked(any_folder, requests, options=options)):
        for one, other in zip(asked(any_folder, requests, together=False), whole, strict=True):
            assert one.text == other.text
            assert (one.prompt_tokens, one.completion_tokens) == (
                other.prompt_tokens,
                other.completion_tokens,
            )
            a, b = one.choices[0].tokens, other.choices[0].tokens
            assert [token.text for token in a] == [token.text for token in b]
            assert [token.logprob for token in a] == pytest.approx([token.logprob for token in b], abs=1e-4)
            assert [list(token.top) for token in a] == [list(token.top) for token in b]


def test_greedy_text_is_transformers_own(any_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(any_folder)
    model = AutoModelForCausalLM.from_pretrained(any_folder).eval()
    for request, made in zip(generations(), asked(any_folder, generations()), strict=True):
        ids = tokenizer(request.prompt, return_tensors="pt")["input_ids"]
        written = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=12,
            do_sample=False,
            pad_token_id=0,
        )
        assert made.text == tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)


def test_a_greedy_answer_is_its_own_greedy_score(plain_folder: Path) -> None:
    folder = plain_folder
    written = asked(folder, generations())
    whole = [one for one in written if one.choices[0].finish == "length"]
    assert whole
    again = [
        Request(model="m", kind="score", prompt=prompt, continuation=made.text)
        for prompt, made in zip(PROMPTS, written, strict=True)
        if made in whole
    ]
    for made, score in zip(whole, asked(folder, again), strict=True):
        if [token.text for token in score.choices[0].tokens] == [
            token.text for token in made.choices[0].tokens
        ]:
            assert score.choices[0].greedy
            assert score.choices[0].logprob == pytest.approx(made.choices[0].logprob, abs=1e-4)


def test_a_prompt_that_ends_in_a_space_shares_its_token_with_the_continuation(folder: Path) -> None:
    [plain] = asked(folder, [Request(model="m", kind="score", prompt="The sky is", continuation=" blue")])
    [split] = asked(folder, [Request(model="m", kind="score", prompt="The sky is ", continuation="blue")])
    assert split.choices[0].logprob == pytest.approx(plain.choices[0].logprob, abs=1e-5)


def test_an_empty_prompt_begins_a_text(folder: Path, tmp_path: Path) -> None:
    request = Request(model="m", kind="score", prompt="", continuation="The sky")
    [made] = asked(folder, [request])
    assert all(token.logprob is not None for token in made.choices[0].tokens)
    [begun] = asked(save_llama(tmp_path, begin=True), [request])
    assert begun.choices[0].logprob == pytest.approx(made.choices[0].logprob, abs=1e-4)


def test_text_ends_before_a_stop_string(plain_folder: Path) -> None:
    folder = plain_folder
    [free] = asked(folder, [Request(model="m", prompt="The sky is", max_tokens=20)])
    stop = free.text[7:10]
    [made] = asked(
        folder, [Request(model="m", prompt="The sky is", max_tokens=20, stop=("~~", stop), logprobs=0)]
    )
    assert made.text == free.text[: free.text.index(stop)]
    assert made.choices[0].finish == "stop"
    assert made.completion_tokens < free.completion_tokens
    assert "".join(token.text for token in made.choices[0].tokens).startswith(made.text)


def test_a_seed_gives_the_same_text_in_any_batch(folder: Path) -> None:
    ask = Request(model="m", prompt="The sky is", max_tokens=10, temperature=1.0, seed=5)
    [alone] = asked(folder, [ask])
    crowd = asked(folder, [*generations(temperature=1.0, seed=9), ask])
    assert crowd[-1].text == alone.text
    others = asked(folder, [replace(ask, seed=i) for i in range(9)])
    assert len({made.text for made in others}) > 5


def test_several_samples_differ_and_are_numbered(folder: Path) -> None:
    ask = Request(model="m", prompt="The sky is", max_tokens=10, temperature=1.0, seed=5, n=3)
    [three] = asked(folder, [ask])
    assert len({choice.text for choice in three.choices}) == 3
    [second] = asked(folder, [replace(ask, n=1, sample=1)])
    assert second.text == three.choices[1].text


def test_top_p_of_nearly_nothing_is_greedy(folder: Path) -> None:
    [cold] = asked(folder, [Request(model="m", prompt="The sky is", max_tokens=10)])
    [warm] = asked(
        folder, [Request(model="m", prompt="The sky is", max_tokens=10, temperature=2.0, top_p=1e-6)]
    )
    assert warm.text == cold.text


def test_sampling_follows_the_distribution(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = tokenizer("The sky is", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        best = int(model(input_ids=ids).logits[0, -1].argmax())
        wanted = float(torch.softmax(model(input_ids=ids).logits[0, -1] / 0.7, -1)[best])
    [made] = asked(
        folder, [Request(model="m", prompt="The sky is", max_tokens=1, temperature=0.7, seed=0, n=2000)]
    )
    share = sum(choice.text == tokenizer.decode([best]) for choice in made.choices) / 2000
    assert share == pytest.approx(wanted, abs=4 * (wanted * (1 - wanted) / 2000) ** 0.5)


def test_a_chat_goes_through_the_models_own_template(folder: Path, tmp_path: Path) -> None:
    talk = Request(model="m", messages=(Message(role="user", content="Hi"),), max_tokens=8)
    [chat] = asked(folder, [talk])
    [plain] = asked(folder, [Request(model="m", prompt="user: Hi\nassistant:", max_tokens=8)])
    assert chat.text == plain.text
    [mute] = asked(save_llama(tmp_path, chat=False), [talk])
    assert isinstance(mute, CompletionFailed)
    assert (mute.kind, "no chat template" in mute.message) == ("unsupported", True)


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (Request(model="m", prompt="a " * 300), "too_long"),
        (Request(model="m", prompt="a", max_tokens=256), "too_long"),
        (Request(model="m", prompt="\ud800"), "bad_request"),
        (Request(model="m", messages=(Message(role="user", content="\ud800"),)), "unsupported"),
        (Request(model="m", kind="score", prompt="a", continuation=" b" * 300), "too_long"),
        (Request(model="m", messages=(Message(role="system", content="x"),)), "unsupported"),
        (
            Request(model="m", messages=(Message(role="user", content="x", images=(Image(data=b""),)),)),
            "unsupported",
        ),
        (Request(model="m", kind="score", messages=(Message(role="user", content="x"),)), "unsupported"),
    ],
)
def test_what_cannot_be_asked_fails_alone(folder: Path, request_: Request, kind: str) -> None:
    good = Request(model="m", prompt="The sky", max_tokens=2)
    bad, made = asked(folder, [request_, good])
    assert isinstance(bad, CompletionFailed)
    assert bad.kind == kind
    assert isinstance(made, Completion)


def test_nothing_to_write_and_nothing_to_score(folder: Path) -> None:
    written, scored = asked(
        folder,
        [
            Request(model="m", prompt="a", max_tokens=0),
            Request(model="m", kind="score", prompt="a", continuation=""),
        ],
    )
    assert (written.text, written.completion_tokens) == ("", 0)
    assert (scored.choices[0].logprob, scored.choices[0].tokens) == (0.0, ())


def test_a_batch_that_does_not_fit_memory_is_halved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from commonweal.models.local_model import LocalModel

    sizes: list[int] = []
    generate = LocalModel.generate

    def small(self: LocalModel, rows: Sequence[Any]) -> None:
        sizes.append(len(rows))
        if len(rows) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        generate(self, rows)

    monkeypatch.setattr(LocalModel, "generate", small)
    made = asked(folder, generations())
    assert all(isinstance(one, Completion) for one in made)
    assert sizes == [5, 2, 3, 1, 2]


def test_a_request_that_breaks_the_model_fails_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from commonweal.models.local_model import LocalModel

    generate = LocalModel.generate

    def broken(self: LocalModel, rows: Sequence[Any]) -> None:
        if any(row.limit == 3 for row in rows):
            raise IndexError("index out of range in self")
        generate(self, rows)

    monkeypatch.setattr(LocalModel, "generate", broken)
    made = asked(folder, [*generations(), Request(model="m", prompt="The sky", max_tokens=3)])
    assert [isinstance(one, Completion) for one in made] == [True] * 5 + [False]
    assert made[-1].kind == "server_error"
    assert "IndexError" in made[-1].message


def test_the_event_loop_goes_on_while_a_batch_is_computed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from commonweal.models.local_model import LocalModel

    generate = LocalModel.generate
    loop_threads: list[int] = []

    async def run() -> None:
        released = threading.Event()

        def held(self: LocalModel, rows: Sequence[Any]) -> None:
            assert released.wait(30)
            generate(self, rows)

        monkeypatch.setattr(LocalModel, "generate", held)
        completer = LocalCompleter(str(folder))
        pending = completer.complete(Request(model="m", prompt="The sky", max_tokens=1))
        await asyncio.sleep(0)
        loop_threads.append(1)  # we run although the batch is held
        released.set()
        assert (await pending).completion_tokens is not None
        await completer.close()

    asyncio.run(run())
    assert loop_threads == [1]


def test_closing_leaves_nobody_waiting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the batch under way, those of later ones, and those who asked meanwhile."""
    from commonweal.models.local_model import LocalModel

    async def run() -> list[Any]:
        begun, released = threading.Event(), threading.Event()

        def held(self: LocalModel, rows: Sequence[Any]) -> None:
            begun.set()
            assert released.wait(30)

        monkeypatch.setattr(LocalModel, "generate", held)
        completer = LocalCompleter(str(folder), LocalOptions(batch_rows=2))
        waiting = [completer.complete(request) for request in generations()]
        assert await asyncio.to_thread(begun.wait, 30)
        waiting.append(completer.complete(generations()[0]))
        closing = asyncio.create_task(completer.close())
        await asyncio.sleep(0)
        released.set()
        await closing
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)

    assert [type(one) for one in asyncio.run(run())] == [asyncio.CancelledError] * 6


def test_probe_tells_window_and_chat(folder: Path) -> None:
    async def run() -> None:
        completer = LocalCompleter(str(folder))
        assert completer.abilities.window is None
        can = await completer.probe()
        assert (can.window, can.chat, can.score, can.images) == (256, True, True, False)
        assert completer.token_counter().count("The sky is") == 3
        await completer.close()

    asyncio.run(run())


def test_a_folder_without_a_model_is_the_users_mistake(tmp_path: Path) -> None:
    made = asked(tmp_path, [Request(model="m", prompt="a"), Request(model="m", prompt="b")])
    assert all(isinstance(one, ConfigError) for one in made)
    assert "config.json" in str(made[0])


def test_timing_says_when_the_batch_began(folder: Path) -> None:
    before = time.perf_counter()
    [made] = asked(folder, [Request(model="m", prompt="The sky is", max_tokens=4)])
    took = time.perf_counter() - before
    assert made.timing.first_token is not None
    assert 0 < made.timing.first_token <= made.timing.total
    assert made.timing.queued + made.timing.total < took


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60), tokens=st.integers(-1, 40))
def test_truncated_text_is_a_prefix_that_fits(folder: Path, text: str, tokens: int) -> None:
    counter = _counter(folder)
    cut = counter.truncate(text, tokens)
    assert text.startswith(cut)
    assert counter.count(cut) <= max(0, tokens)
    if counter.count(text) <= tokens:
        assert cut == text


_COUNTERS: dict[Path, LocalText] = {}


def _counter(folder: Path) -> LocalText:
    if folder not in _COUNTERS:
        _COUNTERS[folder] = LocalText(str(folder))
    return _COUNTERS[folder]
