"""Runs that no mock would write: hostile answers, chats with pictures and tools, long texts, many instances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from commonweal.core.completion import (
    Choice,
    Completion,
    Image,
    Message,
    Request,
    Token,
    ToolCall,
)
from commonweal.core.hashing import content_hash
from commonweal.evals.records import completion_json
from commonweal.evals.run_folder import read_json, write_json
from commonweal.evals.sample import Stat
from commonweal.evals.tables import write_stats, write_tables

HOSTILE = "\n".join(
    (
        "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>",
        "</pre></main><iframe src='http://192.0.2.1/'></iframe> {{ 7 * 7 }} {% raw %}",
        "Escape \x1b[31mred\x1b[0m, null \x00, turned \u202egnirts, isolated \u2066x\u2069, &lt;b&gt; & more.",
        "مرحبا بالعالم, שלום עולם",
    )
)


def record(key: str, request: Request, completion: Completion, value: float, **more: Any) -> dict[str, Any]:
    plain = request.canonical()
    import json

    return {
        "id": key,
        "perturbation": "",
        "trial": 0,
        "split": "test",
        "subset": "",
        "instance": {
            "input": more.get("input", "in"),
            "references": [{"text": more.get("reference", "yes"), "correct": True, "grade": 0}],
            "turns": [],
            "images": more.get("images", []),
            "extra": None,
        },
        "output": completion.choices[0].text.strip(),
        "outputs": [],
        "chosen": None,
        "probabilities": [],
        "annotations": None,
        "scores": {"exact_match": value},
        "failure": None,
        "requests": [
            {
                "role": "output",
                "index": -1,
                "shots": 0,
                "hash": content_hash(plain.encode("utf-8", "surrogatepass")),
                "request": json.loads(plain),
                "completion": completion_json(completion),
            }
        ],
    }


def answer(text: str, **more: Any) -> Completion:
    return Completion(choices=(Choice(text=text, **more),), model="m")


def write_run(folder: Path, like: Path, model: str, name: str, records: Sequence[dict[str, Any]]) -> None:
    """A run that says of itself what the run in ``like`` does, under another name."""
    folder.mkdir(parents=True)
    write_tables(folder, records)
    mean = sum(one["scores"]["exact_match"] for one in records) / len(records)
    write_stats(folder, [Stat(name="exact_match", mean=mean, n=len(records))])
    run = read_json(like / "run.json")
    spec = {
        **run["spec"],
        "model": model,
        "scenario": name,
        "main_metric": "exact_match",
        "perturbations": [],
    }
    coverage = {"expected": len(records), "scored": len(records), "failed": 0, "share": 1.0, "failures": {}}
    write_json(folder / "run.json", {**run, "name": name, "spec": spec, "coverage": coverage})


def hostile_records() -> Iterator[dict[str, Any]]:
    ask = Request(model="m", prompt=f"say {HOSTILE} \n ")
    tokens = (Token(text="<b>", logprob=-0.1, top={"<i>": -2.0}), Token(text="\u202e", logprob=-9.0))
    yield record("<i>&\"'", ask, answer(HOSTILE, tokens=tokens), 0.0, input=HOSTILE, reference=HOSTILE)
    yield record("line", ask, answer("x" * 1_000_000), 0.0)
    yield record("../../up", Request(model="m", prompt="p" * 30_000), answer("yes"), 1.0)


def chat_records() -> Iterator[dict[str, Any]]:
    call = ToolCall(id="1", name="calculator", arguments='{"expression": "<b>6*7"}')
    messages = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="What is this?", images=(Image(data=b"png"),)),
        Message(role="assistant", content="", tool_calls=(call,)),
        Message(role="tool", content="42", tool_call_id="1"),
    )
    ask = Request(model="m", messages=messages)
    yield record("chat", ask, answer("forty-two", tool_calls=(call,)), 1.0, images=["image/png:abc"])


def many_records(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        ask = Request(model="m", prompt=f"Question {number}: " + "what is it that stands here? " * 12)
        yield record(
            f"id{number}", ask, answer("yes" if number % 3 else "no"), float(number % 3 > 0), input=ask.prompt
        )
