"""What a member's session remembers between units, and how it survives the end of the process.

One safetensors file, replaced in one step, so it is whole or the one before it. It is read back only if it
fits the job and its anchor has the hash that it claims; anything else is as if it were not there.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from commonweal.core.hashing import BlobHash
from commonweal.train.chain import state_hash
from commonweal.train.codecs import Vector

log = logging.getLogger(__name__)

Tensors = dict[str, torch.Tensor]

_MOMENT = "optimizer."


@dataclass(slots=True, kw_only=True)
class Pending:
    """A contribution that was handed in: the unit, the part that it covered, and the residual if it was
    folded."""

    unit_key: str
    start: int
    stop: int
    residual: Vector


@dataclass(slots=True, kw_only=True)
class Memory:
    """``anchor`` is the shared state, ``local`` the model's weights as they were when the last contribution
    was cut from them, ``residual`` what compression still owes. ``clean`` is False while the model's weights
    hold steps that belong to no contribution."""

    anchor: Vector
    anchor_hash: BlobHash
    local: Vector | None = None
    residual: Vector | None = None
    pending: Pending | None = None
    clean: bool = True


def save_memory(file: Path, memory: Memory, optimizer: Mapping[str, torch.Tensor]) -> bool:
    """Write ``file``; False (and the old one stays) if the disk does not let us. Work goes on without it."""
    tensors: Tensors = {
        _MOMENT + name: value.detach().cpu().contiguous() for name, value in optimizer.items()
    }
    for name in ("anchor", "local", "residual"):
        vector = getattr(memory, name)
        if vector is not None:
            tensors[name] = torch.from_numpy(vector)
    about: dict[str, object] = {"anchor_hash": memory.anchor_hash}
    if memory.pending is not None:
        tensors["pending"] = torch.from_numpy(memory.pending.residual)
        about |= {
            "unit_key": memory.pending.unit_key,
            "start": memory.pending.start,
            "stop": memory.pending.stop,
        }
    part = file.with_suffix(".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, part, metadata={"memory": json.dumps(about)})
        os.replace(part, file)
    except (OSError, SafetensorError) as error:
        log.warning("session.not_saved file=%s error=%s", file.name, error)
        with suppress(OSError):
            part.unlink()
        return False
    return True


def load_memory(file: Path, size: int) -> tuple[Memory, Tensors] | None:
    """What :func:`save_memory` wrote for a vector of ``size`` elements, with the optimizer's tensors."""
    try:
        with safe_open(str(file), framework="pt") as opened:
            about = json.loads(opened.metadata()["memory"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        vectors = {n: _vector(tensors[n]) for n in ("anchor", "local", "residual") if n in tensors}
        memory = Memory(
            anchor=vectors["anchor"],
            anchor_hash=BlobHash(about["anchor_hash"]),
            local=vectors.get("local"),
            residual=vectors.get("residual"),
        )
        if "pending" in tensors:
            memory.pending = Pending(
                unit_key=about["unit_key"],
                start=about["start"],
                stop=about["stop"],
                residual=_vector(tensors["pending"]),
            )
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        log.warning("session.not_restored file=%s error=%s", file.name, error)
        return None
    if (
        any(vector.shape != (size,) for vector in vectors.values())
        or state_hash(memory.anchor) != memory.anchor_hash
    ):
        log.warning("session.not_restored file=%s error=it is of other weights", file.name)
        return None
    return memory, {n.removeprefix(_MOMENT): t for n, t in tensors.items() if n.startswith(_MOMENT)}


def _vector(tensor: torch.Tensor) -> Vector:
    return np.array(tensor.numpy(), dtype=np.float32)
