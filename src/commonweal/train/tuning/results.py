"""From the weights of a fine-tuning job to a model's files by name, as a catalogue takes them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from commonweal.core.hashing import BlobHash
from commonweal.core.work import Json
from commonweal.train.export import export_model
from commonweal.train.replica import Get


def export_tuning(spec: Json, theta: BlobHash, get: Get) -> dict[str, bytes]:
    """The files of the model with the weights ``theta``: an adapter that names its base (adapter_config.json,
    adapter_model.safetensors), or a full model; and the tokenizer's files."""
    with tempfile.TemporaryDirectory(prefix="commonweal-tuned-") as tmp:
        folder = Path(tmp) / "model"
        export_model(spec, theta, get, folder)
        return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}
