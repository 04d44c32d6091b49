"""Inner steps on real (tiny) transformers of four architectures; the flat vector; stopping early."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, GPTNeoXConfig, LlamaConfig, Mamba2Config, RwkvConfig

from commonweal.train.inner import read_vector, run_steps, trainable_names, write_vector
from commonweal.train.muon import orthogonalized
from commonweal.train.optimizer import InnerOptimizer, InnerOptions

torch.set_num_threads(1)

CONFIGS = {
    "llama": LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    ),
    "gpt_neox": GPTNeoXConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    ),
    "mamba2": Mamba2Config(
        vocab_size=32,
        hidden_size=16,
        state_size=8,
        num_hidden_layers=1,
        num_heads=4,
        head_dim=8,
        n_groups=1,
        chunk_size=8,
    ),
    "rwkv": RwkvConfig(
        vocab_size=32, hidden_size=16, attention_hidden_size=16, intermediate_size=32, num_hidden_layers=2
    ),
}


def tiny(architecture: str = "llama") -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = AutoModelForCausalLM.from_config(CONFIGS[architecture])
    return model


def counting(seed: int = 0) -> Iterator[np.ndarray[Any, Any]]:
    """Sequences that count up modulo 32 from a random start: learned in a few steps."""
    rng = np.random.default_rng(seed)
    while True:
        yield (rng.integers(0, 32, (4, 1)) + np.arange(16)) % 32


def optimizer_of(model: nn.Module, **options: Any) -> InnerOptimizer:
    return InnerOptimizer(model, trainable_names(model), InnerOptions(**options))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("architecture", sorted(CONFIGS))
def test_every_architecture_learns(architecture: str, optimizer: str) -> None:
    inner = optimizer_of(tiny(architecture), optimizer=optimizer)
    report = run_steps(inner, counting(), 40, lambda step: 1e-2)
    assert np.mean(report.losses[-5:]) < report.losses[0] - 0.3
    assert report.tokens == 40 * 4 * 16
    assert not report.stopped


@pytest.mark.parametrize("architecture", sorted(CONFIGS))
def test_the_flat_vector_goes_out_and_in(architecture: str) -> None:
    model, other = tiny(architecture), tiny(architecture)
    names = trainable_names(model)
    vector = read_vector(model, names)
    assert vector.dtype == np.float32
    assert vector.size == sum(p.numel() for p in model.parameters() if p.requires_grad)
    changed = vector + np.float32(0.5)
    write_vector(other, names, changed)
    assert read_vector(other, names).tobytes() == changed.tobytes()
    assert read_vector(model, names).tobytes() == vector.tobytes()


def test_frozen_parameters_are_not_in_the_vector_and_do_not_move() -> None:
    model = tiny()
    frozen = dict(model.named_parameters())["model.embed_tokens.weight"]
    frozen.requires_grad = False
    names = trainable_names(model)
    before = frozen.detach().clone()
    run_steps(InnerOptimizer(model, names, InnerOptions()), counting(), 3, lambda step: 1e-2)
    assert "model.embed_tokens.weight" not in names
    assert torch.equal(before, frozen)


def test_a_vector_of_another_size_is_refused() -> None:
    model = tiny()
    with pytest.raises(ValueError, match="does not fit"):
        write_vector(model, trainable_names(model), np.zeros(3, np.float32))


def test_a_half_precision_model_is_seen_in_float32() -> None:
    model = tiny().to(torch.bfloat16)
    names = trainable_names(model)
    vector = read_vector(model, names)
    write_vector(model, names, vector)
    assert read_vector(model, names).tobytes() == vector.tobytes()


def test_the_same_steps_give_the_same_bits() -> None:
    def trained() -> bytes:
        optimizer = optimizer_of(tiny())
        run_steps(optimizer, counting(), 5, lambda step: 1e-2)
        return read_vector(optimizer.model, optimizer.names).tobytes()

    assert trained() == trained()


def test_it_is_torchs_adamw() -> None:
    model, reference = tiny(), tiny()
    run_steps(optimizer_of(model, weight_decay=0.0, grad_clip=0.0), counting(), 4, lambda step: 1e-3)
    adam = torch.optim.AdamW(reference.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0)
    for ids in itertools.islice(counting(), 4):
        tokens = torch.from_numpy(ids)
        reference(input_ids=tokens, labels=tokens).loss.backward()
        adam.step()
        adam.zero_grad()
    names = trainable_names(model)
    np.testing.assert_allclose(read_vector(model, names), read_vector(reference, names), atol=1e-6)


def test_a_saved_optimizer_goes_on_as_if_it_had_never_stopped() -> None:
    straight = optimizer_of(tiny())
    batches = counting()
    run_steps(straight, batches, 3, lambda step: 1e-2)
    saved, vector = straight.state(), read_vector(straight.model, straight.names)
    saved = {name: tensor.clone() for name, tensor in saved.items()}
    resumed = optimizer_of(tiny())
    write_vector(resumed.model, resumed.names, vector)
    resumed.load_state(saved)
    ahead = list(itertools.islice(batches, 3))
    run_steps(straight, iter(ahead), 3, lambda step: 1e-2)
    run_steps(resumed, iter(ahead), 3, lambda step: 1e-2)
    names = straight.names
    assert read_vector(straight.model, names).tobytes() == read_vector(resumed.model, names).tobytes()


def test_the_rate_is_asked_for_the_steps_of_the_job() -> None:
    asked: list[int] = []

    def rate(step: int) -> float:
        asked.append(step)
        return 1e-3

    run_steps(optimizer_of(tiny()), counting(), 3, rate, first_step=100)
    assert asked == [100, 101, 102]


def test_it_stops_when_told_and_keeps_what_was_done() -> None:
    done: list[int] = []
    report = run_steps(
        optimizer_of(tiny()),
        counting(),
        10,
        lambda step: 1e-3,
        should_stop=lambda: len(done) >= 4,
        on_step=done.append,
    )
    assert done == [1, 2, 3, 4]
    assert len(report.losses) == 4
    assert report.stopped


def test_muon_is_torchs_for_hidden_matrices_and_adamw_for_all_else() -> None:
    model, reference = tiny(), tiny()
    run_steps(optimizer_of(model, optimizer="muon", grad_clip=0.0), counting(), 4, lambda step: 1e-3)
    named = dict(reference.named_parameters())
    tables = {"model.embed_tokens.weight", "lm_head.weight"} & set(named)
    hidden = [p for name, p in named.items() if p.dim() == 2 and name not in tables]
    muon = torch.optim.Muon(hidden, lr=1e-3, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    groups = [
        {"params": [named[name] for name in tables], "weight_decay": 0.1},
        {"params": [p for p in named.values() if p.dim() < 2], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))
    for ids in itertools.islice(counting(), 4):
        tokens = torch.from_numpy(ids)
        reference(input_ids=tokens, labels=tokens).loss.backward()
        for step in (muon, adam):
            step.step()
            step.zero_grad()
    names = trainable_names(model)
    assert read_vector(model, names) == pytest.approx(read_vector(reference, names), abs=1e-4)


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_orthogonalized_is_near_the_orthogonal_factor(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    way = orthogonalized(matrix)
    assert torch.linalg.svdvals(way).sub(1).abs().max() < 0.35
    assert torch.nn.functional.cosine_similarity(way.flatten(), (u @ vh).flatten(), dim=0) > 0.97


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_saved_optimizer_goes_on_as_if_nothing_had_been(optimizer: str) -> None:
    def steps(of: InnerOptimizer, first: int, count: int) -> None:
        batches = itertools.islice(counting(), first, None)
        run_steps(of, batches, count, lambda step: 1e-2)

    whole, first, second = (optimizer_of(tiny(), optimizer=optimizer) for _ in range(3))
    steps(whole, 0, 6)
    steps(first, 0, 3)
    write_vector(second.model, second.names, read_vector(first.model, first.names))
    second.load_state(first.state())
    steps(second, 3, 3)
    assert (
        read_vector(whole.model, whole.names).tobytes() == read_vector(second.model, second.names).tobytes()
    )


def test_out_of_time_it_still_takes_one_step() -> None:
    report = run_steps(optimizer_of(tiny()), counting(), 10, lambda step: 1e-3, seconds=0.0)
    assert len(report.losses) == 1
    assert report.stopped


@pytest.mark.parametrize(
    "bad",
    [
        {"beta1": 1.0},
        {"momentum": 1.0},
        {"optimizer": "sgd"},
        {"eps": 0.0},
        {"weight_decay": -1.0},
        {"grad_clip": -1.0},
    ],
)
def test_impossible_options_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        InnerOptions(**bad)
