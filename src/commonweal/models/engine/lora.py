"""Many LoRA adapters beside one base model, mixed in one batch (Hu et al. 2021; peft's format on disk).

peft computes a mixed batch adapter by adapter in every module. Here the adapters that a batch uses stand side by side
in one pair of matrices, so a module adds two small products, whatever the mixture: all rows are multiplied by all A, a
mask keeps each row to its own adapter's ranks, and all B follow. The base model's weights are never touched, so a
quantized base serves as well.

What is read is plain LoRA on linear modules (rank and alpha patterns and rsLoRA included). Another variant is refused
when it is loaded, not computed wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from commonweal.core.errors import ConfigError

_KEY = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])\.weight$")


@dataclass(slots=True)
class _Site:
    """One module with adapters: ``pairs`` are A (in, r) and B (r, out) by adapter, B scaled. ``a`` (in, R) and ``b``
    (R, out) are those of the selection; ``mask`` (B, 1, R) is None where all rows have the same one."""

    pairs: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    a: torch.Tensor | None = None
    b: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    hook: Any = None

    def __call__(self, module: Any, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor | None:
        if self.a is None or self.b is None:
            return None
        inner: torch.Tensor = args[0] @ self.a
        if self.mask is not None:
            inner = inner * self.mask
        return output + inner @ self.b


class Adapters:
    """The adapters of ``model``, none at first."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._sites: dict[str, _Site] = {}
        self._names: set[str] = set()
        self._selected: list[str | None] = []

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._names)

    def add(self, name: str, folder: Path) -> None:
        """Read the adapter in ``folder``. Raises ConfigError."""
        config = _config(folder)
        weights = _weights(folder)
        found = {module: self._module(folder, module) for module in weights}
        pairs = {
            module: _scaled(part, config, module, found[module], folder) for module, part in weights.items()
        }
        self.remove(name)
        for path, pair in pairs.items():
            site = self._sites.get(path)
            if site is None:
                site = self._sites[path] = _Site()
                site.hook = found[path].register_forward_hook(site)
            site.pairs[name] = pair
        self._names.add(name)
        self._selected = []

    def remove(self, name: str) -> None:
        """Forget the adapter, if there is one of that name."""
        self._names.discard(name)
        for path, site in list(self._sites.items()):
            site.pairs.pop(name, None)
            if not site.pairs:
                site.hook.remove()
                del self._sites[path]
        self._selected = [None]
        self._apply([None])

    def select(self, names: Sequence[str | None]) -> None:
        """From now on the rows of a batch have these adapters; None is the base alone."""
        if self._sites and names != self._selected:
            self._selected = list(names)
            self._apply(names)

    def _apply(self, names: Sequence[str | None]) -> None:
        used = sorted({name for name in names if name is not None})
        masks: dict[tuple[int, ...], torch.Tensor] = {}
        for site in self._sites.values():
            here = [name for name in used if name in site.pairs]
            if not here:
                site.a = site.b = site.mask = None
                continue
            if len(here) == 1:
                site.a, site.b = site.pairs[here[0]]
            else:
                site.a = torch.cat([site.pairs[name][0] for name in here], dim=1)
                site.b = torch.cat([site.pairs[name][1] for name in here], dim=0)
            if len(set(names)) == 1:
                site.mask = None
                continue
            ranks = tuple(
                index for index, name in enumerate(used) if name in site.pairs
                for _ in range(site.pairs[name][0].shape[1])
            )  # fmt: skip
            if ranks not in masks:
                masks[ranks] = _mask(names, used, ranks, site.a)
            site.mask = masks[ranks]

    def _module(self, folder: Path, path: str) -> Any:
        try:
            module = self._model.get_submodule(path)
        except AttributeError:
            raise ConfigError(
                f"{folder}: the adapter changes '{path}', which this model has not",
                hint="load it beside the model that it was trained on",
            ) from None
        if "experts" in path or isinstance(module, torch.nn.Embedding):
            raise ConfigError(f"{folder}: adapters of '{path}' (embeddings, experts) cannot be served yet")
        return module


def _mask(
    names: Sequence[str | None], used: Sequence[str], ranks: tuple[int, ...], like: torch.Tensor
) -> torch.Tensor:
    own_B = torch.tensor([used.index(name) if name is not None else -1 for name in names])
    mask_BR = own_B[:, None] == torch.tensor(ranks)[None, :]
    return mask_BR.to(device=like.device, dtype=like.dtype)[:, None, :]


def _config(folder: Path) -> Any:
    from peft import LoraConfig

    if not (folder / "adapter_config.json").is_file():
        raise ConfigError(f"{folder}: has no adapter_config.json", hint="give the folder that peft saved")
    try:
        config = LoraConfig.from_pretrained(str(folder))
    except Exception as error:  # peft raises what its dataclasses do
        raise ConfigError(f"{folder}: adapter_config.json is none of a LoRA: {error}") from None
    given = {
        "peft_type": str(getattr(config.peft_type, "value", config.peft_type)) != "LORA",
        "use_dora": config.use_dora,
        "bias": config.bias not in ("none", None),
        "modules_to_save": config.modules_to_save,
        "target_parameters": getattr(config, "target_parameters", None),
        "trainable_token_indices": getattr(config, "trainable_token_indices", None),
    }
    if unknown := [name for name, set_ in given.items() if set_]:
        raise ConfigError(
            f"{folder}: the engine serves plain LoRA, this adapter has {', '.join(unknown)}",
            hint="merge it into its model and serve that",
        )
    return config


def _weights(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """A and B by module. Safetensors only."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        raise ConfigError(f"{folder}: has no adapter_model.safetensors", hint="only safetensors are read")
    try:
        tensors: Mapping[str, torch.Tensor] = load_file(str(file))
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    made: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.match(key)
        if match is None or tensor.dim() != 2:
            raise ConfigError(f"{file}: '{key}' is no weight of a plain LoRA")
        made.setdefault(match["module"], {})[match["part"]] = tensor
    if not made or any(len(parts) != 2 for parts in made.values()):
        raise ConfigError(f"{file}: holds no whole adapter")
    return made


def _scaled(
    parts: Mapping[str, torch.Tensor], config: Any, path: str, module: Any, folder: Path
) -> tuple[torch.Tensor, torch.Tensor]:
    """A (in, r) and B (r, out), B with the adapter's scale, where and in which numbers the module computes."""
    a, b = parts["A"].T, parts["B"].T
    rank = a.shape[1]
    sizes = _sizes(module)
    if b.shape[0] != rank or (sizes is not None and sizes != (a.shape[0], b.shape[1])):
        raise ConfigError(
            f"{folder}: '{path}' is {a.shape[0]} x {b.shape[1]} in the adapter"
            + (f", {sizes[0]} x {sizes[1]} in the model" if sizes else ""),
            hint="load it beside the model that it was trained on",
        )
    alpha = _pattern(config.alpha_pattern, path, config.lora_alpha)
    scale = alpha / (rank**0.5 if config.use_rslora else rank)
    like = next((p for p in module.parameters() if p.is_floating_point()), None)
    place = (
        {"device": a.device, "dtype": torch.float32}
        if like is None
        else {"device": like.device, "dtype": like.dtype}
    )
    return a.to(**place).contiguous(), (b.float() * scale).to(**place).contiguous()


def _sizes(module: Any) -> tuple[int, int] | None:
    """A linear module's input and output sizes; transformers' Conv1D (GPT-2) calls them nx and nf."""
    if hasattr(module, "in_features"):
        return int(module.in_features), int(module.out_features)
    return (int(module.nx), int(module.nf)) if hasattr(module, "nx") else None


def _pattern(patterns: Mapping[str, float] | None, path: str, otherwise: float) -> float:
    """peft's patterns are regular expressions of the end of a module's path."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", path):
            return value
    return otherwise
