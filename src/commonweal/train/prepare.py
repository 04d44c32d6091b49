"""From a job file to a job: tokenize the data, make the model, store what members need. On the submitter's
machine.

Everything is stored under its content hash by ``put``, so preparing the same job twice stores nothing new.
The specification names the blobs; nothing in it depends on this machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from commonweal.core.hashing import BlobHash
from commonweal.core.work import Json
from commonweal.data.prepare import Prepared, Progress
from commonweal.data.prepare import prepare as prepare_data
from commonweal.data.shards import shard_name
from commonweal.data.tokenizer import TokenizerSettings, load_tokenizer
from commonweal.models.parameters import Layout, fragments, layout_of, read
from commonweal.models.sizes import FLOAT, INTERPRETER_BYTES, shape_of, training_needs
from commonweal.train.chain import state_bytes
from commonweal.train.config import TrainSettings
from commonweal.train.replica import make_model
from commonweal.train.spec import JobSpec, WorkerSpec
from commonweal.train.terms import PLANNED_FRAGMENTS

Put = Callable[[bytes], BlobHash]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedJob:
    """What to submit: the specification, and every blob that it refers to (all of them stored)."""

    spec: Json
    blobs: tuple[BlobHash, ...]
    parameters: int
    tokens: int


def prepare_job(
    settings: TrainSettings,
    work: Path,
    put: Put,
    *,
    progress: Progress = lambda stage, text_bytes: None,
) -> PreparedJob:
    """Prepare ``settings`` with ``work`` as the folder for tokens. Raises ConfigError or DataError with the
    field or the file at fault, before anything is stored."""
    settings = _with_tokenizer(settings)
    train = settings.train
    data = prepare_data(
        settings.data,
        settings.tokenizer,
        work,
        seq_len=train.seq_len,
        batch_size=train.batch_size,
        held_out=settings.held_out,
        progress=progress,
    )
    tokenizer = load_tokenizer(data.tokenizer_dir)
    model, files = make_model(
        settings.model,
        vocab_size=tokenizer.vocab_size,
        seq_len=train.seq_len,
        seed=train.seed,
        end_of_text=tokenizer.end_of_text,
    )
    return _stored(settings, data, model, files, put)


def _with_tokenizer(settings: TrainSettings) -> TrainSettings:
    """A checkpoint comes with its own tokenizer, unless the job names another."""
    if settings.model.checkpoint and settings.tokenizer == TokenizerSettings():
        named = TokenizerSettings(kind="named", name=settings.model.checkpoint)
        return replace(settings, tokenizer=named)
    return settings


def _stored(
    settings: TrainSettings, data: Prepared, model: Any, files: dict[str, bytes], put: Put
) -> PreparedJob:
    shards = (*data.shards.shards, *data.held_out.shards)
    return store_job(
        settings,
        Material(
            blobs=((data.shard_dir / shard_name(shard.hash)).read_bytes() for shard in shards),
            learned=data.shards.to_json(),
            held_out=data.held_out.to_json(),
            provenance=data.provenance.to_json(),
            tokenizer={
                file.name: file.read_bytes()
                for file in sorted(data.tokenizer_dir.iterdir())
                if file.is_file()
            },
            tokens=data.shards.tokens,
            rows=settings.train.batch_size,
            longest=settings.train.seq_len,
        ),
        model,
        files,
        put,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What is learned from, ready to be stored: the ``blobs`` that ``learned`` and ``held_out`` describe,
    where they come from, and the tokenizer's files. A step reads at most ``rows`` sequences of ``longest``
    tokens."""

    blobs: Iterable[bytes]
    learned: Json
    held_out: Json
    provenance: Json
    tokenizer: Mapping[str, bytes]
    tokens: int
    rows: int
    longest: int


def store_job(
    settings: TrainSettings, material: Material, model: Any, files: Mapping[str, bytes], put: Put
) -> PreparedJob:
    """Store everything that a job of these settings needs, and specify it. ``model`` is as it begins,
    ``files`` are what members make it of."""
    layout = layout_of(model)
    stored: list[BlobHash] = []

    def store(content: bytes) -> BlobHash:
        stored.append(put(content))
        return stored[-1]

    for blob in material.blobs:
        store(blob)
    worker = WorkerSpec(
        files={name: store(content) for name, content in files.items()},
        lora=asdict(settings.model.lora) if settings.model.lora else None,
        layout=layout.to_json(),
        tokenizer={name: store(content) for name, content in material.tokenizer.items()},
        shards=material.learned,
        train=asdict(settings.train),
    )
    spec = JobSpec(
        settings=settings.to_json(),
        parameters=layout.size,
        theta=store(state_bytes(read(model, layout))),
        fragments=_divisions(layout, settings.rounds.fragments),
        worker=store(json.dumps(worker.to_json(), sort_keys=True).encode()),
        memory_bytes=_memory(material, model, layout),
        model=json.loads(files["config.json"]),
        held_out=material.held_out,
        provenance=material.provenance,
    )
    return PreparedJob(
        spec=json.loads(json.dumps(spec.to_json())),
        blobs=tuple(dict.fromkeys(stored)),
        parameters=layout.size,
        tokens=material.tokens,
    )


def _divisions(layout: Layout, wanted: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    divisions = {}
    for count in sorted({*PLANNED_FRAGMENTS, wanted}):
        parts = tuple((part.start, part.stop) for part in fragments(layout, count))
        divisions[len(parts)] = parts
    return tuple(divisions.values())


def _memory(material: Material, model: Any, layout: Layout) -> int:
    """Bytes that a member needs: the weights; gradients, moments, the round's start, the error feedback with
    what is pending, and the pseudo-gradient of what trains; and what a step needs."""
    config: dict[str, Any] = model.config.to_dict()
    frozen: int = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    try:
        shape = shape_of(config["model_type"], config)
        needed = training_needs(shape, seq_len=material.longest, batch_size=material.rows)
        working = needed.working_bytes
    except (KeyError, TypeError):  # an architecture whose sizes go by other names: take the logits alone
        working = 3 * FLOAT * material.rows * material.longest * int(config.get("vocab_size", 0))
    return INTERPRETER_BYTES + FLOAT * (frozen + 9 * layout.size) + working
