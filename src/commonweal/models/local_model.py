"""A model's arithmetic: scores of given tokens, and new tokens, for a whole batch at a time.

It knows token ids and no text. Evaluation computes by it; the engine (``models.engine``), whose rows come and go,
scores by it. Tensors are named by their shape: B rows, T positions, V vocabulary. What rows have in
common is read once: the beginning that all prompts of a batch share (a few-shot prompt's examples), and equal prompts
(the references of one question). Prompts are padded at the left, continuations at the right, so that the cache of keys
and values is one block. A model whose state is no such cache (Mamba, RWKV) is computed anew at each step.
"""

from __future__ import annotations

import inspect
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import DynamicCache

from commonweal.core.completion import LOGPROB_FLOOR
from commonweal.models.architecture import load_checkpoint
from commonweal.models.choosing import Top, sampled, tops
from commonweal.models.encoded import Encoded, common_prefix
from commonweal.models.placement import device_of, dtype_of, ends_of, keeps_keys, memory_name, window_of

_SHORTEST_SHARED = 16
"""A shared beginning of fewer tokens is not worth a pass of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Of each token of a continuation: its log-probability, whether it was the likeliest, and the likeliest ones."""

    logprobs: list[float]
    greedy: list[bool]
    top: list[Top]


@dataclass(slots=True, kw_only=True)
class Row:
    """One sample as it is written. ``done`` says after each token whether the text has come to its end."""

    prompt: list[int]
    limit: int
    temperature: float = 0.0
    top_p: float = 1.0
    draw: Callable[[], float] = random.random
    alternatives: int | None = None
    done: Callable[[list[int]], bool] = lambda ids: False
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top: list[Top] = field(default_factory=list)
    finish: Literal["stop", "length"] = "length"
    first_token: float = 0.0
    total: float = 0.0


@dataclass(slots=True, kw_only=True)
class _Read:
    """Prompts that were read: the next token's logits (B, V), and what is needed to go on. ``mask`` (B, T) is None
    where nothing is padded; ``next`` (B) is each row's next position."""

    logits: torch.Tensor
    cache: Any
    mask: torch.Tensor | None
    next: torch.Tensor

    def select(self, rows_B: torch.Tensor) -> None:
        """Take these rows instead, in this order; a row may be taken several times."""
        self.logits = self.logits[rows_B]
        self.next = self.next[rows_B]
        if self.mask is not None:
            self.mask = self.mask[rows_B]
        self.cache.batch_select_indices(rows_B)


class LocalModel:
    """A causal language model of transformers that is loaded and in its place. Used by one thread."""

    def __init__(self, model: Any) -> None:
        self._model = model.eval()
        self._device: torch.device = model.device
        takes = set(inspect.signature(model.forward).parameters)
        self._positions = "position_ids" in takes
        self._keeps = "logits_to_keep" in takes
        self._memory = memory_name(model) if keeps_keys(model) else None
        self.window = window_of(model)
        self.vocabulary = int(model.config.get_text_config().vocab_size)
        self.ends = ends_of(model)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._device

    @torch.inference_mode()
    def score(self, asked: Sequence[Encoded], *, alternatives: int = 0) -> list[Scores]:
        """The scores of each continuation after its prompt. Prompts that are equal are read once."""
        if not self._memory:
            return self._score_whole(asked, alternatives)
        prompts, owners = _distinct([one.prompt for one in asked])
        read = self._read(prompts)
        owners_B = torch.tensor(owners, device=self._device)
        firsts = self._judged(
            read.logits[owners_B][:, None], [one.continuation[:1] for one in asked], alternatives
        )
        longer = [i for i, one in enumerate(asked) if len(one.continuation) > 1]
        if not longer:
            return firsts
        read.select(owners_B[longer])
        given = [asked[i].continuation for i in longer]
        logits_BTV = self._forward(*self._right_padded([ids[:-1] for ids in given], read), cache=read.cache)
        rest = self._judged(logits_BTV, [ids[1:] for ids in given], alternatives)
        for i, more in zip(longer, rest, strict=True):
            firsts[i] = Scores(
                logprobs=firsts[i].logprobs + more.logprobs,
                greedy=firsts[i].greedy + more.greedy,
                top=firsts[i].top + more.top,
            )
        return firsts

    @torch.inference_mode()
    def generate(self, rows: Sequence[Row]) -> None:
        """Write each row's tokens into it. Times are seconds since the call."""
        began = time.perf_counter()
        prompts, owners = _distinct([row.prompt for row in rows])
        active = list(rows)
        read = self._read(prompts) if self._memory else None
        if read is not None and len(prompts) < len(rows):
            read.select(torch.tensor(owners, device=self._device))
        while True:
            logits_BV = read.logits if read is not None else self._last_logits(active)
            tokens = self._chosen(logits_BV, active)
            now = time.perf_counter() - began
            open_rows = [i for i, row in enumerate(active) if not self._written(row, tokens[i], now)]
            if not open_rows:
                return
            if len(open_rows) < len(active):
                active = [active[i] for i in open_rows]
                if read is not None:
                    read.select(torch.tensor(open_rows, device=self._device))
            if read is not None:
                self._step(read, [row.ids[-1] for row in active])

    def _written(self, row: Row, token: int, now: float) -> bool:
        """Take a token into ``row``; whether that was its last."""
        row.first_token = row.first_token or now
        row.total = now
        if token in self.ends:
            row.finish = "stop"
            return True
        row.ids.append(token)
        if row.done(row.ids):
            row.finish = "stop"
            return True
        return len(row.ids) >= row.limit

    def _read(self, prompts: Sequence[Sequence[int]]) -> _Read:
        """Read distinct prompts: first what they share, by one row, then the rest of each."""
        cache = DynamicCache()
        shared = 0
        if len(prompts) > 1:
            shared = min(common_prefix(prompts), min(map(len, prompts)) - 1)
        if shared >= _SHORTEST_SHARED:
            ids_1T = torch.tensor([prompts[0][:shared]], device=self._device)
            self._forward(ids_1T, None, None, cache=cache, last=True)
            cache.batch_repeat_interleave(len(prompts))
        else:
            shared = 0
        ids_BT, mask_BT, positions_BT = self._left_padded(prompts, shared)
        logits_BTV = self._forward(ids_BT, mask_BT, positions_BT, cache=cache, last=True)
        next_B = torch.tensor([len(prompt) for prompt in prompts], device=self._device)
        return _Read(logits=logits_BTV[:, -1], cache=cache, mask=mask_BT, next=next_B)

    def _left_padded(
        self, prompts: Sequence[Sequence[int]], shared: int
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        width = max(map(len, prompts)) - shared
        pads = [width - (len(prompt) - shared) for prompt in prompts]
        ids = [[0] * pad + list(prompt[shared:]) for pad, prompt in zip(pads, prompts, strict=True)]
        ids_BT = torch.tensor(ids, device=self._device)
        pads_B1 = torch.tensor(pads, device=self._device)[:, None]
        at_T = torch.arange(width, device=self._device)
        positions_BT = (at_T - pads_B1).clamp(min=0) + shared
        if not any(pads):
            return ids_BT, None, positions_BT
        mask_BT = torch.ones((len(prompts), shared + width), dtype=torch.long, device=self._device)
        mask_BT[:, shared:] = at_T >= pads_B1
        return ids_BT, mask_BT, positions_BT

    def _right_padded(
        self, rows: Sequence[Sequence[int]], read: _Read
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Tokens after what was read. What pads them is seen by nothing before it, and its logits by nobody."""
        ids_BT = self._right(rows)
        positions_BT = read.next[:, None] + torch.arange(ids_BT.shape[1], device=self._device)
        mask_BT = None
        if read.mask is not None:
            mask_BT = torch.cat([read.mask, torch.ones_like(ids_BT)], dim=1)
        return ids_BT, mask_BT, positions_BT

    def _right(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        width = max(map(len, rows))
        return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=self._device)

    def _step(self, read: _Read, tokens: list[int]) -> None:
        ids_B1 = torch.tensor(tokens, device=self._device)[:, None]
        if read.mask is not None:
            read.mask = torch.cat([read.mask, torch.ones_like(ids_B1)], dim=1)
        logits_BTV = self._forward(ids_B1, read.mask, read.next[:, None], cache=read.cache, last=True)
        read.logits = logits_BTV[:, -1]
        read.next = read.next + 1

    def _forward(
        self,
        ids_BT: torch.Tensor,
        mask_BT: torch.Tensor | None,
        positions_BT: torch.Tensor | None,
        *,
        cache: Any = None,
        last: bool = False,
    ) -> torch.Tensor:
        """Logits of every position, or of the ``last`` one alone."""
        given: dict[str, Any] = {}
        if self._memory:
            given = {"attention_mask": mask_BT, self._memory: cache}
        if self._positions and positions_BT is not None:
            given["position_ids"] = positions_BT
        if self._keeps and last:
            given["logits_to_keep"] = 1
        logits_BTV: torch.Tensor = self._model(
            input_ids=ids_BT, use_cache=cache is not None, return_dict=True, **given
        ).logits
        return logits_BTV

    def _judged(
        self, logits_BTV: torch.Tensor, given: Sequence[Sequence[int]], alternatives: int
    ) -> list[Scores]:
        """The scores of the ``given`` tokens, each by the logits at its own place."""
        width = logits_BTV.shape[1]
        ids_BT = torch.tensor([[*row, *[0] * (width - len(row))] for row in given], device=self._device)
        logits_BTV = logits_BTV.float()
        norm_BT = torch.logsumexp(logits_BTV, dim=-1)
        logprobs = (logits_BTV.gather(2, ids_BT[..., None])[..., 0] - norm_BT).clamp(min=LOGPROB_FLOOR)
        greedy = (logits_BTV.argmax(dim=-1) == ids_BT).tolist()
        likeliest = tops(logits_BTV, norm_BT, alternatives) if alternatives else None
        return [
            Scores(
                logprobs=numbers[: len(row)],
                greedy=greedy[i][: len(row)],
                top=likeliest[i][: len(row)] if likeliest else [()] * len(row),
            )
            for i, (row, numbers) in enumerate(zip(given, logprobs.tolist(), strict=True))
        ]

    def _chosen(self, logits_BV: torch.Tensor, rows: Sequence[Row]) -> list[int]:
        """Each row's next token; its log-probability, at temperature 1 and of all tokens, is noted in the row."""
        logits_BV = logits_BV.float()
        ids_B = logits_BV.argmax(dim=-1)
        drawn = [i for i, row in enumerate(rows) if row.temperature > 0.0]
        if drawn:
            asked = [rows[i] for i in drawn]
            ids_B[drawn] = sampled(
                logits_BV[drawn],
                [row.temperature for row in asked],
                [row.top_p for row in asked],
                [row.draw for row in asked],
            )
        most = max((row.alternatives for row in rows if row.alternatives is not None), default=None)
        if most is not None:
            norm_B = torch.logsumexp(logits_BV, dim=-1)
            logprobs = (logits_BV.gather(1, ids_B[:, None])[:, 0] - norm_B).clamp(min=LOGPROB_FLOOR).tolist()
            likeliest = tops(logits_BV[:, None], norm_B[:, None], most) if most else None
            for i, row in enumerate(rows):
                if row.alternatives is not None:
                    row.logprobs.append(logprobs[i])
                    row.top.append(likeliest[i][0][: row.alternatives] if likeliest else [])
        tokens: list[int] = ids_B.tolist()
        return tokens

    def _last_logits(self, rows: Sequence[Row]) -> torch.Tensor:
        """Without a cache: all that stands so far, read again."""
        texts = [row.prompt + row.ids for row in rows]
        logits_BTV = self._forward(self._right(texts), None, None)
        return logits_BTV[torch.arange(len(rows)), torch.tensor([len(text) - 1 for text in texts])]

    def _score_whole(self, asked: Sequence[Encoded], alternatives: int) -> list[Scores]:
        """Without a cache: each prompt with its continuation in one row."""
        logits_BTV = self._forward(self._right([one.prompt + one.continuation for one in asked]), None, None)
        width = max([len(one.continuation) for one in asked] + [1])
        picked_BTV = logits_BTV.new_zeros((len(asked), width, logits_BTV.shape[-1]))
        for i, one in enumerate(asked):
            begin = len(one.prompt) - 1
            picked_BTV[i, : len(one.continuation)] = logits_BTV[i, begin : begin + len(one.continuation)]
        return self._judged(picked_BTV, [one.continuation for one in asked], alternatives)


def load_model(location: str, *, device: str = "auto", dtype: str = "auto", threads: int = 0) -> LocalModel:
    """The causal language model in ``location``. Raises ConfigError or Unavailable."""
    if threads:
        torch.set_num_threads(threads)
    place = device_of(device)
    model = load_checkpoint(location)
    return LocalModel(model.to(device=place, dtype=dtype_of(dtype, model, place)))


def _distinct(prompts: Sequence[list[int]]) -> tuple[list[list[int]], list[int]]:
    """The distinct prompts, and for each prompt which of them it is."""
    places: dict[tuple[int, ...], int] = {}
    owners = [places.setdefault(tuple(prompt), len(places)) for prompt in prompts]
    return [list(prompt) for prompt in places], owners
