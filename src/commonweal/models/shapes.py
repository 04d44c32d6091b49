"""The configuration that a job means: what it says, and sensible values for the sizes that it leaves out.

transformers' own defaults are those of one released model of several billion parameters, and sizes that do
not fit together (a width of 256 beside a feed-forward of 11,008) when only some are set. So the sizes left
out follow from those given. No torch here: a job file is completed and sized on any machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from commonweal.core.errors import ConfigError
from commonweal.models.settings import ModelSettings

HIDDEN_SIZE = 256
LAYERS = 4
HEAD_SIZE = 64
_REQUIRED = frozenset({"hidden_size", "num_hidden_layers", "vocab_size"})
_COUNTS = _REQUIRED | {
    "intermediate_size",
    "attention_hidden_size",
    "num_attention_heads",
    "num_key_value_heads",
    "num_heads",
    "head_dim",
    "expand",
    "state_size",
    "n_groups",
    "conv_kernel",
    "chunk_size",
}
"""Keys that are whole numbers above 0 wherever they occur."""


def completed_config(settings: ModelSettings, *, vocab_size: int, seq_len: int) -> dict[str, Any]:
    """The configuration's keys for a model from scratch: given ones as they are, sizes filled in.

    Raises ConfigError when a size is not a whole number above 0, or the vocabulary or the context too small.
    """
    given = dict(settings.config)
    config: dict[str, Any] = {
        "hidden_size": HIDDEN_SIZE,
        "num_hidden_layers": LAYERS,
        "vocab_size": vocab_size,
    }
    config |= given
    for key in _COUNTS & config.keys():
        if config[key] is not None or key in _REQUIRED:
            _positive(config, key)
    if config["vocab_size"] < vocab_size:
        raise ConfigError(
            f"model.config.vocab_size: {config['vocab_size']} is too small for a tokenizer of {vocab_size}",
            hint="leave vocab_size out, and it follows the tokenizer",
        )
    for key, value in _SIZES.get(settings.model_type, _other)(config, seq_len).items():
        config.setdefault(key, value)
    _check_heads(config, settings.model_type)
    for key in ("max_position_embeddings", "context_length"):
        if key in config and _positive(config, key) < seq_len:
            raise ConfigError(
                f"model.config.{key}: {config[key]} is too small for sequences of {seq_len} tokens",
                hint=f"leave {key} out, and it follows seq_len",
            )
    return config


def attention_heads(hidden_size: int) -> int:
    """Heads of about 64 that divide the width.

    >>> attention_heads(256), attention_heads(48), attention_heads(96)
    (4, 1, 1)
    """
    wanted = max(1, hidden_size // HEAD_SIZE)
    # A head's size must be even for rotary positions.
    return max(n for n in range(1, wanted + 1) if n == 1 or hidden_size % (2 * n) == 0)


def _llama(config: dict[str, Any], seq_len: int) -> dict[str, Any]:
    hidden = config["hidden_size"]
    return {
        "intermediate_size": -(-hidden * 8 // 3 // 64) * 64,
        "num_attention_heads": attention_heads(hidden),
        "max_position_embeddings": seq_len,
        "tie_word_embeddings": True,
    }


def _gpt_neox(config: dict[str, Any], seq_len: int) -> dict[str, Any]:
    hidden = config["hidden_size"]
    return {
        "intermediate_size": 4 * hidden,
        "num_attention_heads": attention_heads(hidden),
        "max_position_embeddings": seq_len,
    }


def _mamba2(config: dict[str, Any], seq_len: int) -> dict[str, Any]:
    inner = config["hidden_size"] * config.get("expand", 2)
    heads = config.get("num_heads") or attention_heads(inner)
    # Without CUDA kernels the scan holds chunk_size x heads x state_size numbers a token: keep chunks short.
    return {
        "num_heads": heads,
        "head_dim": inner // heads,
        "n_groups": 1,
        "state_size": 64,
        "chunk_size": 32,
        "tie_word_embeddings": True,
    }


def _rwkv(config: dict[str, Any], seq_len: int) -> dict[str, Any]:
    # Rescaling halves weights in place when a model goes to evaluation, which is for float16 and would change
    # the weights that members compare.
    return {"context_length": seq_len, "rescale_every": 0}


def _other(config: dict[str, Any], seq_len: int) -> dict[str, Any]:
    heads = config.get("num_attention_heads") or attention_heads(config["hidden_size"])
    return {**_gpt_neox(config, seq_len), "num_attention_heads": heads, "num_key_value_heads": heads}


_SIZES = {"llama": _llama, "gpt_neox": _gpt_neox, "mamba2": _mamba2, "rwkv": _rwkv}


def _check_heads(config: Mapping[str, Any], model_type: str) -> None:
    hidden, heads = config["hidden_size"], config.get("num_attention_heads")
    if model_type == "rwkv" and config["num_hidden_layers"] < 2:
        raise ConfigError(
            "model.config.num_hidden_layers: an rwkv has at least 2", hint="its layers differ by depth"
        )
    if heads is None:
        return
    if config.get("head_dim") is None and hidden % heads:
        raise ConfigError(
            f"model.config.num_attention_heads: {heads} heads do not divide hidden_size = {hidden}",
            hint=f"take {attention_heads(hidden)}, or another divisor of {hidden}",
        )
    if model_type == "llama" and (config.get("head_dim") or hidden // heads) % 2:
        raise ConfigError(
            f"model.config.num_attention_heads: heads of {hidden // heads} are odd, rotary positions need pairs",
            hint=f"take {attention_heads(hidden)} heads, or an even hidden_size",
        )
    shared = config.get("num_key_value_heads")
    if shared and heads % shared:
        raise ConfigError(
            f"model.config.num_key_value_heads: {shared} do not divide num_attention_heads = {heads}",
            hint="each key and value head serves the same number of query heads",
        )


def _positive(config: dict[str, Any], key: str) -> int:
    value = config[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"model.config.{key}: expected a whole number above 0, got {value!r}")
    return value
