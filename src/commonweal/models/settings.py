"""What a job says about its model: an architecture, or a checkpoint; all parameters, or adapters.

No torch here, so a job file is read and sized on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSettings:
    """Low-rank adapters (Hu et al. 2021): ``W + alpha / rank * B A`` on each target module, A and B trained.

    ``targets`` are module name endings, or "all-linear" for every linear layer but the output head.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("all-linear",)

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError("rank: must be at least 1")
        if self.alpha <= 0:
            raise ValueError("alpha: must be above 0")
        if not self.targets or ("all-linear" in self.targets and len(self.targets) > 1):
            raise ValueError('targets: name modules, or "all-linear" alone')


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """A model as a transformers configuration: ``architecture`` is its model type, ``config`` its keys.

    With a ``checkpoint`` (a local folder, or a name on the Hugging Face hub) weights and configuration come
    from there, and ``architecture`` and ``config`` stay empty.
    """

    architecture: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None
    lora: LoraSettings | None = None

    def __post_init__(self) -> None:
        if self.checkpoint is not None and not self.checkpoint:
            raise ValueError("checkpoint: must not be empty; leave it out to start from scratch")
        if self.checkpoint and (self.architecture or self.config):
            raise ValueError("checkpoint: it brings its own architecture and config; leave those out")
        if self.lora and not self.checkpoint:
            raise ValueError("lora: adapters need a checkpoint to adapt; set checkpoint")

    @property
    def model_type(self) -> str:
        """The architecture, Llama unless another is named."""
        return self.architecture or "llama"
