"""An OpenAI-compatible server that already runs (vLLM, SGLang, llama.cpp, Ollama), as an engine.

What it serves is what it lists under /models, asked anew at each :meth:`FrontedEngine.load`: a member cannot offer a
model that its server does not have. The server's own batching is used: every request is one HTTP stream, and closing
it is how the server learns that nobody listens.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from commonweal.core.completion import CompletionFailed, Request
from commonweal.core.errors import ConfigError, NotFound, Unavailable
from commonweal.core.streaming import Event, Usage, Vector
from commonweal.models.engine.options import Loaded, Quantization
from commonweal.models.engine.wire import Chunks, body_of, failure_of, path_of, scored

_MOST = 1 << 26
"""Bytes of an answer that is no stream."""


class FrontedEngine:
    """A Streamer over the server at ``base_url`` (it ends with /v1). ``silence`` are the seconds after which a server
    that sends nothing is given up. Raises ConfigError for a URL that is none."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        silence: float = 300.0,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        try:
            url = httpx.URL(base_url)
        except httpx.InvalidURL as error:
            raise ConfigError(f"engine: {base_url}: {error}") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigError(
                f"engine: {base_url}: not an http or https URL", hint="http://127.0.0.1:8080/v1"
            )
        self._base = base_url.rstrip("/")
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(silence, connect=10.0, pool=None)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self._client = client or httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False)
        self._models: dict[str, tuple[str, Loaded]] = {}
        self._logprobs = True

    async def listed(self) -> dict[str, int | None]:
        """The names that the server has, each with its context length where it says so. Raises Unavailable or
        CompletionFailed."""
        try:
            answer = await self._client.get(f"{self._base}/models", headers=self._headers)
        except httpx.HTTPError as error:
            raise Unavailable(f"engine: {self._base} cannot be reached: {_said(error)}") from None
        if answer.status_code != 200:
            raise failure_of(answer.status_code, answer.content)
        try:
            return {str(one["id"]): window_of(one) for one in answer.json()["data"]}
        except (ValueError, KeyError, TypeError):
            raise CompletionFailed("malformed", f"{self._base}/models is no list of models") from None

    async def load(self, name: str, folder: str | Path, *, quantization: Quantization = "none") -> Loaded:
        """Serve the server's model called ``folder`` (or ``name``, if that is what the server calls it) as ``name``.
        Raises NotFound where the server has neither."""
        has = await self.listed()
        theirs = next((one for one in (str(folder), name, Path(folder).name) if one in has), None)
        if theirs is None:
            known = ", ".join(sorted(has)[:8]) or "nothing"
            raise NotFound(f"the server at {self._base} does not serve '{name}'", hint=f"it serves {known}")
        made = Loaded(name=name, base=name, quantization=quantization, window=has[theirs], parameters=0)
        self._models[name] = (theirs, made)
        return made

    async def load_adapter(self, name: str, base: str, folder: str | Path) -> Loaded:
        """An adapter that the server serves under a name of its own."""
        return await self.load(name, folder)

    async def unload(self, name: str) -> None:
        if self._models.pop(name, None) is None:
            raise NotFound(f"the model '{name}' is not loaded here")

    def models(self) -> tuple[Loaded, ...]:
        return tuple(loaded for _, loaded in self._models.values())

    async def stream(self, request: Request) -> AsyncIterator[Event]:
        """The events of one request. Raises CompletionFailed or NotFound."""
        if request.model not in self._models:
            raise NotFound(f"the model '{request.model}' is not loaded here")
        theirs, _ = self._models[request.model]
        began = time.perf_counter()
        try:
            if request.kind == "generate":
                async for event in self._generated(request, theirs, began):
                    yield event
            else:
                payload = await self._whole(request, theirs)
                for event in _answered(payload, request, time.perf_counter() - began):
                    yield event
        except httpx.TimeoutException as error:
            raise CompletionFailed("timeout", f"the server is silent: {_said(error)}") from None
        except httpx.HTTPError as error:
            raise CompletionFailed("unreachable", f"the server is gone: {_said(error)}") from None

    async def close(self) -> None:
        await self._client.aclose()

    async def _generated(self, request: Request, theirs: str, began: float) -> AsyncIterator[Event]:
        chunks = Chunks(request)
        async with self._asked(request, theirs) as answer:
            async for data in _data_of(answer):
                for event in chunks.add(data):
                    yield event
        for event in chunks.end(time.perf_counter() - began):
            yield event

    async def _whole(self, request: Request, theirs: str) -> Any:
        async with self._asked(request, theirs) as answer:
            body = b""
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > _MOST:
                    raise CompletionFailed("malformed", f"the answer has more than {_MOST} bytes")
        try:
            return httpx.Response(200, content=body).json()
        except ValueError:
            raise CompletionFailed("malformed", "the answer is not JSON") from None

    @asynccontextmanager
    async def _asked(self, request: Request, theirs: str) -> AsyncIterator[httpx.Response]:
        """The answer's beginning. A server that knows no log-probabilities is asked again without."""
        url = f"{self._base}/{path_of(request)}"
        while True:
            asked = self._logprobs
            body = body_of(request, theirs, logprobs=asked)
            async with self._client.stream("POST", url, json=body, headers=self._headers) as answer:
                if answer.status_code == 200:
                    yield answer
                    return
                said = (await answer.aread())[:65536]
            error = failure_of(answer.status_code, said)
            if not (
                asked and request.logprobs is None and b"logprob" in said and answer.status_code in (400, 422)
            ):
                raise error
            self._logprobs = False


async def _data_of(answer: httpx.Response) -> AsyncIterator[str]:
    """The data of each server-sent event. Lines end with a line feed and nothing else: JSON may hold what Unicode
    counts as a line's end."""
    rest = b""
    async for piece in answer.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > _MOST:
            raise CompletionFailed("malformed", f"the stream has an event of more than {_MOST} bytes")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].decode("utf-8", "replace")
    if rest.startswith(b"data:"):
        yield rest[5:].decode("utf-8", "replace")


def _answered(payload: Any, request: Request, seconds: float) -> list[Event]:
    if request.kind == "score":
        return list(scored(payload, request, seconds))
    try:
        values = tuple([float(value) for value in payload["data"][0]["embedding"]])
        count = int((payload.get("usage") or {}).get("prompt_tokens") or 0)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise CompletionFailed("malformed", f"the answer is no embedding ({error!r})") from None
    return [Vector(values=values), Usage(prompt_tokens=count, completion_tokens=0, seconds=seconds)]


def window_of(model: dict[str, Any]) -> int | None:
    """The tokens that a listed model reads: vLLM says max_model_len, llama.cpp n_ctx (a slot's own) below meta, and
    before that n_ctx_train."""
    meta = model.get("meta") or {}
    found = model.get("max_model_len") or meta.get("n_ctx") or meta.get("n_ctx_train")
    return found if isinstance(found, int) and found > 0 else None


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
