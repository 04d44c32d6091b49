"""Parameters as a vector: exact both ways, tied weights once, fragments that cover everything."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from commonweal.models.loss import next_token_loss
from commonweal.models.parameters import Layout, fragments, layout_of, read, read_gradients, write


def test_write_then_read_gives_the_same_bits(tiny: Any) -> None:
    layout = layout_of(tiny)
    raw = np.random.default_rng(0).integers(0, 2**32, layout.size, dtype=np.uint32)
    vector = raw.view(np.float32)  # every bit pattern, NaNs and denormals too
    write(tiny, layout, vector)
    assert read(tiny, layout).tobytes() == vector.tobytes()


def test_reading_is_a_copy(tiny: Any) -> None:
    layout = layout_of(tiny)
    vector = read(tiny, layout)
    vector[:] = 7
    assert (read(tiny, layout) != 7).any()
    write(tiny, layout, vector)
    vector[:] = 8
    assert (read(tiny, layout) == 7).all()


def test_tied_weights_count_once(make_model: Any) -> None:
    tied, untied = (layout_of(make_model("llama", tie_word_embeddings=tie)) for tie in (True, False))
    assert untied.size - tied.size == 260 * 32
    assert "lm_head.weight" not in [e.name for e in tied.entries]


def test_only_what_trains_is_in_it(make_model: Any) -> None:
    model = make_model()
    whole = layout_of(model).size
    model.model.embed_tokens.weight.requires_grad_(False)
    assert layout_of(model).size == whole - 260 * 32


def test_a_layout_survives_json(tiny: Any) -> None:
    layout = layout_of(tiny)
    assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout
    assert layout.size == sum(p.numel() for p in tiny.parameters())


def test_gradients_are_in_the_same_order(make_model: Any) -> None:
    model = make_model()
    layout = layout_of(model)
    assert not read_gradients(model, layout).any()
    next_token_loss(model, torch.randint(0, 260, (2, 33))).backward()
    entry = layout.entries[-1]
    grad = dict(model.named_parameters())[entry.name].grad
    assert grad is not None
    assert (read_gradients(model, layout)[entry.offset :] == grad.flatten().numpy()).all()


def test_what_does_not_fit_is_refused(make_model: Any) -> None:
    model = make_model()
    layout = layout_of(model)
    with pytest.raises(ValueError, match="vector: expected float32"):
        write(model, layout, np.zeros(3, dtype=np.float32))
    with pytest.raises(ValueError, match="vector: expected float32"):
        write(model, layout, np.zeros(layout.size))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected float32 \[2\] at 'nothing', found nothing"):
        read(model, Layout.of({"nothing": (2,)}))
    with pytest.raises(ValueError, match=r"found torch\.bfloat16"):
        read(model.to(torch.bfloat16), layout)


layouts = st.lists(st.integers(1, 50), min_size=1, max_size=30).map(
    lambda sizes: Layout.of({str(i): (n,) for i, n in enumerate(sizes)})
)


@given(layout=layouts, count=st.integers(1, 40))
def test_fragments_cover_everything_and_cut_between_parameters(layout: Layout, count: int) -> None:
    parts = fragments(layout, count)
    assert len(parts) == min(count, len(layout.entries))
    assert (parts[0].start, parts[-1].stop) == (0, layout.size)
    assert all(a.stop == b.start for a, b in pairwise(parts))
    assert all(p.start < p.stop for p in parts)
    assert {p.start for p in parts} <= {e.offset for e in layout.entries}


@given(layout=layouts, count=st.integers(1, 8))
def test_no_fragment_is_larger_than_need_be(layout: Layout, count: int) -> None:
    """The largest part is the optimum of splitting a list into contiguous runs (dynamic programming)."""
    sizes = [e.size for e in layout.entries]
    count = min(count, len(sizes))
    sums = np.cumsum([0, *sizes])
    best = [float("inf")] * len(sums)
    best[0] = 0
    for _ in range(count):
        best = [
            min((max(best[j], sums[i] - sums[j]) for j in range(i)), default=float("inf"))
            for i in range(len(sums))
        ]
    assert max(p.stop - p.start for p in fragments(layout, count)) == best[-1]


def test_fragments_need_a_count() -> None:
    with pytest.raises(ValueError, match="count"):
        fragments(Layout.of({"a": (1,)}), 0)
