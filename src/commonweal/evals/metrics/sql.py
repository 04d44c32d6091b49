"""Queries that models wrote, judged by what they return from the real database, and by their text.

The database is ``instance.extra["database"]``, a path below the data root; the gold queries are the correct
references, of which the first that runs is taken (some data sets have wordings that their own database refuses).
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from commonweal.core.sandbox.sqlite import QueryLimits, Rows, query
from commonweal.evals.metrics.metric import Definition, Family, Tools
from commonweal.evals.sample import Sample

_FENCE = re.compile(r"```[ \t]*(?:sql\w*)?[ \t]*\n?(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
_ORDER = re.compile(r"\border\s+by\b", re.IGNORECASE)
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`|\w+(?:\.\w+)*|<>|!=|<=|>=|\S")
_ALIAS = re.compile(r"\b(\w+)\s+as\s+(\w+)", re.IGNORECASE)
_CLAUSES = ("select", "from", "where", "group", "having", "order", "limit", "union", "intersect", "except")


class SqlAnnotator:
    """Runs the model's query and the gold one. Its findings: ``predicted``, ``status``, ``message``, ``correct``."""

    name = "sql"

    def __init__(self, data_root: Path | None, limits: QueryLimits | None = None) -> None:
        self._root, self._limits = data_root, limits

    async def annotate(self, sample: Sample) -> Mapping[str, Any]:
        name = sample.instance.extra.get("database")
        database = database_path(self._root, name)
        if database is None:
            return {"missing": f"no database: {name or 'the instance names none'} is not below the data root"}
        return await asyncio.to_thread(self._judge, database, sample)

    def _judge(self, database: Path, sample: Sample) -> Mapping[str, Any]:
        gold = gold_rows(database, sample.instance.correct, self._limits)
        if gold is None:
            return {"missing": "no gold query runs on this database"}
        sql, wanted = gold
        predicted = sql_of(sample.output)
        got = query(database, predicted, self._limits)
        return {
            "predicted": predicted,
            "status": got.status,
            "message": got.message,
            "correct": got.status == "ok" and same_result(got, wanted, ordered=is_ordered(sql)),
        }


def database_path(root: Path | None, name: object) -> Path | None:
    """The database of this name below the data root, None where there is none."""
    if root is None or not isinstance(name, str):
        return None
    path = (root / name).resolve()
    return path if path.is_relative_to(root.resolve()) and path.is_file() else None


def gold_rows(
    database: Path, queries: Iterable[str], limits: QueryLimits | None = None
) -> tuple[str, Rows] | None:
    """The first gold query that runs, with its result."""
    for sql in queries:
        found = query(database, sql, limits)
        if found.status == "ok":
            return sql, found
    return None


def same_result(got: Rows, wanted: Rows, *, ordered: bool) -> bool:
    """Equal rows as often as they come; their order counts where the gold query orders. Columns are compared by place,
    not by name; numbers to six decimals."""
    mine, theirs = [_plain(row) for row in got.rows], [_plain(row) for row in wanted.rows]
    return mine == theirs if ordered else Counter(mine) == Counter(theirs)


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(round(value, 6) if isinstance(value, float) else value for value in row)


def is_ordered(sql: str) -> bool:
    """Whether the outermost query orders its rows.

    >>> is_ordered("SELECT a FROM t WHERE b IN (SELECT c FROM u ORDER BY c LIMIT 1)")
    False
    """
    return _ORDER.search(" ".join(_outer(sql))) is not None


def sql_of(text: str) -> str:
    """The query in a model's answer: the last block that is fenced, or the text up to a blank line or a semicolon.

    >>> sql_of("Here you are:\\n```sql\\nSELECT 1;\\n```")
    'SELECT 1'
    """
    blocks = [block for block in _FENCE.findall(text) if block.strip()]
    found = blocks[-1] if blocks else text.strip().split("\n\n", 1)[0]
    return found.strip().split(";", 1)[0].strip()


def set_match(predicted: str, gold: str) -> bool:
    """Whether both have the same clauses with the same parts, whatever the order of parts, letters' case, white space
    and the names of aliases (a simple form of Spider's exact set match, Yu et al. 2018, section 5)."""
    return _parts(predicted) == _parts(gold)


def _parts(sql: str) -> Mapping[str, Counter[str]]:
    """Each clause of the outermost query with its parts; what stands in parentheses is part of its part."""
    aliases = {alias.lower(): table.lower() for table, alias in _ALIAS.findall(sql)}
    found: dict[str, list[list[str]]] = {}
    clause, depth = "", 0
    for token in _tokens(_ALIAS.sub(r"\1", sql), aliases):
        depth += (token == "(") - (token == ")")
        if depth == 0 and token in _CLAUSES:
            clause = token
            found.setdefault(clause, []).append([])
        elif depth == 0 and token in (",", "and") and found.get(clause):
            found[clause].append([])
        elif found.get(clause) and token != ";":
            found[clause][-1].append(token)
    return {clause: Counter(" ".join(part) for part in parts if part) for clause, parts in found.items()}


def _tokens(sql: str, aliases: Mapping[str, str]) -> Iterable[str]:
    for token in _TOKEN.findall(sql):
        if token[0] in "\"'`":
            yield "'" + token[1:-1] + "'"
        else:
            head, dot, rest = token.lower().partition(".")
            yield aliases.get(head, head) + dot + rest if dot else head


def _outer(sql: str) -> Iterable[str]:
    depth = 0
    for token in _TOKEN.findall(sql):
        depth += (token == "(") - (token == ")")
        if depth == 0 and token[0] not in "\"'`":
            yield token


class Sql:
    """Of an annotated sample: ``execution_accuracy``, ``valid_sql``, ``sql_set_match``."""

    def score(self, sample: Sample) -> dict[str, float]:
        found = sample.annotations.get("sql", {})
        if "correct" not in found:
            return {}
        return {
            "execution_accuracy": float(found["correct"]),
            "valid_sql": float(found["status"] in ("ok", "too_many_rows")),
            "sql_set_match": float(
                any(set_match(found["predicted"], gold) for gold in sample.instance.correct)
            ),
        }


def _annotator(tools: Tools) -> SqlAnnotator:
    return SqlAnnotator(tools.data_root)


SQL = Family(
    name="sql",
    make=Sql,
    annotator=_annotator,
    definitions=(
        Definition(
            name="execution_accuracy",
            title="Execution accuracy",
            aspect="accuracy",
            description="Share of queries that return from the real database the rows that the gold query returns; "
            "their order counts where the gold query orders them.",
            source="Finegan-Dollak et al. 2018, arXiv 1806.09029; Zhong et al. 2020, arXiv 2010.02840",
        ),
        Definition(
            name="valid_sql",
            title="Valid queries",
            aspect="accuracy",
            description="Share of queries that run on the database.",
        ),
        Definition(
            name="sql_set_match",
            title="SQL set match",
            aspect="accuracy",
            description="Share of queries with the clauses and parts of a gold query, in any order of parts.",
            source="Yu et al. 2018, Spider, arXiv 1809.08887, section 5 (a simple form of it)",
        ),
    ),
)
