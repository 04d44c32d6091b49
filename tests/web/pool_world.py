"""A hub with a training job that only says that it trains: the records are of the real form, and the numbers invented.

As a program it is a hub in a process of its own: ``python pool_world.py DATABASE STORE FOLDER PORT``.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from commonweal.app import FirstKeys, HubSettings, build, first_start
from commonweal.core.blobs import Blobs, open_blobs
from commonweal.core.clock import SystemClock
from commonweal.core.database import Database, connect
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import JobId
from commonweal.core.work import Amount, Fold, Json, MemberView, Payment, Plan, Result, Verdict, WorkUnit
from commonweal.train.config import InnerSettings, TrainSettings
from commonweal.train.record import MemberRecord, RoundRecord
from commonweal.train.state import Checkpoint, Losses, Totals, TrainState
from served_app import serving

PREFIX = "/pool/v1"
THETA = BlobHash("ab" * 32)
INNER, TOKENS = 10, 2560
SECRET_PATH = "/home/somebody/private-texts"  # of a job's data: no page may show it


def spec(steps: int = 1000, name: str = "tiny", refuse: str = "") -> Json:
    """``refuse`` is the name of a verdict that every result of the third slot gets."""
    settings = TrainSettings(name=name, train=InnerSettings(steps=steps, seq_len=32, batch_size=8)).to_json()
    settings["data"] |= {"kind": "files", "path": SECRET_PATH}
    return {
        "settings": settings,
        "parameters": 123_456,
        "model": {"model_type": "llama"},
        "held_out": {"shards": ["cd" * 32]},
        "refuse": refuse,
    }


def record(number: int, members: Sequence[MemberRecord], *, late: int = 0, step: int = 0) -> RoundRecord:
    """A round as a fold would tell it; the loss falls with the rounds."""
    counted = [one for one in members if one.verdict == "ok"]
    loss = 1.0 + 4.0 * math.exp(-number / 12)
    return RoundRecord(
        round=number,
        attempt=0,
        outcome="folded",
        step=step or INNER * (number + 1),
        inner_steps=INNER,
        tokens=TOKENS * len(counted) * (number + 1),
        members=tuple(replace(one, loss=loss) for one in members),
        stragglers=late,
        loss=loss if counted else None,
        held_out_loss=loss + 0.1 if number % 2 == 0 else None,
        bits_per_byte=(loss + 0.1) / 2.8 if number % 2 == 0 else None,
        up_bytes=70_000 * len(members),
        down_bytes=70_000 * len(members),
        allreduce_bytes=8 * 123_456 * INNER * len(counted),
        fewer_bytes=8 * 123_456 * INNER / 140_000,
        seconds=1.5,
        codec_up="int4",
        codec_down="int4",
        state=THETA,
    )


class SaidTraining:
    """Every round asks each machine that is here; a fold writes a record of it."""

    def __init__(self, job: JobId, told: Json) -> None:
        self.told = told
        self.steps = int(told["settings"]["train"]["steps"])

    def start(self) -> Json:
        return TrainState(theta=THETA).to_json()

    def plan(self, state: Json, members: Sequence[MemberView], now: float) -> Plan | None:
        if not members:
            return None
        number = TrainState.from_json(state).round
        return Plan(
            units=tuple(
                WorkUnit(
                    key=f"r{number:06}.0.s{slot:04}",
                    kind="train_round",
                    payload={"round": number, "slot": slot},
                    amount=Amount(least=1, most=1000, first=INNER, target_seconds=1.0),
                    group=f"r{number:06}.0",
                    prefers=member.id,
                )
                for slot, member in enumerate(members)
            ),
            deadline=now + 5.0,
            pickup_seconds=0.5,
        )

    def fold(self, state: Json, results: Sequence[Result], now: float) -> Fold:
        before = TrainState.from_json(state)
        members = [
            MemberRecord(
                member=one.member,
                asked=one.amount_asked,
                steps=INNER,
                tokens=TOKENS,
                seconds=1.0,
                up_bytes=70_000,
                down_bytes=70_000,
                verdict=self.told["refuse"] if self.told["refuse"] and one.payload["slot"] == 2 else "ok",
            )
            for one in results
        ]
        told = record(before.round, members, step=before.step + INNER)
        good = [one.member for one in members if one.verdict == "ok"]
        totals = Totals(
            tokens=before.totals.tokens + TOKENS * len(good),
            member_steps=before.totals.member_steps + INNER * len(good),
            up_bytes=before.totals.up_bytes + told.up_bytes,
            down_bytes=before.totals.down_bytes + told.down_bytes,
            allreduce_bytes=before.totals.allreduce_bytes + told.allreduce_bytes,
        )
        told = replace(told, tokens=totals.tokens)
        after = replace(
            before,
            round=before.round + 1,
            step=before.step + INNER,
            totals=totals,
            losses=Losses(
                first=before.losses.first or told.loss, last=told.loss, bits_before=8.0, bits_now=2.0
            ),
            checkpoints=(
                Checkpoint(round=before.round + 1, step=told.step, theta=THETA, tokens=totals.tokens),
            ),
        )
        over = after.step >= self.steps
        return Fold(
            state=after.to_json(),
            record=replace(told, message=f"done: {after.step} inner steps" if over else "").to_json(),
            verdicts=tuple(
                Verdict(
                    unit_key=one.unit_key,
                    member=one.member,
                    accepted=one.member in good,
                    reason="ok" if one.member in good else self.told["refuse"],
                    fault="none",
                )
                for one in results
            ),
            payments=tuple(
                Payment(unit_key=one.unit_key, member=one.member, microcredits=1000)
                for one in results
                if one.member in good
            ),
            status="done" if over else "running",
        )


FACTORIES = {"train": SaidTraining}


@dataclass
class Machine:
    """A member that speaks the protocol by hand."""

    client: httpx.Client
    id: str
    key: str
    asked: int = 0

    def work(self, wait: float = 2.0) -> bool:
        """Do one unit; False if there was none."""
        self.asked += 1
        reply = self.client.post(
            "/lease",
            json={
                "roles": ["train"],
                "kinds": ["train_round"],
                "wait": wait,
                "free_memory": 2**30,
                "request_id": f"{self.id}-{self.asked}",
            },
        )
        assert reply.status_code in (200, 204), reply.text
        if reply.status_code == 204:
            return False
        lease = reply.json()
        done = self.client.post(
            f"/units/{lease['unit']}/submit",
            json={
                "fence": lease["fence"],
                "amount_done": lease["amount"],
                "seconds": 0.5,
                "report": {},
                "blobs": {},
            },
        )
        assert done.status_code in (200, 409), done.text
        return True


@dataclass
class Hub:
    url: str
    keys: FirstKeys
    machines: list[Machine] = field(default_factory=list)

    def client(self, key: str) -> httpx.Client:
        return httpx.Client(
            base_url=self.url + PREFIX,
            headers={"Authorization": f"Bearer {key}"},
            timeout=40,
            verify=False,  # no TLS here
        )

    def page(self, path: str, key: str = "") -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.get(f"{self.url}/{path}", headers=headers, timeout=40, verify=False)

    def user(self, label: str) -> str:
        with self.client(self.keys.admin) as client:
            return str(client.post("/keys", json={"role": "user", "label": label}).json()["key"])

    def join(self, name: str, key: str = "") -> Machine:
        with self.client(key or self.keys.join) as client:
            reply = client.post(
                "/members",
                json={
                    "name": name,
                    "client_version": "0.1.0",
                    "roles": ["train"],
                    "platform": {"system": "Linux", "host": "do-not-show"},
                    "request_id": f"register-{time.monotonic_ns()}",
                },
            )
        assert reply.status_code == 201, reply.text
        told = reply.json()
        self.machines.append(Machine(self.client(told["key"]), told["member"], told["key"]))
        return self.machines[-1]

    def submit(self, **told: Any) -> str:
        made = spec(**told)
        with self.client(self.keys.admin) as client:
            reply = client.post(
                "/jobs",
                json={
                    "kind": "train",
                    "name": made["settings"]["name"],
                    "spec": made,
                    "budget": 10**9,
                    "request_id": f"job-{time.monotonic_ns()}",
                },
            )
        assert reply.status_code == 201, reply.text
        return str(reply.json()["id"])

    def job(self, job: str) -> Mapping[str, Any]:
        with self.client(self.keys.admin) as client:
            return dict(client.get(f"/jobs/{job}").json())

    def play(self, job: str, rounds: int, seconds: float = 60.0) -> None:
        """Let all machines work until the job has so many rounds."""
        over = threading.Event()

        def working(machine: Machine) -> None:
            while not over.is_set():
                machine.work(wait=0.5)

        threads = [threading.Thread(target=working, args=(one,), daemon=True) for one in self.machines]
        for thread in threads:
            thread.start()
        until = time.monotonic() + seconds
        try:
            while (view := self.job(job))["rounds"] < rounds and view["status"] == "running":
                assert time.monotonic() < until, view
                time.sleep(0.05)
        finally:
            over.set()
            for thread in threads:
                thread.join(10)


def settings(folder: Path, **more: Any) -> HubSettings:
    return HubSettings(folder=folder, tick_seconds=0.1, **more)


@contextmanager
def pool_hub(
    database: Database, blobs: Blobs, folder: Path, keys: FirstKeys | None = None, **more: Any
) -> Iterator[Hub]:
    """A hub on a free port until the block ends."""
    options = settings(folder, **more)
    keys = first_start(database, options, SystemClock()) or keys
    assert keys is not None
    app = build(database, blobs, dict(FACTORIES), options)
    with ExitStack() as stack:
        yield Hub(stack.enter_context(serving(app)), keys)


def main(database: str, store: str, folder: str, port: str) -> None:
    app = build(connect(database), open_blobs(store), dict(FACTORIES), settings(Path(folder)))
    uvicorn.run(app, port=int(port), log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main(*sys.argv[1:])
