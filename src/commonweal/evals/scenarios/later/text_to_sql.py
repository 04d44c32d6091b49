"""Text to SQL on real databases: GeoQuery and Restaurants, judged by executing the query.

The data are templates: the question and the query of a row name variables (``state_name0``), each sentence gives their
values. A row has several queries that mean the same; the first that runs on the database is the gold one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Reference, Split
from commonweal.evals.loading.fields import bad, field
from commonweal.evals.scenario import Args, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.prompting import generation

_DATABASES = {"geography": "geography", "restaurants": "restaurants"}
_ARGS = {"database": tuple(_DATABASES), "split": ("question", "query")}
_SPLITS: Mapping[str, Split] = {"train": "train", "dev": "valid", "test": "test"}


_GET = "github.com/jkkummerfeld/text2sql-data: NAME.json, NAME-schema.csv, NAME-db... of its folder data, in text2sql"


def _read(loader: Loader, args: Args) -> Iterator[Instance]:
    name, by = chosen(args, _ARGS, "database"), chosen(args, _ARGS, "split")
    database = f"text2sql/{name}-db.added-in-2020.sqlite"
    loader.path(Local(path=database, get=_GET))  # NotFound at once, not after the first answer
    schema = _schema(loader, name)
    for row in loader.rows(Local(path=f"text2sql/{name}.json")):
        for number, sentence in enumerate(field(row, "sentences", list)):
            split = _SPLITS.get(row["query-split"] if by == "query" else sentence["question-split"])
            if split is None:  # restaurants and others number their folds: all of them are tested
                split = "test"
            values = {**_defaults(row), **sentence["variables"]}
            yield Instance(
                id=f"{name}-{row['__line__']}-{number}",
                input=f"{schema}\n\nQuestion: {_filled(sentence['text'], values)}",
                references=tuple(Reference(text=_filled(sql, values), correct=True) for sql in _queries(row)),
                split=split,
                extra={"database": database},
            )


def _queries(row: Row) -> list[str]:
    found = [sql for sql in field(row, "sql", list) if isinstance(sql, str)]
    if not found:
        raise bad(row, "expected at least one query under sql")
    return found


def _defaults(row: Row) -> dict[str, str]:
    return {one["name"]: one.get("example", "") for one in row.get("variables", ()) if isinstance(one, dict)}


def _filled(text: str, values: Mapping[str, Any]) -> str:
    """``text`` with each variable's name replaced by its value.

    >>> _filled('what rivers are in state_name0', {"state_name0": "utah"})
    'what rivers are in utah'
    """
    if not values:
        return text
    names = "|".join(re.escape(name) for name in sorted(values, key=len, reverse=True))
    return re.sub(rf"(?<![\w])(?:{names})(?![\w])", lambda found: str(values[found.group()]), text)


def _schema(loader: Loader, name: str) -> str:
    """One line a table, from the authors' schema file: ``state(state_name, capital, ...)``."""
    path = loader.path(Local(path=f"text2sql/{name}-schema.csv"))
    tables: dict[str, list[str]] = {}
    with path.open(encoding="utf-8", newline="") as lines:
        for cells in list(csv.reader(lines, skipinitialspace=True))[1:]:
            if len(cells) >= 2 and cells[0] != "-":
                tables.setdefault(cells[0].lower(), []).append(cells[1].lower())
    return "Tables:\n" + "\n".join(f"{table}({', '.join(columns)})" for table, columns in tables.items())


_PLAIN: Adaptation = replace(
    generation(
        instructions="Write one SQLite query that answers the question. Output only the query, on one line.",
        output_noun="SQL",
        shots=3,
        max_tokens=400,
    ),
    input_prefix="",
)
_TOOLS = Adaptation(
    method="tools",
    ask="chat",
    instructions="Find out the answer to the question by asking the database with the tool 'sql'. Then end with the "
    "one SQLite query that answers the question, in a code block that begins with ```sql.\n",
    input_prefix="",
    output_prefix="",
    shots=0,
    max_tokens=800,
    stop=(),
    tools=("sql",),
)
_SCENARIO = Scenario(
    name="text_to_sql",
    title="Text to SQL",
    description="Questions on a geography or a restaurant database; the query's result on the real database counts.",
    source="Finegan-Dollak et al. 2018, Improving Text-to-SQL Evaluation Methodology, arXiv 1806.09029; GeoQuery: "
    "Zelle and Mooney 1996; Restaurants: Tang and Mooney 2000",
    licence="CC-BY-4.0 (GeoQuery text: GPL-2.0)",
    read=_read,
    adaptation=_PLAIN,
    main_metric="execution_accuracy",
    metrics=("sql", "efficiency"),
    tags=("code", "sql"),
    args=_ARGS,
)
TEXT_TO_SQL = (
    _SCENARIO,
    replace(
        _SCENARIO,
        name="text_to_sql_tools",
        title="Text to SQL with a database to ask",
        adaptation=_TOOLS,
        tags=("code", "sql", "tools"),
    ),
)
