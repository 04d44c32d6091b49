"""The records beside a saved checkpoint, and the label of its folder.

    training.json   the job that trained it: specification, state, rounds, machines, payments, layout
    label.json      the label made of it
    README.md       the same as a model card

``training.json`` has what the hub's records said when the model was saved, with a hash over all of it. Of a job that
goes on it does not say which text the members' work is scored on: they must not know.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commonweal.core.errors import CommonwealError, DataError
from commonweal.core.hashing import record_hash
from commonweal.labels.card import card
from commonweal.labels.facts import Fact, Facts, Label, Record, told
from commonweal.labels.from_toml import HEAD, from_toml, read_table
from commonweal.labels.from_training import training_facts
from commonweal.labels.json_form import dumps, read_label
from commonweal.labels.records import Payment, Training, public_spec, training
from commonweal.labels.stated import answered, answers_of
from commonweal.labels.weights import parameters_of
from commonweal.labels.wording import counted, rounded
from commonweal.pool import wire

TRAINING = "training.json"
LABEL = "label.json"
CARD = "README.md"
STATED = "label.toml"
"""What the owner of a folder states of its model, beside it."""

FORMAT = "commonweal-training-1"
_LARGEST = 256 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """``training.json``, read. ``layout`` is None where it was not known."""

    training: Training
    layout: Any
    hub: str


def training_json(
    view: wire.JobView,
    rounds: Sequence[wire.RoundView],
    *,
    hub: str,
    layout: Any = None,
    machines: Mapping[str, Mapping[str, Any]] | None = None,
    payments: Sequence[Payment] | None = None,
) -> dict[str, Any]:
    """The content of ``training.json``."""
    plain = view.model_dump(mode="json")
    if view.status in ("running", "paused"):
        plain["spec"] = public_spec(view.spec)
    made: dict[str, Any] = {
        "format": FORMAT,
        "hub": hub,
        "job": plain,
        "rounds": [one.model_dump(mode="json") for one in rounds],
        "layout": layout,
        "machines": {name: dict(machine) for name, machine in (machines or {}).items()},
        "payments": None if payments is None else [[one.key, one.hash, one.microcredits] for one in payments],
    }
    return {**made, "hash": record_hash(made)}


def read_training(file: Path) -> Saved:
    """``training.json`` of a folder. Raises DataError, also where it was changed since."""
    value = _read_json(file)
    if value.get("format") != FORMAT:
        raise DataError(f"{file}: not the records of a training of this release ({FORMAT})")
    if value.get("hash") != record_hash({name: one for name, one in value.items() if name != "hash"}):
        raise DataError(f"{file}: was changed since it was saved", hint="export the model again")
    try:
        payments = value["payments"]
        return Saved(
            training=training(
                wire.JobView.model_validate(value["job"]),
                [wire.RoundView.model_validate(one) for one in value["rounds"]],
                machines=value["machines"],
                payments=None
                if payments is None
                else [Payment(key=k, hash=h, microcredits=m) for k, h, m in payments],
            ),
            layout=value["layout"],
            hub=str(value["hub"]),
        )
    except (KeyError, TypeError, ValueError, CommonwealError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from None


def beside(records: Mapping[str, Any], model: str) -> dict[str, bytes]:
    """The files to lie beside a checkpoint, made of the content of ``training.json``."""
    payments = records["payments"]
    label = of_training(
        training(
            wire.JobView.model_validate(records["job"]),
            [wire.RoundView.model_validate(one) for one in records["rounds"]],
            machines=records["machines"],
            payments=None
            if payments is None
            else [Payment(key=k, hash=h, microcredits=m) for k, h, m in payments],
        ),
        model,
    )
    text = json.dumps(records, indent=1, ensure_ascii=False) + "\n"
    return {TRAINING: text.encode(), LABEL: dumps(label).encode(), CARD: card(label).encode()}


def of_training(found: Training, model: str) -> Label:
    """The label of what a job trained, by its records alone."""
    facts = Facts()
    facts.add(*training_facts(found))
    return Label(model=model, source="folder", facts=facts.all())


def from_folder(folder: Path, *, model: str = "") -> Label:
    """The label of a saved model: from the records beside it, what its owner states in ``label.toml``, and its files.
    Raises DataError or ConfigError for records that cannot be used."""
    facts = Facts()
    name = model or _name(folder)
    if (folder / TRAINING).exists():
        saved = read_training(folder / TRAINING)
        facts.add(*training_facts(saved.training))
        name = model or saved.training.name
    elif (folder / LABEL).exists():
        return read_label(folder / LABEL)
    facts.add(*_files(folder))
    if (folder / STATED).exists():
        by, answers = _stated(folder / STATED)
        facts.add(*(answered(key, one, by=by, where=str(folder / STATED)) for key, one in answers.items()))
    return Label(model=name, source="folder", facts=facts.all())


def stated_beside(folder: Path) -> dict[str, Any]:
    """What its owner states of a model in ``label.toml``: for who publishes it. Raises ConfigError."""
    file = folder / STATED
    return {"stated": _stated(file)[1]} if file.exists() else {}


def is_model(folder: Path) -> bool:
    """Whether a folder has a saved model, or the records of one."""
    return any((folder / name).exists() for name in (TRAINING, LABEL, "config.json", "adapter_config.json"))


def read_any(path: Path) -> Label:
    """The label in a file (JSON or TOML) or of a folder. Raises DataError or ConfigError."""
    if path.is_dir():
        return from_folder(path)
    if path.suffix == ".toml":
        return from_toml(read_table(path), where=str(path))
    return read_label(path)


def file_hash(path: Path) -> str:
    """The SHA-256 of a file. Raises DataError."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _stated(file: Path) -> tuple[str, dict[str, Any]]:
    """Who states it, and the answers by key."""
    table = read_table(file)
    by = str(table.get("by") or "its owner")
    told_of = {name: value for name, value in table.items() if name not in HEAD}
    return by, answers_of(told_of, where=str(file))


def _name(folder: Path) -> str:
    return folder.resolve().name or "model"


def _files(folder: Path) -> Iterator[Fact]:
    """What the files of a model say by themselves."""
    config = folder / "config.json"
    if config.exists():
        told_of = _read_json(config)
        record = Record(kind="file", id=config.name, hash=file_hash(config), address=config.name)
        family = str(told_of.get("model_type") or "unknown")
        yield told("model.architecture", family, record)
        if isinstance(window := told_of.get("max_position_embeddings"), int):
            yield told("model.window", f"{window:,} tokens", record, value=window)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        return
    records = [Record(kind="file", id=f.name, hash=file_hash(f), address=f.name) for f in weights]
    number = parameters_of(folder)
    if not (folder / "adapter_config.json").exists():
        yield told("model.size", f"{rounded(number)} ({number:,})", *records, value=number)
    yield told(
        "model.weights",
        f"{counted(len(weights), 'file')}: {records[0].hash[:16]}...",
        *records,
        value={record.id: record.hash for record in records},
    )


def _read_json(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _LARGEST:
            raise DataError(f"{file}: is larger than {_LARGEST:,} bytes")
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"{file}: expected a JSON object")
    return value
