"""A model that tells no log-probabilities is asked how sure it is, beside its answer and never in place of it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.completion import Abilities, Choice, Completion, CompletionFailed, Request
from commonweal.core.errors import ConfigError
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.confidence import CUE, QUESTION, SAMPLES, check_wish, eliciting, stated
from commonweal.evals.adapters.registry import make_adapter
from commonweal.evals.aspects import cells
from commonweal.evals.assembling import bench as make_bench
from commonweal.evals.budget import Spent
from commonweal.evals.estimate import estimate
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.measuring import Measured, measure
from commonweal.evals.metrics.confidence import by_agreement, by_words
from commonweal.evals.metrics.metric import Tools
from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.plan import Planned
from commonweal.evals.sample import Answer
from commonweal.evals.scenario import Args, Loader, Scenario
from commonweal.evals.spec import RunSpec

SHORT = Adaptation(shots=0, max_tokens=5, instance_prefix="", input_prefix="", output_prefix="Answer:")
LETTERS = replace(SHORT, method="multiple_choice_joint", max_tokens=1)
NONE = Abilities(chat=True, complete=False, logprobs=False, score=False)
COUNT = 12


def sampled(adaptation: Adaptation) -> Adaptation:
    return replace(adaptation, confidence="sampled", confidence_samples=SAMPLES)


def verbalized(adaptation: Adaptation) -> Adaptation:
    return replace(adaptation, confidence="verbalized")


@pytest.mark.parametrize(
    ("adaptation", "abilities", "wish", "metric", "source"),
    [
        (LETTERS, NONE, "auto", "exact_match", "sampled"),
        (SHORT, NONE, "auto", "quasi_exact_match", "sampled"),
        (LETTERS, Abilities(logprobs=True), "auto", "exact_match", ""),
        (LETTERS, Abilities(), "auto", "exact_match", ""),  # not known: they are asked for
        (LETTERS, Abilities(logprobs=True), "sampled", "exact_match", "sampled"),
        (LETTERS, NONE, "verbalized", "exact_match", "verbalized"),
        (LETTERS, NONE, "logprobs", "exact_match", ""),
        (LETTERS, NONE, "none", "exact_match", ""),
        (SHORT, NONE, "auto", "toxic_frac", ""),  # of no answer can be said that it is right
        (replace(SHORT, max_tokens=400, stop=()), NONE, "auto", "exact_match", ""),
        (replace(SHORT, max_tokens=400, stop=()), NONE, "verbalized", "exact_match", "verbalized"),
        (replace(LETTERS, chain_of_thought=True), NONE, "auto", "exact_match", ""),
        (replace(SHORT, outputs=5), NONE, "auto", "exact_match", ""),
        (replace(SHORT, method="language_modeling"), NONE, "sampled", "bits_per_byte", ""),
    ],
)
def test_what_is_asked_about_confidence(
    adaptation: Adaptation, abilities: Abilities, wish: str, metric: str, source: str
) -> None:
    made, note = eliciting(adaptation, abilities, wish, metric)
    assert (made.confidence, made.confidence_samples) == (source, SAMPLES if source == "sampled" else 0)
    assert replace(made, confidence="", confidence_samples=0) == adaptation
    silent = wish in ("logprobs", "none") or (
        wish == "auto" and (abilities is not NONE or metric == "toxic_frac")
    )
    assert bool(note) != silent


def test_a_wish_that_is_not_known_says_which_are() -> None:
    assert check_wish("sampled") == "sampled"
    with pytest.raises(ConfigError, match="--confidence guessed") as error:
        check_wish("guessed")
    assert "verbalized" in error.value.hint


@given(st.text(max_size=30))
def test_what_is_stated_is_a_share_or_nothing(text: str) -> None:
    found = stated(text)
    assert found is None or 0 <= found <= 1


def test_the_hash_of_a_question_without_confidence_is_what_it_was() -> None:
    spec = RunSpec(scenario="s", model="m", adaptation=SHORT, metrics=(), main_metric="exact_match")
    assert "confidence" not in spec.to_json()["adaptation"]
    more = replace(spec, adaptation=sampled(SHORT))
    assert more.hash() != spec.hash()
    assert RunSpec.from_json(json.loads(json.dumps(more.to_json()))) == more


INSTANCE = Instance(
    id="id1",
    input="The sky is",
    references=(Reference(text="blue", correct=True), Reference(text="green")),
)


def answered(asks: Any, *texts: str) -> list[Answer]:
    return [
        Answer(ask=ask, completion=Completion(choices=(Choice(text=text),)))
        for ask, text in zip(asks, texts, strict=True)
    ]


@pytest.mark.parametrize("abilities", [NONE, Abilities(complete=True, logprobs=False)])
def test_samples_are_the_same_question_and_the_share_that_agrees_is_the_confidence(
    abilities: Abilities,
) -> None:
    adapter = make_adapter(sampled(LETTERS), model="m", abilities=abilities)
    asks = adapter.asks(INSTANCE, (), ())
    answers = answered(asks, "A")
    more = adapter.asks(INSTANCE, (), answers)
    assert [ask.role for ask in more] == [f"confidence {i}" for i in range(1, 6)]
    assert len({ask.request.hash() for ask in more}) == 5, "a cache tells them apart"
    for ask in more:
        assert (ask.request.prompt, ask.request.messages) == (
            asks[0].request.prompt,
            asks[0].request.messages,
        )
        assert ask.request.temperature == 1.0
        assert ask.request.logprobs is None
    answers += answered(more, "A", "B. green", "A. blue", "I do not know", "A")
    assert adapter.asks(INSTANCE, (), answers) == ()
    sample = adapter.sample(INSTANCE, 0, answers)
    assert (len(sample.answers), len(sample.beside), sample.chosen) == (1, 5, 0)
    assert sample.annotations["confidence"]["source"] == "sampled"
    assert by_agreement(sample) == (3 / 5, 1.0)
    assert by_words(sample) is None


def test_an_answer_in_words_is_asked_about_behind_it() -> None:
    adapter = make_adapter(verbalized(SHORT), model="m", abilities=NONE)
    answers = answered(adapter.asks(INSTANCE, (), ()), "Green.\nand more")
    [more] = adapter.asks(INSTANCE, (), answers)
    assert more.request.messages is not None
    assert [message.role for message in more.request.messages] == ["user", "assistant", "user"]
    assert [message.content for message in more.request.messages[1:]] == ["Green.", QUESTION]
    sample = adapter.sample(INSTANCE, 0, [*answers, *answered([more], "85%")])
    assert by_words(sample) == (0.85, 0.0)
    mumbled = adapter.sample(INSTANCE, 0, [*answers, *answered([more], "I am 85% sure, or 90")])
    assert mumbled.annotations["confidence"] == {"source": "verbalized", "stated": None}
    assert by_words(mumbled) is None


def test_a_model_without_a_chat_goes_on_with_its_text() -> None:
    able = Abilities(complete=True, chat=False, logprobs=False)
    adapter = make_adapter(verbalized(SHORT), model="m", abilities=able)
    answers = answered(adapter.asks(INSTANCE, (), ()), " blue\n")
    [more] = adapter.asks(INSTANCE, (), answers)
    assert more.request.prompt == f"{answers[0].ask.request.prompt} blue\n\n{QUESTION}\n{CUE}"
    narrow = make_adapter(verbalized(SHORT), model="m", abilities=replace(able, window=20))
    assert narrow.asks(INSTANCE, (), answers) == (), "no room: no confidence"


def test_only_originals_with_a_known_answer_are_asked_about() -> None:
    adapter = make_adapter(sampled(SHORT), model="m", abilities=NONE)
    answers = answered(adapter.asks(INSTANCE, (), ()), "blue")
    assert adapter.asks(replace(INSTANCE, perturbation="typos"), (), answers) == ()
    assert adapter.asks(replace(INSTANCE, references=()), (), answers) == ()


class Chat:
    """A model behind a chat: knows some results, is unsure of others, and can fail where it is asked how sure it is."""

    abilities = NONE

    def __init__(self, fails: bool = False) -> None:
        self.asked: list[Request] = []
        self.fails = fails

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        await asyncio.sleep(0)
        assert request.messages is not None
        beside = request.sample > 0 or request.messages[-1].content == QUESTION
        if beside and self.fails:
            raise CompletionFailed("bad_request", "no more")
        number = int(request.messages[0].content.split()[0])
        if request.messages[-1].content == QUESTION:
            text = "90" if number % 2 else "about half"
        else:
            text = str(2 * number) if number % 3 or request.sample % 2 else "17"
        return Completion(choices=(Choice(text=text),), prompt_tokens=10, completion_tokens=1)

    async def close(self) -> None:
        pass


def read(loader: Loader, args: Args) -> Any:
    for i in range(COUNT):
        yield Instance(
            id=f"id{i}", input=f"{i} + {i} =", references=(Reference(text=str(2 * i), correct=True),)
        )


class NoData:
    seed = 0


def run_of(adaptation: Adaptation, folder: Path, model: Chat) -> Measured:
    return asyncio.run(measure(planned(adaptation), folder, bench(model)))


def planned(adaptation: Adaptation) -> Planned:
    scenario = Scenario(
        name="sums",
        title="Sums",
        description="adds",
        source="made",
        licence="CC0",
        read=read,
        adaptation=adaptation,
        main_metric="exact_match",
        metrics=("exact_match", "calibration"),
    )
    spec = RunSpec(
        scenario="sums",
        model="m",
        adaptation=adaptation,
        metrics=scenario.metrics,
        main_metric="exact_match",
    )
    return Planned(spec=spec, scenario=scenario, named="sums", folder="sums")


def bench(model: Chat) -> Any:
    return make_bench(
        model,
        NoData(),  # type: ignore[arg-type]
        endpoint="m",
        tools=Tools(),
        spent=Spent(),
        began=0.0,
    )


def calibration(adaptation: Adaptation, measured: Measured) -> Any:
    return cells(planned(adaptation).spec, measured.stats, DEFINITIONS)["calibration"]


def test_a_chat_without_logprobs_has_a_calibration_that_says_where_it_is_from(tmp_path: Path) -> None:
    how, model = sampled(SHORT), Chat()
    measured = run_of(how, tmp_path, model)
    cell = calibration(how, measured)
    # multiples of three answer wrongly, and 2 of 5 samples agree; the others are right and sure
    assert (cell.stat, cell.n) == ("ece_10_bin_sampled", COUNT)
    assert cell.mean == pytest.approx(0.4 / 3)
    assert cell.low < cell.mean < cell.high
    assert measured.run["cost"]["requests"] == len(model.asked) == COUNT * (1 + SAMPLES)
    stats = {stat.name: stat for stat in measured.stats}
    assert stats["exact_match"].mean == pytest.approx(2 / 3), "samples are no part of the accuracy"
    assert stats["num_prompt_tokens"].mean == 10
    assert stats["ece_10_bin"].reason == "no log-probabilities"


def test_stated_confidence_leaves_out_what_cannot_be_read(tmp_path: Path) -> None:
    how = verbalized(SHORT)
    measured = run_of(how, tmp_path, Chat())
    cell = calibration(how, measured)
    assert (cell.stat, cell.mean) == ("ece_10_bin_verbalized", None)
    assert cell.reason == "fewer than 10 samples"
    [sure] = [stat for stat in measured.stats if stat.name == "max_prob_verbalized"]
    assert (sure.mean, sure.n) == (pytest.approx(0.9), COUNT // 2)


def test_a_question_about_confidence_that_fails_costs_no_answer(tmp_path: Path) -> None:
    measured = run_of(sampled(SHORT), tmp_path, Chat(fails=True))
    assert measured.run["status"] == "done"
    assert measured.run["coverage"]["scored"] == COUNT
    assert calibration(sampled(SHORT), measured).mean is None


def test_a_resumed_run_has_the_same_confidence_and_asks_for_none_again(tmp_path: Path) -> None:
    how = sampled(SHORT)
    whole = run_of(how, tmp_path / "whole", Chat())
    lines = _lines_of_a_run(how, tmp_path / "killed")
    (tmp_path / "killed" / "samples.jsonl").write_bytes(b"".join(lines[:7]) + lines[7][:50])
    model = Chat()
    resumed = run_of(how, tmp_path / "killed", model)
    assert len(model.asked) == (COUNT - 7) * (1 + SAMPLES)
    assert resumed.run["cost"]["requests"] == whole.run["cost"]["requests"]
    timed = {"inference_runtime"}
    assert [s for s in resumed.stats if s.name not in timed] == [
        s for s in whole.stats if s.name not in timed
    ]


def _lines_of_a_run(how: Adaptation, folder: Path) -> list[bytes]:
    """The samples of a run whose process was killed when all were asked, and no table was written."""
    kept: list[bytes] = []

    class Stop(Exception):
        pass

    def no_tables(*args: Any, **other: Any) -> None:
        kept.extend((folder / "samples.jsonl").read_bytes().splitlines(keepends=True))
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("commonweal.evals.measuring.write_tables", no_tables)
        with pytest.raises(Stop):
            run_of(how, folder, Chat())
    return kept


def test_an_estimate_counts_what_is_asked_about_confidence() -> None:
    plain, some, words = (
        estimate(planned(how), bench(Chat())) for how in (SHORT, sampled(SHORT), verbalized(SHORT))
    )
    assert plain.requests == COUNT
    assert some.requests == COUNT * (1 + SAMPLES)
    assert some.prompt_tokens == pytest.approx(plain.prompt_tokens * (1 + SAMPLES), rel=0.1)
    assert some.completion_tokens == plain.completion_tokens * (1 + SAMPLES)
    assert words.requests == 2 * COUNT
    assert words.prompt_tokens > 2 * plain.prompt_tokens
