"""From a job and one of its states to a model in the Hugging Face format, with its tokenizer."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commonweal.core.errors import ConfigError
from commonweal.core.hashing import BlobHash
from commonweal.core.work import Json
from commonweal.models.checkpoint import save
from commonweal.models.parameters import write
from commonweal.models.sampling import generate_sample
from commonweal.train.chain import state_from
from commonweal.train.replica import FILE_NAME, Get, open_model
from commonweal.train.spec import JobSpec, WorkerSpec


def export_model(
    spec: Json,
    theta: BlobHash,
    get: Get,
    folder: Path,
    *,
    merge: bool = False,
    beside: Mapping[str, bytes] | None = None,
) -> None:
    """Write the model with the weights ``theta`` as ``folder``, replacing it in one step. Adapters are saved
    as such, or added into the weights with ``merge``. ``beside`` are other files for the folder, by name."""
    with tempfile.TemporaryDirectory(prefix="commonweal-export-") as tmp:
        model = _model(spec, theta, get, Path(tmp))
        for name, content in (beside or {}).items():
            (Path(tmp) / name).write_bytes(content)
        save(model, folder, tokenizer_dir=Path(tmp), merge=merge)


def sample_text(
    spec: Json, theta: BlobHash, get: Get, prompt: str, *, max_new_tokens: int = 64, seed: int = 0
) -> str:
    """``prompt`` and what the model writes after it."""
    with tempfile.TemporaryDirectory(prefix="commonweal-sample-") as tmp:
        model = _model(spec, theta, get, Path(tmp))
        return generate_sample(model, Path(tmp), prompt, max_new_tokens=max_new_tokens, seed=seed)


def _model(spec: Json, theta: BlobHash, get: Get, tokenizer_dir: Path) -> Any:
    """The model of the job with the weights ``theta``; its tokenizer's files go to ``tokenizer_dir``."""
    job = JobSpec.from_json(spec)
    worker = WorkerSpec.from_json(json.loads(get(job.worker)))
    model, layout = open_model(worker, get)
    write(model, layout, state_from(get(theta), layout.size))
    for name, blob in worker.tokenizer.items():
        if not FILE_NAME.match(name):
            raise ConfigError(f"specification: '{name}' is not a file's name")
        (tokenizer_dir / name).write_bytes(get(blob))
    _name_base(model, job.train_settings().model.checkpoint)
    return model


def _name_base(model: Any, checkpoint: str | None) -> None:
    """Adapters name the model that they adapt as the job named it, not a folder that is gone."""
    for adapter in getattr(model, "peft_config", {}).values():
        adapter.base_model_name_or_path = checkpoint
