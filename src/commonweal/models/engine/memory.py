"""What a model remembers of the rows that it writes: read from prompts, gone on from step by step, and forgotten.

:class:`SharedMemory` keeps the rows of an attention model in one :class:`Block`, so that a step is one forward pass.
:class:`OwnMemory` keeps each row's state for itself (Mamba, RWKV, hybrids of both kinds), so that a step is a pass
for each row. Both know token ids and no text.

Tensors are named by their shape: B rows, T positions, V vocabulary.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from commonweal.core.errors import ConfigError
from commonweal.models.engine.block import Block
from commonweal.models.engine.lora import Adapters
from commonweal.models.placement import keeps_keys, memory_name

log = logging.getLogger(__name__)

_ONE_MASK = frozenset(
    {
        "llama",
        "qwen2",
        "qwen3",
        "qwen3_moe",
        "gpt_neox",
        "gpt2",
        "mistral",
        "olmo2",
        "olmo3",
        "smollm3",
        "phi",
    }
)
"""Architectures that take a ready mask for a step of one token as it is; others make one each time."""


class Reading(Protocol):
    """Prompts that are being read."""

    @property
    def left(self) -> int:
        """Tokens still to be read, padding included."""
        ...

    def advance(self, tokens: int) -> torch.Tensor | None:
        """Read about ``tokens`` more; the next token's logits (a prompt a row) when all is read."""
        ...


class Memory(Protocol):
    """The rows, by their number; a row that leaves is replaced by the last one. ``names`` are adapters."""

    def reading(self, prompts: Sequence[Sequence[int]], names: Sequence[str | None]) -> Reading: ...

    def join(self, reading: Any, prompts: Sequence[int]) -> None:
        """Make rows of what was read: of prompt number ``prompts[0]``, ``prompts[1]``, ..."""
        ...

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Each row's next token; the logits (B, V) of the one after it."""
        ...

    def drop(self, row: int) -> None: ...

    def free(self) -> None: ...


class Network:
    """A loaded model's forward pass."""

    def __init__(self, model: Any, adapters: Adapters) -> None:
        self.model = model
        self.adapters = adapters
        self.device: torch.device = model.device
        self.vocabulary = int(model.config.get_text_config().vocab_size)
        takes = set(inspect.signature(model.forward).parameters)
        self._positions = "position_ids" in takes
        self._keeps = "logits_to_keep" in takes
        self._masks = "attention_mask" in takes
        carried = memory_name(model)
        if carried is None:
            raise ConfigError(
                f"'{model.config.model_type}' models remember nothing between two tokens that transformers could keep",
                hint="serve it by another engine: --engine URL",
            )
        self._carried = carried

    def logits(
        self,
        ids_BT: torch.Tensor,
        mask: torch.Tensor | None,
        positions_BT: torch.Tensor | None,
        memory: Any,
    ) -> tuple[torch.Tensor, Any]:
        """The last position's logits (B, V), and what the model remembers."""
        given: dict[str, Any] = {self._carried: memory}
        if mask is not None and self._masks:
            given["attention_mask"] = mask
        if positions_BT is not None and self._positions:
            given["position_ids"] = positions_BT
        if self._keeps:
            given["logits_to_keep"] = 1
        made = self.model(input_ids=ids_BT, use_cache=True, return_dict=True, **given)
        return made.logits[:, -1], getattr(made, self._carried)


def memory_of(network: Network) -> Memory:
    """The kind of memory that fits the model."""
    config = network.model.config.get_text_config()
    layers = _attention_layers(network.model, config)
    if layers is None:
        return OwnMemory(network)
    windowed = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    one_mask = (
        config.model_type in _ONE_MASK
        and not windowed
        and "sliding_attention" not in (getattr(config, "layer_types", None) or ())
        and getattr(config, "_attn_implementation", "") == "sdpa"
    )
    return SharedMemory(network, layers, one_mask=one_mask)


def _attention_layers(model: Any, config: Any) -> int | None:
    """How many layers keep keys and values, None where any keeps something else."""
    if not keeps_keys(model):
        return None
    try:
        layers = DynamicCache(config=config).layers
    except Exception:  # a configuration that transformers itself has no cache for
        return None
    return (
        len(layers)
        if all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)
        else None
    )


class SharedMemory:
    """Rows side by side in one block."""

    def __init__(self, network: Network, layers: int, *, one_mask: bool) -> None:
        self.network = network
        self.layers = layers
        self._one_mask = one_mask
        self._block = Block(layers, network.device)
        self._names: list[str | None] = []
        self._positions_B1: torch.Tensor | None = None

    def reading(self, prompts: Sequence[Sequence[int]], names: Sequence[str | None]) -> SharedReading:
        return SharedReading(self, prompts, names)

    def join(self, reading: SharedReading, prompts: Sequence[int]) -> None:
        self._block.adopt(reading.block, prompts)
        self._names += [reading.names[prompt] for prompt in prompts]
        self._positions_B1 = None

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        block, network = self._block, self.network
        block.before(1)
        if self._positions_B1 is None:
            self._positions_B1 = torch.tensor(block.lengths, device=network.device)[:, None]
        mask = block.mask(1)
        if mask is not None:
            mask = mask[:, None, None, :] if self._one_mask else mask.long()
        network.adapters.select(self._names)
        ids_B1 = torch.tensor(tokens, device=network.device)[:, None]
        logits_BV, _ = network.logits(ids_B1, mask, self._positions_B1, block)
        block.advance(1)
        self._positions_B1 = self._positions_B1 + 1
        return logits_BV

    def drop(self, row: int) -> None:
        self._block.drop(row)
        self._names[row] = self._names[-1]
        self._names.pop()
        self._positions_B1 = None

    def free(self) -> None:
        self._block.free()
        self._names = []


class SharedReading:
    """Prompts read side by side, padded at the left, a number of columns at a time."""

    def __init__(
        self, memory: SharedMemory, prompts: Sequence[Sequence[int]], names: Sequence[str | None]
    ) -> None:
        self.names = list(names)
        self._network = memory.network
        device = memory.network.device
        width = max(map(len, prompts))
        pads = [width - len(prompt) for prompt in prompts]
        rows = [[0] * pad + list(prompt) for pad, prompt in zip(pads, prompts, strict=True)]
        self._ids_BT = torch.tensor(rows, device=device)
        pads_B1 = torch.tensor(pads, device=device)[:, None]
        self._positions_BT = (torch.arange(width, device=device) - pads_B1).clamp(min=0)
        self._at = 0
        self.block = Block(memory.layers, device)
        self.block.start([len(prompt) for prompt in prompts], width, room=0)

    @property
    def left(self) -> int:
        return self._ids_BT.shape[0] * (self._ids_BT.shape[1] - self._at)

    def advance(self, tokens: int) -> torch.Tensor | None:
        rows, width = self._ids_BT.shape
        stop = min(width, self._at + max(1, tokens // rows))
        count = stop - self._at
        mask = self.block.mask(count)
        self._network.adapters.select(self.names)
        logits_BV, _ = self._network.logits(
            self._ids_BT[:, self._at : stop],
            None if mask is None else mask.long(),
            self._positions_BT[:, self._at : stop],
            self.block,
        )
        self.block.advance(count, lengthen=False)
        self._at = stop
        return logits_BV if stop == width else None


class OwnMemory:
    """Each row's state for itself."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._states: list[Any] = []
        self._names: list[str | None] = []

    def reading(self, prompts: Sequence[Sequence[int]], names: Sequence[str | None]) -> OwnReading:
        return OwnReading(self.network, prompts, names)

    def join(self, reading: OwnReading, prompts: Sequence[int]) -> None:
        taken: set[int] = set()
        for prompt in prompts:
            state = reading.states[prompt]
            self._states.append(copy.deepcopy(state) if prompt in taken else state)
            self._names.append(reading.names[prompt])
            taken.add(prompt)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        return torch.cat([self._stepped(row, token) for row, token in enumerate(tokens)])

    def _stepped(self, row: int, token: int) -> torch.Tensor:
        """A row that fails has no numbers (NaN), so that the others, whose states have moved on, can go on."""
        network = self.network
        network.adapters.select(self._names[row : row + 1])
        ids_11 = torch.tensor([[token]], device=network.device)
        try:
            logits_1V, self._states[row] = network.logits(ids_11, None, None, self._states[row])
        except Exception:
            log.exception("engine.row_failed row=%d", row)
            return torch.full((1, network.vocabulary), torch.nan, device=network.device)
        return logits_1V

    def drop(self, row: int) -> None:
        for kept in (self._states, self._names):
            kept[row] = kept[-1]
            kept.pop()

    def free(self) -> None:
        self._states, self._names = [], []


class OwnReading:
    """Prompts read one after another, each in one pass."""

    def __init__(
        self, network: Network, prompts: Sequence[Sequence[int]], names: Sequence[str | None]
    ) -> None:
        self.names = list(names)
        self.states: list[Any] = []
        self._network = network
        self._prompts = [list(prompt) for prompt in prompts]
        self._logits: list[torch.Tensor] = []

    @property
    def left(self) -> int:
        return sum(map(len, self._prompts[len(self.states) :]))

    def advance(self, tokens: int) -> torch.Tensor | None:
        at = len(self.states)
        self._network.adapters.select(self.names[at : at + 1])
        ids_1T = torch.tensor([self._prompts[at]], device=self._network.device)
        logits_1V, state = self._network.logits(ids_1T, None, None, self._fresh())
        self.states.append(state)
        self._logits.append(logits_1V)
        return torch.cat(self._logits) if len(self.states) == len(self._prompts) else None

    def _fresh(self) -> Any:
        """Models with keys and values beside a state want a cache to begin with."""
        return None
