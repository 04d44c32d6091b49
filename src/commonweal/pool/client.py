"""The hub as its users call it: submit and follow jobs, read the pool, move credits and blobs.

One short method a route. Every call is safe to repeat (it reads, says the same twice, or carries a request id), and
is tried again while the hub is away or busy, for a limited time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from random import Random
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter

from commonweal.core.clock import SystemClock
from commonweal.core.errors import CorruptBlob
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.core.ids import new_id
from commonweal.pool import wire
from commonweal.pool.worker.answers import check, reached
from commonweal.pool.worker.client import HubClient
from commonweal.pool.worker.download import Arriving, length
from commonweal.pool.worker.patience import LIMITED, Retry
from commonweal.pool.worker.throttle import Meter, TokenBucket
from commonweal.pool.worker.upload import Uploads

T = TypeVar("T")


class PoolClient:
    """``key`` is a user's, an operator's or a member's. Use it in one thread."""

    def __init__(
        self, url: str, key: str, *, version: str, transport: httpx.BaseTransport | None = None
    ) -> None:
        clock = SystemClock()
        self._hub = HubClient(url, version=version, key=key, transport=transport)
        self._http = httpx.Client(
            base_url=self._hub.url + wire.PREFIX,
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
            transport=transport,
        )
        self._retry = Retry(clock, Random())
        self._uploads = Uploads(self._hub, self._retry, Meter(clock), TokenBucket(None, clock))
        self._never = threading.Event()

    @property
    def url(self) -> str:
        return self._hub.url

    def close(self) -> None:
        self._http.close()
        self._hub.close()

    def hello(self) -> wire.Hello:
        """What the hub says of itself. Raises UserError where it would not talk to a client this old."""
        return self._retry.call(self._hub.hello, LIMITED, self._never)

    def put(self, data: bytes) -> BlobHash:
        """Upload a blob, unless the hub has it."""
        return self._uploads.put(data, self._never)

    def get(self, blob: BlobHash, told: Arriving = lambda here, whole: None) -> bytes:
        """The bytes of a blob, verified. ``told`` hears of what has come."""

        def once() -> bytes:
            with reached("the hub"), self._hub.open_blob(blob, 0) as response:
                whole = length(response)
                data = bytearray()
                for piece in response.iter_bytes():
                    data += piece
                    told(len(data), whole)
                return bytes(data)

        data = self._retry.call(once, LIMITED, self._never)
        if content_hash(data) != blob:
            raise CorruptBlob(f"what the hub sends for {blob[:12]} has another hash")
        return data

    def submit_job(
        self, *, kind: str, name: str, spec: dict[str, Any], blobs: list[BlobHash], budget: int
    ) -> wire.JobView:
        body = wire.NewJob(
            kind=kind, name=name, spec=spec, blobs=list(blobs), budget=budget, request_id=new_id("req")
        )
        return self._call("POST", "/jobs", wire.JobView, body)

    def jobs(self, status: str | None = None) -> list[wire.JobView]:
        return self._call("GET", "/jobs", list[wire.JobView], params={"status": status} if status else None)

    def job(self, job: str) -> wire.JobView:
        return self._call("GET", f"/jobs/{job}", wire.JobView)

    def rounds(self, job: str, after: int = -1) -> Iterator[wire.RoundView]:
        """Round records with a number above ``after``, oldest first, page by page."""
        while page := self._call(
            "GET", f"/jobs/{job}/rounds", list[wire.RoundView], params={"after": after, "limit": 500}
        ):
            yield from page
            after = page[-1].number

    def pause(self, job: str) -> wire.JobView:
        return self._call("POST", f"/jobs/{job}/pause", wire.JobView)

    def resume(self, job: str, budget: int) -> wire.JobView:
        body = wire.Resume(budget=budget, request_id=new_id("req"))
        return self._call("POST", f"/jobs/{job}/resume", wire.JobView, body)

    def cancel(self, job: str) -> wire.JobView:
        return self._call("POST", f"/jobs/{job}/cancel", wire.JobView)

    def status(self) -> wire.Status:
        return self._call("GET", "/status", wire.Status)

    def members(self) -> list[wire.MemberRow]:
        return self._call("GET", "/members", list[wire.MemberRow])

    def trust(self, member: str, *, trusted: bool) -> None:
        self._send("POST", f"/members/{member}/trust", json={"trusted": trusted})

    def ban(self, member: str, *, banned: bool) -> None:
        self._send("POST", f"/members/{member}/ban", json={"banned": banned})

    def new_key(self, role: str, label: str) -> wire.Key:
        body = {"role": role, "label": label, "request_id": new_id("req")}
        return self._call("POST", "/keys", wire.Key, json=body)

    def revoke(self, account: str) -> int:
        body = {"account": account, "request_id": new_id("req")}
        return int(self._send("POST", "/keys/revoke", json=body).json()["revoked"])

    def balances(self) -> list[wire.Balance]:
        return self._call("GET", "/credits", list[wire.Balance])

    def history(self, account: str | None) -> list[dict[str, Any]]:
        params = {"account": account} if account else None
        return self._call("GET", "/credits/history", list[dict[str, Any]], params=params)

    def grant(self, account: str, microcredits: int, memo: str) -> wire.Balance:
        body = wire.Grant(account=account, microcredits=microcredits, memo=memo, request_id=new_id("req"))
        return self._call("POST", "/credits/grant", wire.Balance, body)

    def verify(self) -> wire.Audit:
        return self._call("POST", "/credits/verify", wire.Audit)

    def export(self) -> Iterator[str]:
        """The public books, line by line."""
        with reached("the hub"), self._http.stream("GET", "/credits/export") as response:
            if not response.is_success:
                response.read()
            check(response)
            yield from response.iter_lines()

    def _call(
        self,
        method: str,
        path: str,
        into: type[T],
        body: BaseModel | None = None,
        *,
        json: Any = None,
        params: dict[str, Any] | None = None,
    ) -> T:
        content = body.model_dump(mode="json") if body is not None else json
        response = self._send(method, path, json=content, params=params)
        return TypeAdapter(into).validate_json(response.content)

    def _send(
        self, method: str, path: str, *, json: Any = None, params: dict[str, Any] | None = None
    ) -> httpx.Response:
        def once() -> httpx.Response:
            with reached("the hub"):
                response = self._http.request(method, path, json=json, params=params)
            check(response)
            return response

        return self._retry.call(once, LIMITED, self._never)
