"""One base model's requests as they are computed together: who is read, who is written, who leaves.

A turn is what happens between two looks at the queue: some scores, a piece of the prompts that are being read, and
one step of all rows that are being written. Requests enter in the order in which they came, as soon as their rows fit
with all that they may come to be; so what runs never runs out of room, and a large request is not passed by forever.

A request that fails takes nobody with it: prompts that fail together are read alone, and when a step fails the youngest
request is given up. Used by one thread.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from commonweal.core.completion import CompletionFailed, Finish, Request
from commonweal.core.errors import CommonwealError
from commonweal.core.streaming import Usage
from commonweal.models.choosing import drawer
from commonweal.models.engine.asking import Asked
from commonweal.models.engine.choosing import Chooser, Chosen, Rule
from commonweal.models.engine.memory import Memory, Reading
from commonweal.models.engine.options import Capacity, EngineOptions
from commonweal.models.engine.scoring import Scoring
from commonweal.models.engine.words import Words
from commonweal.models.engine.writing import Writing

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Open:
    """A request that is being written: choices that have not ended, and tokens that went out."""

    asked: Asked
    choices: int
    tokens: int = 0


@dataclass(slots=True, kw_only=True)
class _Row:
    """One choice. ``last`` is its newest token, which the model has not seen yet."""

    open: _Open
    rule: Rule
    writing: Writing
    ends: frozenset[int]
    last: int = -1


@dataclass(slots=True, kw_only=True)
class _Read:
    """Prompts under way, and the requests that they are of."""

    asked: list[Asked]
    reading: Reading
    rows: list[list[_Row]] = field(default_factory=list)


class Batch:
    """Requests of one base model and its adapters. ``now`` is a clock in seconds."""

    def __init__(
        self,
        *,
        memory: Memory,
        scoring: Scoring,
        words: Words,
        options: EngineOptions,
        now: Callable[[], float],
    ) -> None:
        self._memory = memory
        self._scoring = scoring
        self._words = words
        self._options = options
        self._now = now
        self._waiting: deque[Asked] = deque()
        self._scores: deque[Asked] = deque()
        self._read: _Read | None = None
        self._rows: list[_Row] = []
        self._chooser: Chooser | None = None

    @property
    def is_busy(self) -> bool:
        return bool(self._rows or self._waiting or self._scores or self._read)

    def capacity(self) -> Capacity:
        """What is free for others than those that run or wait."""
        options = self._options
        running = self._running()
        rows = sum(one.rows for one in running)
        longest = max((one.longest for one in running), default=0)
        return Capacity(
            slots=options.slots,
            free_slots=max(0, options.slots - rows),
            cache_tokens=options.cache_tokens,
            free_tokens=max(0, options.cache_tokens - rows * longest),
            waiting=len(self._waiting) + len(self._scores),
        )

    def submit(self, asked: Asked) -> None:
        """Take a request into the queue."""
        queue = self._waiting if asked.request.kind == "generate" else self._scores
        queue.append(asked)

    def turn(self) -> None:
        """Compute a little for everybody."""
        self._leave()
        if self._scores:
            self._score()
        if self._read is None and self._waiting:
            self._begin()
        if self._read is not None:
            self._read_on(self._read)
        if self._rows:
            self._step()

    def fail_all(self, error: CommonwealError) -> None:
        """The model goes: so do its requests."""
        for one in [*self._waiting, *self._scores, *self._running()]:
            one.answer.fail(error)
        self._waiting.clear()
        self._scores.clear()
        self._read = None
        self._rows = []
        self._memory.free()

    def fail_adapter(self, name: str, error: CommonwealError) -> None:
        """An adapter goes: the requests to it fail at the next turn."""
        for one in [*self._waiting, *self._scores, *self._running()]:
            if one.adapter == name:
                one.answer.fail(error)
        self._leave()

    # Entering and leaving.

    def _running(self) -> list[Asked]:
        read = self._read
        reading = read.asked if read is not None else []
        written = {id(row.open): row.open.asked for row in list(self._rows)}
        return [*reading, *written.values()]

    def _leave(self) -> None:
        """Forget what nobody waits for any more."""
        for row in range(len(self._rows) - 1, -1, -1):
            if self._rows[row].open.asked.answer.cancelled:
                self._drop(row)
        for queue in (self._waiting, self._scores):
            if any(one.answer.cancelled for one in queue):
                left = [one for one in queue if not one.answer.cancelled]
                queue.clear()
                queue.extend(left)
        if self._read is not None and all(one.answer.cancelled for one in self._read.asked):
            self._read = None

    def _drop(self, row: int) -> None:
        """The row leaves; the last one takes its number."""
        self._memory.drop(row)
        self._rows[row] = self._rows[-1]
        self._rows.pop()
        self._chooser = None

    def _begin(self) -> None:
        """Start to read the first of those that wait, with those behind it that are about as long."""
        taken: list[Asked] = []
        while self._waiting and self._fits(taken, self._waiting[0]):
            taken.append(self._waiting.popleft())
        if not taken:
            return
        now = self._now()
        rows = []
        for asked in list(taken):
            asked.began = now
            try:
                rows.append(self._new_rows(asked))
            except CommonwealError as error:
                asked.answer.fail(error)
                taken.remove(asked)
        if taken:
            reading = self._memory.reading([one.prompt for one in taken], [one.adapter for one in taken])
            self._read = _Read(asked=taken, reading=reading, rows=rows)

    def _fits(self, taken: Sequence[Asked], asked: Asked) -> bool:
        """Whether ``asked`` can be read with ``taken`` and written beside all that run."""
        beside = [*self._running(), *taken]
        rows = asked.rows + sum(one.rows for one in beside)
        longest = max([asked.longest, *(one.longest for one in beside)])
        if beside and (rows > self._options.slots or rows * longest > self._options.cache_tokens):
            return False
        if not taken:
            return True
        lengths = [len(asked.prompt), *(len(one.prompt) for one in taken)]
        is_even = len(lengths) * max(lengths) <= max(self._options.chunk, 2 * min(lengths))
        return is_even and not asked.alone and not taken[0].alone

    def _new_rows(self, asked: Asked) -> list[_Row]:
        """The choices of a request that is about to be read. Raises CompletionFailed."""
        request = asked.request
        opened = _Open(asked=asked, choices=request.n)
        ends = self._words.ends(request)
        return [
            _Row(
                open=opened,
                rule=self._rule(request, index),
                writing=self._words.writing(request, index),
                ends=ends,
            )
            for index in range(request.n)
        ]

    def _rule(self, request: Request, index: int) -> Rule:
        return Rule(
            limit=request.max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            draw=drawer(request.seed, request.sample + index),
            alternatives=request.logprobs or 0,
            penalties=request.penalties,
            bias=request.bias,
            grammar=self._words.grammar(request),
            seen=self._words.nothing_seen() if any(request.penalties) else None,
        )

    # Reading and writing.

    def _read_on(self, read: _Read) -> None:
        try:
            logits_PV = read.reading.advance(self._options.chunk)
            if logits_PV is None:
                return
            self._read = None
            self._first_tokens(read, logits_PV)
        except Exception as error:  # whatever a stranger's model raises
            self._read = None
            failed = failure(error)
            log.warning("engine.reading_failed requests=%d error=%s", len(read.asked), failed.message)
            if len(read.asked) == 1:
                read.asked[0].answer.fail(failed)
                return
            for one in reversed(read.asked):
                one.alone = True
                self._waiting.appendleft(one)

    def _first_tokens(self, read: _Read, logits_PV: torch.Tensor) -> None:
        """All is read: a row for each choice, and its first token. Nothing goes out before the rows have their room."""
        owners = [prompt for prompt, rows in enumerate(read.rows) for _ in rows]
        rows = [row for some in read.rows for row in some]
        one_each = len(rows) == logits_PV.shape[0]
        logits_BV = logits_PV if one_each else logits_PV[torch.tensor(owners, device=logits_PV.device)]
        chosen = Chooser([row.rule for row in rows]).choose(logits_BV)
        self._memory.join(read.reading, owners)
        before = len(self._rows)
        self._rows += rows
        self._chooser = None
        self._write(chosen, before)

    def _step(self) -> None:
        try:
            logits_BV = self._memory.step([row.last for row in self._rows])
        except Exception as error:
            youngest = max(self._rows, key=lambda row: row.open.asked.began).open.asked
            failed = failure(error)
            log.warning("engine.step_failed rows=%d error=%s", len(self._rows), failed.message)
            youngest.answer.fail(failed)
            self._leave()
            if not self._rows:
                self._memory.free()
            return
        if self._chooser is None:
            self._chooser = Chooser([row.rule for row in self._rows])
        self._write(self._chooser.choose(logits_BV), 0)

    def _write(self, chosen: Chosen, first: int) -> None:
        """Take a token into each row from number ``first`` on; those that end by it leave."""
        ended = [at for at, row in enumerate(self._rows[first:]) if self._taken(row, chosen, at)]
        for at in reversed(ended):
            self._drop(first + at)

    def _taken(self, row: _Row, chosen: Chosen, at: int) -> bool:
        try:
            return self._written(row, chosen, at)
        except Exception as error:  # a stranger's tokenizer
            log.exception("engine.writing_failed")
            row.open.asked.answer.fail(failure(error))
            return True

    def _written(self, row: _Row, chosen: Chosen, at: int) -> bool:
        """Take row ``at``'s token into its choice; whether that was its last."""
        asked = row.open.asked
        if asked.answer.cancelled:
            return True
        if at in chosen.failed:
            asked.answer.fail(chosen.failed[at])
            return True
        token, rule, writing = chosen.ids[at], row.rule, row.writing
        row.last = token
        rule.made += 1
        complete = rule.grammar is not None and rule.grammar.take(token)
        if token in row.ends:
            return self._ended(row, "stop")
        top = chosen.tops[at][: rule.alternatives] if rule.alternatives else []
        piece = writing.add(self._words.token(token, chosen.logprobs[at], top))
        if piece is not None:
            asked.answer.put(piece)
        if writing.stopped or complete:
            return self._ended(row, "stop")
        return self._ended(row, "length") if rule.made >= rule.limit else False

    def _ended(self, row: _Row, finish: Finish) -> bool:
        opened, writing = row.open, row.writing
        for event in writing.end(finish):
            opened.asked.answer.put(event)
        opened.choices -= 1
        opened.tokens += writing.count
        if not opened.choices:
            asked = opened.asked
            asked.answer.put(
                Usage(
                    prompt_tokens=len(asked.prompt),
                    completion_tokens=opened.tokens,
                    seconds=self._now() - asked.began,
                )
            )
        return True

    # Scoring.

    def _score(self) -> None:
        """Some of what is scored or embedded: of one kind and one adapter, about a chunk of tokens."""
        first = self._scores[0]
        taken: list[Asked] = []
        tokens = 0
        for one in self._scores:
            count = len(one.prompt) + len(one.encoded.continuation)
            if taken and (first.alone or tokens + count > self._options.chunk):
                break
            if (one.request.kind, one.adapter) == (first.request.kind, first.adapter):
                taken.append(one)
                tokens += count
        self._scores = deque(one for one in self._scores if one not in taken)
        now = self._now()
        for one in taken:
            one.began = now
        try:
            self._scoring.answer(taken, now)
        except Exception as error:
            failed = failure(error)
            log.warning("engine.scoring_failed requests=%d error=%s", len(taken), failed.message)
            if len(taken) == 1:
                first.answer.fail(failed)
                return
            for one in reversed(taken):
                one.alone = True
                self._scores.appendleft(one)


def failure(error: Exception) -> CompletionFailed:
    """What an exception means for the request that it was raised for."""
    if isinstance(error, CompletionFailed):
        return error
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return CompletionFailed("too_long", "it does not fit the device's memory")
    return CompletionFailed("server_error", f"the model failed: {type(error).__name__}: {error}")
