"""The second half of the demo: the model that was just trained is served by the members that trained it, asked through
the openai client, fine-tuned on a small task, and asked again.

The task is made up so that it can be marked exactly: arithmetic in words becomes arithmetic in digits. What is asked
before and after was never trained on.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonweal import console
from commonweal.commands import publishing
from commonweal.core.errors import Unavailable
from commonweal.pool.client import PoolClient

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.fine_tuning import FineTuningJob

NAME = "stdlib-1m"
EXAMPLES, QUESTIONS = 250, 40
EPOCHS, RATE = 12, 8.0
"""All weights are trained, at eight times the usual rate: the model is tiny and has to learn what digits are."""
PATIENCE_SECONDS = 600.0

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SIGNS = {"plus": "+", "minus": "-", "times": "*"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercise:
    """``said`` in words is ``written`` in digits."""

    said: str
    written: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What the demo claims of the second half."""

    model: str
    answer: str
    tokens_per_second: float
    tuned: str
    before: float
    after: float
    trained_tokens: int
    seconds: float
    microcredits: int


def exercises() -> tuple[Exercise, ...]:
    """Every one that there is, in an order that is always the same."""
    every = [
        Exercise(said=f"{_DIGITS[a]} {word} {_DIGITS[b]}", written=f"{a} {sign} {b}")
        for a in range(10)
        for word, sign in _SIGNS.items()
        for b in range(10)
    ]
    random.Random(0).shuffle(every)
    return tuple(every)


def serve_and_tune(client: PoolClient, url: str, key: str, folder: Path, check: Callable[[], None]) -> Tuned:
    """Publish the model in ``folder``, use it and improve it. ``check`` raises if a process of the demo has ended."""
    from openai import OpenAI

    models = publishing.Models(url, key)
    try:
        published = publishing.publish_folder(models, client, folder, NAME)
    finally:
        models.close()
    console.out.print(
        f"\n[dim]the model at work:[/]\n"
        f"  the members serve it as {NAME}, for any OpenAI client, at\n"
        f"  {url}/v1; a page to chat is at {url}/chat.\n"
        f"  A million tokens cost {console.money(1000 * published['price_out'])} credits."
    )
    asked = OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=5)
    answer, speed = _chat(asked)
    learned, kept = exercises()[:EXAMPLES], exercises()[EXAMPLES : EXAMPLES + QUESTIONS]
    before = exact_match(asked, NAME, kept)
    job, seconds = _fine_tune(asked, learned, check)
    assert job.fine_tuned_model is not None, "a job that succeeded has a model"
    after = exact_match(asked, job.fine_tuned_model, kept)
    spent = _spent(client, job.id)
    example = console.safe(_ask(asked, job.fine_tuned_model, kept[0].said))[:20]
    console.out.print(
        f"  Fine-tuned on {len(learned)} exercises over the pool in {console.duration(seconds)}: "
        f"{console.count(job.trained_tokens or 0)} tokens,\n"
        f"  {console.money(spent)} credits. Of {len(kept)} exercises that it never saw, it got right\n"
        f"    before  {before:4.0%}\n"
        f"    after   {after:4.0%}    [dim]'{kept[0].said}' -> '{example}'[/]"
    )
    return Tuned(
        model=NAME,
        answer=answer,
        tokens_per_second=speed,
        tuned=job.fine_tuned_model,
        before=before,
        after=after,
        trained_tokens=job.trained_tokens or 0,
        seconds=seconds,
        microcredits=spent,
    )


def exact_match(asked: OpenAI, model: str, kept: Sequence[Exercise]) -> float:
    """The share of exercises that ``model`` writes exactly, at temperature 0."""
    return sum(_ask(asked, model, one.said) == one.written for one in kept) / len(kept)


def _chat(asked: OpenAI) -> tuple[str, float]:
    """One answer as it comes, and its tokens a second."""
    began, first, pieces, tokens = time.monotonic(), 0.0, [], 0
    stream = asked.chat.completions.create(
        model=NAME,
        messages=[{"role": "user", "content": "import os"}],
        max_tokens=32,
        seed=1,
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            first = first or time.monotonic()
            pieces.append(chunk.choices[0].delta.content)
        if chunk.usage is not None:
            tokens = chunk.usage.completion_tokens
    speed = tokens / max(1e-6, time.monotonic() - (first or began))
    shown = " ".join("".join(pieces).split())[:72]
    console.out.print(f"  Asked to go on from 'import os', it streams {speed:.0f} tokens a second:")
    console.out.print(f"    {console.safe(shown)}")
    return "".join(pieces), speed


def _ask(asked: OpenAI, model: str, said: str) -> str:
    answer = asked.chat.completions.create(
        model=model, messages=[{"role": "user", "content": said}], max_tokens=12, temperature=0
    )
    return (answer.choices[0].message.content or "").strip()


def _fine_tune(
    asked: OpenAI, learned: Sequence[Exercise], check: Callable[[], None]
) -> tuple[FineTuningJob, float]:
    """The job when it is over, and how long it took. Raises Unavailable if it did not succeed."""
    lines = "\n".join(json.dumps(_example(one)) for one in learned)
    file = asked.files.create(file=("arithmetic.jsonl", lines.encode()), purpose="fine-tune")
    began = time.monotonic()
    method: Any = {
        "type": "supervised",
        "supervised": {"hyperparameters": {"n_epochs": EPOCHS, "learning_rate_multiplier": RATE}},
    }
    job = asked.fine_tuning.jobs.create(
        model=NAME,
        training_file=file.id,
        suffix="arithmetic",
        seed=1,
        method=method,
        extra_body={"commonweal": {"lora": False}},
    )
    with console.live_line("fine-tuning") as say:
        while job.status not in ("succeeded", "failed", "cancelled"):
            check()
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise Unavailable("fine-tuning takes too long here", hint="read hub.log")
            time.sleep(0.5)
            job = asked.fine_tuning.jobs.retrieve(job.id)
            newest = asked.fine_tuning.jobs.list_events(job.id, limit=1).data
            say(f"fine-tuning: {newest[0].message if newest else job.status}")
    if job.status != "succeeded":
        raise Unavailable(f"fine-tuning has {job.status}: {job.error.message if job.error else ''}")
    return job, time.monotonic() - began


def _example(one: Exercise) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": one.said}, {"role": "assistant", "content": one.written}]
    }


def _spent(client: PoolClient, job: str) -> int:
    """What the pool's job for a fine-tuning job has paid."""
    return next((view.spent for view in client.jobs() if view.kind == "train" and job in view.name), 0)
