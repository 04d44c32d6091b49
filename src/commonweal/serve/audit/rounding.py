"""How much rounding changes a model: the measure by which a difference in log-probabilities is small or large.

A member may compute in bfloat16 where the judge computes in float32. What that changes depends on the model: 0.001 nats
for one of a million parameters that was trained for minutes, ten times as much for a large one; weights cut to four
bits change about five times as much as that. So the hub rounds a model's weights to bfloat16 once, looks at text that
the model wrote itself, and audits that model's answers by the result. Nobody's word is taken for it: a publisher's
number could have honest members banned.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import tempfile
from pathlib import Path
from typing import Any

from commonweal.serve.gateway.frames import ModelSpec
from commonweal.serve.worker.files import Get, fetch

log = logging.getLogger(__name__)

_TOKENS, _TEXTS = 96, 4
_LEAST = 2e-4
"""Below this, what differs is the order in which machines add."""


class Roundings:
    """Measures each model once, in a thread, when it is first asked for; until then, and for models that are too large
    for this machine, nothing is known."""

    def __init__(self, get: Get, *, most_parameters: int = 300_000_000) -> None:
        self._get, self._most = get, most_parameters
        self._known: dict[str, float | None] = {}
        self._measuring: set[asyncio.Task[None]] = set()
        self._able = importlib.util.find_spec("torch") is not None

    def __call__(self, model: ModelSpec) -> float | None:
        """Nats, or None. An adapter is taken for its base."""
        below = model if model.base is None else model.base
        if below.identity not in self._known:
            self._known[below.identity] = None
            if self._able and below.files and below.parameters <= self._most:
                task = asyncio.get_running_loop().create_task(self._measure(below))
                self._measuring.add(task)
                task.add_done_callback(self._measuring.discard)
        return self._known[below.identity]

    async def settled(self) -> None:
        """Wait for what is being measured."""
        await asyncio.gather(*self._measuring)

    async def _measure(self, model: ModelSpec) -> None:
        try:
            found = await asyncio.to_thread(self._measured, model)
        except Exception as error:  # whatever a stranger's files do to a library: the usual limits hold
            log.warning("audit.not_measured model=%s error=%s", model.name, error)
            return
        self._known[model.identity] = found
        log.info("audit.rounding model=%s nats=%.5f", model.name, found)

    def _measured(self, model: ModelSpec) -> float:
        with tempfile.TemporaryDirectory(prefix="commonweal-rounding-") as folder:
            return rounding(fetch(model, Path(folder), self._get).folder)


def rounding(folder: Path) -> float:
    """The mean change of a token's log-probability (nats) in text that the model in ``folder`` writes, when its weights
    are rounded to bfloat16."""
    import torch

    from commonweal.models.architecture import load_checkpoint

    model: Any = load_checkpoint(str(folder)).float().eval()
    with torch.inference_mode():
        ids_BT = _written(model)
        before_BT = _logprobs(model, ids_BT)
        for parameter in model.parameters():
            parameter.data = parameter.data.bfloat16().float()
        after_BT = _logprobs(model, ids_BT)
    return max(_LEAST, float((before_BT - after_BT).abs().mean()))


def _written(model: Any) -> Any:
    """Texts that the model samples, each from a first token of its own."""
    import torch

    generator = torch.Generator().manual_seed(0)
    vocabulary = int(model.config.get_text_config().vocab_size)
    ids_BT = torch.randint(0, vocabulary, (_TEXTS, 1), generator=generator)
    for _ in range(_TOKENS):
        logits_BV = model(input_ids=ids_BT, use_cache=False).logits[:, -1].float()
        drawn_B1 = torch.multinomial(torch.softmax(logits_BV, dim=-1), 1, generator=generator)
        ids_BT = torch.cat([ids_BT, drawn_B1], dim=1)
    return ids_BT


def _logprobs(model: Any, ids_BT: Any) -> Any:
    import torch

    logits_BTV = model(input_ids=ids_BT, use_cache=False).logits[:, :-1].float()
    return torch.log_softmax(logits_BTV, dim=-1).gather(2, ids_BT[:, 1:, None])[..., 0]
