"""The keys and values of several rows as one block of memory, which rows enter and leave between two steps.

Rows end at one common edge: a row of length n takes the last n columns, and what stands before it is padding that the
mask hides (left-padded, as transformers has it). A step writes one column for all rows and copies nothing. A row that
leaves is replaced by the last one; at the end of the memory the block moves back to its beginning, or into memory half
as large again. transformers' models take it for any of their caches: what kind of attention looks at it (sliding
windows, ALiBi) is decided by the mask that they make of the padding.

Tensors are named by their shape: B rows, H heads, T columns, D width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

_STEP = 64
"""Memory grows by whole multiples of this many columns."""


class Block(Cache):  # type: ignore[misc]
    """Up to as many rows as anybody adopts. ``lengths`` are the rows' numbers of tokens."""

    def __init__(self, layers: int, device: torch.device) -> None:
        self.lengths: list[int] = []
        self._device = device
        self._begin = 0
        self._stop = 0
        self._columns = 0
        self._rows = 0
        self._mask_BT = torch.zeros((0, 0), dtype=torch.bool, device=device)
        super().__init__(layers=[_Layer(self) for _ in range(layers)])

    @property
    def rows(self) -> int:
        return len(self.lengths)

    @property
    def width(self) -> int:
        """Columns in use: the longest row's length."""
        return self._stop - self._begin

    @property
    def columns(self) -> tuple[int, int]:
        """Where in memory the rows' columns begin and stop."""
        return self._begin, self._stop

    def start(self, lengths: Sequence[int], width: int, room: int) -> None:
        """Become rows of these ``lengths``, still to be written in ``width`` columns; ``room`` columns may follow."""
        self.lengths = list(lengths)
        self._begin = self._stop = 0
        self._reserve(len(lengths), width + room)
        self._mask_BT[: self.rows] = True
        for row, length in enumerate(lengths):
            self._mask_BT[row, : width - length] = False

    def before(self, count: int) -> None:
        """Make sure that ``count`` more columns can be written."""
        if self._stop + count > self._columns:
            self._make_room(self.rows, self.width, count)

    def advance(self, count: int, *, lengthen: bool = True) -> None:
        """``count`` columns were written in every layer; ``lengthen`` says that all rows are longer by them."""
        self._stop += count
        if lengthen:
            self.lengths = [length + count for length in self.lengths]

    def mask(self, count: int) -> torch.Tensor | None:
        """(B, T) which of the columns, and of ``count`` more that will be written, are not padding; None: all are."""
        if len(set(self.lengths)) == 1:
            return None
        return self._mask_BT[: self.rows, self._begin : self._stop + count]

    def adopt(self, other: Block, rows: Sequence[int]) -> None:
        """Take over ``rows`` of another block (each as often as it is named) as new rows at the end."""
        lengths = [other.lengths[row] for row in rows]
        count, width = self.rows + len(rows), max([self.width, *lengths])
        if count > self._rows or width > self._stop or not self.rows:
            self._make_room(count, width, _STEP)
        for layer, theirs in zip(self.layers, other.layers, strict=True):
            layer.make_like(theirs)
            for at, row in enumerate(rows, start=self.rows):
                length = lengths[at - self.rows]
                layer.copy(at, self._stop - length, theirs, row, other.columns[1] - length, length)
        for at, length in enumerate(lengths, start=self.rows):
            self._mask_BT[at, : self._stop - length] = False
            self._mask_BT[at, self._stop - length :] = True
        self.lengths += lengths
        self._begin = self._stop - max(self.lengths)

    def drop(self, row: int) -> None:
        """Forget ``row``; the last row takes its place."""
        last = self.rows - 1
        if row != last:
            length = self.lengths[last]
            for layer in self.layers:
                layer.copy(row, self._stop - length, layer, last, self._stop - length, length)
            self._mask_BT[row] = self._mask_BT[last]
            self.lengths[row] = length
        self.lengths.pop()
        self._begin = self._stop - max(self.lengths, default=0)
        if not self.lengths:
            self._begin = self._stop = 0

    def free(self) -> None:
        """Give all memory back; there are no rows any more."""
        self.lengths = []
        self._begin = self._stop = self._columns = self._rows = 0
        self._mask_BT = self._mask_BT.new_zeros((0, 0))
        for layer in self.layers:
            layer.free()

    def _make_room(self, rows: int, width: int, count: int) -> None:
        """Room for ``rows`` of ``width`` columns and ``count`` more: by moving what is there, or in new memory."""
        begin, width_now = self._begin, self.width
        needed = width + max(count, width // 2)
        if rows > self._rows or width + count > self._columns or needed > self._columns + self._columns // 4:
            self._reserve(max(rows, self._rows), needed)
        offset = width - width_now
        if width_now:
            for layer in self.layers:
                layer.move(self.rows, begin, offset, width_now)
            kept = self._mask_BT[: self.rows, begin : begin + width_now].clone()
            self._mask_BT[: self.rows, :offset] = False
            self._mask_BT[: self.rows, offset:width] = kept
        self._mask_BT[: self.rows, width:] = True
        self._begin, self._stop = offset, width

    def _reserve(self, rows: int, columns: int) -> None:
        columns = -(-columns // _STEP) * _STEP
        if rows <= self._rows and columns <= self._columns:
            return
        self._rows, self._columns = max(rows, self._rows), max(columns, self._columns)
        mask_BT = torch.zeros((self._rows, self._columns), dtype=torch.bool, device=self._device)
        have = self._mask_BT.shape
        mask_BT[: have[0], : have[1]] = self._mask_BT
        self._mask_BT = mask_BT
        for layer in self.layers:
            layer.grow()

    @property
    def memory(self) -> tuple[int, int]:
        """Rows and columns that there is memory for."""
        return self._rows, self._columns


class _Layer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's part. Where the edge stands is the block's business."""

    is_sliding = False

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.keys: Any = None
        self.values: Any = None
        self._block = block

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.keys = self._empty(key_states)
        self.values = self._empty(value_states)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.grow()
        begin, stop = self._block.columns
        rows, end = key_states.shape[0], stop + key_states.shape[2]
        self.keys[:rows, :, stop:end] = key_states
        self.values[:rows, :, stop:end] = value_states
        return self.keys[:rows, :, begin:end], self.values[:rows, :, begin:end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._block.width + query_length, 0

    def get_seq_length(self) -> int:
        return self._block.width

    def get_max_length(self) -> int:
        return -1

    def make_like(self, other: _Layer) -> None:
        if not self.is_initialized and other.is_initialized:
            self.lazy_initialization(other.keys, other.values)
        self.grow()

    def copy(self, row: int, at: int, source: _Layer, source_row: int, source_at: int, length: int) -> None:
        if not source.is_initialized:
            return  # a layer that shares another's keys and values has none of its own
        self.keys[row, :, at : at + length] = source.keys[source_row, :, source_at : source_at + length]
        self.values[row, :, at : at + length] = source.values[source_row, :, source_at : source_at + length]

    def move(self, rows: int, begin: int, to: int, width: int) -> None:
        self.grow()
        if self.is_initialized and begin != to:
            for part in (self.keys, self.values):
                part[:rows, :, to : to + width] = part[:rows, :, begin : begin + width].clone()

    def grow(self) -> None:
        """Take the block's size. Where memory ran out within a block's growth, its layers do so when next needed."""
        if self.is_initialized and (self.values.shape[0], self.values.shape[2]) != self._block.memory:
            self.keys, self.values = self._grown(self.keys), self._grown(self.values)

    def free(self) -> None:
        self.keys = self.values = None
        self.is_initialized = False

    def _empty(self, like_BHTD: torch.Tensor) -> torch.Tensor:
        rows, columns = self._block.memory
        return like_BHTD.new_zeros((rows, like_BHTD.shape[1], columns, like_BHTD.shape[3]))

    def _grown(self, old_BHTD: torch.Tensor) -> torch.Tensor:
        new_BHTD = self._empty(old_BHTD)
        rows, columns = old_BHTD.shape[0], old_BHTD.shape[2]
        new_BHTD[:rows, :, :columns] = old_BHTD
        return new_BHTD
