"""A training job small enough for tests: raw bytes, one narrow layer, three members in one process."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from commonweal.core.blobs import Blobs, open_blobs
from commonweal.core.config import from_table
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import JobId, MemberId
from commonweal.core.work import Executor, Json, Outcome, Task, WorkIO

pytest.importorskip("torch")
import torch

from commonweal.train.config import TrainSettings
from commonweal.train.executor import TrainExecutor
from commonweal.train.job import Scorer, TrainJob
from commonweal.train.local import LocalPool
from commonweal.train.prepare import PreparedJob, prepare_job

JOB = JobId("job_test")
MEMBERS = tuple(MemberId(f"mem_{letter}") for letter in "abc")

_WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sees",
    "likes",
    "bites",
    "small",
    "big",
    "red",
    "bird",
    "house",
    "on",
    "in",
    "under",
    "and",
    "then",
]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    words = random.Random(0)
    for number in range(100):
        (folder / f"{number:03d}.txt").write_text(" ".join(words.choice(_WORDS) for _ in range(120)) + ".\n")
    return folder


@dataclass(frozen=True)
class World:
    """A store, and what is needed to run prepared jobs over it."""

    blobs: Blobs
    folder: Path
    tables: Callable[..., dict[str, Any]]
    prepared: dict[str, PreparedJob] = field(default_factory=dict)

    def settings(self, **sections: Mapping[str, Any]) -> TrainSettings:
        return from_table(self.tables(**sections), TrainSettings, where="test")

    def prepare(self, **sections: Mapping[str, Any]) -> PreparedJob:
        key = repr(sorted((name, sorted(table.items())) for name, table in sections.items()))
        if key not in self.prepared:
            self.prepared[key] = prepare_job(self.settings(**sections), self.folder, self.blobs.put)
        return self.prepared[key]

    def job(self, prepared: PreparedJob, scorer: Scorer | None = None) -> TrainJob:
        return TrainJob(JOB, prepared.spec, self.blobs, scorer)

    def pool(
        self,
        prepared: PreparedJob,
        executors: Mapping[MemberId, Executor] | None = None,
        scorer: Scorer | None = None,
    ) -> LocalPool:
        if executors is None:
            executors = {member: TrainExecutor(None, threads=1) for member in MEMBERS}
        return LocalPool(self.job(prepared, scorer), JOB, self.blobs, executors, steady=True)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, text_folder: Path) -> World:
    def tables(**sections: Mapping[str, Any]) -> dict[str, Any]:
        table: dict[str, Any] = {
            "name": "test",
            "data": {"kind": "files", "path": str(text_folder)},
            "tokenizer": {"kind": "bytes"},
            "model": {"config": {"hidden_size": 32, "num_hidden_layers": 1}},
            "train": {"steps": 40, "seq_len": 32, "batch_size": 4, "lr": 0.01},
            "rounds": {"plan": False, "first_inner_steps": 4, "last_inner_steps": 4},
            "checks": {"score_batches": 16},
        }
        for name, values in sections.items():
            table[name] = {**table.get(name, {}), **values} if name != "model" else dict(values)
        if "tokens" in table["train"]:
            del table["train"]["steps"]
        return table

    return World(blobs=open_blobs("memory://"), folder=tmp_path_factory.mktemp("work"), tables=tables)


@pytest.fixture
def pools() -> Iterator[list[LocalPool]]:
    """Pools put in here are closed at the end."""
    opened: list[LocalPool] = []
    yield opened
    for pool in opened:
        pool.close()


class Tampering:
    """An executor whose outcomes are changed before they are handed in, as a hostile member's are."""

    def __init__(
        self, change: Callable[[Task, Outcome, WorkIO], Outcome], inner: Executor | None = None
    ) -> None:
        self._inner = inner or TrainExecutor(None, threads=1)
        self._change = change

    def run(self, task: Task, io: WorkIO) -> Outcome:
        return self._change(task, self._inner.run(task, io), io)

    def close(self) -> None:
        self._inner.close()


def with_delta(outcome: Outcome, data: bytes) -> Outcome:
    return Outcome(
        report=outcome.report, blobs={"delta": data}, amount_done=outcome.amount_done, seconds=outcome.seconds
    )


def with_report(outcome: Outcome, **changes: Any) -> Outcome:
    return Outcome(
        report={**outcome.report, **changes},
        blobs=outcome.blobs,
        amount_done=outcome.amount_done,
        seconds=outcome.seconds,
    )


def verdicts(record: Json) -> dict[str, str]:
    return {member["member"]: member["verdict"] for member in record["members"]}


def theta_of(pool: LocalPool) -> BlobHash:
    return BlobHash(pool.state["theta"])
