"""A hub whose pool really trained a model: two members in this process, a few rounds, the books, a real folder."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from fastapi import FastAPI

from commonweal import cli
from commonweal.app import HubSettings, build, first_start
from commonweal.core.blobs import Blobs
from commonweal.core.clock import ManualClock, SystemClock
from commonweal.core.config import from_table
from commonweal.core.database import Database
from commonweal.core.ids import JobId, MemberId
from commonweal.core.work import Task
from commonweal.ledger.chain import seal
from commonweal.pool import access, accounts, leases, registry, wire
from commonweal.pool.foreman import Foreman, ForemanOptions
from commonweal.serve.catalogue import ServedModel
from commonweal.train.config import TrainSettings
from served_app import serving

pytest.importorskip("torch")
from commonweal.train.executor import TrainExecutor
from commonweal.train.job import job_factory
from commonweal.train.local import LocalIO
from commonweal.train.prepare import prepare_job
from commonweal.train.spec import KIND

MACHINE = {"system": "Linux", "machine": "x86_64", "cores": 2, "device": "cpu"}
WORDS = ("the", "a", "cat", "dog", "sees", "likes", "bites", "small", "big", "red", "bird", "house", "and")
_requests = itertools.count()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in this process: what it prints, and its exit code."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    own = {name: value for name, value in os.environ.items() if not name.startswith("COMMONWEAL_")}
    with (
        mock.patch.dict(os.environ, own, clear=True),
        mock.patch.object(sys, "argv", ["commonweal", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def assert_clear(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One message, which says what was wrong."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    for word in words:
        assert word in done.stderr


def write_texts(folder: Path) -> Path:
    folder.mkdir(parents=True)
    draw = random.Random(0)
    for number in range(60):
        (folder / f"{number:03d}.txt").write_text(" ".join(draw.choice(WORDS) for _ in range(120)) + ".\n")
    return folder


@dataclass(slots=True)
class Trained:
    """``job`` is over; ``url`` is the hub's, ``key`` the operator's."""

    database: Database
    blobs: Blobs
    app: FastAPI
    url: str
    key: str
    job: str
    texts: Path


def train(database: Database, blobs: Blobs, texts: Path, work: Path, *, steps: int = 12) -> str:
    """A job of the pool, from its submission to its end."""
    clock = ManualClock(1e6)
    factories = {KIND: job_factory(blobs)}
    executors: dict[MemberId, TrainExecutor] = {}
    with database.transaction() as connection:
        joiner = access.Caller(role="join", owner="join:first")
        for name in ("one", "two"):
            body = wire.Register(
                name=name,
                client_version="0.1.0",
                roles=["train"],
                platform=MACHINE,
                request_id=f"member-{name}",
            )
            member = MemberId(access.register(connection, body, joiner, 1e6).member)
            accounts.open_member(connection, member)
            executors[member] = TrainExecutor(None, threads=1)
    table: dict[str, Any] = {
        "name": "tales",
        "data": {"kind": "files", "path": str(texts), "licence": "CC0-1.0"},
        "tokenizer": {"kind": "bytes"},
        "model": {"config": {"hidden_size": 32, "num_hidden_layers": 1}},
        "train": {"steps": steps, "seq_len": 32, "batch_size": 4},
        "rounds": {"plan": False, "first_inner_steps": 4, "last_inner_steps": 4, "min_members": 2},
        "checks": {"score": False},
    }
    settings = from_table(table, TrainSettings, where="test")
    prepared = prepare_job(settings, work, blobs.put)
    body_of = wire.NewJob(
        kind=KIND,
        name=settings.name,
        spec=prepared.spec,
        blobs=list(prepared.blobs),
        budget=10**8,
        request_id="the-only-job",
    )
    ready = registry.prepare_job(body_of, factories, blobs)
    with database.transaction() as connection:
        job = registry.submit_job(
            connection, ready, access.Caller(role="admin", owner="operator"), clock.now()
        ).id
    foreman = Foreman(database, factories, ForemanOptions(present_seconds=1e9))
    while foreman.running():
        foreman.step(job, clock.now())
        for member, executor in executors.items():
            _compute(database, blobs, member, executor, clock)
        clock.sleep(30)
        foreman.step(job, clock.now())
    for executor in executors.values():
        executor.close()
    with database.transaction() as connection:
        seal(connection)
    return job


def _compute(
    database: Database, blobs: Blobs, member: MemberId, executor: TrainExecutor, clock: ManualClock
) -> None:
    ask = wire.LeaseRequest(
        roles=["train"],
        kinds=["train_round"],
        wait=0,
        free_memory=2**40,
        request_id=f"lease-{next(_requests):08}",
    )
    with database.transaction() as connection:
        lease = leases.lease(connection, member, ask, ttl=1e6, now=clock.now())
    if lease is None:
        return
    task = Task(
        job=JobId(lease.job),
        unit_key=lease.unit_key,
        kind=lease.kind,
        payload=lease.payload,
        amount=lease.amount,
        seconds=1e6,
    )
    outcome = executor.run(task, LocalIO(blobs))
    clock.sleep(18)
    body = wire.Submit(
        fence=lease.fence,
        amount_done=outcome.amount_done,
        seconds=outcome.seconds,
        report=outcome.report,
        blobs={name: blobs.put(data) for name, data in outcome.blobs.items()},
    )
    with database.transaction() as connection:
        leases.submit(connection, member, lease.unit, body, now=clock.now())


@contextmanager
def trained_hub(
    database: Database, blobs: Blobs, folder: Path, *, runs: Path | None = None
) -> Iterator[Trained]:
    settings = HubSettings(folder=folder, tick_seconds=0.1, fold=False, runs=runs)
    keys = first_start(database, settings, SystemClock())
    assert keys is not None
    texts = write_texts(folder / "texts")
    job = train(database, blobs, texts, folder / "work")
    app = build(database, blobs, {}, settings)
    with serving(app) as url:
        yield Trained(database, blobs, app, url, keys.admin, job, texts)


def served(**more: Any) -> ServedModel:
    """A row of the catalogue."""
    values: dict[str, Any] = {
        "name": "tiny",
        "kind": "full",
        "owner": "user:ada",
        "files": {},
        "identity": "f" * 64,
        "parameters": 7,
        "window": 32,
        "price_in": 1,
        "price_out": 1,
        "created": 1e9,
    }
    return ServedModel(**values | more)
