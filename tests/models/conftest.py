"""Tiny models of the four architectures that must train, and a tokenizer folder for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from commonweal.models.architecture import build
from commonweal.models.settings import ModelSettings


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=["llama", "gpt_neox", "mamba2", "rwkv"])
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def tiny(architecture: str) -> Any:
    """A model of 2 layers, 32 wide, for 260 tokens and sequences of 32."""
    return make_tiny(architecture)


def make_tiny(architecture: str = "llama", *, seed: int = 1, **config: Any) -> Any:
    settings = ModelSettings(
        architecture=architecture, config={"hidden_size": 32, "num_hidden_layers": 2, **config}
    )
    return build(settings, vocab_size=260, seq_len=32, seed=seed, end_of_text=0)


@pytest.fixture
def make_model() -> Any:
    return make_tiny


@pytest.fixture
def tokenizer_dir(tmp_path: Path) -> Path:
    """A byte tokenizer in the Hugging Face format, made by hand: models know nothing of the data package."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=260, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([], trainer)
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}'
    )
    return folder
