"""The losses on examples are those of the papers, computed here once more in the plainest way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import train_world  # noqa: F401 (skips without torch)

from commonweal.core.errors import ConfigError
from commonweal.core.hashing import content_hash
from commonweal.data.conversations.encoding import Encoded, Weighted
from commonweal.data.examples import (
    ExampleBatch,
    ExampleFile,
    Examples,
    ExampleSet,
    Objective,
    Reference,
    pack_examples,
)
from commonweal.models.adapters import add_adapters
from commonweal.models.architecture import build
from commonweal.models.settings import LoraSettings, ModelSettings
from commonweal.train.objectives import ExampleLoss, sequence_logprobs, stored_reference

BETA = 0.3


@pytest.fixture(params=["llama", "rwkv"])
def model(request: pytest.FixtureRequest) -> Any:
    settings = ModelSettings(architecture=request.param, config={"hidden_size": 32, "num_hidden_layers": 2})
    return build(settings, vocab_size=20, seq_len=16, seed=1, end_of_text=0)


def weighted(ids: Sequence[int], first: int, weight: float = 1.0) -> Weighted:
    return Weighted(ids=tuple(ids), weights=(0.0,) * first + (weight,) * (len(ids) - first))


LONG, SHORT = weighted([1, 2, 3, 4, 5, 6], 3), weighted([1, 2, 9], 2, 0.5)
PAIRS = [
    Encoded(line=1, sequences=(LONG, SHORT)),
    Encoded(line=2, sequences=(weighted([7, 8], 1), weighted([7, 3, 3, 3], 1))),
]
ONES = [Encoded(line=1, sequences=(LONG,)), Encoded(line=2, sequences=(SHORT,), label=-1.0)]


def batch_of(
    encoded: list[Encoded],
    objective: Objective,
    reference: Reference = "none",
    known: list[float] | None = None,
) -> tuple[ExampleLoss, ExampleBatch]:
    data = pack_examples(encoded, known)
    described = ExampleSet(
        objective=objective,
        files=(ExampleFile(hash=content_hash(data), examples=len(encoded), tokens=0),),
        vocab_size=20,
        examples=len(encoded),
        tokens=0,
        trained=0,
        trained_bytes=0,
        longest=6,
        reference=reference,
        beta=BETA,
    )
    examples = Examples(described, lambda name: data)
    return ExampleLoss(described), examples.batch(range(len(encoded)))


def logprob(model: Any, sequence: Weighted) -> float:
    """By one sequence alone, token after token."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([sequence.ids])).logits[0].double()
    found = 0.0
    for at in range(1, len(sequence.ids)):
        row = logits[at - 1]
        found += sequence.weights[at] * float(row[sequence.ids[at]] - torch.logsumexp(row, 0))
    return found


def test_padding_changes_nothing(model: Any) -> None:
    _, batch = batch_of(ONES, "sft")
    expected = [logprob(model, LONG), logprob(model, SHORT)]
    assert sequence_logprobs(model, batch).tolist() == pytest.approx(expected, rel=1e-5)


def test_supervised_is_the_weighted_mean_over_what_is_learned(model: Any) -> None:
    loss, batch = batch_of(ONES, "sft")
    expected = -(logprob(model, LONG) + logprob(model, SHORT)) / (3 * 1.0 + 1 * 0.5)
    assert float(loss(model, batch).detach()) == pytest.approx(expected, rel=1e-5)
    found = loss.evaluate(model, [batch])
    assert (found.loss, found.units) == (pytest.approx(expected, rel=1e-5), 3.5)
    assert 0 <= found.metrics["token_accuracy"] <= 1


def test_what_is_only_read_has_no_gradient(model: Any) -> None:
    """Another target where the weight is 0 gives the same loss only if nothing of it is learned."""
    last = Encoded(line=1, sequences=(weighted([1, 2, 3, 4], 3),))
    loss, batch = batch_of([last], "sft")
    assert float(loss(model, batch).detach()) == pytest.approx(-logprob(model, last.sequences[0]), rel=1e-5)


def test_dpo_is_equation_7(model: Any) -> None:
    known = [-1.0, -2.0, -3.0, -0.5]
    loss, batch = batch_of(PAIRS, "dpo", "stored", known)
    terms = []
    for number, pair in enumerate(PAIRS):
        better, worse = (logprob(model, s) - known[2 * number + i] for i, s in enumerate(pair.sequences))
        terms.append(-math.log(1 / (1 + math.exp(-BETA * (better - worse)))))
    assert float(loss(model, batch).detach()) == pytest.approx(np.mean(terms), rel=1e-5)


def test_before_any_step_nothing_is_preferred(model: Any) -> None:
    _, batch = batch_of(PAIRS, "dpo")
    known = stored_reference(model, [batch])
    loss, batch = batch_of(PAIRS, "dpo", "stored", known)
    found = loss.evaluate(model, [batch])
    assert found.loss == pytest.approx(math.log(2), abs=1e-6)
    assert found.metrics["margin"] == pytest.approx(0, abs=1e-5)


def test_kto_follows_the_label(model: Any) -> None:
    known = [-1.0, -2.0]
    loss, batch = batch_of(ONES, "kto", "stored", known)
    gains = [logprob(model, LONG) - known[0], logprob(model, SHORT) - known[1]]
    expected = np.mean([1 - 1 / (1 + math.exp(-BETA * gains[0])), 1 - 1 / (1 + math.exp(BETA * gains[1]))])
    assert float(loss(model, batch).detach()) == pytest.approx(expected, rel=1e-5)


def test_the_base_is_the_model_with_its_adapters_off(model: Any) -> None:
    """The same as the stored log-probabilities, also after the adapters moved."""
    _, batch = batch_of(PAIRS, "dpo")
    known = stored_reference(model, [batch])
    adapted = add_adapters(model, LoraSettings(rank=2), seed=1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.3)
    by_base, batch = batch_of(PAIRS, "dpo", "base")
    stored, _ = batch_of(PAIRS, "dpo", "stored", known)
    _, with_known = batch_of(PAIRS, "dpo", "stored", known)
    first = float(by_base(adapted, batch).detach())
    assert first == pytest.approx(float(stored(adapted, with_known).detach()), rel=1e-5)
    assert abs(first - math.log(2)) > 1e-4
    assert float(by_base(adapted, batch).detach()) == first  # remembered, and the adapters are on again
    by_base(adapted, batch).backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in adapted.parameters())


def test_a_model_without_adapters_is_no_reference(model: Any) -> None:
    loss, batch = batch_of(PAIRS, "dpo", "base")
    with pytest.raises(ConfigError, match="adapters"):
        loss(model, batch)


def test_nothing_to_evaluate_on(model: Any) -> None:
    loss, _ = batch_of(ONES, "sft")
    with pytest.raises(ValueError, match="nothing"):
        loss.evaluate(model, [])


@pytest.mark.parametrize("objective", ["sft", "dpo", "kto"])
def test_the_mean_over_batches_is_that_over_all(model: Any, objective: Objective) -> None:
    encoded = PAIRS if objective == "dpo" else ONES
    known = [0.0] * (4 if objective == "dpo" else 2)
    loss, whole = batch_of(encoded, objective, "stored", known)
    data = pack_examples(encoded, known)
    examples = Examples(loss._described, lambda name: data)
    parts = [examples.batch([0]), examples.batch([1])]
    assert loss.evaluate(model, parts).loss == pytest.approx(loss.evaluate(model, [whole]).loss, rel=1e-5)
