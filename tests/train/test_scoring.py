"""Losses on held-out text: of the weights given, on text that rotates, in units that compare."""

from __future__ import annotations

import math

import numpy as np
import pytest
from train_world import World

from commonweal.core.hashing import BlobHash
from commonweal.train.chain import state_from
from commonweal.train.codecs import Vector
from commonweal.train.scoring import HeldOutScorer
from commonweal.train.spec import JobSpec


def scorer_of(world: World) -> tuple[HeldOutScorer, Vector]:
    spec = JobSpec.from_json(world.prepare().spec)
    theta = state_from(world.blobs.get(BlobHash(spec.theta)), spec.parameters)
    return HeldOutScorer(spec, world.blobs.get, threads=1), theta


def test_untrained_weights_know_nothing(world: World) -> None:
    scorer, theta = scorer_of(world)
    assert scorer.loss(theta, 0) == pytest.approx(math.log(260), abs=0.3)


def test_the_same_turn_gives_the_same_loss_and_another_gives_another(world: World) -> None:
    scorer, theta = scorer_of(world)
    first = scorer.loss(theta, 0)
    assert scorer.loss(theta, 1) != first
    assert scorer.loss(theta, 0) == first
    assert scorer_of(world)[0].loss(theta, 0) == first


def test_other_weights_give_another_loss(world: World) -> None:
    scorer, theta = scorer_of(world)
    assert scorer.loss(theta * 2, 0) != scorer.loss(theta, 0)


def test_a_vector_that_is_not_finite_has_no_finite_loss(world: World) -> None:
    scorer, theta = scorer_of(world)
    assert not math.isfinite(scorer.loss(np.full_like(theta, np.nan), 0))
    assert math.isfinite(scorer.loss(theta, 0))


def test_bits_per_byte_of_raw_bytes(world: World) -> None:
    """With bytes as tokens the two units differ by a constant, and by the end-of-text tokens."""
    scorer, theta = scorer_of(world)
    measured = scorer.held_out(theta)
    assert measured.bits_per_byte == pytest.approx(measured.loss / math.log(2), rel=0.01)
