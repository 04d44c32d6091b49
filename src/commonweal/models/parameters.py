"""The trainable parameters of a model as one float32 vector, and where each parameter lies in it.

This is what is trained over the network: members and hub agree on a :class:`Layout`, and everything else is
arithmetic on vectors. Tied weights are one parameter; frozen ones (the base of a model with adapters) are not
in it at all. ``write`` then ``read`` gives the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One parameter: ``vector[offset : offset + size]`` in row-major order."""

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Every trainable parameter in the model's own order, without gaps."""

    entries: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """Elements of the vector."""
        return self.entries[-1].offset + self.entries[-1].size if self.entries else 0

    def to_json(self) -> list[list[Any]]:
        """``[[name, shape], ...]``; offsets follow from the order."""
        return [[entry.name, list(entry.shape)] for entry in self.entries]

    @classmethod
    def from_json(cls, value: list[list[Any]]) -> Layout:
        return cls.of({str(name): tuple(int(n) for n in shape) for name, shape in value})

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int, ...]]) -> Layout:
        """The layout of named shapes, in their order."""
        entries, offset = [], 0
        for name, shape in shapes.items():
            entries.append(Entry(name=name, shape=shape, offset=offset))
            offset += entries[-1].size
        return cls(entries=tuple(entries))


def layout_of(model: torch.nn.Module) -> Layout:
    """The layout of what trains in ``model``."""
    return Layout.of({name: tuple(p.shape) for name, p in _trainable(model).items()})


def read(model: torch.nn.Module, layout: Layout) -> Vector:
    """A copy of the parameters, ``[layout.size]``."""
    vector: Vector = np.empty(layout.size, dtype=np.float32)
    _gather({name: p.detach() for name, p in _trainable(model).items()}, layout, vector)
    return vector


def read_gradients(model: torch.nn.Module, layout: Layout) -> Vector:
    """A copy of the gradients, ``[layout.size]``; zero where a parameter has none."""
    vector: Vector = np.empty(layout.size, dtype=np.float32)
    found = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in _trainable(model).items()}
    _gather(found, layout, vector)
    return vector


def write(model: torch.nn.Module, layout: Layout, vector: Vector) -> None:
    """Set the parameters to ``vector``, exactly."""
    if vector.shape != (layout.size,) or vector.dtype != np.float32:
        raise ValueError(f"vector: expected float32 [{layout.size}], got {vector.dtype} {list(vector.shape)}")
    parameters = _trainable(model)
    with torch.no_grad():
        for entry in layout.entries:
            part = np.array(vector[entry.offset : entry.offset + entry.size]).reshape(entry.shape)
            _matching(parameters, entry).copy_(torch.from_numpy(part))


def fragments(layout: Layout, count: int) -> tuple[slice, ...]:
    """``count`` contiguous parts of the vector, cut between parameters, the largest as small as can be.

    Fewer when there are fewer parameters than that. A parameter is never cut, so one large embedding bounds
    the balance. Streaming training sends one fragment a round (Douillard 2025, "Streaming DiLoCo").
    """
    if count < 1:
        raise ValueError(f"count: must be at least 1, got {count}")
    sizes = [entry.size for entry in layout.entries]
    count = min(count, len(sizes))
    low, high = max(sizes, default=0), sum(sizes)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(_cut(sizes, middle)) <= count else (middle + 1, high)
    parts = _cut(sizes, low)
    while len(parts) < count:
        widest = max((p for p in parts if len(p) > 1), key=lambda part: sum(sizes[i] for i in part))
        at, half = parts.index(widest), len(widest) // 2
        parts[at : at + 1] = [widest[:half], widest[half:]]
    entries = layout.entries
    return tuple(slice(entries[p[0]].offset, entries[p[-1]].offset + entries[p[-1]].size) for p in parts)


def _cut(sizes: list[int], capacity: int) -> list[range]:
    """Runs of indices, each as long as its sizes sum to ``capacity`` at most."""
    parts, first, held = [], 0, 0
    for index, size in enumerate(sizes):
        if index > first and held + size > capacity:
            parts.append(range(first, index))
            first, held = index, 0
        held += size
    return [*parts, range(first, len(sizes))] if sizes else []


def _trainable(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _gather(tensors: Mapping[str, torch.Tensor], layout: Layout, vector: Vector) -> None:
    for entry in layout.entries:
        values = _matching(tensors, entry).to("cpu").numpy()
        vector[entry.offset : entry.offset + entry.size] = values.reshape(-1)


def _matching(tensors: Mapping[str, torch.Tensor], entry: Entry) -> torch.Tensor:
    tensor = tensors.get(entry.name)
    if tensor is None or tuple(tensor.shape) != entry.shape or tensor.dtype != torch.float32:
        found = "nothing" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}"
        raise ValueError(f"layout: expected float32 {list(entry.shape)} at '{entry.name}', found {found}")
    return tensor
