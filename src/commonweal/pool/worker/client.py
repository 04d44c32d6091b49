"""The hub as one Python object: each method is one HTTP exchange with a timeout and a typed answer or error.

Trying again is not its business (``patience``), nor is what to say (``agent``). The member's key goes to the hub
only: URLs that lead elsewhere (pre-signed ones) are asked without it. Safe to use from several threads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from commonweal.core.errors import CommonwealError, Unavailable, UserError
from commonweal.core.hashing import BlobHash
from commonweal.pool import wire
from commonweal.pool.worker.answers import check, check_stored, detail, reached, too_old

B = TypeVar("B", bound=BaseModel)

_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_PARTING_TIMEOUT = httpx.Timeout(5.0)
"""Whoever leaves does not wait long to be heard."""
_ANSWER_SECONDS = 15.0
"""How much longer than its own waiting time a long poll may take."""
_READ_RATE = 10e6
"""Bytes a second that a hub reads from its store, at least."""


class HubClient:
    """``transport`` replaces the network in tests; ``version`` is what the hub is told of this client."""

    def __init__(
        self, url: str, *, version: str, key: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = hub_url(url)
        self.version = version
        self.key = key
        self._http = httpx.Client(
            base_url=self.url,
            timeout=_TIMEOUT,
            transport=transport,
            headers={"User-Agent": f"commonweal/{version}"},
        )

    def close(self) -> None:
        self._http.close()

    def hello(self, timeout: httpx.Timeout = _TIMEOUT) -> wire.Hello:
        """What the hub says of itself. Raises UserError where it would not talk to a client this old."""
        hello = _parsed(self._call("GET", "/hello", timeout=timeout), wire.Hello)
        if version_key(self.version) < version_key(hello.oldest_client):
            raise too_old(
                f"this client is version {self.version}; the hub talks to {hello.oldest_client} or newer"
            )
        return hello

    def register(self, body: wire.Register, token: str) -> wire.Registered:
        """Become a member, with a join token."""
        return _parsed(self._call("POST", "/members", body, key=token), wire.Registered)

    def lease(self, body: wire.LeaseRequest) -> wire.Lease | None:
        """Ask for a unit, for up to ``body.wait`` seconds; None if there was none."""
        timeout = httpx.Timeout(30.0, connect=10.0, read=body.wait + _ANSWER_SECONDS)
        response = self._call("POST", "/lease", body, timeout=timeout)
        return None if response.status_code == 204 else _parsed(response, wire.Lease)

    def heartbeat(self, body: wire.Heartbeat, seconds: float = 30.0) -> wire.HeartbeatReply:
        """Keep the leases, and hear which are lost; ``seconds`` is the longest that an answer may take."""
        response = self._call("POST", "/heartbeat", body, timeout=httpx.Timeout(seconds))
        return _parsed(response, wire.HeartbeatReply)

    def submit(self, unit: str, body: wire.Submit) -> wire.Submitted:
        """Hand in a unit. Raises Conflict if the lease is not this member's any more."""
        return _parsed(self._call("POST", f"/units/{_segment(unit)}/submit", body), wire.Submitted)

    def release(self, unit: str, body: wire.Release) -> None:
        """Hand a lease back undone."""
        self._call("POST", f"/units/{_segment(unit)}/release", body, timeout=_PARTING_TIMEOUT)

    def leave(self) -> None:
        """Give back everything, and go."""
        self._call("POST", "/leave", timeout=_PARTING_TIMEOUT)

    def request_upload(self, body: wire.UploadRequest) -> wire.Upload:
        """Where, and from which byte on, to send a blob."""
        return _parsed(self._call("POST", "/uploads", body), wire.Upload)

    def append(self, name: BlobHash, offset: int, size: int, body: Iterable[bytes], length: int) -> int:
        """Send ``length`` bytes of an upload of ``size`` from ``offset`` on. Returns the offset to go on from.

        Raises Unavailable if the hub has more or less of it than that: ask again from where to go on. Raises
        CorruptBlob if these were the last bytes, and the whole has another hash.
        """
        with reached("the hub"):
            response = self._http.patch(
                f"{wire.PREFIX}/uploads/{_segment(name)}",
                params={"offset": offset, "size": size},
                content=body,
                headers=self._headers(self.key) | _raw(length),
            )
        if response.status_code == 409:
            raise Unavailable(detail(response).message)
        check(response)
        return _parsed(response, _Offset).offset

    def put_stored(self, url: str, body: Iterable[bytes], length: int) -> None:
        """Upload straight to the store, at the pre-signed ``url``."""
        with reached("the store"):
            response = self._http.put(self._elsewhere(url), content=body, headers=_raw(length))
        check_stored(response)

    def complete_upload(self, name: BlobHash, parts_size: int | None = None) -> None:
        """Tell the hub that what it gave a pre-signed URL for is there; ``parts_size`` bytes if it is in parts. Raises
        CorruptBlob, and NotFound where it (or a part of it) is not there."""
        query = "" if parts_size is None else f"?size={parts_size}"
        # The hub reads all of it before it answers.
        timeout = httpx.Timeout(30.0 + (parts_size or 0) / _READ_RATE, connect=10.0)
        self._call("POST", f"/uploads/{_segment(name)}/complete{query}", timeout=timeout)

    @contextmanager
    def open_blob(self, name: BlobHash, offset: int) -> Iterator[httpx.Response]:
        """A response to be streamed (200, 206 or 416), from the hub or from where it points to."""
        wanted = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        path = f"{wire.PREFIX}/blobs/{_segment(name)}"
        with (
            reached("the hub"),
            self._http.stream("GET", path, headers=self._headers(self.key) | wanted) as response,
        ):
            if not response.has_redirect_location:
                if not response.is_success and response.status_code != 416:
                    response.read()
                    check(response)
                yield response
                return
            url = self._elsewhere(response.headers["Location"])
        with reached("the store"), self._http.stream("GET", url, headers=wanted) as response:
            if response.status_code != 416:
                check_stored(response)
            yield response

    def _call(
        self,
        method: str,
        path: str,
        body: BaseModel | None = None,
        *,
        key: str | None = None,
        timeout: httpx.Timeout = _TIMEOUT,
    ) -> httpx.Response:
        headers = self._headers(key or self.key)
        content = None if body is None else body.model_dump_json()
        if content is not None:
            headers["Content-Type"] = "application/json"
        with reached("the hub"):
            response = self._http.request(
                method, wire.PREFIX + path, content=content, headers=headers, timeout=timeout
            )
        check(response)
        return response

    def _headers(self, key: str | None) -> dict[str, str]:
        headers = {"X-Commonweal-Version": self.version}
        return headers | {"Authorization": f"Bearer {key}"} if key else headers

    def _elsewhere(self, location: str) -> str:
        """A URL that the hub points to. One that would lose the hub's encryption is refused."""
        url = urljoin(self.url + "/", location)
        scheme = urlsplit(url).scheme
        if scheme == "https" or (scheme == "http" and self.url.startswith("http://")):
            return url
        raise CommonwealError(f"the hub points to '{url[:80]}', which is not safe to follow")


class _Offset(wire.Body):
    offset: int


def hub_url(text: str) -> str:
    """The address of a hub as people write it, as a URL without a slash at its end.

    >>> hub_url("hub.example/"), hub_url("http://127.0.0.1:8400")
    ('https://hub.example', 'http://127.0.0.1:8400')
    """
    url = text.strip() if "://" in text else f"https://{text.strip()}"
    try:
        parsed = httpx.URL(url)
        named = re.fullmatch(rb"[A-Za-z0-9._:-]+", parsed.raw_host) is not None
        good = named and parsed.scheme in ("http", "https") and not parsed.query
    except (httpx.InvalidURL, UnicodeError):
        good = False
    if not good:
        raise UserError(
            f"'{text[:80]}' is not the address of a hub", hint="give one such as https://hub.example"
        )
    return url.rstrip("/")


def version_key(version: str) -> tuple[int, ...]:
    """What versions are compared by: the leading numbers.

    >>> version_key("0.10.1.dev3") > version_key("0.9")
    True
    """
    release = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part[:9]) for part in release.group().split(".")] if release else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _parsed(response: httpx.Response, into: type[B]) -> B:
    """The body as an ``into``. Something else answered (a captive portal, a proxy) is the network's failure."""
    try:
        return into.model_validate_json(response.content)
    except ValidationError as error:
        raise Unavailable(
            f"{response.request.url.host} answered something that is not a hub's answer "
            f"({into.__name__}: {error.error_count()} errors)",
            hint="check the address; a proxy or a login page may stand in between",
        ) from None


def _raw(length: int) -> dict[str, str]:
    """The length is told beforehand because stores refuse chunked uploads."""
    return {"Content-Type": "application/octet-stream", "Content-Length": str(length)}


def _segment(text: str) -> str:
    """An identifier as a part of a path. A hub that names its units otherwise gets no say in where we send."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", text):
        raise CommonwealError(f"the hub sent an identifier that cannot be one: {text[:80]!r}")
    return text
