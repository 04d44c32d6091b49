"""By which name transformers' models take what they remember, which differs between its releases and its models."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

from commonweal.core.errors import ConfigError
from commonweal.models.engine.lora import Adapters
from commonweal.models.engine.memory import Network
from commonweal.models.placement import keeps_keys, memory_name


def model_with(*names: str, **more: Any) -> Any:
    made: dict[str, Any] = {}
    exec(f"def forward(input_ids, {', '.join(f'{name}=None' for name in names)}): ...", made)
    return SimpleNamespace(forward=made["forward"], **more)


@pytest.mark.parametrize(
    ("names", "found", "keys"),
    [
        (["cache", "labels"], "cache", True),
        (["past_key_values", "use_cache"], "past_key_values", True),
        (["cache_params"], "cache_params", False),
        (["state", "use_cache"], "state", False),
        (["labels"], None, False),
    ],
)
def test_every_name_is_known(names: list[str], found: str | None, keys: bool) -> None:
    model = model_with(*names)
    assert (memory_name(model), keeps_keys(model)) == (found, keys)


def test_a_state_under_the_name_of_keys_is_a_state() -> None:
    assert not keeps_keys(model_with("cache", _is_stateful=True))


def test_the_installed_releases_models_are_understood() -> None:
    """A release that renames it would otherwise make evaluation slow and the engine wrong without a word."""
    llama = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9
        )
    )
    gpt2 = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=9))
    mamba = MambaForCausalLM(MambaConfig(hidden_size=8, num_hidden_layers=1, state_size=2, vocab_size=9))
    assert keeps_keys(llama)
    assert keeps_keys(gpt2)
    assert memory_name(mamba)
    assert not keeps_keys(mamba)


def test_a_model_that_remembers_nothing_is_refused() -> None:
    model = model_with("labels", device="cpu", config=SimpleNamespace(model_type="forgetful"))
    model.config.get_text_config = lambda: SimpleNamespace(vocab_size=9)
    adapters: Any = object.__new__(Adapters)
    with pytest.raises(ConfigError, match="forgetful"):
        Network(model, adapters)
