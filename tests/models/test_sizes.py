"""Sizes: exact where they say so, and near what training really holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from commonweal.models import checkpoint
from commonweal.models.architecture import build
from commonweal.models.loss import next_token_loss
from commonweal.models.parameters import layout_of
from commonweal.models.settings import LoraSettings, ModelSettings
from commonweal.models.shapes import attention_heads, completed_config
from commonweal.models.sizes import shape_of, training_needs

CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    (
        "llama",
        {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": False},
    ),
    ("llama", {"attention_bias": True, "mlp_bias": True}),
    ("gpt_neox", {}),
    ("gpt_neox", {"attention_bias": False, "intermediate_size": 100, "tie_word_embeddings": True}),
    ("mamba2", {}),
    ("mamba2", {"use_bias": True, "use_conv_bias": False, "n_groups": 2, "state_size": 16, "num_heads": 4}),
    ("rwkv", {}),
    ("rwkv", {"intermediate_size": 100, "attention_hidden_size": 64}),
]


@pytest.mark.parametrize(("architecture", "config"), CONFIGS)
def test_parameters_are_exact(architecture: str, config: dict[str, Any]) -> None:
    settings = ModelSettings(
        architecture=architecture, config={"hidden_size": 64, "num_hidden_layers": 3, **config}
    )
    model = build(settings, vocab_size=300, seq_len=16, seed=0)
    shape = shape_of(architecture, completed_config(settings, vocab_size=300, seq_len=16))
    assert shape.parameters == layout_of(model).size
    assert shape_of(architecture, model.config.to_dict()).parameters == shape.parameters


def test_adapters_are_exact_for_all_linear(tiny: Any, architecture: str, tmp_path: Path) -> None:
    checkpoint.save(tiny, tmp_path / "m")
    lora = LoraSettings(rank=4)
    model = build(
        ModelSettings(checkpoint=str(tmp_path / "m"), lora=lora), vocab_size=260, seq_len=32, seed=0
    )
    shape = shape_of(architecture, tiny.config.to_dict())
    needs = training_needs(shape, seq_len=32, batch_size=2, lora=lora)
    assert needs.trainable == layout_of(model).size
    assert needs.parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "architecture_and_size", [("llama", 128), ("gpt_neox", 128), ("mamba2", 64), ("rwkv", 64)]
)
def test_activations_are_near_what_autograd_keeps(architecture_and_size: tuple[str, int]) -> None:
    architecture, hidden = architecture_and_size
    settings = ModelSettings(
        architecture=architecture, config={"hidden_size": hidden, "num_hidden_layers": 4}
    )
    model = build(settings, vocab_size=300, seq_len=64, seed=0)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        next_token_loss(model, torch.randint(0, 300, (2, 65)))
    held = sum(t.untyped_storage().nbytes() for pointer, t in kept.items() if pointer not in own)
    needs = training_needs(shape_of(architecture, model.config.to_dict()), seq_len=64, batch_size=2)
    assert 0.95 * held < needs.working_bytes < 1.4 * held


def test_a_known_model() -> None:
    """Llama 2 7B has 6.74 billion parameters (Touvron et al. 2023)."""
    config = {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    }
    shape = shape_of("llama", config)
    assert shape.parameters == 6_738_415_616
    full = training_needs(shape, seq_len=128, batch_size=1)
    adapters = training_needs(shape, seq_len=128, batch_size=1, lora=LoraSettings())
    assert full.state_bytes == 28 * shape.parameters
    assert adapters.memory_bytes < full.memory_bytes / 5


@pytest.mark.parametrize(("hidden", "heads"), [(256, 4), (48, 1), (96, 1), (192, 3), (4096, 64), (7, 1)])
def test_heads_divide_the_width(hidden: int, heads: int) -> None:
    assert attention_heads(hidden) == heads


def test_no_torch_is_needed() -> None:
    code = (
        "import sys; import commonweal.models.sizes, commonweal.models.shapes, commonweal.models.settings\n"
        "import commonweal.data.prepare, commonweal.data.windows\n"
        "heavy = {'torch', 'transformers', 'tokenizers', 'datasets', 'peft', 'safetensors'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
