"""From a checked file to a job of the pool: examples stored by their hash, the model as it begins, one
specification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from commonweal.core.hashing import BlobHash, content_hash, record_hash
from commonweal.core.work import Json
from commonweal.data.conversations.encoding import Encoded
from commonweal.data.conversations.examples import Method
from commonweal.data.examples import (
    ExampleFile,
    Examples,
    ExampleSet,
    Reference,
    pack_examples,
    split_files,
)
from commonweal.data.sources import Source
from commonweal.data.tokenizer import TokenizerSettings
from commonweal.models.encoder import ChatEncoder
from commonweal.models.settings import ModelSettings
from commonweal.train.config import CheckSettings, KeepSettings, PaySettings, TrainSettings
from commonweal.train.objectives import stored_reference
from commonweal.train.prepare import Material, PreparedJob, Put, store_job
from commonweal.train.tuning.bases import Base, open_base
from commonweal.train.tuning.checking import CheckedTuning, check_tuning
from commonweal.train.tuning.hyperparameters import (
    OBJECTIVES,
    TuningOptions,
    inner_settings,
    round_settings,
)

_TOLERANCES: dict[Method, float] = {"supervised": 0.02, "dpo": 0.005, "kto": 0.005}
"""By which share of the loss honest work may raise it. What is learned by heart is soon no better for what was held
out; a preference's loss begins at its chance level and moves little in the first rounds."""

_REFERENCE_ROWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedTuning:
    """What to submit to the pool as a job of kind "train", and what was checked on the way."""

    job: PreparedJob
    checked: CheckedTuning


def prepare_tuning(
    base: Base,
    training: bytes,
    options: TuningOptions,
    put: Put,
    *,
    name: str,
    validation: bytes | None = None,
    training_name: str = "training.jsonl",
    validation_name: str = "validation.jsonl",
    licence: str = "",
) -> PreparedTuning:
    """Prepare a job called ``name``. Everything is stored by ``put`` under its content hash, so that
    preparing the same job twice stores nothing new. Raises what :func:`check_tuning` raises, before anything
    is stored."""
    checked = check_tuning(base, training, options, validation=validation)
    chosen = checked.hyperparameters
    begun = open_base(base, chosen.lora, seed=options.seed)
    fresh = chosen.lora is not None and base.adapter is None
    reference: Reference = "none" if options.method == "supervised" else "base" if fresh else "stored"
    maker = _SetMaker(base=base, options=options, checked=checked, reference=reference, model=begun.model)
    learned, blobs = maker.make(checked.learned)
    held_out, others = maker.make(checked.held_out)
    settings = TrainSettings(
        name=name,
        data=Source(kind="files", path=training_name, licence=licence),
        held_out=Source(kind="files", path=validation_name) if validation is not None else None,
        tokenizer=TokenizerSettings(kind="named", name=base.name),
        model=ModelSettings(checkpoint=base.name, lora=begun.lora),
        train=inner_settings(
            chosen, tokens=checked.tokens, mean_tokens=learned.mean_tokens, seed=options.seed
        ),
        rounds=round_settings(chosen),
        checks=CheckSettings(score_batches=8, tolerance=_TOLERANCES[options.method]),
        checkpoints=KeepSettings(every=5, keep=3, evaluate_every=1, held_out_windows=64),
        pay=PaySettings(per_1000_tokens=options.per_1000_tokens),
    )
    material = Material(
        blobs=[*blobs, *others],
        learned=learned.to_json(),
        held_out=held_out.to_json(),
        provenance=_provenance(base, training, validation, options, checked, licence),
        tokenizer=base.tokenizer_files(),
        tokens=checked.epoch_tokens,
        rows=chosen.batch_size * (2 if options.method == "dpo" else 1),
        longest=learned.longest,
    )
    return PreparedTuning(job=store_job(settings, material, begun.model, begun.files, put), checked=checked)


@dataclass(frozen=True, slots=True, kw_only=True)
class _SetMaker:
    """Makes sets of examples for one job. ``model`` is what the job begins from."""

    base: Base
    options: TuningOptions
    checked: CheckedTuning
    reference: Reference
    model: object

    def make(self, encoded: Sequence[Encoded]) -> tuple[ExampleSet, list[bytes]]:
        encoder, files, blobs = self.base.encoder(), list[ExampleFile](), list[bytes]()
        for part in split_files(encoded):
            data = pack_examples(part)
            if self.reference == "stored":
                data = pack_examples(part, self._reference(part, data))
            tokens = sum(one.tokens for one in part)
            files.append(ExampleFile(hash=content_hash(data), examples=len(part), tokens=tokens))
            blobs.append(data)
        return self._described(encoded, encoder, tuple(files)), blobs

    def _reference(self, part: Sequence[Encoded], data: bytes) -> list[float]:
        file = ExampleFile(hash=content_hash(data), examples=len(part), tokens=0)
        described = self._described(part, None, (file,))
        examples = Examples(described, lambda name: data)
        return stored_reference(self.model, examples.in_order(batch_size=_REFERENCE_ROWS))

    def _described(
        self, encoded: Sequence[Encoded], encoder: ChatEncoder | None, files: tuple[ExampleFile, ...]
    ) -> ExampleSet:
        return ExampleSet(
            objective=OBJECTIVES[self.options.method],
            files=files,
            vocab_size=self.base.vocab_size,
            examples=len(encoded),
            tokens=sum(one.tokens for one in encoded),
            trained=sum(one.trained for one in encoded),
            trained_bytes=_learned_bytes(encoded, encoder) if encoder else 0,
            longest=max(len(s.ids) for one in encoded for s in one.sequences),
            reference=self.reference,
            beta=self.checked.hyperparameters.beta,
        )


def _learned_bytes(encoded: Sequence[Encoded], encoder: ChatEncoder) -> int:
    sequences = [sequence for one in encoded for sequence in one.sequences]
    kept = ([i for i, w in zip(s.ids, s.weights, strict=True) if w > 0] for s in sequences)
    return sum(len(encoder.decode(ids).encode()) for ids in kept)


def _provenance(
    base: Base,
    training: bytes,
    validation: bytes | None,
    options: TuningOptions,
    checked: CheckedTuning,
    licence: str,
) -> Json:
    """Where the job comes from, for the model's label: hashes and counts, and nothing of anybody's text."""

    def named(data: bytes | None) -> BlobHash | None:
        return None if data is None else content_hash(data)

    record: Json = {
        "version": 1,
        "kind": "examples",
        "base": base.name,
        "method": options.method,
        "training": named(training),
        "validation": named(validation),
        "licence": licence,
        "examples": len(checked.learned),
        "held_out": len(checked.held_out),
        "tokens": checked.epoch_tokens,
        "epochs": checked.hyperparameters.epochs,
    }
    return {**record, "hash": record_hash(record)}
