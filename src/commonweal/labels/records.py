"""What is written down about a model, gathered: the catalogue's row, the job that trained it with its rounds and
payments, the fine-tuning job, the feedback data set, the improvement, and the model that it was made of.

Reads and judges nothing. What a publisher said of a model (its ``lineage``) leads to a record only where the hub's own
rows agree: a fine-tuning job is taken for a model's if its row names that model; that a model is what a job of the pool
trained is its publisher's word (``Training.word``) until somebody compares the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from commonweal.core.errors import CommonwealError, NotFound
from commonweal.core.hashing import record_hash
from commonweal.ledger.export import StoredJournal
from commonweal.ledger.schema import journals, postings
from commonweal.pool import wire
from commonweal.pool.access import Caller
from commonweal.pool.schema import jobs as pool_jobs
from commonweal.pool.schema import members
from commonweal.pool.schema import rounds as pool_rounds
from commonweal.serve import catalogue
from commonweal.serve.catalogue import Promotion, ServedModel
from commonweal.serve.community import datasets, improvements
from commonweal.serve.community.datasets import DataSet
from commonweal.serve.community.improvements import Improvement
from commonweal.serve.schema import promotions
from commonweal.serve.tuning import jobs as tuning_jobs
from commonweal.serve.tuning.jobs import TuningJob
from commonweal.serve.tuning.schema import tuning_checkpoints
from commonweal.train.config import TrainSettings
from commonweal.train.record import RoundRecord
from commonweal.train.spec import JobSpec
from commonweal.train.state import TrainState

Word = Literal["hub", "publisher"]
_DEEPEST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round as it was recorded; ``at`` is when it was folded."""

    number: int
    at: float
    record: RoundRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One journal of the books that paid for a round: ``hash`` is the journal's, ``microcredits`` what it paid."""

    key: str
    hash: str
    microcredits: int


@dataclass(frozen=True, kw_only=True)
class Training:
    """A job of the pool that trained weights. Has no slots: hashes of thousands of rounds are reckoned once.

    ``machines`` is what each member's machine told of itself, and its owner; ``payments`` is None where the books were
    not read. ``word`` says who claims that this job made the model, ``weights`` which of its states the model is said
    to be."""

    job: str
    name: str
    owner: str
    status: str
    created: float
    updated: float
    microcredits: int
    spec: JobSpec
    state: TrainState
    rounds: Sequence[Round]
    machines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    payments: Sequence[Payment] | None = None
    word: Word = "hub"
    weights: str = ""

    def paid(self) -> Training:
        """With the payments of its rounds and no others."""
        if self.payments is None:
            return self
        keys = set(payment_keys(self.job, self.rounds))
        return replace(self, payments=tuple(one for one in self.payments if one.key in keys))

    @property
    def over(self) -> bool:
        """Whether nothing more is learned: before that members must not know what they are scored on."""
        return self.status not in ("running", "paused")

    @cached_property
    def rounds_hash(self) -> str:
        """Of all round records, in their order."""
        return rounds_hash(self.rounds)

    @cached_property
    def books_hash(self) -> str:
        """Of the hashes of the journals that paid, in the order of the rounds; "" where the books were not read."""
        return "" if self.payments is None else books_hash(self.payments)

    @cached_property
    def settings(self) -> TrainSettings:
        """Raises ConfigError for those of another release."""
        return self.spec.train_settings()

    @cached_property
    def machines_hash(self) -> str:
        return record_hash({name: dict(told) for name, told in sorted(self.machines.items())})

    @cached_property
    def spec_hash(self) -> str:
        """Of what anybody may know of the specification."""
        return record_hash(public_spec(self.spec.to_json()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecords:
    """All that a hub has about one model. ``parent`` is the model that it was made of, where the reader may see it;
    ``latest_of`` are the promotions of it, ``versions`` those of its name; ``stated`` is its publisher's word, by
    question."""

    model: ServedModel
    training: Training | None = None
    tuning: TuningJob | None = None
    dataset: DataSet | None = None
    improvement: Improvement | None = None
    parent_name: str | None = None
    parent: ModelRecords | None = None
    latest_of: Sequence[tuple[str, Promotion]] = ()
    versions: Sequence[Promotion] = ()
    stated: Mapping[str, Any] = field(default_factory=dict)


def until(found: Training, state: str) -> Training | None:
    """The same as it was when it led to ``state``; None where none of its rounds did."""
    places = [place for place, one in enumerate(found.rounds) if one.record.state == state]
    return None if not places else replace(found, rounds=found.rounds[: places[-1] + 1], weights=state).paid()


def up_to_step(found: Training, step: Any) -> Training:
    """The same as it was at a checkpoint's step."""
    if not isinstance(step, int):
        return found
    return replace(found, rounds=[one for one in found.rounds if one.record.step <= step]).paid()


def public_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A specification without what it is scored on: members must not know that while the job goes on."""
    told = dict(spec.get("provenance") or {})
    if isinstance(told.get("held_out"), Mapping):
        told["held_out"] = {**told["held_out"], "shards": []}
    told["held_out_source"] = None
    settings = {**(spec.get("settings") or {}), "held_out": None}
    return {**spec, "held_out": {}, "provenance": told, "settings": settings}


def rounds_hash(rounds: Iterable[Round]) -> str:
    return record_hash([[one.number, one.record.to_json()] for one in rounds])


def books_hash(payments: Iterable[Payment]) -> str:
    return record_hash([[one.key, one.hash] for one in payments])


def records_of(
    connection: sa.Connection, name: str, account: str, read_training: TrainingReader
) -> ModelRecords:
    """All about one model that this account may use. Raises NotFound."""
    found = catalogue.find(connection, name, account)
    return _records(connection, found, account, _DEEPEST, read_training)


def public_models(connection: sa.Connection) -> tuple[ServedModel, ...]:
    """The models that anybody may use, by name."""
    return tuple(model for model in catalogue.every(connection, "") if model.public)


class TrainingReader(Protocol):
    """Reads a training job of the pool with its rounds, its machines and what the books say."""

    def __call__(self, connection: sa.Connection, job: str, *, word: Word = "hub") -> Training:
        """Raises NotFound, also for a job of another kind."""
        ...


def rounds_after(connection: sa.Connection, job: str, number: int) -> tuple[Round, ...]:
    """The rounds of a job with a number above this one, in one query."""
    columns = pool_rounds.c
    query = (
        sa.select(columns.number, columns.at, columns.record)
        .where(columns.job == job, columns.number > number)
        .order_by(columns.number)
    )
    return tuple(
        Round(number=row.number, at=row.at, record=RoundRecord.from_json(row.record))
        for row in connection.execute(query)
    )


def machines_of(connection: sa.Connection, names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """What each member's machine told of itself, and its owner."""
    told = sa.select(members.c.id, members.c.platform, members.c.owner).where(members.c.id.in_(names))
    return {row.id: {**row.platform, "owner": row.owner} for row in connection.execute(told)}


def payments_of(connection: sa.Connection, job: str, rounds: Sequence[Round]) -> tuple[Payment, ...]:
    """What the books say was paid for some rounds, in their order; the sums are made where the books are."""
    keys = payment_keys(job, rounds)
    moved = postings.c.microcredits
    query = (
        sa.select(journals.c.key, journals.c.hash, sa.func.sum(moved).filter(moved > 0).label("paid"))
        .join(postings, postings.c.journal_id == journals.c.id)
        .where(journals.c.key == sa.any_(sa.bindparam("keys", keys, type_=ARRAY(sa.Text))))
        .group_by(journals.c.id)
    )
    found = connection.execute(query)
    return in_order(
        (Payment(key=row.key, hash=row.hash, microcredits=int(row.paid or 0)) for row in found), keys
    )


def training(
    view: wire.JobView,
    rounds: Iterable[wire.RoundView],
    *,
    machines: Mapping[str, Mapping[str, Any]] | None = None,
    payments: Sequence[Payment] | None = None,
    word: Word = "hub",
    weights: str = "",
) -> Training:
    """The same from what the hub answers over HTTP. Raises ConfigError for a specification of another release."""
    read = tuple(
        Round(number=one.number, at=one.at, record=RoundRecord.from_json(one.record)) for one in rounds
    )
    return training_with(view, read, machines=machines, payments=payments, word=word, weights=weights)


def training_with(
    view: wire.JobView,
    rounds: Sequence[Round],
    *,
    machines: Mapping[str, Mapping[str, Any]] | None = None,
    payments: Sequence[Payment] | None = None,
    word: Word = "hub",
    weights: str = "",
) -> Training:
    """The same with rounds that were read before."""
    return Training(
        job=view.id,
        name=view.name,
        owner=view.owner,
        status=view.status,
        created=view.created,
        updated=view.updated,
        microcredits=view.spent,
        spec=JobSpec.from_json(view.spec),
        state=TrainState.from_json(view.state),
        rounds=rounds,
        machines=machines or {},
        payments=payments,
        word=word,
        weights=weights,
    )


def payment_keys(job: str, rounds: Iterable[Round]) -> list[str]:
    """The keys of the journals that may have paid for these rounds."""
    return [f"{job}:round:{one.number}" for one in rounds]


def payment(stored: StoredJournal) -> Payment:
    """A journal, and the micro-credits that it moved to somebody."""
    lines = stored.journal["postings"]
    return Payment(
        key=stored.journal["key"],
        hash=stored.hash,
        microcredits=sum(line["microcredits"] for line in lines if line["microcredits"] > 0),
    )


def in_order(paid: Iterable[Payment], keys: Sequence[str]) -> tuple[Payment, ...]:
    place = {key: number for number, key in enumerate(keys)}
    return tuple(sorted(paid, key=lambda one: place[one.key]))


def member_names(rounds: Iterable[Round]) -> list[str]:
    """The members whose work is in the weights, by id."""
    return sorted({m.member for one in rounds for m in one.record.members if m.verdict == "ok"})


def _records(
    connection: sa.Connection, model: ServedModel, account: str, left: int, read: TrainingReader
) -> ModelRecords:
    lineage = model.lineage
    tuning = _tuning(connection, model)
    parent_name = _text(lineage.get("parent")) or model.base if tuning is not None else model.base
    parent = None
    if parent_name and left and parent_name != model.name:
        try:
            found = catalogue.find(connection, parent_name, account)
            parent = _records(connection, found, account, left - 1, read)
        except NotFound:  # it is another's, or it was retired
            parent = None
    improvement = _improvement(connection, tuning)
    stated = lineage.get("stated")
    return ModelRecords(
        model=model,
        training=_training(connection, model, tuning, read),
        tuning=tuning,
        dataset=_dataset(connection, tuning, improvement),
        improvement=improvement,
        parent_name=parent_name or None,
        parent=parent,
        latest_of=_latest_of(connection, model.name),
        versions=catalogue.versions(connection, model.name),
        stated=stated if isinstance(stated, Mapping) else {},
    )


def _tuning(connection: sa.Connection, model: ServedModel) -> TuningJob | None:
    """The fine-tuning job of a model, where the job's own rows say so too: a lineage is whatever its publisher sent."""
    name = _text(model.lineage.get("job"))
    if not name.startswith("ftjob_"):
        return None
    try:
        job = tuning_jobs.find(connection, name, model.owner)
    except NotFound:
        return None
    made = connection.execute(
        sa.select(tuning_checkpoints.c.model).where(tuning_checkpoints.c.job == job.id)
    ).scalars()
    return job if model.name in {job.model, *made} else None


def _training(
    connection: sa.Connection, model: ServedModel, tuning: TuningJob | None, read: TrainingReader
) -> Training | None:
    lineage = model.lineage
    try:
        if tuning is not None:
            request = Caller(role="user", owner=tuning.owner).request(tuning.id)
            job = connection.execute(
                sa.select(pool_jobs.c.id).where(pool_jobs.c.request_id == request)
            ).scalar()
            return None if job is None else up_to_step(read(connection, job), lineage.get("step"))
        job = _text(lineage.get("job"))
        if not job.startswith("job_"):
            return None
        state = _text(lineage.get("state"))
        return until(read(connection, job, word="publisher"), state)  # a state that it never had is none
    except (CommonwealError, KeyError, TypeError, ValueError):  # no such job, or one of another release
        return None


def _improvement(connection: sa.Connection, tuning: TuningJob | None) -> Improvement | None:
    """The improvement that ordered a fine-tuning job, where it says so itself."""
    name = "" if tuning is None else tuning.metadata.get("improvement", "")
    try:
        found = improvements.find(connection, name) if name else None
    except NotFound:
        return None
    return found if found is not None and tuning is not None and found.job == tuning.id else None


def _dataset(
    connection: sa.Connection, tuning: TuningJob | None, improvement: Improvement | None
) -> DataSet | None:
    """The data set of feedback that was learned from: the improvement's, or the one that the job's file is of."""
    if tuning is None:
        return None
    name = improvement.dataset if improvement is not None else tuning.metadata.get("dataset")
    try:
        found = datasets.find(connection, name) if name else None
    except NotFound:
        return None
    if found is None or improvement is not None:
        return found
    hashes = {file["sha256"] for file in found.manifest["files"].values()}
    return found if tuning.recipe.training in hashes else None


def _latest_of(connection: sa.Connection, model: str) -> tuple[tuple[str, Promotion], ...]:
    rows = connection.execute(
        sa.select(promotions).where(promotions.c.model == model).order_by(promotions.c.number)
    )
    return tuple(
        (row.name, Promotion(model=row.model, by=row.by, at=row.at, record=row.record)) for row in rows
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
