"""Drawing tokens: the right shares, no impossible token, and nothing of other rows."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from commonweal.models.choosing import drawer, sampled, tops


def test_each_token_is_drawn_as_often_as_it_is_likely() -> None:
    logits = torch.randn(300, generator=torch.Generator().manual_seed(1)) * 2
    numbers = [(i + 0.5) / 20_000 for i in range(20_000)]
    ids = sampled(logits.expand(len(numbers), -1), [0.8] * 20_000, [1.0] * 20_000, numbers)
    shares = torch.bincount(ids, minlength=300) / 20_000
    assert torch.allclose(shares, torch.softmax(logits / 0.8, dim=-1), atol=2e-4)


@pytest.mark.parametrize("heat", [0.3, 3.0], ids=["a few tokens", "most of the vocabulary"])
def test_a_nucleus_is_the_smallest_set_that_holds_its_share(heat: float) -> None:
    """By the definition: sorted, up to where the sum reaches it. The second nucleus is wider than what is sorted."""
    logits = torch.randn(5000, generator=torch.Generator().manual_seed(2))
    probs = torch.softmax(logits.double() / heat, dim=-1)
    order = probs.argsort(descending=True)
    count = int((probs[order].cumsum(0) < 0.8).sum()) + 1
    numbers = [(i + 0.5) / 20_000 for i in range(20_000)]
    ids = sampled(logits.expand(len(numbers), -1), [heat] * 20_000, [0.8] * 20_000, numbers)
    allowed = set(order[:count].tolist())
    assert set(ids.tolist()) <= allowed
    assert len(set(ids.tolist())) >= min(count, 3)
    kept = torch.zeros(5000, dtype=torch.float64)
    kept[order[:count]] = probs[order[:count]] / probs[order[:count]].sum()
    assert float((torch.bincount(ids, minlength=5000) / 20_000 - kept).abs().max()) < 2e-3


@given(st.integers(0, 2**32), st.integers(1, 700), st.floats(0.0, 1.0, exclude_max=True))
@settings(max_examples=200, deadline=None)
def test_an_impossible_token_is_never_drawn(seed: int, size: int, number: float) -> None:
    rng = random.Random(seed)
    logits = torch.full((1, size), -torch.inf)
    possible = rng.sample(range(size), rng.randint(1, size))
    logits[0, possible] = torch.tensor([rng.uniform(-30, 30) for _ in possible])
    for top_p in (1.0, 0.9, 0.0):
        [token] = sampled(logits, [1.0], [top_p], [number]).tolist()
        assert token in possible


def test_a_row_draws_the_same_in_any_batch() -> None:
    logits = torch.randn(8, 1000, generator=torch.Generator().manual_seed(3))
    heats, top_ps = [0.5, 4.0, 1.0, 1.0] * 2, [0.9, 0.95, 1.0, 0.3] * 2
    draws = [drawer(5, row)() for row in range(8)]
    together = sampled(logits, heats, top_ps, draws).tolist()
    alone = [
        int(sampled(logits[i : i + 1], [heats[i]], [top_ps[i]], [draws[i]])) for i in range(8)
    ]  # fmt: skip
    assert together == alone


def test_tops_are_the_likeliest_first() -> None:
    logits = torch.tensor([[[0.0, 2.0, 1.0]]])
    [[top]] = tops(logits, torch.logsumexp(logits, dim=-1), 2)
    assert [token for token, _ in top] == [1, 2]
    assert top[0][1] == pytest.approx(float(torch.log_softmax(logits, dim=-1)[0, 0, 1]))
