"""The simulated pool: it learns, its members agree to the bit, and its bytes are those on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from commonweal.core.errors import InvalidContribution
from commonweal.train.codecs import make_codec
from commonweal.train.inner import read_vector, trainable_names
from commonweal.train.optimizer import InnerOptions
from commonweal.train.outer import OuterOptions
from commonweal.train.simulate import Method, Point, fold, simulate_all_reduce, simulate_pool

torch.set_num_threads(1)
Ids = np.ndarray[Any, Any]


class Bigram(nn.Module):
    """The smallest causal language model with the interface of transformers."""

    def __init__(self, vocabulary: int = 16) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(vocabulary, vocabulary)

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> SimpleNamespace:
        logits = self.table(input_ids[:, :-1])
        return SimpleNamespace(
            loss=nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
        )


def walks(seed: int) -> Iterator[Ids]:
    """Steps of one or two round a circle of 16."""
    rng = np.random.default_rng(seed)
    while True:
        yield (rng.integers(1, 3, (4, 20)).cumsum(axis=1) + rng.integers(0, 16, (4, 1))) % 16


def members(count: int = 3) -> list[Iterator[Ids]]:
    return [walks(seed) for seed in range(count)]


@torch.no_grad()
def evaluate(model: nn.Module) -> float:
    ids = torch.as_tensor(np.concatenate([next(walks(99)) for _ in range(8)]))
    return float(model(input_ids=ids, labels=ids).loss)


def method(up: str = "int4", down: str = "int4", **changes: Any) -> Method:
    given: dict[str, Any] = {
        "rounds": [2] * 20,
        "rate": lambda step: 0.1,
        "outer": lambda step, h: OuterOptions(lr=0.7, momentum=0.5),
        "inner": InnerOptions(weight_decay=0.0),
    }
    return Method(up=make_codec(up), down=make_codec(down), **{**given, **changes})


@pytest.mark.parametrize(
    "codec", ["fp32", "int8", "int4", "int2", "int1", "topk:density=0.3", "cocktail:mask=0.5"]
)
def test_a_pool_learns_with_every_codec(codec: str) -> None:
    model = Bigram()
    before = evaluate(model)
    result = simulate_pool(model, method(codec, codec), members(), evaluate)
    assert result.loss < before - 0.8
    assert result.loss == evaluate(model)
    assert result.tokens == 3 * 40 * 80


def test_the_same_seed_gives_the_same_bits() -> None:
    runs = [
        simulate_pool(Bigram(), method("cocktail", "int2"), members(), evaluate, seed=s) for s in (1, 1, 2)
    ]
    assert runs[0].state == runs[1].state != runs[2].state


def test_bytes_are_counted_as_sent_up_and_down() -> None:
    result = simulate_pool(Bigram(), method("fp32", "int8"), members(), evaluate)
    assert result.bytes_up == 20 * (12 + 4 * 256)
    assert result.bytes_down == 20 * (16 + 2 + 256)
    assert [point.step for point in result.curve] == list(range(2, 42, 2))


def test_one_member_with_plain_averaging_in_float32_is_plain_training() -> None:
    pooled, alone = Bigram(), Bigram()
    plain = method("fp32", "fp32", outer=lambda step, h: OuterOptions(lr=1.0, momentum=0.0))
    simulate_pool(pooled, plain, members(1), evaluate)
    simulate_all_reduce(
        alone, 40, lambda step: 0.1, members(1), evaluate, inner=InnerOptions(weight_decay=0.0)
    )
    names = trainable_names(alone)
    np.testing.assert_allclose(read_vector(pooled, names), read_vector(alone, names), atol=2e-5)


def test_all_reduce_sends_every_gradient_in_float32() -> None:
    points: list[Point] = []
    result = simulate_all_reduce(
        Bigram(), 40, lambda step: 0.1, members(), evaluate, evaluate_every=15, on_point=points.append
    )
    assert result.bytes_up == result.bytes_down == 40 * 4 * 256
    assert [point.step for point in points] == [15, 30, 40]
    assert result.loss < 1.5


def test_the_loss_is_evaluated_when_due_and_at_the_end() -> None:
    result = simulate_pool(Bigram(), method(rounds=[3] * 5), members(), evaluate, evaluate_every=6)
    assert [point.step for point in result.curve if point.loss is not None] == [6, 12, 15]


def test_a_hundredfold_contribution_is_clipped_in_the_fold() -> None:
    codec = make_codec("fp32")
    honest = [np.full(8, v, np.float32) for v in (1.0, 1.1, 0.9)]
    sent = [codec.encode(x, seed=0) for x in (*honest, honest[0] * 100)]
    assert 0.9 <= float(fold(sent, codec, 8, 1.0).mean()) <= 1.1


def test_a_broken_contribution_is_not_folded() -> None:
    with pytest.raises(InvalidContribution):
        fold([b"not a contribution"], make_codec("int4"), 8, 1.0)


def test_early_rounds_have_their_own_codec() -> None:
    early = method("int8", "int8", early=make_codec("int1"), early_steps=20)
    result = simulate_pool(Bigram(), early, members(), evaluate)
    assert result.bytes_up == result.bytes_down == 10 * (16 + 2 + 32) + 10 * (16 + 2 + 256)
