"""The model to begin from: a full model's folder, or that and an adapter's; as it is described, and as it is
trained.

Reading what it is needs no torch. Only adapters of the plain kind are trained further: the others' forward
pass is not what members would make of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from commonweal.core.errors import ConfigError
from commonweal.models.encoder import ChatEncoder, load_encoder
from commonweal.models.settings import LoraSettings

ADAPTER_CONFIG = "adapter_config.json"
_DEFAULT_WINDOW = 2048
_NARROW = 1024
_WINDOWS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "context_length")
_WIDTHS = ("hidden_size", "n_embd", "d_model")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "use_dora": (False, None),
    "use_rslora": (False, None),
    "fan_in_fan_out": (False, None),
    "modules_to_save": (None, []),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """``folder`` is a full model in the Hugging Face format with its tokenizer; ``name`` what an adapter for
    it calls it. With ``adapter`` (a folder) training goes on from that adapter."""

    folder: Path
    name: str
    adapter: Path | None = None

    def config(self) -> dict[str, Any]:
        """The model's config.json. Raises ConfigError."""
        return _table(self.folder / "config.json")

    @property
    def window(self) -> int:
        """How many tokens it reads at once."""
        config = self.config()
        found = [config[key] for key in _WINDOWS if isinstance(config.get(key), int)]
        return int(found[0]) if found else _DEFAULT_WINDOW

    @property
    def width(self) -> int:
        """Its hidden size."""
        config = self.config()
        found = [config[key] for key in _WIDTHS if isinstance(config.get(key), int)]
        if not found:
            raise ConfigError(f"{self.name}: its config.json names no hidden_size")
        return int(found[0])

    @property
    def vocab_size(self) -> int:
        size = self.config().get("vocab_size")
        if not isinstance(size, int):
            raise ConfigError(f"{self.name}: its config.json names no vocab_size")
        return size

    def encoder(self) -> ChatEncoder:
        """Its tokenizer; an adapter's own, where it has one. Raises ConfigError."""
        most = self.vocab_size
        made = load_encoder(self._tokenizer_folder())
        if made.size > most:
            raise ConfigError(
                f"{self.name}: its tokenizer has {made.size} tokens, the model {most}",
                hint="save the model with its own tokenizer",
            )
        return made

    def tokenizer_files(self) -> dict[str, bytes]:
        folder = self._tokenizer_folder()
        return {name: (folder / name).read_bytes() for name in _TOKENIZER_FILES if (folder / name).is_file()}

    def adapter_settings(self) -> LoraSettings | None:
        """The shape of the adapter; None without one. Raises ConfigError for one that is not plain LoRA."""
        if self.adapter is None:
            return None
        table = _table(self.adapter / ADAPTER_CONFIG)
        for key, allowed in _PLAIN.items():
            if table.get(key) not in allowed:
                raise ConfigError(
                    f"{self.name}: its adapter has {key} = {table.get(key)!r}, which cannot be trained further",
                    hint="begin from its base model",
                )
        targets = table.get("target_modules")
        names = (targets,) if isinstance(targets, str) else tuple(sorted(targets or ()))
        return LoraSettings(rank=int(table["r"]), alpha=float(table["lora_alpha"]), targets=names)

    def _tokenizer_folder(self) -> Path:
        own = self.adapter is not None and (self.adapter / "tokenizer.json").is_file()
        return self.adapter if own and self.adapter is not None else self.folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A model ready to train, the files that members make it of, and its adapters (None: all of it trains)."""

    model: Any
    files: dict[str, bytes]
    lora: LoraSettings | None


def open_base(base: Base, lora: LoraSettings | None, *, seed: int) -> Opened:
    """The base as a job begins from it: adapters alone train, with ``lora``. Needs torch.

    New adapters of a narrow model are on its output head too: small bases have often never seen the control tokens
    of their chat template, and no change before the head makes such a token likely.
    """
    from commonweal.models.adapters import add_adapters, linear_modules, merged
    from commonweal.models.architecture import load_checkpoint
    from commonweal.train.replica import LOADING, files_of

    with LOADING:
        model = load_checkpoint(str(base.folder))
    begun = base.adapter_settings()
    files = files_of(model, weights=True) if lora is not None else {}
    shape = begun or lora
    if lora is not None or begun is not None:
        assert shape is not None
        if begun is None and base.width <= _NARROW:
            shape = replace(shape, targets=linear_modules(model))
        model = add_adapters(model, shape, seed=seed)
        if base.adapter is not None:
            _load_adapter(model, base.adapter, base.name)
    if lora is None:
        model = merged(model) if begun is not None else model
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        files = files_of(model, weights=False)
    model.train()
    return Opened(model=model, files=files, lora=shape if lora is not None else None)


def _load_adapter(model: Any, folder: Path, name: str) -> None:
    from peft import set_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{name}: its adapter cannot be loaded: {said}") from error
    missing = [key for key in found.missing_keys if "lora_" in key]
    if missing or found.unexpected_keys:
        raise ConfigError(f"{name}: its adapter is not one for this base model")


def _table(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file.name}: the model's folder has none") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file.name}: cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{file.name}: is not a table")
    return value
