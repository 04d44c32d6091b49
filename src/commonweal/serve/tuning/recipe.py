"""What a fine-tuning job was asked for, resolved once and saved with the job; and the names of what comes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from commonweal.core.errors import UserError
from commonweal.core.hashing import BlobHash

Method = Literal["supervised", "dpo", "kto"]
_SUFFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_LONGEST_BASE = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """``model`` is the served model that is trained further. ``training`` and ``validation`` are the files' bytes: the
    files themselves may be deleted meanwhile. What is None is chosen by who trains ('auto'). ``budget`` is the most
    that the job may cost, in micro-credits."""

    model: str
    training_file: str
    training: BlobHash
    validation_file: str | None = None
    validation: BlobHash | None = None
    method: Method = "supervised"
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    beta: float | None = None
    suffix: str = ""
    seed: int = 0
    lora: bool = True
    rank: int | None = None
    budget: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Recipe:
        return cls(**value)


def checked_suffix(suffix: str) -> str:
    """``suffix`` if it can be part of a model's name. Raises UserError."""
    if suffix and (not _SUFFIX.fullmatch(suffix) or ".." in suffix):
        raise UserError(
            f"suffix: '{suffix[:50]}' cannot be part of a model's name",
            hint="letters, digits and . _ -, at most 40, a letter or digit first",
        )
    return suffix


def model_name(base: str, suffix: str, job: str, *, step: int | None = None) -> str:
    """The name of what ``job`` makes of ``base``, or of its checkpoint at ``step``. A model that was fine-tuned before
    lends its own base's name.

    >>> model_name("stdlib-3m", "sql", "ftjob_0123456789abcdef")
    'ft:stdlib-3m:sql:89abcdef'
    >>> model_name("ft:stdlib-3m:sql:89abcdef", "", "ftjob_0000000000000001", step=20)
    'ft:stdlib-3m::00000001:ckpt-step-20'
    """
    root = base.split(":")[1] if base.startswith("ft:") else base
    name = f"ft:{root[:_LONGEST_BASE]}:{suffix}:{job[-8:]}"
    return name if step is None else f"{name}:ckpt-step-{step}"
