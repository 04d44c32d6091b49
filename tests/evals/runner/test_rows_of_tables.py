"""What of a sample stands in which column."""

from __future__ import annotations

from pathlib import Path

from commonweal.core.completion import (
    Choice,
    Completion,
    Message,
    Request,
    Timing,
    Token,
    Tool,
    ToolCall,
)
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.sample import Ask, Failure, Sample
from commonweal.evals.sample_record import Asked, record_of, sample_line
from commonweal.evals.tables import COLUMNS, read_rows, write_tables

INSTANCE = Instance(
    id="i",
    input="the input",
    references=(Reference(text="r", correct=True, grade=3),),
    split="valid",
    subset="sub",
    turns=("then",),
    perturbation="typos",
    extra={"a": 1},
)
PLAIN = Request(model="m", prompt="P", max_tokens=7, temperature=0.5, stop=("\n",), logprobs=2, sample=4)
CHAT = Request(
    model="m",
    messages=(Message(role="user", content="Hi"),),
    tools=(Tool(name="t", description="d", parameters={}),),
)
COMPLETION = Completion(
    choices=(
        Choice(
            text="T",
            finish="length",
            tokens=(Token(text="T", logprob=-0.5, top={"T": -0.5, "U": -1.5}),),
            logprob=-0.5,
            greedy=True,
            tool_calls=(ToolCall(id="c", name="t", arguments="{}"),),
        ),
        Choice(text="V"),
    ),
    model="served",
    prompt_tokens=11,
    completion_tokens=12,
    timing=Timing(queued=0.25, first_token=0.5, total=0.75),
    joules=2.5,
    attempts=3,
    cached=True,
)
KEY = {"id": "i", "perturbation": "typos", "trial": 1}
PLACE = {"split": "valid", "subset": "sub"}


def written(folder: Path) -> None:
    sample = Sample(
        instance=INSTANCE,
        adaptation=Adaptation(),
        trial=1,
        answers=(),
        output="O",
        outputs=("O", "Q"),
        chosen=0,
        probabilities=(0.25, 0.75),
        annotations={"x": 1},
        failure=Failure(kind="timeout", message="60 s"),
    )
    asked = (
        Asked(ask=Ask(role="output", request=PLAIN, index=2, shots=5, truncated=True), completion=COMPLETION),
        Asked(ask=Ask(role="turn 1", request=CHAT), failure=Failure(kind="refused", message="no")),
    )
    line = sample_line(sample, asked, {"em": 1.0, "f1": 0.5})
    write_tables(folder, [record_of(line)], trials=2)


def test_instances_samples_and_scores(tmp_path: Path) -> None:
    written(tmp_path)
    assert list(read_rows(tmp_path, "instances")) == [
        {
            "id": "i",
            "perturbation": "typos",
            **PLACE,
            "input": "the input",
            "references": [{"text": "r", "correct": True, "grade": 3}],
            "turns": ["then"],
            "images": [],
            "extra": '{"a":1}',
        }
    ]
    assert list(read_rows(tmp_path, "samples")) == [
        {
            **KEY,
            **PLACE,
            "output": "O",
            "outputs": ["O", "Q"],
            "chosen": 0,
            "probabilities": [0.25, 0.75],
            "annotations": '{"x": 1}',
            "failure": "timeout",
            "message": "60 s",
        }
    ]
    assert list(read_rows(tmp_path, "scores")) == [
        {**KEY, **PLACE, "name": "em", "value": 1.0},
        {**KEY, **PLACE, "name": "f1", "value": 0.5},
    ]


def test_requests(tmp_path: Path) -> None:
    written(tmp_path)
    plain, chat = read_rows(tmp_path, "requests")
    assert list(plain) == list(COLUMNS["requests"])
    assert plain == {
        **KEY,
        "role": "output",
        "index": 2,
        "shots": 5,
        "truncated": True,
        "hash": PLAIN.hash(),
        "kind": "generate",
        "prompt": "P",
        "messages": None,
        "continuation": None,
        "parameters": '{"model": "m", "max_tokens": 7, "temperature": 0.5, "top_p": 1.0, "n": 1, "stop": ["\\n"], '
        '"seed": null, "logprobs": 2, "sample": 4}',
        "completion": "T",
        "finish": "length",
        "logprob": -0.5,
        "greedy": True,
        "tokens": [{"text": "T", "logprob": -0.5, "top": [("T", -0.5), ("U", -1.5)]}],
        "tool_calls": '[["c", "t", "{}"]]',
        "others": '[{"text": "V"}]',
        "model": "served",
        "prompt_tokens": 11,
        "completion_tokens": 12,
        "queued": 0.25,
        "first_token": 0.5,
        "total": 0.75,
        "joules": 2.5,
        "attempts": 3,
        "cached": True,
        "failure": None,
        "message": None,
    }
    told = {name: value for name, value in chat.items() if value is not None}
    assert told == {
        **KEY,
        "role": "turn 1",
        "index": -1,
        "shots": 0,
        "truncated": False,
        "hash": CHAT.hash(),
        "kind": "generate",
        "messages": '[{"content": "Hi", "role": "user"}]',
        "parameters": '{"model": "m", "max_tokens": 100, "temperature": 0.0, "top_p": 1.0, "n": 1, "stop": [], '
        '"seed": null, "logprobs": null, "sample": 0, "tools": [["t", "d", {}]]}',
        "failure": "refused",
        "message": "no",
    }
