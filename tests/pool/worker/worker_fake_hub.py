"""A hub in one object: the protocol's bodies over a dictionary, with faults by name. It is an httpx transport's
handler, so the client under test is the real one; ``served`` puts it behind a real socket."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from commonweal.core.hashing import content_hash
from commonweal.pool import wire

TOKEN = "cwjoin-0123456789"
KEY = "cwmember-abcdefghij"
Fault = Callable[[httpx.Request], httpx.Response | None]


def error(status: int, code: str, message: str = "no", **headers: str) -> httpx.Response:
    body = {"error": {"message": message, "type": "refused", "code": code, "param": None, "hint": None}}
    return httpx.Response(status, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


def lease(number: int = 1, kind: str = "double", **payload: Any) -> wire.Lease:
    return wire.Lease(
        unit=f"unit_{number}",
        fence=number,
        job="job_1",
        unit_key=f"r0/{number}",
        kind=kind,
        payload=payload,
        amount=10,
        seconds=60,
        ttl=5,
    )


class Broken(httpx.SyncByteStream):
    """A body that ends with the connection."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self._data
        raise httpx.ReadError("connection reset")


class FakeHub:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.work: deque[wire.Lease] = deque()
        self.blobs: dict[str, bytes] = {}
        self.parts: dict[str, bytearray] = {}
        self.requests: list[httpx.Request] = []
        self.submits: dict[str, wire.Submit] = {}
        self.released: list[tuple[str, wire.Release]] = []
        self.heartbeats: list[wire.Heartbeat] = []
        self.registrations: list[wire.Register] = []
        self.lost: set[str] = set()
        self.left = 0
        self.oldest = "0.1.0"
        self.faults: dict[str, deque[Fault]] = {}
        """By 'METHOD first-path-segment': each is used once, in order."""
        self.when_idle: Callable[[], None] = lambda: None

    def fail(self, route: str, *faults: Fault) -> None:
        self.faults.setdefault(route, deque()).extend(faults)

    def add(self, data: bytes) -> str:
        self.blobs[content_hash(data)] = data
        return content_hash(data)

    def asked(self, route: str) -> list[httpx.Request]:
        method, segment = route.split()
        return [r for r in self.requests if r.method == method and _segments(r)[0] == segment]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            self.requests.append(request)
            if request.url.host == "store.test":
                return self._stored(request)
            route = f"{request.method} {_segments(request)[0]}"
            if self.faults.get(route):
                answer = self.faults[route].popleft()(request)
                if answer is not None:
                    return answer
            return self._route(route, request)

    def _route(self, route: str, request: httpx.Request) -> httpx.Response:
        if route == "GET hello":
            return _json(
                wire.Hello(
                    version="0.1.0",
                    oldest_client=self.oldest,
                    time=0,
                    heartbeat_seconds=0.02,
                    lease_seconds=5,
                )
            )
        bearer = request.headers.get("Authorization")
        if route == "POST members":
            if bearer != f"Bearer {TOKEN}":
                return error(401, "not_authorized")
            self.registrations.append(wire.Register.model_validate_json(request.read()))
            return _json(wire.Registered(member="mem_1", key=KEY))
        if bearer != f"Bearer {KEY}":
            return error(401, "not_authorized", "this key is not known here")
        return getattr(self, "_" + route.replace(" ", "_").lower())(request)

    def _post_lease(self, request: httpx.Request) -> httpx.Response:
        if not self.work:
            self.when_idle()
            return httpx.Response(204)
        return _json(self.work.popleft())

    def _post_heartbeat(self, request: httpx.Request) -> httpx.Response:
        beat = wire.Heartbeat.model_validate_json(request.read())
        self.heartbeats.append(beat)
        states = [wire.LeaseState(unit=p.unit, valid=p.unit not in self.lost) for p in beat.leases]
        return _json(wire.HeartbeatReply(leases=states))

    def _post_units(self, request: httpx.Request) -> httpx.Response:
        _, unit, action = _segments(request)
        if action == "release":
            self.released.append((unit, wire.Release.model_validate_json(request.read())))
            return httpx.Response(204)
        if unit in self.lost:
            return error(409, "stale_lease", "somebody else has this unit")
        duplicate = unit in self.submits
        self.submits[unit] = wire.Submit.model_validate_json(request.read())
        return _json(wire.Submitted(duplicate=duplicate))

    def _post_leave(self, request: httpx.Request) -> httpx.Response:
        self.left += 1
        return httpx.Response(204)

    def _post_uploads(self, request: httpx.Request) -> httpx.Response:
        if _segments(request)[-1] == "complete":
            return httpx.Response(204)
        asked = wire.UploadRequest.model_validate_json(request.read())
        done = asked.hash in self.blobs
        return _json(wire.Upload(complete=done, offset=len(self.parts.setdefault(asked.hash, bytearray()))))

    def _patch_uploads(self, request: httpx.Request) -> httpx.Response:
        name, offset = _segments(request)[1], int(request.url.params["offset"])
        part = self.parts[name]
        if offset != len(part):
            return error(409, "conflict", f"it is at {len(part)}")
        part.extend(request.read())
        if len(part) == int(request.url.params["size"]):
            del self.parts[name]
            if content_hash(part) != name:
                return error(422, "wrong_hash")
            self.blobs[name] = bytes(part)
        return httpx.Response(200, json={"offset": len(part)})

    def _get_blobs(self, request: httpx.Request) -> httpx.Response:
        data = self.blobs.get(_segments(request)[1])
        return error(404, "not_found") if data is None else ranged(data, request)

    def _stored(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.strip("/")
        if request.method == "PUT":
            self.blobs[name] = request.read()
            return httpx.Response(200)
        return ranged(self.blobs[name], request)


def ranged(data: bytes, request: httpx.Request) -> httpx.Response:
    asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    if asked is None:
        return httpx.Response(200, content=data)
    start = int(asked[1])
    if start >= len(data):
        return httpx.Response(416, headers={"Content-Range": f"bytes */{len(data)}"})
    told = f"bytes {start}-{len(data) - 1}/{len(data)}"
    return httpx.Response(206, content=data[start:], headers={"Content-Range": told})


def cut(data: bytes, at: int) -> Fault:
    """A download of ``data`` that breaks off when byte ``at`` of what was asked for was sent."""

    def fault(request: httpx.Request) -> httpx.Response:
        whole = ranged(data, request)
        return httpx.Response(whole.status_code, headers=whole.headers, stream=Broken(whole.content[:at]))

    return fault


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused")


def _json(body: wire.Body) -> httpx.Response:
    return httpx.Response(200, json=json.loads(body.model_dump_json()))


def _segments(request: httpx.Request) -> list[str]:
    return request.url.path.removeprefix(wire.PREFIX + "/").split("/")


@contextmanager
def served(hub: Callable[[httpx.Request], httpx.Response]) -> Iterator[str]:
    """Put a handler behind a real socket on loopback; gives its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            request = httpx.Request(
                self.command,
                f"http://127.0.0.1{self.path}",
                headers=list(self.headers.items()),
                content=self.rfile.read(length),
            )
            response = hub(request)
            self.send_response(response.status_code)
            for name, value in response.headers.items():
                if name not in ("transfer-encoding", "content-length"):
                    self.send_header(name, value)
            try:
                body = response.headers.get("content-length"), response.read()
            except httpx.ReadError:  # a Broken one: promise all, send a part, hang up
                self.send_header("Content-Length", response.headers["content-length"])
                self.end_headers()
                self.wfile.write(next(iter(response.stream)))  # type: ignore[arg-type]
                self.close_connection = True
                return
            self.send_header("Content-Length", str(len(body[1])))
            self.end_headers()
            self.wfile.write(body[1])

        do_GET = do_POST = do_PATCH = do_PUT = answer  # noqa: N815

        def log_message(self, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
