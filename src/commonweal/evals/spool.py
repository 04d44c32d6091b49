"""Instances on disk, between being read and being asked: so that a scenario of any length is read once and memory stays
as it is.

One unnamed file, in blocks. Its form is Python's ``marshal``, which is fast and knows plain values only; the file is
read by nobody but its writer. Knows no scenario.
"""

from __future__ import annotations

import marshal
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from commonweal.core.completion import Image
from commonweal.evals.instance import Contrast, Instance, Reference

_BLOCK = 256
_SIZE = struct.Struct("<I")


class Spool:
    """Takes instances, and gives them back in their order as often as is asked. Close it."""

    def __init__(self, folder: Path | None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it lives as long as this does
        self._waiting: list[tuple[Any, ...]] = []

    def add(self, instance: Instance) -> None:
        """Raises ValueError for an instance that holds what is not plain, OSError where there is no room."""
        self._waiting.append(_packed(instance))
        if len(self._waiting) >= _BLOCK:
            self.flush()

    def __iter__(self) -> Iterator[Instance]:
        """What was written, in blocks; call :meth:`flush` before."""
        self._file.seek(0)
        while head := self._file.read(_SIZE.size):
            [size] = _SIZE.unpack(head)
            for packed in marshal.loads(self._file.read(size)):  # noqa: S302 - written above
                yield _unpacked(*packed)

    def close(self) -> None:
        self._file.close()

    def flush(self) -> None:
        """Write what waits. Raises as :meth:`add` does."""
        if self._waiting:
            data = marshal.dumps(self._waiting)
            self._file.write(_SIZE.pack(len(data)) + data)
            self._waiting = []


def _packed(instance: Instance) -> tuple[Any, ...]:
    return (
        instance.id,
        instance.input,
        _references(instance.references),
        instance.split,
        instance.subset,
        [(image.data, image.media_type) for image in instance.images],
        instance.turns,
        [(contrast.input, _references(contrast.references)) for contrast in instance.contrasts],
        instance.perturbation,
        instance.extra,
    )


def _references(references: tuple[Reference, ...]) -> list[tuple[str, bool, int]]:
    return [(reference.text, reference.correct, reference.grade) for reference in references]


def _unpacked(
    id: str,
    input: str,
    references: list[tuple[str, bool, int]],
    split: Any,
    subset: str,
    images: list[tuple[bytes, str]],
    turns: tuple[str, ...],
    contrasts: list[tuple[str, list[tuple[str, bool, int]]]],
    perturbation: str,
    extra: dict[str, Any],
) -> Instance:
    return Instance(
        id=id,
        input=input,
        references=_made(references),
        split=split,
        subset=subset,
        images=tuple([Image(data=data, media_type=kind) for data, kind in images]),
        turns=turns,
        contrasts=tuple([Contrast(input=text, references=_made(found)) for text, found in contrasts]),
        perturbation=perturbation,
        extra=extra,
    )


def _made(references: list[tuple[str, bool, int]]) -> tuple[Reference, ...]:
    return tuple([Reference(text=text, correct=correct, grade=grade) for text, correct, grade in references])
