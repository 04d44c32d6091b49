"""Models in this process: one thread that computes, asyncio at its edge.

The thread owns every model. It looks at its queue between two turns of the batches (one for each base model), so a
request enters, is cancelled, and a model is loaded or forgotten, between two steps of what runs. Events are handed to
the event loop once a turn. The same request with a seed gets the same answer whatever runs beside it, but for the last
digits of its numbers.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from commonweal.core.completion import CompletionFailed, Request
from commonweal.core.errors import CommonwealError, ConfigError, NotFound, Overloaded
from commonweal.core.streaming import Ended, Event, Usage
from commonweal.models.architecture import load_checkpoint
from commonweal.models.engine.asking import Asked, Encoder
from commonweal.models.engine.batch import Batch, failure
from commonweal.models.engine.lora import Adapters
from commonweal.models.engine.memory import Network, memory_of
from commonweal.models.engine.options import Capacity, EngineOptions, Loaded, Quantization
from commonweal.models.engine.quantized import quantized
from commonweal.models.engine.scoring import Scoring
from commonweal.models.engine.words import Words
from commonweal.models.placement import device_of, dtype_of, ends_of, window_of
from commonweal.models.text import LocalText

log = logging.getLogger(__name__)

T = TypeVar("T")


class LocalEngine:
    """A Streamer of the models that were loaded into it. For one event loop."""

    def __init__(self, options: EngineOptions | None = None) -> None:
        self._options = options or EngineOptions()
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._bases: dict[str, _Base] = {}
        self._models: dict[str, Loaded] = {}
        self._handing: list[_Answer] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    # Models.

    async def load(self, name: str, folder: str | Path, *, quantization: Quantization = "none") -> Loaded:
        """Serve the model in ``folder`` as ``name``, in place of what was. Raises ConfigError or Unavailable."""
        return await self._do(lambda: self._load(name, str(folder), quantization))

    async def load_adapter(self, name: str, base: str, folder: str | Path) -> Loaded:
        """Serve the LoRA adapter in ``folder`` beside ``base`` as ``name``. Raises NotFound or ConfigError."""
        return await self._do(lambda: self._load_adapter(name, base, Path(folder)))

    async def unload(self, name: str) -> None:
        """Forget a model; requests to it fail. A base takes its adapters with it. Raises NotFound."""
        await self._do(lambda: self._unload(name))

    def models(self) -> tuple[Loaded, ...]:
        """What is served now."""
        return tuple(self._models.values())

    def capacity(self, name: str) -> Capacity:
        """What the base model of ``name`` has left. Raises NotFound."""
        base = self._bases.get(self._found(name).base)
        if base is None:
            raise _unknown(name)
        return base.batch.capacity()

    # Requests.

    async def stream(self, request: Request) -> AsyncIterator[Event]:
        """The events of one request. Raises CompletionFailed or Overloaded."""
        if self._closed:
            raise CompletionFailed("unreachable", "the engine was closed")
        answer = _Answer(self)
        self._loop = asyncio.get_running_loop()
        self._queue.put(lambda: self._submit(request, answer))
        try:
            while True:
                for event in await answer.next():
                    yield event
                    if isinstance(event, Usage):
                        return
        finally:
            answer.cancelled = True

    async def close(self) -> None:
        """Stop computing. What runs fails; the thread ends after its present step."""
        if not self._closed:
            self._closed = True
            self._queue.put(self._fail_all)
            await asyncio.to_thread(self._thread.join)

    # In the thread.

    def _run(self) -> None:
        if self._options.threads:
            torch.set_num_threads(self._options.threads)
        with torch.inference_mode():
            while not self._closed:
                self._take_queue()
                for base in list(self._bases.values()):
                    if base.batch.is_busy:
                        _turned(base.batch)
                self._hand_over()
            self._take_queue(block=False)
            self._fail_all()
            self._hand_over()

    def _take_queue(self, block: bool = True) -> None:
        """Do what is asked; wait for it where there is nothing else to do."""
        wait = block and not any(base.batch.is_busy for base in self._bases.values())
        while True:
            try:
                todo = self._queue.get(block=wait)
            except queue.Empty:
                return
            todo()
            wait = False

    def _submit(self, request: Request, answer: _Answer) -> None:
        if answer.cancelled:
            return
        try:
            loaded = self._found(request.model)
            base = self._bases[loaded.base]
            if base.batch.capacity().waiting >= self._options.waiting:
                raise Overloaded("too many requests wait for this model")
            encoded = base.encoder.encoded(request)
            request = base.encoder.fitted(request, encoded)
            base.words.grammar(request)
            if request.kind == "generate" and request.n > self._options.slots:
                raise CompletionFailed("bad_request", f"n: at most {self._options.slots} choices at once")
            if request.kind == "generate" and not request.max_tokens:
                _nothing_asked(answer, request, len(encoded.prompt))
                return
        except CommonwealError as error:
            answer.fail(error)
            return
        except Exception as error:  # whatever a stranger's tokenizer and template raise
            log.exception("engine.encoding_failed model=%s", request.model)
            answer.fail(failure(error))
            return
        adapter = None if loaded.base == loaded.name else loaded.name
        base.batch.submit(
            Asked(request=request, answer=answer, adapter=adapter, encoded=encoded, since=time.perf_counter())
        )

    def _load(self, name: str, folder: str, quantization: Quantization) -> Loaded:
        base = _Base.loaded(folder, self._options, quantization)
        if name in self._models:
            self._unload(name)
        self._bases[name] = base
        self._models[name] = made = Loaded(
            name=name,
            base=name,
            quantization=quantization,
            window=base.window,
            parameters=base.parameters,
        )
        log.info("engine.loaded model=%s parameters=%d", name, base.parameters)
        return made

    def _load_adapter(self, name: str, base: str, folder: Path) -> Loaded:
        below = self._found(base)
        if below.base != below.name:
            raise ConfigError(f"'{base}' is an adapter itself", hint=f"load it beside '{below.base}'")
        if name in self._models:
            self._unload(name)
        self._bases[base].adapters.add(name, folder)
        self._models[name] = made = Loaded(
            name=name,
            base=base,
            quantization=below.quantization,
            window=below.window,
            parameters=below.parameters,
        )
        return made

    def _unload(self, name: str) -> None:
        loaded = self._found(name)
        gone = CompletionFailed("server_error", f"the model '{name}' was unloaded")
        base = self._bases[loaded.base]
        del self._models[name]
        if loaded.base != name:
            base.batch.fail_adapter(name, gone)
            base.adapters.remove(name)
            return
        for other in [one.name for one in self._models.values() if one.base == name]:
            del self._models[other]
        base.batch.fail_all(gone)
        del self._bases[name]

    def _found(self, name: str) -> Loaded:
        found = self._models.get(name)
        if found is None:
            raise _unknown(name)
        return found

    def _fail_all(self) -> None:
        for base in self._bases.values():
            base.batch.fail_all(CompletionFailed("unreachable", "the engine was closed"))

    async def _do(self, work: Callable[[], T]) -> T:
        """``work`` in the thread, between two turns."""
        if self._closed:
            raise CompletionFailed("unreachable", "the engine was closed")
        done: Future[T] = Future()

        def todo() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        self._queue.put(todo)
        return await asyncio.wrap_future(done)

    # From the thread to the event loop.

    def gather(self, answer: _Answer) -> None:
        """``answer`` has events that are to be handed over after this turn."""
        self._handing.append(answer)

    def _hand_over(self) -> None:
        if not self._handing or self._loop is None:
            return
        handed, self._handing = [(answer, answer.taken()) for answer in self._handing], []
        try:
            self._loop.call_soon_threadsafe(_deliver, handed)
        except RuntimeError:  # the loop was closed: nobody listens any more
            for answer, _ in handed:
                answer.cancelled = True


class _Answer:
    """Both ends of one request's events: the thread puts, the event loop takes."""

    def __init__(self, engine: LocalEngine) -> None:
        self.cancelled = False
        self._engine = engine
        self._made: list[Event | CommonwealError] = []
        self._here: deque[Event | CommonwealError] = deque()
        self._woken = asyncio.Event()

    def put(self, event: Event) -> None:
        if not self._made:
            self._engine.gather(self)
        self._made.append(event)

    def fail(self, error: CommonwealError) -> None:
        if not self._made:
            self._engine.gather(self)
        self._made.append(error)
        self.cancelled = True

    def taken(self) -> list[Event | CommonwealError]:
        made, self._made = self._made, []
        return made

    def deliver(self, events: list[Event | CommonwealError]) -> None:
        self._here.extend(events)
        self._woken.set()

    async def next(self) -> list[Event]:
        """What has come, at least one event. Raises what the request failed with, after the events before it."""
        while not self._here:
            self._woken.clear()
            await self._woken.wait()
        made: list[Event] = []
        while self._here and not isinstance(self._here[0], CommonwealError):
            made.append(self._here.popleft())  # type: ignore[arg-type]
        if not made and isinstance(error := self._here.popleft(), CommonwealError):
            raise error
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """A base model with all that its requests need."""

    batch: Batch
    encoder: Encoder
    words: Words
    adapters: Adapters
    window: int | None
    parameters: int

    @classmethod
    def loaded(cls, folder: str, options: EngineOptions, quantization: Quantization) -> _Base:
        text = LocalText(folder)
        model: Any = load_checkpoint(folder)
        parameters = sum(p.numel() for p in model.parameters())
        device = device_of(options.device)
        model = model.to(device=device, dtype=dtype_of(options.dtype, model, device)).eval()
        model = quantized(model.requires_grad_(False), quantization)
        vocabulary, window = int(model.config.get_text_config().vocab_size), window_of(model)
        ends = ends_of(model) | ({text.end} if text.end is not None else set())
        encoder = Encoder(text, vocabulary, window, options.cache_tokens)
        words = Words(text, encoder, vocabulary=vocabulary, ends=frozenset(ends), device=device)
        adapters = Adapters(model)
        batch = Batch(
            memory=memory_of(Network(model, adapters)),
            scoring=Scoring(model, adapters, words, time.perf_counter),
            words=words,
            options=options,
            now=time.perf_counter,
        )
        return cls(
            batch=batch,
            encoder=encoder,
            words=words,
            adapters=adapters,
            window=window,
            parameters=parameters,
        )


def _turned(batch: Batch) -> None:
    """A turn that fails as a whole fails its requests, not the engine."""
    try:
        batch.turn()
    except Exception as error:
        log.exception("engine.turn_failed")
        batch.fail_all(failure(error))


def _deliver(handed: list[tuple[_Answer, list[Event | CommonwealError]]]) -> None:
    for answer, events in handed:
        answer.deliver(events)


def _nothing_asked(answer: _Answer, request: Request, prompt: int) -> None:
    """No tokens are wanted, so no model is asked."""
    for index in range(request.n):
        answer.put(Ended(index=index, finish="length"))
    answer.put(Usage(prompt_tokens=prompt, completion_tokens=0))


def _unknown(name: str) -> NotFound:
    return NotFound(f"the model '{name}' is not loaded here")
