"""Steps of a model's lineage, each made from one saved record. Pure: what the record says, as words, and nothing of
anybody's text.

Of a job it is not told what it is scored on, which members must not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from commonweal.labels.records import Training, Word
from commonweal.ledger.amounts import shown
from commonweal.serve.catalogue import ServedModel
from commonweal.serve.community.datasets import DataSet
from commonweal.serve.community.improvements import Improvement
from commonweal.serve.tuning.jobs import TuningJob
from commonweal.train.state import Checkpoint

Kind = Literal["data", "feedback", "training", "tuning", "checkpoint", "model", "improvement"]
Facts = tuple[tuple[str, str], ...]

HIDDEN = "a model that is not public, or retired"
_UNTOLD = "not disclosed"
_COUNTS = (("documents", "documents"), ("bytes of text", "text_bytes"), ("tokens", "tokens"))
_METHODS = {"supervised": "supervised", "dpo": "DPO", "kto": "KTO"}
_SERVED_AS = {"adapter": "an adapter", "full": "weights of its own", "fronted": "a member's own server"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One record. ``key`` is its own within a lineage, ``id`` what the hub calls it ("" for what has no address here),
    ``pool_job`` the job of the pool that did the work; ``at`` seconds since the epoch; ``facts`` are names with values,
    as words. ``word``: who says so that the model comes of it."""

    key: str
    kind: Kind
    name: str
    id: str = ""
    pool_job: str = ""
    at: float | None = None
    hash: str = ""
    facts: Facts = ()
    word: Word = "hub"


def model(found: ServedModel) -> Step:
    facts = (("parameters", f"{found.parameters:,}"), ("served as", _SERVED_AS[found.kind]))
    return Step(
        key=f"model:{found.name}",
        kind="model",
        name=found.name,
        id=found.name,
        at=found.created,
        hash=found.identity,
        facts=facts,
    )


def hidden(number: int) -> Step:
    return Step(key=f"hidden:{number}", kind="model", name=HIDDEN)


def examples(job: TuningJob, provenance: Mapping[str, Any]) -> Step:
    """The training file of a fine-tuning job: its hash and its counts."""
    facts = [("examples", f"{provenance['examples']:,}")] if "examples" in provenance else []
    facts.append(("licence", str(provenance.get("licence") or _UNTOLD)))
    return Step(
        key=f"data:{job.recipe.training}",
        kind="data",
        name="examples of the job's owner",
        hash=job.recipe.training,
        facts=tuple(facts),
    )


def feedback(found: DataSet) -> Step:
    """A data set of what users said: how much, of how many people, under which licences."""
    told = found.manifest
    licences = ", ".join(
        f"{licence or 'none'} ({count})" for licence, count in sorted(told["licences"].items())
    )
    facts = [
        ("pieces of feedback", f"{len(told['feedback']):,}"),
        ("from people", f"{told['accounts']:,}"),
        ("licences", licences),
    ]
    if found.withdrawn:
        facts.append(("withdrawn since", f"{len(found.withdrawn):,}"))
    return Step(
        key=f"data:{found.id}",
        kind="feedback",
        name=f"{len(told['feedback']):,} pieces of {told['accounts']:,} people",
        id=found.id,
        at=found.created,
        hash=found.id.removeprefix("ds_"),
        facts=tuple(facts),
    )


def source(provenance: Mapping[str, Any]) -> Step:
    """The text that a training job was prepared from."""
    counts = provenance.get("train") or {}
    facts = [("licence", str(provenance.get("licence") or _UNTOLD))]
    facts += [(name, f"{counts[key]:,}") for name, key in _COUNTS if key in counts]
    facts += [("revision", str(provenance["revision"]))] if provenance.get("revision") else []
    kind, location = str(provenance.get("kind") or "text"), str(provenance.get("location") or "")
    return Step(
        key=f"data:{provenance.get('hash') or location}",
        kind="data",
        name="the Python standard library" if kind == "stdlib" else location or kind,
        hash=str(provenance.get("content") or provenance.get("hash") or ""),
        facts=tuple(facts),
    )


def training(job: Training, members: int) -> Step:
    """A training job of the pool, by the rounds that led to the model."""
    records = [one.record for one in job.rounds]
    moved = sum(record.up_bytes + record.down_bytes for record in records)
    facts = [
        ("tokens", f"{records[-1].tokens if records else 0:,}"),
        ("rounds", f"{len(records):,}"),
        ("members", f"{members:,}"),
        ("hours", f"{sum(record.seconds for record in records) / 3600:.2f}"),
        ("moved", f"{moved / 1e6:,.1f} MB"),
        ("paid", f"{shown(sum(record.paid for record in records))} credits"),
    ]
    before = job.state.losses.bits_before
    measured = [record.bits_per_byte for record in records if record.bits_per_byte is not None]
    if before is not None and measured:
        facts.append(("held-out bits per byte", f"{before:.3f} to {measured[-1]:.3f}"))
    return Step(
        key=f"job:{job.job}",
        kind="training",
        name=job.name,
        id=job.job,
        pool_job=job.job,
        at=job.updated,
        facts=tuple(facts),
        word=job.word,
    )


def checkpoint(job: str, point: Checkpoint) -> Step:
    return Step(
        key=f"checkpoint:{job}:{point.step}",
        kind="checkpoint",
        name=f"after {point.round:,} rounds",
        hash=point.theta,
        facts=(("step", f"{point.step:,}"), ("tokens", f"{point.tokens:,}")),
    )


def tuning(job: TuningJob, pool_job: str) -> Step:
    """A fine-tuning job of this hub, which the pool worked on as ``pool_job``."""
    facts = [("rounds", f"{job.round + 1:,}"), ("spent", f"{shown(job.spent)} credits")]
    if job.trained_tokens is not None:
        facts.insert(0, ("tokens", f"{job.trained_tokens:,}"))
    return Step(
        key=f"job:{job.id}",
        kind="tuning",
        name=f"{_METHODS[job.recipe.method]}, {'LoRA' if job.recipe.lora else 'all weights'}",
        id=job.id,
        pool_job=pool_job,
        at=job.finished or job.created,
        facts=tuple(facts),
    )


def tuned_state(job: str, step: int) -> Step:
    return Step(key=f"checkpoint:{job}:{step}", kind="checkpoint", name=f"after step {step:,}")


def improvement(found: Improvement) -> Step:
    """What was made of feedback, and what the gate said of it."""
    facts: list[tuple[str, str]] = []
    if found.feedback is not None:
        facts.append(("pieces of feedback", f"{found.feedback:,}"))
    if found.decision is not None:
        facts.append(("decision", str(found.decision["reason"])))
    return Step(
        key=f"improvement:{found.id}",
        kind="improvement",
        name=found.state,
        id=found.id,
        at=found.finished or found.created,
        facts=tuple(facts),
    )


def some(points: Sequence[Checkpoint], wanted: str, most: int = 4) -> list[Checkpoint]:
    """The last few checkpoints, then the one with the weights ``wanted``."""
    chosen = [point for point in points if point in points[-most:] or point.theta == wanted]
    return sorted(chosen, key=lambda point: point.theta == wanted)
