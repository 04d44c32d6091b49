"""Prompts counted by the hub: with the model's own tokenizer, as its engine renders a chat.

A worker's word for the length of a prompt is worth what the worker is worth, so a hub that has torch's extra counts
itself. A model's tokenizer is fetched and loaded in a thread when the first ask for it comes. Until then, for models
without files (a member's own server), and for models of strangers (a chat template is a program, and could keep a hub
busy for hours) nothing is known here, and the worker's word counts, bounded by the bytes.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from commonweal.core.completion import Request
from commonweal.core.errors import CommonwealError
from commonweal.serve.billing.counting import most_prompt
from commonweal.serve.gateway.frames import ModelSpec
from commonweal.serve.worker.files import Get, fetch

log = logging.getLogger(__name__)

_WEIGHTS = (".safetensors", ".safetensors.index.json")
_KEPT = 32
_LONG = 8192
"""Bytes of a prompt from which on it is counted in a thread, so that others are not kept waiting."""

Count = Callable[[Request], int]


class Prompts:
    """Counts for one hub process. ``get`` fetches a blob; ``vouched`` says whether the operator published the files of
    this identity, and is asked in a thread."""

    def __init__(self, get: Get, vouched: Callable[[str], bool]) -> None:
        self._get, self._vouched = get, vouched
        self._known: OrderedDict[str, Count | None] = OrderedDict()
        self._loading: set[asyncio.Task[None]] = set()
        self._able = importlib.util.find_spec("torch") is not None

    async def __call__(self, model: ModelSpec, request: Request) -> int | None:
        """Tokens of the prompt, a scored continuation included; None where they cannot be counted here."""
        below = model if model.base is None else model.base
        if below.identity not in self._known:
            self._begin(below)
        count = self._known[below.identity]
        if count is None:
            return None
        self._known.move_to_end(below.identity)
        try:
            if most_prompt(request) > _LONG:
                return await asyncio.to_thread(count, request)
            return count(request)
        except CommonwealError:  # the engine will say what is wrong with it
            return None
        except Exception:  # a template that fails on this chat
            log.exception("prompts.not_counted model=%s", below.name)
            return None

    async def settled(self) -> None:
        """Wait for what is being loaded."""
        await asyncio.gather(*self._loading)

    def _begin(self, model: ModelSpec) -> None:
        self._known[model.identity] = None
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        if self._able and model.files:
            task = asyncio.get_running_loop().create_task(self._load(model))
            self._loading.add(task)
            task.add_done_callback(self._loading.discard)

    async def _load(self, model: ModelSpec) -> None:
        try:
            self._known[model.identity] = await asyncio.to_thread(self._loaded, model)
        except Exception as error:  # whatever a stranger's files do to a library: the worker's word counts
            log.warning("prompts.no_tokenizer model=%s error=%s", model.name, error)

    def _loaded(self, model: ModelSpec) -> Count | None:
        if not self._vouched(model.identity):
            return None
        from commonweal.models.engine.asking import Encoder
        from commonweal.models.text import LocalText

        small = {name: blob for name, blob in model.files.items() if not name.endswith(_WEIGHTS)}
        with tempfile.TemporaryDirectory(prefix="commonweal-tokenizer-") as folder:
            text = LocalText(str(fetch(replace(model, files=small), Path(folder), self._get).folder))
        encoder = Encoder(text, vocabulary=2**31, window=None, most=2**62)

        def count(request: Request) -> int:
            encoded = encoder.encoded(request)
            return len(encoded.prompt) + len(encoded.continuation)

        return count
