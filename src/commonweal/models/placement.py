"""Where a model computes and in which numbers, as a user names it; which tokens end its texts, how many it reads, and
by what name it takes what it remembers."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from commonweal.core.errors import ConfigError


def device_of(name: str) -> torch.device:
    """``auto`` is a CUDA device where there is one, else the CPU. Raises ConfigError."""
    try:
        if name != "auto":
            return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device: '{name}' cannot be used: {error}", hint="auto, cpu, cuda, mps") from None
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype_of(name: str, model: Any, device: torch.device) -> torch.dtype:
    """``auto`` is float32 on the CPU, and elsewhere what the checkpoint was saved in. Raises ConfigError."""
    if name == "auto":
        saved = getattr(model.config, "dtype", None)
        return saved if device.type != "cpu" and isinstance(saved, torch.dtype) else torch.float32
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ConfigError(f"dtype: '{name}' is none", hint="auto, float32, bfloat16, float16")
    return found


def ends_of(model: Any) -> frozenset[int]:
    """The tokens that end a text."""
    generation = getattr(model, "generation_config", None)
    ends = getattr(generation, "eos_token_id", None)
    if ends is None:
        ends = getattr(model.config.get_text_config(), "eos_token_id", None)
    return frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])


def window_of(model: Any) -> int | None:
    """The most tokens that ``model`` reads, None where its configuration sets no limit."""
    window = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return window if isinstance(window, int) and window > 0 else None


_CACHES = ("cache", "past_key_values")
"""What transformers calls keys and values: since 5.24, and before."""
_STATES = ("cache_params", "state")


def memory_name(model: Any) -> str | None:
    """By which name ``model`` takes, and gives back, what it remembers of the tokens it has read; None: it does not."""
    takes = inspect.signature(model.forward).parameters
    return next((name for name in (*_CACHES, *_STATES) if name in takes), None)


def keeps_keys(model: Any) -> bool:
    """Whether all that ``model`` remembers is keys and values, which can be cut and put side by side."""
    return memory_name(model) in _CACHES and not getattr(model, "_is_stateful", False)
