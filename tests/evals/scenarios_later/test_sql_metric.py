from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from making_samples import instance, sample

from commonweal.evals.loading import DataLoader
from commonweal.evals.metrics.sql import (
    SQL,
    Sql,
    SqlAnnotator,
    database_path,
    gold_rows,
    is_ordered,
    set_match,
    sql_of,
)
from commonweal.evals.scenarios.later.text_to_sql import TEXT_TO_SQL

GOLD = "SELECT name FROM town WHERE people > 1"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    with sqlite3.connect(path / "towns.sqlite") as connection:
        connection.execute("CREATE TABLE town (name TEXT, people INTEGER)")
        connection.executemany("INSERT INTO town VALUES (?, ?)", [("a", 1), ("b", 2), ("c", 3), ("c", 4)])
    connection.close()
    return path


def judged(root: Path | None, answer: str, *gold: str, database: str = "towns.sqlite") -> dict[str, float]:
    asked = sample(instance(*gold, database=database), answer)
    found = asyncio.run(SqlAnnotator(root).annotate(asked))
    return Sql().score(sample(asked.instance, answer, sql=found))


@pytest.mark.parametrize(
    ("answer", "accuracy", "valid"),
    [
        ("SELECT name FROM town WHERE people >= 2", 1.0, 1.0),
        ("```sql\nselect name from town where people >= 2 order by people desc;\n```", 1.0, 1.0),
        ("SELECT DISTINCT name FROM town WHERE people > 1", 0.0, 1.0),
        ("SELECT name FROM town", 0.0, 1.0),
        ("SELECT name, people FROM town WHERE people > 1", 0.0, 1.0),
        ("SELECT nme FROM town", 0.0, 0.0),
        ("DELETE FROM town", 0.0, 0.0),
        ("I do not know.", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_execution(root: Path, answer: str, accuracy: float, valid: float) -> None:
    scores = judged(root, answer, GOLD)
    assert (scores["execution_accuracy"], scores["valid_sql"]) == (accuracy, valid)


def test_order_counts_where_the_gold_query_orders(root: Path) -> None:
    gold = "SELECT people FROM town ORDER BY people DESC"
    assert judged(root, "SELECT people FROM town ORDER BY people", gold)["execution_accuracy"] == 0
    assert judged(root, "SELECT people FROM town ORDER BY -people", gold)["execution_accuracy"] == 1
    assert is_ordered("select 'order by' from t") is False
    assert is_ordered("select a from t order  by a") is True


def test_numbers_are_equal_to_six_decimals(root: Path) -> None:
    assert judged(root, "SELECT 2.5000000001", "SELECT avg(people) FROM town")["execution_accuracy"] == 1
    assert judged(root, "SELECT 10.0", "SELECT sum(people) FROM town")["execution_accuracy"] == 1


def test_the_first_gold_query_that_runs_counts(root: Path) -> None:
    assert judged(root, GOLD, "SELECT nothing FROM town", GOLD)["execution_accuracy"] == 1
    found = asyncio.run(
        SqlAnnotator(root).annotate(sample(instance("SELECT nothing", database="towns.sqlite"), GOLD))
    )
    assert found == {"missing": "no gold query runs on this database"}


def test_a_database_outside_the_data_root_is_none(root: Path) -> None:
    assert database_path(root / "inner", "../towns.sqlite") is None
    assert database_path(None, "towns.sqlite") is None
    assert "no database" in asyncio.run(SqlAnnotator(None).annotate(sample(instance(GOLD), GOLD)))["missing"]
    assert judged(None, GOLD, GOLD) == {}


@pytest.mark.parametrize(
    ("answer", "sql"),
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT 1;\n", "SELECT 1"),
        ("SELECT a\nFROM t\n\nThis query ...", "SELECT a\nFROM t"),
        ("First\n```sql\nSELECT 1\n```\nthen\n```SQL\nSELECT 2;\n```", "SELECT 2"),
        ("```\nSELECT 1", "SELECT 1"),
    ],
)
def test_the_query_in_an_answer(answer: str, sql: str) -> None:
    assert sql_of(answer) == sql


@pytest.mark.parametrize(
    ("predicted", "same"),
    [
        ("select b ,a from t where y='z' and x = 1", True),
        ('SELECT q.a, q.b FROM t AS q WHERE q.x = 1 AND q.y = "z"', False),
        ("SELECT a, b FROM t WHERE x = 1", False),
        ("SELECT a, b FROM t WHERE x = 1 AND y = 'Z'", False),
        ("SELECT a, a, b FROM t WHERE x = 1 AND y = 'z'", False),
    ],
)
def test_set_match(predicted: str, same: bool) -> None:
    assert set_match(predicted, "SELECT a, b FROM t WHERE x = 1 AND y = 'z'") is same


def test_set_match_does_not_mind_aliases() -> None:
    one = "SELECT Talias0.a FROM T AS Talias0 WHERE Talias0.b = (SELECT MAX(Talias1.b) FROM T AS Talias1)"
    assert set_match(one, "select x.a from t as x where x.b = (select max(y.b) from t as y)")
    assert not set_match(one, "select x.a from t as x where x.b = (select min(y.b) from t as y)")


def test_geo_query_on_its_real_database(data_root: Path, tmp_path: Path) -> None:
    loader = DataLoader(data_root, tmp_path, offline=True)
    instances = list(TEXT_TO_SQL[0].read(loader, {}))
    runs = [gold_rows(data_root / one.extra["database"], one.correct) for one in instances]
    assert (len(instances), sum(found is not None for found in runs)) == (877, 876)
    assert {one.split for one in instances} == {"train", "valid", "test"}
    assert sum(bool(found and found[1].rows) for found in runs) > 840
    biggest = next(one for one in instances if "biggest city in arizona" in one.input)
    scores = judged(
        data_root,
        'SELECT city_name FROM city WHERE state_name = "arizona" ORDER BY population DESC LIMIT 1',
        *biggest.correct,
        database=biggest.extra["database"],
    )
    assert scores["execution_accuracy"] == 1


def test_the_family_names_all_that_it_gives(root: Path) -> None:
    assert set(judged(root, GOLD, GOLD)) == {definition.name for definition in SQL.definitions}
