"""Where a served model comes from and what came of it: data -> job and rounds -> checkpoint -> model -> fine-tunes.

Owns the graph that is made of a hub's records, every step after those that it comes from. Nothing is guessed: what no
record says is listed in ``gaps``. Only public models are named; of another one it is told that it is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from commonweal.core.errors import NotFound
from commonweal.labels import lineage_steps as steps
from commonweal.labels.lineage_steps import Step
from commonweal.labels.records import (
    ModelRecords,
    Training,
    TrainingReader,
    member_names,
    records_of,
)
from commonweal.serve.catalogue import ServedModel
from commonweal.serve.community import datasets, improvements
from commonweal.serve.community.datasets import DataSet
from commonweal.serve.community.improvements import Improvement
from commonweal.serve.schema import served_models

_CHILDREN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """``ways`` are pairs of keys: the second step comes from the first. ``gaps`` are what no record says."""

    model: str
    steps: Sequence[Step]
    ways: Sequence[tuple[str, str]]
    gaps: Sequence[str] = ()

    def before(self, key: str) -> list[Step]:
        """The steps that one comes from."""
        wanted = {first for first, then in self.ways if then == key}
        return [step for step in self.steps if step.key in wanted]


@dataclass(frozen=True, slots=True, kw_only=True)
class Improved:
    """An improvement of a model with its data set, and its candidate where it was promoted and may be seen."""

    improvement: Improvement
    dataset: DataSet | None = None
    promoted: ServedModel | None = None


@dataclass(slots=True)
class _Graph:
    """A lineage while it is made. A step that is there already is not entered again."""

    steps: dict[str, Step] = field(default_factory=dict)
    ways: dict[tuple[str, str], None] = field(default_factory=dict)
    gaps: dict[str, None] = field(default_factory=dict)

    def add(self, step: Step, *sources: str) -> str:
        self.steps.setdefault(step.key, step)
        self.ways.update(dict.fromkeys((source, step.key) for source in sources if source))
        return step.key

    def gap(self, text: str) -> None:
        self.gaps[text] = None


def read_lineage(connection: sa.Connection, name: str, read_training: TrainingReader) -> Lineage:
    """The lineage of a public model. Raises NotFound."""
    records = records_of(connection, name, "", read_training)
    return lineage(records, _improved(connection, name), _made_of(connection, name))


def lineage(
    records: ModelRecords, improved: Sequence[Improved] = (), made_of: Sequence[ServedModel] = ()
) -> Lineage:
    """The graph of a model's records, of the improvements of it and the models that were made of it."""
    graph = _Graph()
    key = _add_model(graph, records)
    for one in improved:
        data = "" if one.dataset is None else graph.add(steps.feedback(one.dataset))
        step = graph.add(steps.improvement(one.improvement), key, data)
        if one.promoted is not None:
            graph.add(steps.model(one.promoted), step)
    for model in made_of:
        step_of = steps.model(model)
        if step_of.key not in graph.steps:
            graph.add(step_of, key)
    return Lineage(
        model=records.model.name,
        steps=tuple(graph.steps.values()),
        ways=tuple(graph.ways),
        gaps=tuple(graph.gaps),
    )


def _add_model(graph: _Graph, records: ModelRecords) -> str:
    """A model after all that it comes from."""
    return graph.add(steps.model(records.model), *list(_sources(graph, records)))


def _sources(graph: _Graph, records: ModelRecords) -> Iterator[str]:
    model, training = records.model, records.training
    if records.tuning is not None:
        yield _add_tuning(graph, records)
        return
    if records.parent_name is not None:
        yield _add_parent(graph, records)
    if training is not None:
        yield _add_training(graph, training)
    elif model.kind == "fronted":
        graph.gap(f"{model.name} stands behind its publisher's own server: the hub has none of its files")
    elif isinstance(said := model.lineage.get("job"), str):
        graph.gap(f"{model.name} is said to be a state of {said[:80]}, of which this hub has no record")
    else:
        graph.gap(f"{model.name} was published from files: no record says how they were made")


def _add_parent(graph: _Graph, records: ModelRecords) -> str:
    if records.parent is not None and records.parent.model.public:
        return _add_model(graph, records.parent)
    return graph.add(steps.hidden(sum(key.startswith("hidden:") for key in graph.steps)))


def _add_tuning(graph: _Graph, records: ModelRecords) -> str:
    """A fine-tuning job after its base and its data; then the checkpoint, and the improvement that it was part of."""
    job = records.tuning
    assert job is not None
    base = _add_parent(graph, records)
    provenance = {} if records.training is None else records.training.spec.provenance
    data = steps.examples(job, provenance) if records.dataset is None else steps.feedback(records.dataset)
    pool_job = "" if records.training is None else records.training.job
    made = graph.add(steps.tuning(job, pool_job), base, graph.add(data))
    step = records.model.lineage.get("step")
    if isinstance(step, int):
        made = graph.add(steps.tuned_state(job.id, step), made)
    if records.improvement is not None and records.improvement.candidate == records.model.name:
        made = graph.add(steps.improvement(records.improvement), made)
    return made


def _add_training(graph: _Graph, job: Training) -> str:
    """A training job of the pool after its data; then the last states of it that were kept, the model's own last."""
    source = graph.add(steps.source(job.spec.provenance)) if job.spec.provenance else ""
    made = graph.add(steps.training(job, len(member_names(job.rounds))), source)
    became = ""
    kept = [point for point in job.state.checkpoints if point.step <= job.rounds[-1].record.step]
    for point in steps.some(kept, job.weights):
        key = graph.add(steps.checkpoint(job.job, point), made)
        became = key if point.theta == job.weights else became
    return became or made


def _improved(connection: sa.Connection, name: str) -> list[Improved]:
    """The latest improvements of a model, the newest first."""
    found, _ = improvements.every(connection, model=name, after=None, limit=_CHILDREN)
    return [
        Improved(
            improvement=one,
            dataset=_dataset(connection, one.dataset),
            promoted=_public(connection, one.candidate) if one.state == "promoted" else None,
        )
        for one in found
    ]


def _dataset(connection: sa.Connection, name: str | None) -> DataSet | None:
    try:
        return datasets.find(connection, name) if name else None
    except NotFound:
        return None


def _public(connection: sa.Connection, name: str | None) -> ServedModel | None:
    served = served_models.c
    query = sa.select(served_models).where(served.name == name, served.public, served.retired.is_(None))
    row = connection.execute(query).first()
    return None if row is None else ServedModel(**row._mapping)


def _made_of(connection: sa.Connection, name: str) -> list[ServedModel]:
    """The public models that were made of one: the adapters on it, and what says that it is its parent."""
    served = served_models.c
    parent = served.lineage["parent"].astext
    made = sa.or_(parent == name, sa.and_(parent.is_(None), served.base == name))
    query = (
        sa.select(served_models)
        .where(served.public, served.retired.is_(None), served.name != name, made)
        .order_by(served.created.desc(), served.name)
        .limit(_CHILDREN)
    )
    return [ServedModel(**row._mapping) for row in connection.execute(query)]
