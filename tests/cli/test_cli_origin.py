"""The note in a trained model's folder, from where it is left to what is published."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from commonweal.commands import origin
from commonweal.commands.publishing import Models, publish_folder
from commonweal.core.errors import DataError
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.pool.client import PoolClient
from commonweal.pool.wire import JobView

JOB, STATE = "job_0123456789abcdef", "a" * 64


class Taker:
    """Takes what is published."""

    def __init__(self) -> None:
        self.lineage: Any = None

    def publish(self, name: str, files: Any, *, lineage: Any, **_: Any) -> dict[str, Any]:
        assert origin.NOTE not in files
        self.lineage = lineage
        return {"name": name}

    def put(self, data: bytes) -> BlobHash:
        return content_hash(data)


def publish(folder: Path) -> Any:
    taker = Taker()
    publish_folder(cast(Models, taker), cast(PoolClient, taker), folder, "tales")
    return taker.lineage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def view() -> JobView:
    return JobView(
        id=JOB,
        kind="train",
        name="tales",
        owner="user:ada",
        status="done",
        message="",
        created=0.0,
        updated=0.0,
        rounds=3,
        spent=0,
        budget=0,
        spec={},
        state={"theta": STATE, "step": 40},
    )


def test_a_trained_model_is_published_with_the_job_that_made_it(folder: Path) -> None:
    (folder / origin.NOTE).write_bytes(origin.note(view()))
    assert publish(folder) == {"job": JOB, "state": STATE, "step": 40}


def test_a_model_of_anybodys_is_published_without(folder: Path) -> None:
    assert publish(folder) == {}


@pytest.mark.parametrize(
    "note",
    [
        "",
        "[]",
        "{",
        '{"job": "x"}',
        '{"job": 1, "state": "x", "step": 1}',
        '{"job": "x", "state": "x", "step": true}',
        "[" * 100_000,
        " " * 70_000,
        "\\ud800",
    ],
)
def test_a_note_that_cannot_be_read_is_told(folder: Path, note: str) -> None:
    (folder / origin.NOTE).write_text(note)
    with pytest.raises(DataError, match=r"commonweal\.json"):
        publish(folder)
