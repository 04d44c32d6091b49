"""Our prompts are HELM's, byte for byte: those of real runs (shared data), and the forms of its documentation."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from commonweal.core.completion import Abilities
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.registry import make_adapter
from commonweal.evals.adapters.shots import choose_examples
from commonweal.evals.instance import Instance, Reference

# Who made the data put this in the place of "Answer:" for the models that chat; HELM itself does not.
FORKED_ENDING = (
    "Answer only the last question with a single letter only and put your final answer between <RESULT>"
)
SUBJECTS = ("abstract_algebra", "anatomy", "international_law")


def runs(data_root: Path, subject: str) -> list[dict[str, Any]]:
    folder = data_root / "helm_raw_mmlu" / "runs_full"
    found = [
        json.loads((run / "scenario_state.json").read_text())
        for run in sorted(folder.iterdir())
        if run.name.startswith(f"mmlu:subject={subject},")
    ]
    assert len(found) == 5
    return found


def adaptation_of(spec: dict[str, Any]) -> Adaptation:
    same = (
        "method global_prefix global_suffix instructions input_prefix input_suffix reference_prefix "
        "reference_suffix output_prefix output_suffix instance_prefix sample_train temperature max_tokens "
        "multi_label"
    )
    return Adaptation(
        **{name: spec[name] for name in same.split()},
        shots=spec["max_train_instances"],
        trials=spec["num_train_trials"],
    )


def instance_of(value: dict[str, Any]) -> Instance:
    references = tuple(
        Reference(text=reference["output"]["text"], correct="correct" in reference["tags"])
        for reference in value["references"]
    )
    return Instance(id=value["id"], input=value["input"]["text"], references=references, split=value["split"])


def examples_of(prompt: str) -> tuple[Instance, ...]:
    """The five examples that stand in a prompt, in its order."""
    made = []
    for number, block in enumerate(prompt.split("\nQuestion: ")[1:-1]):
        *question, a, b, c, d, answer = block.rstrip("\n").split("\n")
        correct = answer.removeprefix("Answer: ")
        references = tuple(Reference(text=o[3:], correct=o[0] == correct) for o in (a, b, c, d))
        made.append(
            Instance(id=f"t{number}", input="\n".join(question), references=references, split="train")
        )
    assert len(made) == 5
    return tuple(made)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_all_prompts_of_the_real_runs(data_root: Path, subject: str) -> None:
    whole = 0
    for run in runs(data_root, subject):
        adapter = make_adapter(adaptation_of(run["adapter_spec"]), model="m", abilities=Abilities())
        states = run["request_states"]
        examples = examples_of(states[0]["request"]["prompt"])
        for state in states:
            (ask,) = adapter.asks(instance_of(state["instance"]), examples, ())
            ours, theirs = ask.request.prompt, state["request"]["prompt"]
            assert ours is not None
            if FORKED_ENDING in theirs:
                ours, theirs = ours.removesuffix("Answer:"), theirs[: theirs.index(FORKED_ENDING)]
            else:
                whole += 1
            assert ours == theirs
            assert ask.shots == state["num_train_instances"]
            assert ask.request.max_tokens == state["request"]["max_tokens"]
            assert list(ask.request.stop) == state["request"]["stop_sequences"]
            assert ask.request.logprobs == state["request"]["top_k_per_token"]
    assert whole == 20  # one of the five models was asked by HELM's own prompt


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_examples_are_those_that_helm_drew(data_root: Path, subject: str) -> None:
    """Each has a class of its own, so HELM's order does not depend on the order of the training file, which the run
    does not tell; whatever it was, we draw the same examples in the same order."""
    run = runs(data_root, subject)[0]
    adaptation = adaptation_of(run["adapter_spec"])
    drawn = examples_of(run["request_states"][0]["request"]["prompt"])

    for order in itertools.permutations(drawn):
        assert choose_examples(order, adaptation, trial=0) == drawn


QUESTION = Instance(
    id="q",
    input="Two plus two?",
    references=(Reference(text="3"), Reference(text="4", correct=True)),
    extra={"thought": "It is four."},
)
EXAMPLE = Instance(
    id="t",
    input="One plus one?",
    references=(Reference(text="2", correct=True), Reference(text="5")),
    split="train",
    extra={"thought": "It is two."},
)


def prompts(adaptation: Adaptation, examples: Sequence[Instance] = (EXAMPLE,)) -> list[str]:
    adapter = make_adapter(adaptation, model="m", abilities=Abilities())
    asks = adapter.asks(QUESTION, examples, ())
    return [(ask.request.prompt or "") + ask.request.continuation for ask in asks]


def test_generation() -> None:
    adaptation = Adaptation(instructions="Calculate.\n", global_prefix="<<", global_suffix=">>")

    assert prompts(adaptation) == [
        "<<Calculate.\n\nInput: One plus one?\nOutput: 2\n\nInput: Two plus two?\nOutput:>>"
    ]


def test_joint_multiple_choice() -> None:
    adaptation = Adaptation(
        method="multiple_choice_joint", input_prefix="Question: ", output_prefix="Answer: "
    )

    assert prompts(adaptation) == [
        "Question: One plus one?\nA. 2\nB. 5\nAnswer: A\n\nQuestion: Two plus two?\nA. 3\nB. 4\nAnswer:"
    ]


def test_joint_multiple_choice_with_chain_of_thought() -> None:
    """After a thought HELM repeats the whole reference prefix, "A. "."""
    adaptation = Adaptation(
        method="multiple_choice_joint",
        input_prefix="Question: ",
        output_prefix="Answer: ",
        chain_of_thought=True,
        chain_of_thought_prefix="Let's think. ",
        chain_of_thought_suffix=" The answer is ",
    )

    assert prompts(adaptation) == [
        "Question: One plus one?\nA. 2\nB. 5\nAnswer: Let's think. It is two. The answer is A. \n"
        "\nQuestion: Two plus two?\nA. 3\nB. 4\nAnswer:"
    ]


SEPARATE = Adaptation(
    method="multiple_choice_separate",
    input_prefix="",
    input_suffix="",
    output_prefix=" ",
    output_suffix="",
    shots=0,
    max_tokens=0,
)


def test_separate_multiple_choice() -> None:
    assert prompts(SEPARATE, ()) == ["Two plus two? 3", "Two plus two? 4"]


def test_calibrated_multiple_choice_asks_each_option_again_alone() -> None:
    calibrated = replace(SEPARATE, method="multiple_choice_separate_calibrated")

    assert prompts(calibrated, ()) == ["Two plus two? 3", "Two plus two? 4", "Answer: 3", "Answer: 4"]


def test_binary_ranking() -> None:
    adaptation = Adaptation(
        method="ranking_binary",
        input_prefix="Query: ",
        reference_prefix="Passage: ",
        output_prefix="Does the passage answer the query?\nAnswer: ",
    )
    ends = "\nQuery: {}\nDoes the passage answer the query?\nAnswer:"
    first, second = ends.format("One plus one?"), ends.format("Two plus two?")

    assert prompts(adaptation) == [
        f"Passage: 2{first} Yes\n\nPassage: 5{first} No\n\nPassage: {passage}{second}" for passage in "34"
    ]
