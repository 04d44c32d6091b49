"""The name of a state of training, reckoned from the safetensors files of a saved model.

A state is named by the SHA-256 of all its parameters as little-endian 32-bit numbers, one after another in the order of
the job's layout; safetensors files have just these bytes under the parameters' names. So it is read piece by piece and
without torch: a model that a job made proves it by its own files.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commonweal.core.errors import DataError

Layout = Sequence[tuple[str, tuple[int, ...]]]
"""Names of parameters with their shapes, in the order of the job."""

_LARGEST_HEADER = 100 * 2**20
_PIECE = 2**22


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """Where a tensor's bytes are: in ``file``, ``size`` bytes from ``start``."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """All tensors of the weights in a folder, by name. Raises DataError."""
    found: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found.update(_header(file))
    return found


def state_of(folder: Path, layout: Layout) -> str | None:
    """The hash of the parameters in ``layout``; None where the files do not have all as 32-bit numbers (adapters
    go by other names, and a model may be saved in fewer bits). Raises DataError for a damaged file."""
    tensors = tensors_of(folder)
    digest = hashlib.sha256()
    for name, shape in layout:
        tensor = tensors.get(name)
        if tensor is None or tensor.dtype != "F32" or tensor.shape != tuple(shape):
            return None
        with tensor.file.open("rb") as file:
            file.seek(tensor.start)
            left = tensor.size
            while left and (piece := file.read(min(left, _PIECE))):
                digest.update(piece)
                left -= len(piece)
        if left:
            raise DataError(f"{tensor.file}: is cut: '{name}' lacks {left} bytes")
    return digest.hexdigest()


def parameters_of(folder: Path) -> int:
    """How many numbers the weights in a folder have. Raises DataError."""
    return sum(math.prod(tensor.shape) for tensor in tensors_of(folder).values())


def layout_from(value: Any) -> Layout | None:
    """A layout as a job's files have it (``[[name, shape], ...]``), or None for what is none."""
    try:
        return [(str(name), tuple(int(n) for n in shape)) for name, shape in value]
    except (TypeError, ValueError):
        return None


def _header(file: Path) -> Mapping[str, Tensor]:
    try:
        whole = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 2 <= length <= min(_LARGEST_HEADER, whole - 8):
                raise DataError(f"{file}: is not a safetensors file")
            entries = json.loads(opened.read(length))
        return {
            name: _tensor(file, entry, 8 + length)
            for name, entry in entries.items()
            if name != "__metadata__"
        }
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{file}: its safetensors header cannot be read: {error}") from None


def _tensor(file: Path, entry: Mapping[str, Any], begin: int) -> Tensor:
    first, last = (int(n) for n in entry["data_offsets"])
    return Tensor(
        file=file,
        dtype=str(entry["dtype"]),
        shape=tuple(int(n) for n in entry["shape"]),
        start=begin + first,
        size=last - first,
    )
