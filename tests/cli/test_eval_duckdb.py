"""DuckDB reads a run's files as docs/evaluation.md says, and finds in them what the evaluation told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from test_cli_words import run

DOCS = Path(__file__).parents[2] / "docs" / "evaluation.md"
FILES = ("instances", "requests", "samples", "scores", "stats")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Two scenarios, of which some requests failed."""
    root = tmp_path_factory.mktemp("duckdb")
    words = ("--scenario", "arithmetic", "--scenario", "copying", "--max-instances", "60", "--json")
    done = run("eval", "--model", "mock:fails=0.05", "--out", str(root / "runs"), *words)
    assert done.returncode == 0, done.stderr
    return root, json.loads(done.stdout)


def rows(root: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as database:
        found: list[tuple[Any, ...]] = database.execute(query.replace("'runs/", f"'{root}/runs/")).fetchall()
        return found


def test_the_query_of_the_documents_runs(evaluated: tuple[Path, dict[str, Any]]) -> None:
    root, told = evaluated
    [query] = re.findall(
        r"^DuckDB reads them:\n\n    (select .*)$", DOCS.read_text(encoding="utf-8"), flags=re.M
    )
    found = rows(root, query)
    failed = sum(one["coverage"]["failed"] for one in told["runs"])
    requests = sum(one["cost"]["requests"] for one in told["runs"])
    assert failed > 0
    assert len(found) == requests
    assert all(name and isinstance(completion, str) for name, completion in found)


def test_failures_are_rows_with_their_kind(evaluated: tuple[Path, dict[str, Any]]) -> None:
    root, told = evaluated
    found = rows(
        root, "select failure, count(*) from 'runs/*/*/samples.parquet' where failure is not null group by 1"
    )
    assert found == [("bad_request", sum(one["coverage"]["failed"] for one in told["runs"]))]


def test_scores_and_stats_agree(evaluated: tuple[Path, dict[str, Any]]) -> None:
    """The mean of the scores of each run is its stat."""
    root, _ = evaluated
    means = rows(
        root,
        "select parse_path(filename)[-2] as run, avg(value) from read_parquet('runs/*/*/scores.parquet',"
        " filename=true) where name = 'exact_match' group by 1 order by 1",
    )
    stats = rows(
        root,
        "select parse_path(filename)[-2] as run, mean from read_parquet('runs/*/*/stats.parquet',"
        " filename=true) where name = 'exact_match' and perturbation = '' and subset = '' order by 1",
    )
    assert [name for name, _ in stats] == ["arithmetic", "copying"]
    assert [mean for _, mean in stats] == pytest.approx([mean for _, mean in means])


def test_samples_belong_to_instances(evaluated: tuple[Path, dict[str, Any]]) -> None:
    root, _ = evaluated
    [[joined]] = rows(
        root,
        "select count(*) from 'runs/*/arithmetic/samples.parquet' s join 'runs/*/arithmetic/instances.parquet' i"
        " using (id)",
    )
    assert joined == 60


@pytest.mark.parametrize("name", FILES)
def test_every_table_can_be_read(evaluated: tuple[Path, dict[str, Any]], name: str) -> None:
    root, _ = evaluated
    [[count]] = rows(root, f"select count(*) from 'runs/*/*/{name}.parquet'")
    assert count > 0
