"""The same model on every machine: as files that the submitter stores, and as the model that others make of
them.

The files are the configuration and, where only adapters train, the frozen weights in safetensors. They come
from a stranger's job, so only data is taken from them: no code, no kernels by name, no paths.
"""

from __future__ import annotations

import json
import re
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from commonweal.core.config import from_table
from commonweal.core.errors import ConfigError
from commonweal.core.hashing import BlobHash
from commonweal.models.adapters import add_adapters
from commonweal.models.architecture import build, load_checkpoint, quiet, seeded
from commonweal.models.parameters import Layout, layout_of
from commonweal.models.settings import LoraSettings, ModelSettings
from commonweal.train.spec import WorkerSpec

Get = Callable[[BlobHash], bytes]

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\Z")

LOADING = threading.Lock()
"""transformers makes a model in a context that is the whole process's (tensors without data): a hub that
opens the models of two jobs at once would find the one's weights missing."""

_NOT_DATA = ("auto_map", "quantization_config", "attn_implementation", "experts_implementation")


def make_model(
    settings: ModelSettings, *, vocab_size: int, seq_len: int, seed: int, end_of_text: int | None
) -> tuple[Any, dict[str, bytes]]:
    """The submitter's model, ready to train, and the files that :func:`open_model` makes it of."""
    whole = replace(settings, lora=None)
    model = build(whole, vocab_size=vocab_size, seq_len=seq_len, seed=seed, end_of_text=end_of_text)
    files = files_of(model, weights=settings.lora is not None)
    if settings.lora is not None:
        model = add_adapters(model, settings.lora, seed=seed)
        model.train()
    return model, files


def open_model(spec: WorkerSpec, get: Get, *, device: str = "cpu") -> tuple[Any, Layout]:
    """The model of a job, with the layout of what trains in it; the trained values are yet to be written.

    Raises ConfigError when the files do not make the model that the specification describes.
    """
    with tempfile.TemporaryDirectory(prefix="commonweal-model-") as tmp:
        names = _write_files(Path(tmp), spec.files, get)
        with LOADING:
            if any(name.endswith(".safetensors") for name in names):
                model = load_checkpoint(tmp)
            else:
                model = _from_config(Path(tmp))
    if spec.lora is not None:
        model = add_adapters(model, _lora(spec.lora), seed=0)
    layout = Layout.from_json(spec.layout)
    if layout_of(model) != layout:
        raise ConfigError(
            "the job's model has other parameters here than where it was made",
            hint="use the same release of transformers as the submitter",
        )
    model.train()
    return model.to(device), layout


def files_of(model: Any, *, weights: bool) -> dict[str, bytes]:
    """The files that :func:`open_model` makes ``model`` of; without ``weights`` its shape alone."""
    with tempfile.TemporaryDirectory(prefix="commonweal-model-") as tmp, quiet():
        if weights:
            model.save_pretrained(tmp, max_shard_size="2GB")
        else:
            model.config.save_pretrained(tmp)
            if getattr(model, "generation_config", None) is not None:
                model.generation_config.save_pretrained(tmp)
        return {file.name: file.read_bytes() for file in sorted(Path(tmp).iterdir()) if file.is_file()}


def _write_files(folder: Path, files: Mapping[str, BlobHash], get: Get) -> list[str]:
    for name, blob in files.items():
        if not FILE_NAME.match(name):
            raise ConfigError(f"specification: '{name}' is not a file's name")
        data = get(blob)
        (folder / name).write_bytes(_only_data(data) if name == "config.json" else data)
    return list(files)


def _only_data(config: bytes) -> bytes:
    """A configuration without what could make transformers fetch or run code."""
    try:
        values = json.loads(config)
    except ValueError as error:
        raise ConfigError(f"specification: the model's config.json is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError("specification: the model's config.json is not a table")
    kept = {k: v for k, v in values.items() if not k.startswith("_") and k not in _NOT_DATA}
    return json.dumps(kept).encode()


def _from_config(folder: Path) -> Any:
    with seeded(0), quiet():
        try:
            config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
        except Exception as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConfigError(
                f"the job's model cannot be made here: {said}", hint="update transformers"
            ) from error
        if (folder / "generation_config.json").is_file():
            model.generation_config = type(model.generation_config).from_pretrained(str(folder))
    return model


def _lora(table: Mapping[str, Any]) -> LoraSettings:
    listed = {key: list(value) if isinstance(value, tuple) else value for key, value in table.items()}
    return from_table(listed, LoraSettings, where="specification: lora")
