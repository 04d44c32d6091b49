"""Fine-tuning a demo-sized model on a task that it cannot do: exact match before and after, and bytes per round.

The base is the demo's Llama of about a million parameters, trained on the standard library for a few hundred steps (or
a model in ``--base``). The task is text to arithmetic: "two plus seven" is answered "2 + 7". Two members train an
adapter by the pool's own job, codec (4 bits) and checks, in one process and without a network; a second job prefers the
right answers over words (DPO). Questions of the test are of pairs that were never trained on. Processor seconds
stand beside wall seconds. Prints JSON; ``make bench-serve`` uses it as a library.

    python bench/serve_tuning.py --examples 800
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from commonweal.core.blobs import Blobs, open_blobs
from commonweal.core.completion import Message
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import JobId, MemberId
from commonweal.core.work import Json

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIGNS = {"plus": "+", "minus": "-", "times": "*", "over": "/"}
MEMBERS = (MemberId("mem_a"), MemberId("mem_b"))
JOB = JobId("job_bench")
TESTED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A question, its answer, and a wrong one."""

    question: str
    answer: str
    wrong: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """One job. ``up_bytes`` and ``down_bytes`` are one member's in one round, ``float_bytes`` the trained parameters
    in float32 and ``model_bytes`` the whole model's; ``first`` and ``last`` are held-out losses (nats)."""

    method: str
    parameters: int
    examples: int
    tokens: int
    rounds: int
    up_bytes: int
    down_bytes: int
    float_bytes: int
    model_bytes: int
    first: float
    last: float
    metrics: dict[str, float]
    wall_s: float
    processor_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Exact match (0 to 1) of the base, and after supervised fine-tuning; and what the two jobs took."""

    base_parameters: int
    base_steps: int
    before: float
    after: float
    supervised: Tuned
    dpo: Tuned


def tasks(seed: int, count: int, *, tested: bool) -> list[Task]:
    """Questions over pairs of numbers. One pair in five is tested and never trained on."""
    numbers = random.Random(seed)
    made: list[Task] = []
    while len(made) < count:
        a, b = numbers.randrange(len(NUMBERS)), numbers.randrange(len(NUMBERS))
        if ((3 * a + b) % 5 == 0) != tested:
            continue
        word = numbers.choice(sorted(SIGNS))
        asked = f"{NUMBERS[a]} {word} {NUMBERS[b]}"
        made.append(Task(question=asked, answer=f"{a} {SIGNS[word]} {b}", wrong=asked))
    return made


def supervised_file(asked: Sequence[Task]) -> bytes:
    return _lines([{"messages": [*_asked(t), {"role": "assistant", "content": t.answer}]} for t in asked])


def preference_file(asked: Sequence[Task]) -> bytes:
    return _lines(
        [
            {
                "input": {"messages": _asked(t)},
                "preferred_output": [{"role": "assistant", "content": t.answer}],
                "non_preferred_output": [{"role": "assistant", "content": t.wrong}],
            }
            for t in asked
        ]
    )


def make_base(folder: Path, blobs: Blobs, *, steps: int) -> Path:
    """The demo's model, trained for ``steps`` inner steps by one member."""
    from commonweal.commands.demo import demo_job
    from commonweal.train.config import RoundSettings
    from commonweal.train.executor import TrainExecutor
    from commonweal.train.export import export_model
    from commonweal.train.job import TrainJob
    from commonweal.train.local import LocalPool
    from commonweal.train.prepare import prepare_job

    settings = replace(
        demo_job(steps=steps), rounds=RoundSettings(plan=False, outer_lr=1.0, outer_momentum=0.0)
    )
    prepared = prepare_job(settings, folder / "work", blobs.put)
    pool = LocalPool(
        TrainJob(JOB, prepared.spec, blobs), JOB, blobs, {MEMBERS[0]: TrainExecutor(None)}, steady=True
    )
    pool.run(steps)
    pool.close()
    export_model(prepared.spec, BlobHash(pool.state["theta"]), blobs.get, folder / "base")
    return folder / "base"


def exact_match(base: Path, adapter: Path | None, asked: Sequence[Task]) -> float:
    """The share of questions that are answered exactly, greedily."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from commonweal.models.chat import end_tokens, render_chat

    model: Any = AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter))
    tokenizer = AutoTokenizer.from_pretrained(str(base))
    model.eval()
    ends, right = sorted(end_tokens(tokenizer)), 0
    for task in asked:
        ids = render_chat(tokenizer, [Message(role="user", content=task.question)]).ids
        with torch.inference_mode():
            out = model.generate(
                input_ids=torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=12,
                do_sample=False,
                eos_token_id=ends,
                pad_token_id=ends[0],
            )
        right += tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True).strip() == task.answer
    return right / len(asked)


def tune(base: Path, data: bytes, blobs: Blobs, out: Path, *, method: str, epochs: int) -> Tuned:
    """Two members train an adapter, which is written to ``out``."""
    from commonweal.train.executor import TrainExecutor
    from commonweal.train.job import TrainJob
    from commonweal.train.local import LocalPool
    from commonweal.train.scoring import HeldOutScorer
    from commonweal.train.spec import JobSpec
    from commonweal.train.tuning import Base, TuningOptions
    from commonweal.train.tuning.preparing import prepare_tuning
    from commonweal.train.tuning.results import export_tuning

    wall, processor = time.perf_counter(), time.process_time()
    options = TuningOptions(method=method, epochs=epochs, batch_size=8)  # type: ignore[arg-type]
    made = prepare_tuning(Base(folder=base, name="demo"), data, options, blobs.put, name=f"bench {method}")
    scorer = HeldOutScorer(JobSpec.from_json(made.job.spec), blobs.get)
    members = {member: TrainExecutor(None) for member in MEMBERS}
    pool = LocalPool(TrainJob(JOB, made.job.spec, blobs, scorer), JOB, blobs, members, steady=True)
    records = pool.run(1000)
    pool.close()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    out.mkdir(parents=True)
    for name, content in export_tuning(made.job.spec, BlobHash(pool.state["theta"]), blobs.get).items():
        (out / name).write_bytes(content)
    return Tuned(
        method=method,
        parameters=made.job.parameters,
        examples=len(made.checked.learned),
        tokens=records[-1]["tokens"],
        rounds=len(records),
        up_bytes=round(statistics.median(m["up_bytes"] for r in records for m in r["members"])),
        down_bytes=round(statistics.median(r["update_bytes"] for r in records)),
        float_bytes=4 * made.job.parameters,
        model_bytes=(base / "model.safetensors").stat().st_size,
        first=records[0]["held_out_loss"],
        last=records[-1]["held_out_loss"],
        metrics=records[-1]["metrics"],
        wall_s=wall,
        processor_s=processor,
    )


def measure(
    folder: Path, *, base: Path | None = None, steps: int = 300, examples: int = 800, epochs: int = 12
) -> Measured:
    """Everything, with ``folder`` for what is made on the way."""
    blobs = open_blobs("memory://")
    found = base or make_base(folder, blobs, steps=steps)
    asked = tasks(1, TESTED, tested=True)
    before = exact_match(found, None, asked)
    learned = tasks(2, examples, tested=False)
    supervised = tune(
        found, supervised_file(learned), blobs, folder / "supervised", method="supervised", epochs=epochs
    )
    dpo = tune(
        found, preference_file(learned[: examples // 4]), blobs, folder / "dpo", method="dpo", epochs=3
    )
    return Measured(
        base_parameters=supervised.model_bytes // 4,
        base_steps=0 if base else steps,
        before=before,
        after=exact_match(found, folder / "supervised", asked),
        supervised=supervised,
        dpo=dpo,
    )


def _asked(task: Task) -> list[Json]:
    return [{"role": "user", "content": task.question}]


def _lines(values: Sequence[Json]) -> bytes:
    return b"\n".join(json.dumps(value).encode() for value in values)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="a model's folder instead of the demo's")
    parser.add_argument("--steps", type=int, default=300, help="inner steps of the base")
    parser.add_argument("--examples", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as tmp:
        made = measure(
            Path(tmp), base=asked.base, steps=asked.steps, examples=asked.examples, epochs=asked.epochs
        )
    print(json.dumps(asdict(made), indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
