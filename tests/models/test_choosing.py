"""Drawing tokens: the right shares, no impossible token, and nothing of other rows."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from commonweal.models.choosing import drawer, sampled, tops


def test_each_token_is_drawn_as_often_as_it_is_likely() -> None:
    logits = torch.randn(300, generator=torch.Generator().manual_seed(1)) * 2
    numbers = [(i + 0.5) / 20_000 for i in range(20_000)]
    draws = [iter([number]).__next__ for number in numbers]
    ids = sampled(logits.expand(len(numbers), -1), [0.8] * 20_000, [1.0] * 20_000, draws)
    shares = torch.bincount(ids, minlength=300) / 20_000
    assert torch.allclose(shares, torch.softmax(logits / 0.8, dim=-1), atol=2e-4)


@pytest.mark.parametrize("top_p", [0.1, 0.8, 0.95])
@pytest.mark.parametrize("heat", [0.3, 3.0], ids=["a few tokens", "most of the vocabulary"])
def test_a_nucleus_is_the_smallest_set_that_holds_its_share(heat: float, top_p: float) -> None:
    """By the definition: sorted, up to where the sum reaches it; within it, tokens keep their shares."""
    logits = torch.randn(2000, generator=torch.Generator().manual_seed(2))
    probs = torch.softmax(logits.double() / heat, dim=-1)
    order = probs.argsort(descending=True)
    count = int((probs[order].cumsum(0) < top_p).sum()) + 1
    total = 20_000
    draws = [drawer(1, row) for row in range(total)]
    ids = sampled(logits.expand(total, -1), [heat] * total, [top_p] * total, draws)
    assert set(ids.tolist()) <= set(order[:count].tolist())
    kept = torch.zeros(2000, dtype=torch.float64)
    kept[order[:count]] = probs[order[:count]] / probs[order[:count]].sum()
    seen = torch.bincount(ids, minlength=2000).double()
    spread = (total * kept * (1 - kept)).sqrt().clamp(min=1.0)
    assert float(((seen - total * kept) / spread).abs().max()) < 6.0


@given(st.integers(0, 2**32), st.integers(1, 700), st.floats(0.0, 1.0, exclude_max=True))
@settings(max_examples=200, deadline=None)
def test_an_impossible_token_is_never_drawn(seed: int, size: int, number: float) -> None:
    rng = random.Random(seed)
    logits = torch.full((1, size), -torch.inf)
    possible = rng.sample(range(size), rng.randint(1, size))
    logits[0, possible] = torch.tensor([rng.uniform(-30, 30) for _ in possible])
    for top_p in (1.0, 0.9, 0.0):
        numbers = itertools.chain([number], iter(rng.random, None))
        [token] = sampled(logits, [1.0], [top_p], [numbers.__next__]).tolist()
        assert token in possible


def test_a_row_draws_the_same_in_any_batch() -> None:
    logits = torch.randn(8, 1000, generator=torch.Generator().manual_seed(3))
    heats, top_ps = [0.5, 4.0, 1.0, 1.0] * 2, [0.9, 0.95, 1.0, 0.3] * 2
    together = sampled(logits, heats, top_ps, [drawer(5, row) for row in range(8)]).tolist()
    alone = [int(sampled(logits[i : i + 1], [heats[i]], [top_ps[i]], [drawer(5, i)])) for i in range(8)]
    assert together == alone


def test_tops_are_the_likeliest_first() -> None:
    logits = torch.tensor([[[0.0, 2.0, 1.0]]])
    [[top]] = tops(logits, torch.logsumexp(logits, dim=-1), 2)
    assert [token for token, _ in top] == [1, 2]
    assert top[0][1] == pytest.approx(float(torch.log_softmax(logits, dim=-1)[0, 0, 1]))
