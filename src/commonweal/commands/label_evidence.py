"""Where the records of a label can be read: beside a checkpoint, in folders of runs, and on a hub over HTTP.

How a record is proved stands in :mod:`commonweal.labels.proofs`; of a hub's books the whole chain is replayed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from commonweal.core.errors import DataError, NotFound, Refused
from commonweal.core.hashing import BlobHash, record_hash
from commonweal.evals.summary.runs import SavedRun
from commonweal.labels.checking import Proof
from commonweal.labels.facts import Label, Record
from commonweal.labels.folder import TRAINING, Saved, file_hash, read_training
from commonweal.labels.from_hub import from_hub
from commonweal.labels.json_form import from_json
from commonweal.labels.proofs import (
    HOLDS,
    as_far_as_read,
    equal,
    prove_run,
    prove_training,
    prove_weights,
    prove_word,
    unknown,
)
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
from commonweal.labels.runs import with_runs
from commonweal.labels.weights import layout_from
from commonweal.ledger.export import verify_export
from commonweal.pool.client import PoolClient
from commonweal.pool.worker.answers import check, reached
from commonweal.serve.catalogue import ServedModel, identity_of


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
        return as_far_as_read(self._prove, record)

    def _prove(self, record: Record) -> Proof:
        match record.kind:
            case "run":
                return prove_run(record, self.runs)
            case "word" | "address" | "label":
                return prove_word(record)
            case "file":
                return self._file(record)
        if self._saved is None:
            return self.hub.prove(record) if self.hub else unknown("its record is not here")
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
        place = PurePath(record.address)
        file = self._folder / place
        if not record.address or place.is_absolute() or ".." in place.parts or not file.is_file():
            return unknown(f"{record.id} is not here")
        return equal(file_hash(file), record.hash, f"{record.id} has another hash")

    def _weights(self, record: Record, saved: Saved) -> Proof:
        layout = layout_from(saved.layout)
        if layout is None:
            return unknown("the order of its parameters was not saved")
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
            "word": prove_word,
            "address": prove_word,
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
            return as_far_as_read(self._file, record)
        way = ways.get(record.kind, lambda one: prove_training(one, self._training(one.id)))
        return as_far_as_read(way, record)

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
            return unknown(f"{record.id} is not in the catalogue")
        if model.kind == "fronted":
            base: str | None = f"fronted:{model.name}"
        else:
            base = None if model.base is None else models[model.base].identity
        made = identity_of(model.files, base=base, quantization=model.quantization)
        return equal(made, record.hash, "its files make another identity")

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
            return unknown("its weights are not in the catalogue")
        for name, blob in row.files.items():
            if name.endswith(".safetensors") and not (self._folder / name).exists():
                (self._folder / name).write_bytes(self.client.get(BlobHash(blob)))
        worker = json.loads(self.client.get(self._training(record.id).spec.worker))
        layout = layout_from(worker.get("layout"))
        return unknown("no layout") if layout is None else prove_weights(record, self._folder, layout)

    def _label(self, record: Record) -> Proof:
        if not record.address:
            return unknown(f"the label of {record.id} cannot be seen")
        self._get(record.address)
        return HOLDS

    def _dataset(self, record: Record) -> Proof:
        manifest = self._get(record.address)["manifest"]
        return equal(record_hash(manifest), record.hash, "the data set's manifest is another")

    def _improvement(self, record: Record) -> Proof:
        decision = self._get(record.address).get("decision")
        made = record_hash(decision) if decision else ""
        return equal(made, record.hash, "the decision is another")

    def _promotion(self, record: Record) -> Proof:
        hashes = {record_hash(one["record"]) for one in self._get(record.address)}
        return HOLDS if record.hash in hashes else Proof(outcome="wrong", why="there is no such promotion")

    def _tuning(self, record: Record) -> Proof:
        try:
            self._get(record.address)
        except (NotFound, Refused):
            return unknown("only its owner can read the fine-tuning job")
        return HOLDS
