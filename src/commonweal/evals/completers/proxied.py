"""The transport for a server that is reached through a proxy: httpx, which knows proxies of all kinds.

It costs several times the processor time of :class:`commonweal.evals.completers.transport.HttpTransport`, so it is
used only where a proxy was named. Imported late, because httpx is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import httpx

from commonweal.core.errors import ConfigError
from commonweal.evals.completers.transport import (
    LARGEST_BODY,
    Method,
    Origin,
    Reply,
    TransportFailed,
    checked_headers,
)


class ProxiedTransport:
    """Connections to the server of ``base_url`` through ``proxy`` (http, https, or socks5 with httpx's extra).

    Raises ConfigError for a URL or a header that cannot be sent.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], *, proxy: str, connections: int) -> None:
        origin = Origin.of(base_url)
        self._base = f"{origin}{origin.path}"
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        try:
            self._client = httpx.AsyncClient(
                proxy=proxy, headers=checked_headers(headers), limits=limits, trust_env=False
            )
        except (ValueError, ImportError) as error:
            raise ConfigError(f"proxy: '{proxy}' cannot be used: {error}") from None

    async def exchange(
        self, method: Method, path: str, body: bytes, *, seconds: float, timed: bool = False
    ) -> Reply:
        began = time.perf_counter()
        pieces: list[tuple[float, bytes]] = []
        try:
            async with self._client.stream(
                method, self._base + path, content=body, timeout=httpx.Timeout(seconds, connect=10.0)
            ) as answer:
                size = 0
                async for piece in answer.aiter_raw():
                    size += len(piece)
                    if size > LARGEST_BODY:
                        raise TransportFailed("malformed", f"the answer has more than {LARGEST_BODY} bytes")
                    pieces.append((time.perf_counter() - began, piece))
                return Reply(
                    status=answer.status_code,
                    headers=dict(answer.headers),
                    body=b"".join([piece for _, piece in pieces]),
                    pieces=tuple(pieces) if timed else (),
                )
        except httpx.ConnectTimeout as error:
            raise TransportFailed("unreachable", f"{self._base}: {error or 'no connection'}") from None
        except httpx.TimeoutException:
            raise TransportFailed("timeout", f"nothing came for {seconds:g} seconds") from None
        except httpx.RemoteProtocolError as error:
            raise TransportFailed("malformed", f"the answer is not whole HTTP ({error})") from None
        except httpx.TransportError as error:
            raise TransportFailed("unreachable", f"{self._base}: {error}") from None

    async def close(self) -> None:
        await self._client.aclose()
