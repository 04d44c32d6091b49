"""A pool in one process: every member in turn, by the very functions that a real round uses.

It answers questions of quality (what does a schedule, a codec, an outer optimizer cost in loss, what does it
save in bytes) without processes or a network, and is the engine of ``bench/quality.py``. What it does not
know: time, failures, members that come and go.

Invariant: after each round all members hold the same bits; a difference raises AssertionError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from commonweal.core.hashing import BlobHash, content_hash
from commonweal.train.codecs import Codec, Vector, encode_with_feedback
from commonweal.train.contributions import aggregate, clip_factors, norm, read_contribution
from commonweal.train.inner import read_vector, run_steps, write_vector
from commonweal.train.inner import trainable_names as names_of
from commonweal.train.optimizer import InnerOptimizer, InnerOptions
from commonweal.train.outer import OuterOptions, outer_step

Batches = Iterator[Any]
Evaluate = Callable[[nn.Module], float]
OuterAt = Callable[[int, int], OuterOptions]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How a pool trains: ``rounds`` is H of every round, ``outer(step, h)`` the outer step after each, and
    ``rate(step)`` the inner learning rate. Rounds that begin before ``early_steps`` are encoded by ``early``, both
    ways: while H is small there are many of them, and few bits often are worth more than many seldom."""

    rounds: Sequence[int]
    rate: Callable[[int], float]
    outer: OuterAt
    up: Codec
    down: Codec
    inner: InnerOptions = field(default_factory=InnerOptions)
    early: Codec | None = None
    early_steps: int = 0
    decay_up: float = 1.0
    clip: float = 1.0

    def codecs(self, step: int) -> tuple[Codec, Codec]:
        """(up, down) of the round that begins at ``step``."""
        if self.early is not None and step < self.early_steps:
            return self.early, self.early
        return self.up, self.down


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where the shared weights stand after ``step`` inner steps. Bytes are one member's, since the start."""

    step: int
    loss: float | None
    train_loss: float
    bytes_up: int
    bytes_down: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """A finished run: its curve, the final loss, one member's bytes, and the hash of the final weights."""

    curve: tuple[Point, ...]
    loss: float
    rounds: int
    tokens: int
    bytes_up: int
    bytes_down: int
    state: BlobHash


@dataclass(slots=True, kw_only=True)
class _Member:
    theta: Vector
    optimizer: InnerOptimizer
    batches: Batches
    residual: Vector | None = None
    bytes_up: int = 0


def simulate_pool(
    model: nn.Module,
    method: Method,
    batches: Sequence[Batches],
    evaluate: Evaluate,
    *,
    seed: int = 0,
    evaluate_every: int = 0,
    on_point: Callable[[Point], None] = lambda point: None,
) -> Simulated:
    """Train ``model`` by ``method`` with one member for each of ``batches``.

    The loss is evaluated at the end, and after the first round past every multiple of ``evaluate_every`` steps.
    """
    names = names_of(model)
    theta = read_vector(model, names)
    members = [
        _Member(theta=theta.copy(), optimizer=InnerOptimizer(model, names, method.inner), batches=b)
        for b in batches
    ]
    shared, momentum, owed = theta, np.zeros_like(theta), None
    step, bytes_down, tokens, curve = 0, 0, 0, list[Point]()
    for number, h in enumerate(method.rounds):
        up, down = method.codecs(step)
        sent: list[bytes] = []
        losses: list[float] = []
        for i, member in enumerate(members):
            write_vector(model, names, member.theta)
            report = run_steps(member.optimizer, member.batches, h, method.rate, first_step=step)
            losses += report.losses
            tokens += report.tokens
            local = read_vector(model, names)
            sent.append(_contribute(member, local, up, decay=method.decay_up, seed=_seed(seed, number, i)))
        mean = fold(sent, up, theta.size, method.clip)
        stepped = outer_step(shared, momentum, mean, method.outer(step, h))
        update = encode_with_feedback(
            down, stepped.theta - shared, owed, seed=_seed(seed, number, len(members))
        )
        shared, momentum, owed = stepped.theta, stepped.momentum, update.residual
        for member in members:
            member.theta += down.decode(update.data, theta.size)
        state = _agreed(members)
        before, step = step, step + h
        bytes_down += len(update.data)
        due = evaluate_every and step // evaluate_every > before // evaluate_every
        last = number == len(method.rounds) - 1
        write_vector(model, names, members[0].theta)
        point = Point(
            step=step,
            loss=evaluate(model) if due or last else None,
            train_loss=float(np.mean(losses)),
            bytes_up=max(member.bytes_up for member in members),
            bytes_down=bytes_down,
        )
        curve.append(point)
        on_point(point)
    assert point.loss is not None
    return Simulated(
        curve=tuple(curve),
        loss=point.loss,
        rounds=len(curve),
        tokens=tokens,
        bytes_up=point.bytes_up,
        bytes_down=bytes_down,
        state=state,
    )


def fold(sent: Sequence[bytes], codec: Codec, size: int, clip: float) -> Vector:
    """The clipped mean of encoded contributions, decoded twice so that only one is in memory at a time."""
    norms = [norm(read_contribution(data, codec, size)) for data in sent]
    vectors = (read_contribution(data, codec, size) for data in sent)
    return aggregate(vectors, [1.0] * len(sent), clip_factors(norms, clip))


def _contribute(member: _Member, local: Vector, codec: Codec, *, decay: float, seed: int) -> bytes:
    encoded = encode_with_feedback(codec, member.theta - local, member.residual, seed=seed, decay=decay)
    member.residual = encoded.residual
    member.bytes_up += len(encoded.data)
    return encoded.data


def _agreed(members: Sequence[_Member]) -> BlobHash:
    hashes = {content_hash(member.theta.tobytes()) for member in members}
    assert len(hashes) == 1, "members that applied the same update hold different weights"
    return hashes.pop()


def _seed(seed: int, number: int, sender: int) -> int:
    return (seed << 40) + (number << 12) + sender


def simulate_all_reduce(
    model: nn.Module,
    steps: int,
    rate: Callable[[int], float],
    batches: Sequence[Batches],
    evaluate: Evaluate,
    *,
    inner: InnerOptions | None = None,
    evaluate_every: int = 0,
    on_point: Callable[[Point], None] = lambda point: None,
) -> Simulated:
    """The baseline: gradients averaged over the members at every step, one AdamW, all in float32.

    The mean of gradients over members with equal batches is the gradient of the joined batch, so that is what
    is computed. Counted are 4 bytes a parameter up and 4 down for every step, the least that any all-reduce
    needs (a ring takes half as much again with four members).
    """
    names = names_of(model)
    optimizer = InnerOptimizer(model, names, inner or InnerOptions())
    size = read_vector(model, names).size
    joined = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    chunk = evaluate_every or steps
    curve = list[Point]()
    tokens = 0
    for first in range(0, steps, chunk):
        report = run_steps(optimizer, joined, min(chunk, steps - first), rate, first_step=first)
        tokens += report.tokens
        done = first + len(report.losses)
        point = Point(
            step=done,
            loss=evaluate(model),
            train_loss=float(np.mean(report.losses)),
            bytes_up=4 * size * done,
            bytes_down=4 * size * done,
        )
        curve.append(point)
        on_point(point)
    assert point.loss is not None
    return Simulated(
        curve=tuple(curve),
        loss=point.loss,
        rounds=steps,
        tokens=tokens,
        bytes_up=point.bytes_up,
        bytes_down=point.bytes_down,
        state=content_hash(read_vector(model, names).tobytes()),
    )
