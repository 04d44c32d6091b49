"""Where the records of a label can be read: beside a checkpoint, in folders of runs, and on a hub over HTTP.

Nothing is trusted that can be reckoned anew: hashes of files and blobs, of round records, of the books (whose whole
chain is replayed), and the hash that the weights must have if the rounds led to them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from commonweal.core.errors import CommonwealError, DataError, NotFound, Refused
from commonweal.core.hashing import BlobHash, record_hash
from commonweal.data.prepare import source_hash
from commonweal.data.provenance import Provenance
from commonweal.data.sources import Source
from commonweal.evals.summary.runs import SavedRun
from commonweal.labels.checking import Proof
from commonweal.labels.facts import Label, Record
from commonweal.labels.folder import TRAINING, Saved, file_hash, read_training
from commonweal.labels.from_hub import from_hub
from commonweal.labels.from_training import records_for, state_named
from commonweal.labels.json_form import from_json
from commonweal.labels.records import (
    ModelRecords,
    Payment,
    Training,
    member_names,
    payment_keys,
    training,
    until,
    up_to_step,
)
from commonweal.labels.runs import run_hash, with_runs
from commonweal.labels.weights import layout_from, state_of
from commonweal.ledger.export import verify_export
from commonweal.pool.client import PoolClient
from commonweal.pool.worker.answers import check, reached
from commonweal.serve.catalogue import ServedModel, identity_of

HOLDS = Proof(outcome="holds")


class Evidence(Protocol):
    """What a label is checked by."""

    def prove(self, record: Record) -> Proof: ...

    def again(self) -> Label | None:
        """The label made anew of the records, as far as they can be read."""
        ...


@dataclass(frozen=True)
class FilesEvidence:
    """The files beside a label, and runs; what only a hub has is asked of ``hub``, where there is one. ``fresh`` is the
    label made of these files now."""

    path: Path | None
    runs: Sequence[SavedRun]
    fresh: Label
    hub: HubEvidence | None

    def again(self) -> Label | None:
        return self.fresh

    def prove(self, record: Record) -> Proof:
        return _as_far_as_read(self._prove, record)

    def _prove(self, record: Record) -> Proof:
        match record.kind:
            case "run":
                return prove_run(record, self.runs)
            case "word" | "address" | "label":
                return _word(record)
            case "file":
                return self._file(record)
        if self._saved is None:
            return self.hub.prove(record) if self.hub else _unknown("its record is not here")
        if record.kind == "weights":
            return self._weights(record, self._saved)
        if self.hub is not None and record.kind in ("job", "rounds", "books"):
            return self.hub.prove(record)
        return prove_training(record, self._saved.training)

    @cached_property
    def _folder(self) -> Path:
        if self.path is None:
            return Path()
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def _saved(self) -> Saved | None:
        file = self._folder / TRAINING
        return read_training(file) if self.path is not None and file.exists() else None

    def _file(self, record: Record) -> Proof:
        file = self._folder / record.address
        if not record.address or not file.is_file():
            return _unknown(f"{record.id} is not here")
        return _equal(file_hash(file), record.hash, f"{record.id} has another hash")

    def _weights(self, record: Record, saved: Saved) -> Proof:
        layout = layout_from(saved.layout)
        if layout is None:
            return _unknown("the order of its parameters was not saved")
        return prove_weights(record, self._folder, layout)


@dataclass(frozen=True)
class HubEvidence:
    """A hub, over HTTP. What was fetched is kept for the next record. ``state`` is the one that the model is, where the
    label's own model is none of the hub's."""

    client: PoolClient
    http: httpx.Client
    runs: Sequence[SavedRun]
    state: str = ""
    _kept: dict[str, Any] = field(default_factory=dict)

    def label(self, name: str) -> Label:
        """What the hub says is the label of a model. Raises NotFound, and DataError for what is none."""
        value = self._get(f"/v1/models/{quote(name, safe='/:')}/label")
        self._kept["label"] = made = from_json(value, where=f"the label of {name}")
        return made

    def again(self) -> Label | None:
        """The label, its facts of the catalogue and of the training made of these records here and not by the hub."""
        asked: Label | None = self._kept.get("label")
        if asked is None:
            return None
        row = self._models().get(asked.model)
        told_by = self._kept.get("training")
        if row is None or told_by is None or asked.base is not None:
            return with_runs(asked, self.runs) if self.runs else asked
        records = ModelRecords(model=row, training=told_by, stated=dict(row.lineage.get("stated") or {}))
        own = {fact.key: fact for fact in from_hub(records).facts if fact.status == "disclosed"}
        made = asked.with_facts({key: fact for key, fact in own.items() if not key.startswith("account")})
        return with_runs(made, self.runs) if self.runs else made

    def prove(self, record: Record) -> Proof:
        ways: Mapping[str, Callable[[Record], Proof]] = {
            "run": lambda one: prove_run(one, self.runs),
            "word": _word,
            "address": _word,
            "label": self._label,
            "model": self._model,
            "file": self._file,
            "weights": self._weights,
            "dataset": self._dataset,
            "improvement": self._improvement,
            "promotion": self._promotion,
            "tuning": self._tuning,
        }
        if record.kind == "data" and not record.id.startswith("job_"):
            return _as_far_as_read(self._file, record)
        way = ways.get(record.kind, lambda one: prove_training(one, self._training(one.id)))
        return _as_far_as_read(way, record)

    def _get(self, path: str) -> Any:
        if path not in self._kept:
            with reached("the hub"):
                response = self.http.get(path)
            check(response)
            self._kept[path] = response.json()
        return self._kept[path]

    def _models(self) -> dict[str, ServedModel]:
        if "models" not in self._kept:
            rows = self._get("/serve/v1/models")
            self._kept["models"] = {row["name"]: ServedModel(**row) for row in rows}
        found: dict[str, ServedModel] = self._kept["models"]
        return found

    def _training(self, job: str) -> Training:
        """A job with its rounds, machines and payments; the books are replayed as a whole."""
        if "training" not in self._kept:
            view = self.client.job(job)
            rounds = [one for one in self.client.rounds(job) if one.number < view.rounds]
            members = {one.id: {**one.platform, "owner": one.owner} for one in self.client.members()}
            plain = training(view, rounds)
            names = set(member_names(plain.rounds))
            asked: Label | None = self._kept.get("label")
            row = None if asked is None else self._models().get(asked.model)
            lineage = {} if row is None else row.lineage
            made = training(
                view,
                rounds,
                machines={name: told for name, told in members.items() if name in names},
                payments=self._payments(payment_keys(job, plain.rounds)),
                word="publisher" if lineage.get("job") == job else "hub",
            )
            state = self.state or (str(lineage.get("state") or "") if lineage.get("job") == job else "")
            kept = until(made, state) if state else up_to_step(made, lineage.get("step"))
            if kept is None:
                raise DataError(f"no round of {job} led to the state {state[:16]}")
            self._kept["training"] = kept
        found: Training = self._kept["training"]
        return found

    def _payments(self, keys: Sequence[str]) -> tuple[Payment, ...]:
        """The journals of these keys, from the public export. Raises DataError where the books do not hold."""
        wanted, found, lines = set(keys), dict[str, Payment](), list[str]()
        for line in self.client.export():
            lines.append(line)
            row = json.loads(line)
            journal = row.get("journal") or {}
            if journal.get("key") in wanted:
                paid = sum(p["microcredits"] for p in journal["postings"] if p["microcredits"] > 0)
                found[journal["key"]] = Payment(key=journal["key"], hash=row["hash"], microcredits=paid)
        proved = verify_export(lines)
        if not proved.ok:
            raise DataError("the books do not hold: " + "; ".join(proved.problems[:3]))
        return tuple(found[key] for key in keys if key in found)

    def _model(self, record: Record) -> Proof:
        models = self._models()
        model = models.get(record.id)
        if model is None:
            return _unknown(f"{record.id} is not in the catalogue")
        if model.kind == "fronted":
            base: str | None = f"fronted:{model.name}"
        else:
            base = None if model.base is None else models[model.base].identity
        made = identity_of(model.files, base=base, quantization=model.quantization)
        return _equal(made, record.hash, "its files make another identity")

    def _file(self, record: Record) -> Proof:
        """Fetched, which proves its hash; weights are kept for the proof of the state."""
        data = self.client.get(BlobHash(record.hash))
        if record.id.endswith(".safetensors"):
            (self._folder / Path(record.id).name).write_bytes(data)
        return HOLDS

    @cached_property
    def _folder(self) -> Path:
        kept = tempfile.TemporaryDirectory(prefix="commonweal-label-")
        self._kept["folder"] = kept
        return Path(kept.name)

    def _weights(self, record: Record) -> Proof:
        asked: Label | None = self._kept.get("label")
        row = None if asked is None else self._models().get(asked.model)
        if row is None:
            return _unknown("its weights are not in the catalogue")
        for name, blob in row.files.items():
            if name.endswith(".safetensors") and not (self._folder / name).exists():
                (self._folder / name).write_bytes(self.client.get(BlobHash(blob)))
        worker = json.loads(self.client.get(self._training(record.id).spec.worker))
        layout = layout_from(worker.get("layout"))
        return _unknown("no layout") if layout is None else prove_weights(record, self._folder, layout)

    def _label(self, record: Record) -> Proof:
        if not record.address:
            return _unknown(f"the label of {record.id} cannot be seen")
        self._get(record.address)
        return HOLDS

    def _dataset(self, record: Record) -> Proof:
        manifest = self._get(record.address)["manifest"]
        return _equal(record_hash(manifest), record.hash, "the data set's manifest is another")

    def _improvement(self, record: Record) -> Proof:
        decision = self._get(record.address).get("decision")
        made = record_hash(decision) if decision else ""
        return _equal(made, record.hash, "the decision is another")

    def _promotion(self, record: Record) -> Proof:
        hashes = {record_hash(one["record"]) for one in self._get(record.address)}
        return HOLDS if record.hash in hashes else Proof(outcome="wrong", why="there is no such promotion")

    def _tuning(self, record: Record) -> Proof:
        try:
            self._get(record.address)
        except (NotFound, Refused):
            return _unknown("only its owner can read the fine-tuning job")
        return HOLDS


def prove_training(record: Record, found: Training) -> Proof:
    """A record of a job, by what was read of it."""
    if record.id != found.job:
        return _unknown(f"the records here are of another job, {found.job}")
    if record.kind == "data":
        return prove_data(record, found)
    if record.kind == "rounds" and (why := rounds_wrong(found)):
        return Proof(outcome="wrong", why=why)
    if record.kind == "books" and found.payments is None:
        return _unknown("the books are not here")
    made = next((one for one in records_for(found).values() if one.kind == record.kind), None)
    if made is None:
        return _unknown("nobody knows such a record")
    return _equal(made.hash, record.hash, f"the {record.kind} of {record.id} are others")


def rounds_wrong(found: Training) -> str:
    """Why the rounds do not lead to the state, or nothing: their numbers, their sums, and where they ended."""
    if [one.number for one in found.rounds] != list(range(len(found.rounds))):
        return "rounds are missing"
    tokens = 0
    for one in found.rounds:
        tokens += sum(m.tokens for m in one.record.members if m.verdict == "ok")
        if one.record.tokens != tokens:
            return f"until round {one.number} members handed in {tokens:,} tokens, not {one.record.tokens:,}"
    if found.rounds and found.rounds[-1].record.state != state_named(found):
        return "the last round led to another state"
    return ""


def prove_weights(record: Record, folder: Path, layout: Any) -> Proof:
    """Whether the files in a folder are the state that a record names."""
    made = state_of(folder, layout)
    if made is None:
        return _unknown("its files do not have the parameters as the job had them")
    return _equal(made, record.hash, "its weights are not the state that the rounds led to")


def prove_data(record: Record, found: Training) -> Proof:
    """The provenance by its own hash; and where the texts are here, they themselves."""
    told_of = found.spec.provenance
    if told_of.get("hash") != record.hash:
        return Proof(outcome="wrong", why="the data's record has another hash")
    if told_of.get("kind") == "examples":
        made = record_hash({name: value for name, value in told_of.items() if name != "hash"})
        return _equal(made, record.hash, "the data's record was changed")
    if not (told_of.get("held_out") or {}).get("shards"):
        return _unknown("what is held out is not told, and the record's hash is over that too")
    Provenance.from_json(told_of)
    return _texts(told_of)


def _texts(told_of: Mapping[str, Any]) -> Proof:
    """Where the texts lie as they did, they are compared; that they are not here, or others are, proves nothing."""
    content, kind, place = told_of.get("content"), told_of["kind"], str(told_of.get("location") or "")
    if not content or kind == "stdlib":
        return HOLDS
    try:
        here = source_hash(Source(kind=kind, path=place))
    except CommonwealError:
        return HOLDS
    return HOLDS if here in (content, "") else _unknown(f"the texts that are at {place} here are others")


def prove_run(record: Record, runs: Sequence[SavedRun]) -> Proof:
    """A run in the folders that were given."""
    mine = [run for run in runs if run.name == record.id]
    if not mine:
        return _unknown("the run is not in the folders given (--runs)")
    if any(run_hash(run) == record.hash for run in mine):
        return HOLDS
    return Proof(outcome="wrong", why=f"the run {record.id} has other numbers")


def _as_far_as_read(prove: Callable[[Record], Proof], record: Record) -> Proof:
    """A record that is damaged is wrong; one that cannot be reached, or is of a form that nobody knows here, proves
    nothing."""
    try:
        return prove(record)
    except DataError as error:
        return Proof(outcome="wrong", why=error.message)
    except CommonwealError as error:
        return _unknown(error.message)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return _unknown(f"the record has another form than known here: {type(error).__name__}")


def _word(record: Record) -> Proof:
    if record.kind == "address":
        return _unknown(f"read {record.address}")
    if record.kind == "label":
        return _unknown(f"read the label of {record.id}")
    return _unknown(f"it is the word of {record.id or 'who wrote it'}")


def _unknown(why: str) -> Proof:
    return Proof(outcome="unknown", why=why)


def _equal(made: str, wanted: str, why: str) -> Proof:
    return HOLDS if made == wanted else Proof(outcome="wrong", why=why)
