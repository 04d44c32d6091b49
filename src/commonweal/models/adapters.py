"""LoRA adapters (Hu et al. 2021) through peft: added with a seed, saved in peft's own format.

After :func:`add_adapters` only the adapters train, so a layout of the model holds them alone, and a job over
adapters is the same job over fewer parameters.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
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
        with seeded(seed), quiet(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*tie_word_embeddings.*")  # see merged
            return get_peft_model(model, config)
    except ValueError as error:
        names = sorted(
            {name.rpartition(".")[2] for name, m in model.named_modules() if hasattr(m, "in_features")}
        )
        raise ConfigError(
            f"model.lora.targets: {str(error).splitlines()[0]}",
            hint=f"its linear modules: {', '.join(names)}",
        ) from error


def linear_modules(model: Any) -> tuple[str, ...]:
    """The name endings of all modules that can have adapters, the output head's among them."""
    fused = _FUSED if model.config.model_type in _STATE_SPACE else ()
    found = {name.rpartition(".")[2] for name, m in model.named_modules() if hasattr(m, "in_features")}
    return tuple(sorted(found - set(fused)))


def has_adapters(model: Any) -> bool:
    """Whether ``model`` came from :func:`add_adapters` (or peft itself)."""
    return isinstance(model, PeftModel)


def save_adapters(model: PeftModel, folder: Path) -> None:
    """Write adapter_config.json and adapter_model.safetensors into ``folder``."""
    # By itself peft adds whole embeddings where it thinks that they changed, and asks the network about the base.
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card; the label is written elsewhere


def merged(model: PeftModel) -> Any:
    """A copy of the model with its adapters added into the weights; ``model`` stays as it is.

    An output head that shares its weights with the embedding gets its own: the adapter changed the one and not the
    other.
    """
    from copy import deepcopy

    made = deepcopy(model)
    head = made.get_base_model().get_output_embeddings()
    if hasattr(head, "lora_A") and made.get_base_model().config.tie_word_embeddings:
        made.get_base_model().config.tie_word_embeddings = False
        head.base_layer.weight = torch.nn.Parameter(head.base_layer.weight.detach().clone())
    return made.merge_and_unload()
