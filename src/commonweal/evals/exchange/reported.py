"""A board of somebody else's: means that were published, with who published them and from where.

Owns the shape and the saved form, ``reported/<name>.json``. Knows no schema that such results come in
(:mod:`commonweal.evals.exchange.reported_records` reads those) and no page. Such results are no runs: there is no
instance behind a number, so nothing here can be checked or compared in pairs.

Invariants: every model has a cell for each column; a cell without a score says why.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from commonweal.core.errors import DataError, NotFound
from commonweal.evals.statistics import mean_win_rates

VERSION = 1
NOT_GIVEN = "not among what was reported of this model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who reported it, and how: ``relationship`` of the reporter to the models, ``kind`` documentation or a run;
    ``retrieved`` and ``evaluated`` are the first and last day, "" where not told; ``files`` are what was imported, by
    name, with the SHA-256 of each."""

    organization: str
    relationship: str = ""
    kind: str = ""
    library: str = ""
    licence: str = ""
    urls: Sequence[str] = ()
    retrieved: tuple[str, str] = ("", "")
    evaluated: tuple[str, str] = ("", "")
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedColumn:
    """One number of one evaluation. ``group`` is the tab it stood in; ``lower_is_better`` is None where nobody said;
    ``summary``: made by the source of the other columns of its group."""

    group: str
    evaluation: str
    metric: str
    about: str = ""
    lower_is_better: bool | None = None
    least: float | None = None
    most: float | None = None
    summary: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        return self.group, self.evaluation, self.metric


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedModel:
    id: str
    name: str
    developer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedScore:
    """``n``, the interval and the standard error are as reported, None where nothing was. ``note`` is what the source
    said of the number in words."""

    score: float | None
    reason: str = ""
    n: int | None = None
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class ReportedBoard:
    """``scores`` are by the place of the model, then of the column."""

    name: str
    origin: Origin
    columns: Sequence[ReportedColumn]
    models: Sequence[ReportedModel]
    scores: Sequence[Sequence[ReportedScore]]

    @cached_property
    def title(self) -> str:
        return titled(self.name)

    @cached_property
    def groups(self) -> Sequence[str]:
        """The tabs, in the order of the source; one that has nothing but summaries is left out."""
        return list(dict.fromkeys(column.group for column in self.columns if not column.summary))

    def places(self, group: str, *, summary: bool = False) -> list[int]:
        """The columns of a tab by their places."""
        return [i for i, one in enumerate(self.columns) if one.group == group and one.summary == summary]

    def win_rates(self, places: Sequence[int]) -> Mapping[str, float]:
        """Ours of some columns, over the cells that are there; {} where of a column the better way is not told."""
        if any(self.columns[i].lower_is_better is None for i in places):
            return {}
        columns = {
            str(i): {model.id: self.scores[row][i].score for row, model in enumerate(self.models)}
            for i in places
        }
        return mean_win_rates(columns, {str(i): not self.columns[i].lower_is_better for i in places})

    def coverage(self, places: Sequence[int]) -> Mapping[str, float]:
        """The share of some columns that a model has a score in."""
        return {
            model.id: sum(self.scores[row][i].score is not None for i in places) / len(places)
            for row, model in enumerate(self.models)
        }


_WORDS = {"helm": "HELM", "mmlu": "MMLU", "llm": "LLM", "hf": "HF", "lm": "LM"}


def titled(name: str) -> str:
    """
    >>> titled("helm_classic"), titled("HF Open LLM v2")
    ('HELM Classic', 'HF Open LLM v2')
    """
    if " " in name or not name.islower():
        return name
    return " ".join(_WORDS.get(word, word.capitalize()) for word in name.replace("-", "_").split("_"))


def to_json(board: ReportedBoard) -> dict[str, Any]:
    return {
        "version": VERSION,
        "name": board.name,
        "origin": dataclasses.asdict(board.origin),
        "columns": [dataclasses.asdict(column) for column in board.columns],
        "models": [dataclasses.asdict(model) for model in board.models],
        "scores": [[_short(score) for score in row] for row in board.scores],
    }


def _short(score: ReportedScore) -> dict[str, Any]:
    told = dataclasses.asdict(score)
    return {name: value for name, value in told.items() if name == "score" or value not in (None, "")}


def from_json(told: Mapping[str, Any]) -> ReportedBoard:
    """Raises KeyError, TypeError or ValueError for what :func:`to_json` did not write."""
    if told["version"] != VERSION:
        raise ValueError(f"version {told['version']!r}, and {VERSION} is what can be read")
    origin = dict(told["origin"])
    for name in ("retrieved", "evaluated"):
        first, last = origin[name]
        origin[name] = (str(first), str(last))
    board = ReportedBoard(
        name=str(told["name"]),
        origin=Origin(**origin),
        columns=[ReportedColumn(**column) for column in told["columns"]],
        models=[ReportedModel(**model) for model in told["models"]],
        scores=[[ReportedScore(**score) for score in row] for row in told["scores"]],
    )
    if {len(row) for row in board.scores} - {len(board.columns)} or len(board.scores) != len(board.models):
        raise ValueError("not a score for each model and column")
    return board


def read_reported(folder: Path) -> tuple[list[ReportedBoard], list[DataError]]:
    """The boards in a folder, by the names of their files, and of each file that cannot be read why. Raises NotFound
    where there is none."""
    if not folder.is_dir():
        raise NotFound(f"{folder}: no such folder", hint="make it: commonweal import-results FILE")
    boards, damaged = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            boards.append(_read(path))
        except DataError as error:
            damaged.append(error)
    if not boards and not damaged:
        raise NotFound(f"{folder}: no reported results there", hint="commonweal import-results FILE")
    return boards, damaged


def any_reported(folder: Path | None) -> bool:
    return folder is not None and folder.is_dir() and any(folder.glob("*.json"))


def _read(path: Path) -> ReportedBoard:
    try:
        return from_json(json.loads(path.read_bytes()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path}: not reported results: {error}", hint="import them again: commonweal import-results FILE"
        ) from error
