"""What an engine may take of its machine, and what it has left. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Quantization = Literal["none", "int8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """``slots`` answers are written at once for each base model, and their rows (padded to the longest) hold at most
    ``cache_tokens`` tokens of keys and values; a request waits until it fits with all that it may write. ``chunk``
    tokens of prompts are read between two steps, so that a long prompt does not stop the others; ``waiting`` requests
    may wait. ``device`` and ``dtype`` are torch's names, or ``auto``: an accelerator if there is one, in the
    checkpoint's own precision, else the CPU in float32. ``threads`` of the CPU are used, 0 for torch's own choice."""

    slots: int = 32
    cache_tokens: int = 65536
    chunk: int = 512
    waiting: int = 1024
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0

    def __post_init__(self) -> None:
        if min(self.slots, self.cache_tokens, self.chunk, self.waiting) < 1 or self.threads < 0:
            raise ValueError("slots, cache_tokens, chunk, waiting: at least 1; threads: not negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a base model has left, its adapters included: ``free_slots`` of ``slots`` answers, ``free_tokens`` of
    ``cache_tokens``; ``waiting`` requests have not begun."""

    slots: int
    free_slots: int
    cache_tokens: int
    free_tokens: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model that is served: ``base`` is itself, or for an adapter the model that it changes. ``window`` is its
    context length in tokens, None where it has no limit; ``quantization`` is part of what it is."""

    name: str
    base: str
    quantization: Quantization
    window: int | None
    parameters: int
