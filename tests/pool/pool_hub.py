"""A real hub for tests: uvicorn on loopback, a fresh database, a folder store, and jobs that only count."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from commonweal.app import FirstKeys, HubSettings, build, first_start
from commonweal.core.blobs import Blobs
from commonweal.core.clock import SystemClock
from commonweal.core.database import Database
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import JobId
from commonweal.core.work import (
    Amount,
    Fold,
    Json,
    MemberView,
    Payment,
    Plan,
    Result,
    Verdict,
    WorkUnit,
)
from commonweal.pool.foreman import Fault, no_fault
from served_app import serving

PREFIX = "/pool/v1"


class CountingJob:
    """Each round asks every present member to count; folds add up what they say."""

    def __init__(self, job: JobId, spec: Json) -> None:
        self.spec = spec

    def start(self) -> Json:
        return {"round": 0, "total": 0}

    def plan(self, state: Json, members: Sequence[MemberView], now: float) -> Plan | None:
        number = len(members) if self.spec.get("units") is None else self.spec["units"]
        if not number:
            return None
        group = "" if self.spec.get("ungrouped") else f"round-{state['round']}"
        return Plan(
            units=tuple(
                WorkUnit(
                    key=f"r{state['round']:04}-{i:04}",
                    kind="count",
                    payload={"round": state["round"]},
                    amount=Amount(least=1, most=1000, first=10, target_seconds=self.spec.get("target", 1.0)),
                    group=group,
                    prefers=members[i].id if self.spec.get("prefer") and i < len(members) else None,
                )
                for i in range(number)
            ),
            deadline=now + self.spec.get("deadline", 30.0),
            quorum=self.spec.get("quorum", 1),
            pickup_seconds=self.spec.get("pickup", 5.0),
        )

    def fold(self, state: Json, results: Sequence[Result], now: float) -> Fold:
        good = [r for r in results if r.report.get("count", 0) >= 0]
        verdicts = tuple(
            Verdict(unit_key=r.unit_key, member=r.member, accepted=r in good, fault="member") for r in results
        )
        price = self.spec.get("price", 0)
        after = {"round": state["round"] + 1, "total": state["total"] + sum(r.report["count"] for r in good)}
        return Fold(
            state=after,
            record={"counts": [r.report["count"] for r in results]},
            verdicts=verdicts,
            payments=tuple(Payment(unit_key=r.unit_key, member=r.member, microcredits=price) for r in good),
            keeps=frozenset(BlobHash(h) for r in good for h in r.blobs.values()),
            status="done" if after["round"] >= self.spec.get("rounds", 3) else "running",
        )


FACTORIES = {"count": CountingJob}


@dataclass(frozen=True)
class RunningHub:
    url: str
    keys: FirstKeys
    stop: Callable[[], None]

    def client(self, key: str) -> httpx.Client:
        return httpx.Client(
            base_url=self.url + PREFIX,
            headers={"Authorization": f"Bearer {key}"},
            timeout=40,
            verify=False,  # no TLS here, and reading the certificates takes longer than a request
        )

    @property
    def admin(self) -> httpx.Client:
        return self.client(self.keys.admin)

    def member(self, name: str = "test", number: int = 0) -> TestMember:
        with self.client(self.keys.join) as client:
            reply = client.post(
                "/members",
                json={
                    "name": name,
                    "client_version": "0.1.0",
                    "roles": ["train"],
                    "request_id": f"register-{name}-{number}-{time.monotonic_ns()}",
                },
            )
        assert reply.status_code == 201, reply.text
        return TestMember(self.client(reply.json()["key"]), reply.json()["member"])

    def submit_job(self, **spec: Any) -> str:
        budget = spec.pop("budget", 10**9)
        reply = self.admin.post(
            "/jobs",
            json={
                "kind": "count",
                "name": "counting",
                "spec": spec,
                "budget": budget,
                "request_id": f"job-{time.monotonic_ns()}",
            },
        )
        assert reply.status_code == 201, reply.text
        return str(reply.json()["id"])

    def job(self, job: str) -> dict[str, Any]:
        return dict(self.admin.get(f"/jobs/{job}").json())

    def wait_for(self, job: str, status: str = "done", seconds: float = 20) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (view := self.job(job))["status"] != status:
            assert time.monotonic() < deadline, view
            time.sleep(0.05)
        return view


class TestMember:
    """A member that speaks the protocol by hand."""

    __test__ = False

    def __init__(self, client: httpx.Client, member: str) -> None:
        self.client = client
        self.id = member
        self._requests = 0

    def lease(
        self, wait: float = 5, memory: int = 2**30, request_id: str | None = None
    ) -> dict[str, Any] | None:
        self._requests += 1
        reply = self.client.post(
            "/lease",
            json={
                "roles": ["train"],
                "kinds": ["count"],
                "wait": wait,
                "free_memory": memory,
                "request_id": request_id or f"{self.id}-{self._requests}",
            },
        )
        assert reply.status_code in (200, 204), reply.text
        return None if reply.status_code == 204 else dict(reply.json())

    def submit(self, lease: dict[str, Any], count: int = 1, **changes: Any) -> httpx.Response:
        body = {
            "fence": lease["fence"],
            "amount_done": lease["amount"],
            "seconds": 0.1,
            "report": {"count": count},
            "blobs": {},
        }
        return self.client.post(f"/units/{lease['unit']}/submit", json=body | changes)

    def heartbeat(self, lease: dict[str, Any] | None = None, state: str = "working") -> dict[str, Any]:
        leases = [{"unit": lease["unit"], "fence": lease["fence"]}] if lease else []
        reply = self.client.post("/heartbeat", json={"state": state, "leases": leases})
        assert reply.status_code == 200, reply.text
        return dict(reply.json())


@contextmanager
def running_hub(
    database: Database,
    blobs: Blobs,
    folder: Path,
    *,
    fault: Fault = no_fault,
    keys: FirstKeys | None = None,
    **settings: Any,
) -> Iterator[RunningHub]:
    """Serve a hub on a free port until the block ends."""
    options = HubSettings(folder=folder, tick_seconds=0.1, **settings)
    keys = first_start(database, options, SystemClock()) or keys
    assert keys is not None
    app = build(database, blobs, dict(FACTORIES), options, fault=fault)
    with ExitStack() as stack:
        yield RunningHub(stack.enter_context(serving(app)), keys, stack.close)
