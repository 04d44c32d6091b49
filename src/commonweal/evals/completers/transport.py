"""HTTP/1.1 with one server, and nothing but what asking a model needs: bytes out, status and bytes back.

A connection carries one exchange at a time and is kept alive for the next (the last used first, so that few stay
open). Parsing is httptools' (the C parser of uvicorn): a general client costs 0.3 to 8 ms of processor time a
request here, which is more than all the rest of evaluating an instance; this costs a tenth. Where a proxy stands in
between, :mod:`commonweal.evals.completers.proxied` does the same through httpx.

It knows no JSON, no retries and no model. Redirects are not followed. A kept connection that the server closed in the
meantime is replaced once, without a word.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast
from urllib.parse import urlsplit

import certifi
import httptools

from commonweal import __version__
from commonweal.core.errors import ConfigError

Method = Literal["GET", "POST"]
Fault = Literal["unreachable", "timeout", "malformed"]

LARGEST_BODY = 256 * 1024 * 1024
"""Bytes of an answer after which it is not a model's any more."""


class TransportFailed(Exception):
    """No whole answer: ``fault`` says why."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault: Fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer. Header names are lower case. ``pieces`` are (seconds since sending, bytes) as they came, where
    that was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    pieces: tuple[tuple[float, bytes], ...] = field(default=())


class Transport(Protocol):
    """One server. Raises TransportFailed, also where no whole answer came within ``seconds``."""

    async def exchange(
        self, method: Method, path: str, body: bytes, *, seconds: float, timed: bool = False
    ) -> Reply: ...

    async def close(self) -> None: ...


class HttpTransport:
    """Keep-alive connections to the server of ``base_url``; ``headers`` go with each request.

    ``connect_timeout`` is in seconds. Raises ConfigError for a URL or a header that cannot be sent.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], *, connect_timeout: float = 10.0) -> None:
        self._origin = Origin.of(base_url)
        self._head = _head(self._origin, headers)
        self._connect_timeout = connect_timeout
        self._idle: list[_Connection] = []
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    async def exchange(
        self, method: Method, path: str, body: bytes, *, seconds: float, timed: bool = False
    ) -> Reply:
        head = (
            f"{method} {self._origin.path}{path} HTTP/1.1\r\n{self._head}content-length: {len(body)}\r\n\r\n"
        )
        data = head.encode("latin-1") + body
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                try:
                    return await self._exchange(connection, data, seconds, timed)
                except _Stale:
                    continue
        try:
            return await self._exchange(await self._connected(), data, seconds, timed)
        except _Stale:
            raise TransportFailed(
                "unreachable", "the server closed the connection without an answer"
            ) from None

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().abort()

    async def _exchange(self, connection: _Connection, data: bytes, seconds: float, timed: bool) -> Reply:
        try:
            reply = await connection.exchange(data, seconds, timed)
        except BaseException:
            connection.abort()
            raise
        if connection.is_reusable and not self._closed:
            self._idle.append(connection)
        else:
            connection.abort()
        return reply

    async def _connected(self) -> _Connection:
        origin = self._origin
        if origin.tls and self._tls is None:
            self._tls = _tls()
        loop = asyncio.get_running_loop()
        both: dict[str, Any] = {}
        if isinstance(loop, asyncio.BaseEventLoop):  # uvloop has no such thing
            both["happy_eyeballs_delay"] = 0.25
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await loop.create_connection(
                    _Connection, origin.host, origin.port, ssl=self._tls, **both
                )
        except TimeoutError:
            raise TransportFailed(
                "unreachable", f"{origin}: no connection within {self._connect_timeout:g} seconds"
            ) from None
        except OSError as error:
            raise TransportFailed("unreachable", f"{origin}: {error.strerror or error}") from None
        return connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a base URL leads: ``path`` is what comes before each request's own path."""

    tls: bool
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, base_url: str) -> Origin:
        """Read a base URL. Raises ConfigError."""
        try:
            parts = urlsplit(base_url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigError(f"model: {base_url}: {error}") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigError(f"model: {base_url}: not an http or https URL", hint="http://127.0.0.1:8080/v1")
        tls = parts.scheme == "https"
        path = parts.path.rstrip("/")
        if not (path + host).isascii() or any(c <= " " for c in path + host):
            raise ConfigError(f"model: {base_url}: the URL has characters that must be percent-encoded")
        return cls(tls=tls, host=host, port=port or (443 if tls else 80), path=path)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


class _Stale(Exception):
    """The connection ended before any byte of an answer came."""


class _Connection(asyncio.Protocol):
    """One connection; :meth:`exchange` at most once at a time. The other methods are asyncio's and httptools'."""

    def __init__(self) -> None:
        self.is_open = False
        self.is_reusable = False
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[Reply] | None = None

    async def exchange(self, data: bytes, seconds: float, timed: bool) -> Reply:
        loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._pieces: list[tuple[float, bytes]] = []
        self._size = 0
        self._timed = timed
        self._began = time.perf_counter()
        self._heard = self._has_head = self.is_reusable = False
        self._done = loop.create_future()
        assert self._transport is not None
        self._transport.write(data)
        timer = loop.call_later(seconds, self._fail, "timeout", f"no whole answer within {seconds:g} seconds")
        try:
            return await self._done
        finally:
            timer.cancel()
            self._done = None

    def abort(self) -> None:
        self.is_open = self.is_reusable = False
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, fault: Fault, message: str) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(TransportFailed(fault, message))

    def _finish(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(
                Reply(
                    status=self._parser.get_status_code(),
                    headers=self._headers,
                    body=b"".join(self._parts),
                    pieces=tuple(self._pieces),
                )
            )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self._done is None or self._done.done():
            self.abort()  # nothing was asked
            return
        self._heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail("malformed", f"the answer is not HTTP ({error})")

    def eof_received(self) -> None:
        return None

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = self.is_reusable = False
        if self._done is None or self._done.done():
            return
        if not self._heard:
            self._done.set_exception(_Stale())
        elif self._ends_with_connection():
            self._finish()
        else:
            self._fail("malformed", f"the connection ended within the answer (after {self._size} bytes)")

    def _ends_with_connection(self) -> bool:
        framed = "content-length" in self._headers or "transfer-encoding" in self._headers
        return self._has_head and not framed

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() >= 200:
            self._has_head = True
        else:
            self._headers = {}  # 100 Continue and its like: the answer is still to come

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > LARGEST_BODY:
            self._fail("malformed", f"the answer has more than {LARGEST_BODY} bytes")
            return
        self._parts.append(data)
        if self._timed:
            self._pieces.append((time.perf_counter() - self._began, data))

    def on_message_complete(self) -> None:
        if self._has_head:
            self.is_reusable = self.is_open and self._parser.should_keep_alive()
            self._finish()


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that go with each request, by lower-case name. Raises ConfigError."""
    default = {
        "user-agent": f"commonweal/{__version__}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-type": "application/json",
    }
    made = default | {name.lower(): value for name, value in headers.items()}
    for name, value in made.items():
        if not (name + value).isascii() or any(c < " " for c in name + value):
            raise ConfigError(
                f"model: the header '{name}' has characters that HTTP does not allow",
                hint="was the key copied with a line break or a quotation mark?",
            )
    return made


def _head(origin: Origin, headers: Mapping[str, str]) -> str:
    made = {"host": str(origin).partition("://")[2]} | checked_headers(headers)
    return "".join([f"{name}: {value}\r\n" for name, value in made.items()])


def _tls() -> ssl.SSLContext:
    """Certificates that the system trusts, and those of certifi where the system has none."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
