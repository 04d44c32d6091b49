"""A run from its plan to its tables, with a mock model."""

from __future__ import annotations

from pathlib import Path

import bench_of_one as b
import pyarrow.parquet as pq

from commonweal.core.completion import CompletionFailed, Request
from commonweal.core.hashing import content_hash
from commonweal.evals.completers.mock import MockCompleter


def rows(folder: Path, table: str) -> list[dict[str, object]]:
    return pq.read_table(folder / f"{table}.parquet").to_pylist()


def test_a_run_is_a_folder_of_tables(tmp_path: Path) -> None:
    done = b.run(b.planned(b.scenario(b.sums(30))), tmp_path, b.bench())
    assert done.run["status"] == "done"
    assert done.run["coverage"] == {"expected": 30, "scored": 30, "failed": 0, "share": 1.0, "failures": {}}
    assert {path.name for path in tmp_path.iterdir()} == {
        ".lock",
        "run.json",
        *(f"{name}.parquet" for name in ("instances", "requests", "samples", "scores", "stats")),
    }
    [stat] = [s for s in done.stats if s.name == "exact_match"]
    assert (stat.mean, stat.n) == (1.0, 30)
    asked = rows(tmp_path, "requests")[3]
    request = Request(model="mock", prompt=asked["prompt"], max_tokens=5)  # type: ignore[arg-type]
    assert asked["prompt"] == f"{asked['id'][2:]} + {asked['id'][2:]} = "  # type: ignore[index]
    assert asked["hash"] == request.hash() == content_hash(request.canonical().encode())
    scores = rows(tmp_path, "scores")
    assert {s["value"] for s in scores if s["name"] == "exact_match"} == {1.0}
    instances = rows(tmp_path, "instances")
    assert instances[1]["references"] == [{"text": "2", "correct": True, "grade": 0}]


def test_one_request_of_a_hundred_is_never_answered(tmp_path: Path) -> None:
    class OneBad(MockCompleter):
        async def complete(self, request: Request):  # type: ignore[no-untyped-def]
            if request.prompt == "13 + 13 = ":
                raise CompletionFailed("bad_request", "400: no")
            return await super().complete(request)

    done = b.run(b.planned(b.scenario(b.sums(100))), tmp_path, b.bench(OneBad(b.adds)))
    assert done.run["status"] == "done"
    assert done.run["coverage"] == {
        "expected": 100,
        "scored": 99,
        "failed": 1,
        "share": 0.99,
        "failures": {"bad_request": 1},
    }
    [bad] = [row for row in rows(tmp_path, "requests") if row["failure"]]
    assert (bad["id"], bad["failure"], bad["message"], bad["completion"]) == (
        "id13",
        "bad_request",
        "400: no",
        None,
    )
    assert not (tmp_path / "samples.jsonl").exists(), "asking again would fail again"
