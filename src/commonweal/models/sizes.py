"""How large a model is and what training it takes, from its configuration alone: no torch, no download.

Parameters of Llama, GPT-NeoX, Mamba2 and RWKV are exact; another architecture is
taken for the one of them that its keys look like.
Memory is for float32 and AdamW on a member's machine. Activations were counted with torch's saved-tensor hooks
(CPU, without fused kernels or recomputation), so the estimate is on the careful side elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commonweal.models.settings import LoraSettings

FLOAT = 4
INTERPRETER_BYTES = 600_000_000
"""What Python with torch and transformers holds before any model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A matrix of a layer: ``inputs x outputs``; ``adapted`` when LoRA on all linear layers adapts it."""

    inputs: int
    outputs: int
    adapted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model as its layers' matrices, the other parameters of a layer, and those outside of layers.

    ``activations`` counts the numbers that one layer keeps for the backward pass of one token.
    """

    layers: int
    linears: tuple[Linear, ...]
    layer_rest: int
    outside: int
    vocab_size: int
    activations: int

    @property
    def parameters(self) -> int:
        matrices = sum(m.inputs * m.outputs for m in self.linears)
        return self.layers * (matrices + self.layer_rest) + self.outside

    def adapter_parameters(self, lora: LoraSettings) -> int:
        """What LoRA on all linear layers trains; an upper bound when fewer modules are named."""
        return self.layers * sum(lora.rank * (m.inputs + m.outputs) for m in self.linears if m.adapted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """Parameters, how many of them train, and bytes of memory: ``state`` is weights, gradients, AdamW's two
    moments, the round's first weights and the error feedback; ``working`` what a step needs beside them."""

    parameters: int
    trainable: int
    state_bytes: int
    working_bytes: int

    @property
    def memory_bytes(self) -> int:
        return self.state_bytes + self.working_bytes + INTERPRETER_BYTES


def shape_of(model_type: str, config: Mapping[str, Any]) -> Shape:
    """The shape of a completed configuration (``completed_config``, or a checkpoint's config.json)."""
    named = {_ALIASES.get(key, key): value for key, value in config.items()}
    return _SHAPES.get(model_type, _llama if named.get("num_key_value_heads") else _gpt_neox)(named)


def training_needs(
    shape: Shape, *, seq_len: int, batch_size: int, lora: LoraSettings | None = None
) -> Needed:
    """What training takes with batches of ``batch_size`` sequences of ``seq_len`` tokens."""
    trainable = shape.adapter_parameters(lora) if lora else shape.parameters
    frozen = shape.parameters if lora else 0
    # Weights, gradients, two moments, anchor, feedback; and a pseudo-gradient while it is compressed.
    state = FLOAT * (frozen + 7 * trainable)
    # Logits, their log-softmax and its gradient are the largest tensors of small models.
    per_token = shape.layers * shape.activations + 3 * shape.vocab_size
    return Needed(
        parameters=shape.parameters + (trainable if lora else 0),
        trainable=trainable,
        state_bytes=state,
        working_bytes=FLOAT * batch_size * seq_len * per_token,
    )


def _llama(c: Mapping[str, Any]) -> Shape:
    h, inner, heads = c["hidden_size"], c["intermediate_size"], c["num_attention_heads"]
    size = c.get("head_dim") or h // heads
    wide, narrow = heads * size, (c.get("num_key_value_heads") or heads) * size
    attention_bias = wide + 2 * narrow + h if c.get("attention_bias") else 0
    mlp_bias = 2 * inner + h if c.get("mlp_bias") else 0
    sizes = [(h, wide), (h, narrow), (h, narrow), (wide, h), (h, inner), (h, inner), (inner, h)]
    return Shape(
        layers=c["num_hidden_layers"],
        linears=_linears(sizes),
        layer_rest=2 * h + attention_bias + mlp_bias,
        outside=_embeddings(c) + h,
        vocab_size=c["vocab_size"],
        activations=11 * h + 4 * inner,
    )


def _gpt_neox(c: Mapping[str, Any]) -> Shape:
    h = c["hidden_size"]
    inner = c.get("intermediate_size") or 4 * h
    biases = 3 * h + h if c.get("attention_bias", True) else 0
    return Shape(
        layers=c["num_hidden_layers"],
        linears=_linears([(h, 3 * h), (h, h), (h, inner), (inner, h)]),
        layer_rest=4 * h + biases + inner + h,
        outside=_embeddings(c) + 2 * h,
        vocab_size=c["vocab_size"],
        activations=10 * h + 2 * inner,
    )


def _mamba2(c: Mapping[str, Any]) -> Shape:
    h, heads = c["hidden_size"], c["num_heads"]
    inner = c.get("expand", 2) * h
    convolved = inner + 2 * c.get("n_groups", 8) * c.get("state_size", 128)
    bias = convolved if c.get("use_conv_bias", True) else 0
    projected = inner + convolved + heads
    more = projected + h if c.get("use_bias") else 0
    return Shape(
        layers=c["num_hidden_layers"],
        linears=(Linear(inputs=h, outputs=projected), Linear(inputs=inner, outputs=h, adapted=False)),
        layer_rest=convolved * c.get("conv_kernel", 4) + bias + 3 * heads + inner + h + more,
        outside=_embeddings(c) + h,
        vocab_size=c["vocab_size"],
        activations=29 * inner + heads * c.get("chunk_size", 256) * 4,
    )


def _rwkv(c: Mapping[str, Any]) -> Shape:
    h = c["hidden_size"]
    wide, inner = c.get("attention_hidden_size") or h, c.get("intermediate_size") or 4 * h
    return Shape(
        layers=c["num_hidden_layers"],
        linears=_linears([(h, wide), (h, wide), (h, wide), (wide, h), (h, inner), (h, h), (inner, h)]),
        layer_rest=2 * wide + 3 * h + 2 * h + 4 * h,
        outside=_embeddings(c) + 4 * h,
        vocab_size=c["vocab_size"],
        activations=26 * wide + 3 * inner,
    )


_ALIASES = {
    "n_embd": "hidden_size",
    "n_inner": "intermediate_size",
    "n_layer": "num_hidden_layers",
    "num_layers": "num_hidden_layers",
    "n_head": "num_attention_heads",
}
"""What older architectures call these in config.json."""

_SHAPES = {"llama": _llama, "gpt_neox": _gpt_neox, "mamba2": _mamba2, "rwkv": _rwkv}


def _linears(sizes: list[tuple[int, int]]) -> tuple[Linear, ...]:
    return tuple(Linear(inputs=inputs, outputs=outputs) for inputs, outputs in sizes)


def _embeddings(c: Mapping[str, Any]) -> int:
    one = int(c["vocab_size"] * c["hidden_size"])
    return one if c.get("tie_word_embeddings") else 2 * one
