"""LoRA adapters (Hu et al. 2021) through peft: added with a seed, saved in peft's own format.

After :func:`add_adapters` only the adapters train, so a layout of the model holds them alone, and a job over
adapters is the same job over fewer parameters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model

from commonweal.core.errors import ConfigError
from commonweal.models.architecture import quiet, seeded
from commonweal.models.settings import LoraSettings

_STATE_SPACE = frozenset({"mamba", "mamba2", "falcon_mamba"})
_FUSED = ("out_proj", "conv1d")
"""Modules whose weights the state-space kernels read past the adapter; peft refuses them."""


def add_adapters(model: Any, settings: LoraSettings, *, seed: int) -> PeftModel:
    """``model`` with adapters on its target modules: A is random from ``seed``, B zero: a change of nothing."""
    everything = settings.targets == ("all-linear",)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        target_modules="all-linear" if everything else list(settings.targets),
        exclude_modules=list(_FUSED) if everything and model.config.model_type in _STATE_SPACE else None,
    )
    try:
        with seeded(seed), quiet():
            return get_peft_model(model, config)
    except ValueError as error:
        names = sorted(
            {name.rpartition(".")[2] for name, m in model.named_modules() if hasattr(m, "in_features")}
        )
        raise ConfigError(
            f"model.lora.targets: {str(error).splitlines()[0]}",
            hint=f"its linear modules: {', '.join(names)}",
        ) from error


def has_adapters(model: Any) -> bool:
    """Whether ``model`` came from :func:`add_adapters` (or peft itself)."""
    return isinstance(model, PeftModel)


def save_adapters(model: PeftModel, folder: Path) -> None:
    """Write adapter_config.json and adapter_model.safetensors into ``folder``."""
    model.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card; the label is written elsewhere


def merged(model: PeftModel) -> Any:
    """A copy of the model with its adapters added into the weights; ``model`` stays as it is."""
    from copy import deepcopy

    return deepcopy(model).merge_and_unload()
