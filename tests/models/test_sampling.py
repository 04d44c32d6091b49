"""Samples and losses: what a person reads of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import log_softmax

from commonweal.models.loss import evaluate_loss, next_token_loss
from commonweal.models.sampling import generate_sample


def test_a_sample_begins_with_the_prompt_and_repeats_with_its_seed(tiny: Any, tokenizer_dir: Path) -> None:
    one, two, other = (
        generate_sample(tiny, tokenizer_dir, "def f(", max_new_tokens=12, seed=s) for s in (1, 1, 2)
    )
    assert one.startswith("def f(")
    assert one == two != other
    assert tiny.training


def test_an_empty_prompt_begins_a_document(make_model: Any, tokenizer_dir: Path) -> None:
    model = make_model()
    assert generate_sample(model, tokenizer_dir, "", max_new_tokens=5, seed=1)
    one, two = (
        generate_sample(model, tokenizer_dir, "x", max_new_tokens=5, temperature=0, seed=s) for s in (1, 2)
    )
    assert one == two


def test_greedy_takes_the_likeliest_token_each_time(tiny: Any, tokenizer_dir: Path) -> None:
    """With each architecture's cache, the same text as by computing everything anew for every token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir)
    ids = tokenizer.encode("abcabcabcabcabcabcabcabcabcabcabc")
    optimizer = torch.optim.AdamW(tiny.parameters(), lr=1e-2)
    for _ in range(8):
        loss = next_token_loss(tiny, torch.tensor([ids]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    by_hand = tokenizer.encode("abcab")
    with torch.no_grad():
        for _ in range(6):
            by_hand.append(int(tiny(input_ids=torch.tensor([by_hand])).logits[0, -1].argmax()))
    text = generate_sample(tiny, tokenizer_dir, "abcab", max_new_tokens=6, temperature=0)
    assert text == tokenizer.decode(by_hand)
    assert set(text) <= set("abc")


def test_the_loss_is_the_mean_over_all_tokens_whatever_the_batches(make_model: Any) -> None:
    model = make_model()
    rows = np.random.default_rng(0).integers(0, 260, (5, 33))
    found = evaluate_loss(model, [rows[:2], rows[2:]])
    with torch.no_grad():
        logs = log_softmax(model(input_ids=torch.from_numpy(rows[:, :-1])).logits.double(), dim=-1)
    by_hand = -np.mean([logs[b, t, rows[b, t + 1]].item() for b in range(5) for t in range(32)])
    assert found.tokens == 160
    assert found.nats_per_token == pytest.approx(by_hand, rel=1e-5)
    assert next_token_loss(model, torch.from_numpy(rows)).item() == pytest.approx(by_hand, rel=1e-5)


def test_nothing_to_evaluate(make_model: Any) -> None:
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate_loss(make_model(), [])
