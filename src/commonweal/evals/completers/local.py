"""A model in this process: requests are gathered while others are computed, and answered in batches.

It owns the queue between the event loop and the one thread that computes; what a batch is stands in ``batching``,
texts in ``models.text``, arithmetic in ``models.local_model``. torch and transformers (the ``torch`` extra) are
imported when the first request comes, in that thread. The answer to a request does not depend on its batch, but for
the last digits of its numbers.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from commonweal.core.completion import Abilities, Completion, CompletionFailed, Request
from commonweal.core.errors import ConfigError
from commonweal.evals.completers.batching import Asked, Budget, Load, fitting, place
from commonweal.evals.energy.finding import find_meter
from commonweal.evals.energy.meter import Energy, Meter
from commonweal.evals.energy.sharing import metering

if TYPE_CHECKING:
    import torch

    from commonweal.models.encoded import Encoded
    from commonweal.models.local_model import LocalModel
    from commonweal.models.text import LocalText

    Compute = Callable[[Sequence[Asked], LocalModel, LocalText], list[Completion]]

E = TypeVar("E", bound=Exception)

log = logging.getLogger(__name__)

_SCORES = 1 << 27
"""How many logits of scored tokens are held at once: half a GiB in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """``batch_tokens`` and ``batch_rows`` bound a batch (padding included); one that does not fit the device's
    memory is halved. ``device`` and ``dtype`` are torch's names, or ``auto``: an accelerator if there is one, in the
    checkpoint's own precision, else the CPU in float32. ``threads`` of the CPU are used, 0 for torch's own choice (all
    of them, which is slow on a machine that does something else as well)."""

    device: str = "auto"
    dtype: str = "auto"
    batch_tokens: int = 65536
    batch_rows: int = 128
    threads: int = 0

    def __post_init__(self) -> None:
        if self.batch_tokens < 1 or self.batch_rows < 1 or self.threads < 0:
            raise ValueError("batch_tokens, batch_rows: at least 1; threads: not negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """A request in the queue."""

    request: Request
    answer: asyncio.Future[Completion]
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A request that can be computed."""

    asked: Asked
    answer: asyncio.Future[Completion]


_Outcome = tuple[asyncio.Future[Completion], Completion | CompletionFailed]


class LocalCompleter:
    """The model in the folder (or of the hub's name) ``location``. For one event loop. ``energy`` says, once it is
    loaded, how the energy of its answers is measured, or why not; ``meter_of`` finds the meter of a device."""

    def __init__(
        self,
        location: str,
        options: LocalOptions | None = None,
        *,
        meter_of: Callable[[str, str], Meter | Energy] = find_meter,
    ) -> None:
        self.energy = Energy(reason="the model is not loaded")
        self._meter_of = meter_of
        self._location = location
        self._options = options or LocalOptions()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="local-model")
        self._queue: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None
        self._loaded: tuple[LocalModel, LocalText] | None = None
        self._completions: Compute
        self._rows = self._options.batch_rows
        self._abilities = Abilities(
            score=True,
            logprobs=True,
            complete=True,
            images=False,
            tools=False,
            concurrency=4 * self._options.batch_rows,
        )

    @property
    def abilities(self) -> Abilities:
        return self._abilities

    async def probe(self) -> Abilities:
        """Load the model. Raises ConfigError or Unavailable."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._load)
        return self._abilities

    def token_counter(self) -> LocalText:
        """The model's own tokenizer, which counts and truncates. Loads the model if need be."""
        return self._thread.submit(self._load).result()[1]

    def complete(self, request: Request) -> asyncio.Future[Completion]:
        """No coroutine: a task for each request would take as long as the request itself takes a tiny model."""
        answer: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(request=request, answer=answer, since=time.perf_counter()))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return answer

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        for waiting in self._queue:
            waiting.answer.cancel()
        self._queue.clear()
        await asyncio.to_thread(self._thread.shutdown)
        gc.unfreeze()

    async def _work(self) -> None:
        """Answer all who wait, then those who asked meanwhile, until nobody waits."""
        while True:
            for _ in range(3):  # let those who were just answered, or just began, ask again
                await asyncio.sleep(0)
            queue, self._queue = self._queue, []
            if not queue:
                return
            try:
                await self._answer(queue)
            except Exception as error:
                _fail(queue, error)
            finally:
                for waiting in queue:  # where the completer was closed meanwhile
                    waiting.answer.cancel()

    async def _answer(self, queue: Sequence[_Waiting]) -> None:
        """Compute batch after batch. While one is computed, those who were answered before go on."""
        loop = asyncio.get_running_loop()
        ready, refused = await loop.run_in_executor(self._thread, self._prepared, queue)
        _tell(refused)
        while ready:
            count = fitting((one.asked.load for one in ready), self._budget())
            batch = [one for one in ready[:count] if not one.answer.done()]
            ready = ready[count:]
            if batch:
                _tell(await loop.run_in_executor(self._thread, self._computed, batch))

    def _budget(self) -> Budget:
        model, _ = self._load()
        return Budget(
            tokens=self._options.batch_tokens * self._rows // self._options.batch_rows,
            rows=self._rows,
            scores=max(1, _SCORES // model.vocabulary),
        )

    def _computed(self, batch: list[_Ready]) -> list[_Outcome]:
        """In the thread: a batch's answers. One that fails is halved until the request at fault, or what fits, stands
        alone."""
        model, text = self._load()
        try:
            found = self._completions([one.asked for one in batch], model, text)
            return [(one.answer, made) for one, made in zip(batch, found, strict=True)]
        except Exception as error:  # whatever a stranger's model and tokenizer raise
            failed = _failure(error)
        if failed.kind == "too_long":
            self._rows = max(1, min(self._rows, sum(one.asked.request.n for one in batch)) // 2)
        log.warning("local.batch_failed requests=%d error=%s", len(batch), failed.message)
        if len(batch) == 1:
            return [(batch[0].answer, failed)]
        half = len(batch) // 2
        return self._computed(batch[:half]) + self._computed(batch[half:])

    def _prepared(self, queue: Sequence[_Waiting]) -> tuple[list[_Ready], list[_Outcome]]:
        """In the thread: the requests with their tokens, in the order in which batches are made of them; and the
        refusal of what the model cannot be asked."""
        model, text = self._load()
        ready, refused = list[_Ready](), list[_Outcome]()
        for waiting, encoded in zip(queue, text.encode([one.request for one in queue]), strict=True):
            found = _asked(waiting, encoded, model.window)
            if isinstance(found, CompletionFailed):
                refused.append((waiting.answer, found))
            else:
                ready.append(_Ready(asked=found, answer=waiting.answer))
        return sorted(ready, key=lambda one: place(one.asked.load)), refused

    def _load(self) -> tuple[LocalModel, LocalText]:
        if self._loaded is None:
            try:
                from commonweal.evals.completers.local_batch import completions
                from commonweal.models.local_model import load_model
                from commonweal.models.text import LocalText
            except ImportError as error:
                raise ConfigError(
                    f"model: a local model needs torch and transformers ({error})",
                    hint="pip install 'commonweal[torch]'",
                ) from None
            options = self._options
            model = load_model(
                self._location, device=options.device, dtype=options.dtype, threads=options.threads
            )
            text = LocalText(self._location)
            if text.end is not None:
                model.ends = model.ends | {text.end}
            self._completions, self.energy = self._metered(completions, model.device)
            self._loaded = model, text
            gc.freeze()  # to walk through all of torch again and again takes a tenth of an evaluation
            self._abilities = replace(self._abilities, chat=text.has_chat, window=model.window)
        return self._loaded

    def _metered(self, completions: Compute, device: torch.device) -> tuple[Compute, Energy]:
        meter = self._meter_of(device.type, _uuid(device))
        if isinstance(meter, Energy):
            return completions, meter
        return metering(completions, meter), Energy(method=meter.method)


def _uuid(device: torch.device) -> str:
    """What NVML calls a GPU, "" for what is none of NVIDIA's."""
    import torch

    if device.type != "cuda" or torch.version.hip:
        return ""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def _asked(
    waiting: _Waiting, encoded: Encoded | CompletionFailed, window: int | None
) -> Asked | CompletionFailed:
    if isinstance(encoded, CompletionFailed):
        return encoded
    request, prompt = waiting.request, len(encoded.prompt)
    new = len(encoded.continuation) if request.kind == "score" else request.max_tokens
    if window is not None and prompt + new > window:
        return _too_long(prompt, new, window)
    group = hash(tuple(encoded.prompt))
    load = Load(kind=request.kind, group=group, prompt=prompt, new=new, rows=request.n)
    return Asked(request=request, encoded=encoded, since=waiting.since, load=load)


def _tell(outcomes: Sequence[_Outcome]) -> None:
    for answer, outcome in outcomes:
        if answer.done():
            continue
        if isinstance(outcome, CompletionFailed):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)


def _fail(queue: Sequence[_Waiting], error: Exception) -> None:
    """What is no single request's fault is everyone's: the model cannot be loaded."""
    for waiting in queue:
        if not waiting.answer.done():
            waiting.answer.set_exception(_copied(error))


def _copied(error: E) -> E:
    """The same error for another waiter: a raised one collects its own traceback."""
    made = copy.copy(error)
    made.__traceback__ = None
    return made


def _too_long(prompt: int, new: int, window: int) -> CompletionFailed:
    return CompletionFailed(
        "too_long", f"{prompt} tokens and {new} new ones do not fit the context window of {window}"
    )


def _failure(error: Exception) -> CompletionFailed:
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return CompletionFailed("too_long", "it does not fit the device's memory")
    return CompletionFailed("server_error", f"the model failed: {type(error).__name__}: {error}")
