"""Files of the web, downloaded as they are. Knows no cache and no scenario."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from commonweal.core.errors import NotFound, Unavailable
from commonweal.evals.scenario import Web

_CONNECT, _READ = 15.0, 60.0  # seconds
_CHUNK = 1 << 20


class Files(Protocol):
    def fetch(self, web: Web, into: Path) -> None:
        """Raises NotFound where there is no such file for us, Unavailable where the network or the server is away."""
        ...


class HttpFiles:
    """By HTTP. A file that came shorter than the server said is none."""

    def fetch(self, web: Web, into: Path) -> None:
        import httpx  # heavy: only where something is downloaded

        timeout, plain = httpx.Timeout(_READ, connect=_CONNECT), {"accept-encoding": "identity"}
        try:
            with (
                httpx.stream("GET", web.url, headers=plain, follow_redirects=True, timeout=timeout) as answer,
                into.open("wb") as file,
            ):
                if answer.status_code != 200:
                    raise _refused(web, answer.status_code)
                for part in answer.iter_raw(_CHUNK):
                    file.write(part)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"{web.url}: {type(error).__name__}: {error}") from error


def _refused(web: Web, status: int) -> NotFound | Unavailable:
    kind = NotFound if 400 <= status < 500 and status != 429 else Unavailable
    return kind(f"{web.url}: the server answers {status}")
