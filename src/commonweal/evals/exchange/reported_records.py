"""Records of Every Eval Ever (github.com/evaleval/every_eval_ever, ``eval.schema.json`` 0.2 and 0.3) as boards.

A record is one model's results from one source; records with the same ``source_name`` become one board. A result is a
number of one evaluation; further numbers of it stand in ``score_details.details``: in 0.2 as objects with a ``tab`` and
a ``score``, in 0.3 as the same written in a string, or as a bare number.

A score of -1 below the smallest that its metric can have means "not run" (the converter of HELM's tables, and the
schema's ``has_unknown_level``): its cell is empty and says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from commonweal.core.errors import DataError, NotFound
from commonweal.core.hashing import content_hash
from commonweal.evals.exchange.reported import (
    NOT_GIVEN,
    Origin,
    ReportedBoard,
    ReportedColumn,
    ReportedModel,
    ReportedScore,
)

NOT_RUN = "not run (the source writes -1)"
NO_SCORE = "no score was reported"
SUMMARIES = ("Mean win rate", "Mean score")
_MAIN, _DETAILS = "Main", "Details"
_LONGEST = 60
Told = Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class _Growing:
    """A board while records are read."""

    organization: str
    relationship: str
    kind: str
    libraries: dict[str, None] = field(default_factory=dict)
    urls: dict[str, None] = field(default_factory=dict)
    licences: dict[str, None] = field(default_factory=dict)
    retrieved: list[str] = field(default_factory=list)
    evaluated: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    columns: dict[tuple[str, str, str], ReportedColumn] = field(default_factory=dict)
    models: dict[str, ReportedModel] = field(default_factory=dict)
    scores: dict[tuple[str, tuple[str, str, str]], ReportedScore] = field(default_factory=dict)


class _Bad(Exception):
    """A field that is not as the schema has it."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")


def read_records(paths: Sequence[Path], licence: str = "") -> list[ReportedBoard]:
    """The boards that the records in some files make, by name. ``licence`` is said of all, where records name none.

    Raises NotFound for a file that is not there, and DataError naming file, line and field.
    """
    boards: dict[str, _Growing] = {}
    for path in paths:
        for line, digest, told in _records(path):
            try:
                _take(boards, _object(told, "record"), path.name, digest)
            except _Bad as error:
                raise DataError(
                    f"{path}:{line}: {error}", hint="give records of Every Eval Ever, a line each"
                ) from error
    if not boards:
        raise DataError(f"{', '.join(map(str, paths))}: no record there")
    return [_board(name, boards[name], licence) for name in sorted(boards)]


def _records(path: Path) -> Iterator[tuple[int, str, Any]]:
    """Each record with its line; a file .json holds one, on as many lines as it likes."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFound(f"{path}: cannot be read: {error.strerror}") from error
    digest = content_hash(data)
    lines = [data] if path.suffix == ".json" else data.split(b"\n")
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, digest, json.loads(line, parse_constant=_no_constant)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}:{number}: not JSON: {error}") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _take(boards: dict[str, _Growing], told: Told, file: str, digest: str) -> None:
    version = _text(told, "schema_version", "")
    if not version.startswith("0."):
        raise _Bad("schema_version", f"'{version[:40]}' is not known: 0.2 and 0.3 are")
    source = _object(told.get("source_metadata"), "source_metadata")
    organization = _text(source, "source_organization_name", "source_metadata.")
    name = str(source.get("source_name") or organization)
    board = boards.setdefault(
        name,
        _Growing(
            organization=organization,
            relationship=str(source.get("evaluator_relationship") or ""),
            kind=str(source.get("source_type") or ""),
        ),
    )
    if board.organization != organization:
        raise _Bad(
            "source_metadata.source_organization_name",
            f"'{organization[:80]}', and '{board.organization[:80]}' reported '{name[:80]}' before",
        )
    board.files[file] = digest
    if licence := _details(source).get("licence") or _details(source).get("license"):
        board.licences[str(licence)] = None
    library = told.get("eval_library")
    if isinstance(library, Mapping):
        parts = (str(library.get("name") or ""), str(library.get("version") or "").replace("unknown", ""))
        board.libraries[" ".join(filter(None, parts))] = None
    board.retrieved.append(_day(told.get("retrieved_timestamp")))
    board.evaluated.append(_day(told.get("evaluation_timestamp")))
    _take_results(board, told)


def _take_results(board: _Growing, told: Told) -> None:
    info = _object(told.get("model_info"), "model_info")
    model = ReportedModel(
        id=_text(info, "id", "model_info."),
        name=str(info.get("name") or info["id"]),
        developer=str(info.get("developer") or "").replace("unknown", ""),
    )
    board.models.setdefault(model.id, model)
    results = told.get("evaluation_results")
    if not isinstance(results, list):
        raise _Bad("evaluation_results", "not a list")
    for number, result in enumerate(results):
        where = f"evaluation_results[{number}]"
        one = _object(result, where)
        _urls(board, one.get("source_data", told.get("source_data")))
        for column, score in _numbers(one, where):
            key = model.id, column.key
            if key in board.scores and board.scores[key] != score:
                raise _Bad(
                    where, f"a second score of '{model.id}' for '{column.evaluation}', {column.metric}"
                )
            board.columns.setdefault(column.key, column)
            board.scores[key] = score


def _numbers(result: Told, where: str) -> Iterator[tuple[ReportedColumn, ReportedScore]]:
    """The number of a result, and the further ones in its details."""
    name = _text(result, "evaluation_name", f"{where}.")
    config = _object(result.get("metric_config"), f"{where}.metric_config")
    lower = config.get("lower_is_better")
    if not isinstance(lower, bool):
        raise _Bad(f"{where}.metric_config.lower_is_better", "neither true nor false")
    least, most = (_bound(config, side, f"{where}.metric_config.") for side in ("min_score", "max_score"))
    given = _object(result.get("score_details"), f"{where}.score_details")
    if "score" not in given:
        raise _Bad(f"{where}.score_details.score", "missing")
    details = given.get("details") or {}
    details = _object(details, f"{where}.score_details.details")
    unknown = bool(config.get("has_unknown_level")) or (least is not None and least > -1)
    column = ReportedColumn(
        group=str(details.get("tab") or _MAIN),
        evaluation=name,
        metric=_metric(config, name),
        about=str(config.get("evaluation_description") or ""),
        lower_is_better=lower,
        least=least,
        most=most,
        summary=name in SUMMARIES,
    )
    score = _score(given, unknown, f"{where}.score_details.")
    yield column, _sure(score, given.get("uncertainty"), f"{where}.score_details.uncertainty")
    for key, value in details.items():
        nested = _nested(value)
        if nested is not None and key not in ("tab", "description"):
            at = f"{where}.score_details.details['{key[:80]}']."
            yield _further(key, nested, column), _score(nested, unknown, at)


def _nested(value: Any) -> Told | None:
    """A further number: an object, the same in a string, or a bare number in a string."""
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"score": value, "tab": _DETAILS}
    return value if isinstance(value, Mapping) and "score" in value else None


def _further(key: str, told: Told, main: ReportedColumn) -> ReportedColumn:
    """What a detail says: its key is the evaluation's name, a dash and the metric's. Whether lower is better is known
    only of the main metric under other conditions."""
    own = f"{main.evaluation} - "
    evaluation, metric = (main.evaluation, key[len(own) :]) if key.startswith(own) else _split(key, main)
    group = str(told.get("tab") or _DETAILS)
    summary = evaluation in SUMMARIES
    same = metric.removesuffix(f" ({group})") == main.metric and metric != main.metric
    return ReportedColumn(
        group=group,
        evaluation=evaluation,
        metric=metric,
        lower_is_better=main.lower_is_better if same or summary else None,
        least=main.least if same or summary else None,
        most=main.most if same or summary else None,
        summary=summary,
    )


def _split(key: str, main: ReportedColumn) -> tuple[str, str]:
    """
    >>> main = ReportedColumn(group="Accuracy", evaluation="XSUM", metric="ROUGE-2")
    >>> _split("MS MARCO (regular) - RR@10", main), _split("exact_match (test)", main)
    (('MS MARCO (regular)', 'RR@10'), ('XSUM', 'exact_match (test)'))
    """
    evaluation, dash, metric = key.rpartition(" - ")
    return (evaluation, metric) if dash else (main.evaluation, key)


def _metric(config: Told, evaluation: str) -> str:
    """
    >>> _metric({"evaluation_description": "EM on MMLU"}, "MMLU"), _metric({"metric_name": "F1"}, "QuAC")
    ('EM', 'F1')
    """
    about = str(config.get("evaluation_description") or "")
    named = str(config.get("metric_name") or config.get("metric_id") or "")
    short = about.removesuffix(f" on {evaluation}")
    return named or (short if short != about and len(short) <= _LONGEST else "score")


def _score(told: Told, unknown: bool, where: str) -> ReportedScore:
    value, note = told.get("score"), str((told.get("details") or told).get("description") or "")
    if value is None:
        return ReportedScore(score=None, reason=NO_SCORE, note=note)
    number = _number(value, f"{where}score")
    if number == -1 and unknown:
        return ReportedScore(score=None, reason=NOT_RUN, note=note)
    return ReportedScore(score=number, note=note)


def _sure(score: ReportedScore, told: Any, where: str) -> ReportedScore:
    if told is None:
        return score
    given = _object(told, where)
    interval = _object(given.get("confidence_interval") or {}, f"{where}.confidence_interval")
    error = _object(given.get("standard_error") or {}, f"{where}.standard_error")
    n = given.get("num_samples")
    if n is not None and (not isinstance(n, int) or isinstance(n, bool) or n < 0):
        raise _Bad(f"{where}.num_samples", "not a whole number")
    return replace(
        score,
        n=n,
        low=_known(interval, "lower", f"{where}.confidence_interval."),
        high=_known(interval, "upper", f"{where}.confidence_interval."),
        standard_error=_known(error, "value", f"{where}.standard_error."),
    )


def _known(told: Told, name: str, where: str) -> float | None:
    return None if told.get(name) is None else _number(told[name], f"{where}{name}")


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Bad(where, f"not a number: {str(value)[:40]!r}")
    try:
        number = float(value)
    except OverflowError:
        raise _Bad(where, "too large") from None
    if not math.isfinite(number):
        raise _Bad(where, "too large")
    return number


def _bound(config: Told, name: str, where: str) -> float | None:
    """None for no bound, which the schema writes as "-Infinity" and "Infinity"."""
    value = config.get(name)
    return None if value is None or value in ("Infinity", "-Infinity") else _number(value, f"{where}{name}")


def _object(value: Any, where: str) -> Told:
    if not isinstance(value, Mapping):
        raise _Bad(where, "missing" if value is None else "not an object")
    return value


def _text(told: Told, name: str, where: str) -> str:
    value = told.get(name)
    if not isinstance(value, str) or not value.strip():
        raise _Bad(f"{where}{name}", "missing" if value is None else "not a text")
    return value


def _details(told: Told) -> Told:
    found = told.get("additional_details")
    return found if isinstance(found, Mapping) else {}


def _urls(board: _Growing, source: Any) -> None:
    """Addresses of the web alone: they become links."""
    found = source.get("url") if isinstance(source, Mapping) else source
    for url in [found] if isinstance(found, str) else found if isinstance(found, list) else ():
        if isinstance(url, str) and url.startswith(("https://", "http://")):
            board.urls[url] = None


def _day(value: Any) -> str:
    """The day of a time in seconds or as ISO writes it, "" for none."""
    text = str(value or "")
    try:
        return datetime.fromtimestamp(float(text), UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        pass
    try:
        return datetime.fromisoformat(text).date().isoformat()
    except ValueError:
        return ""


def _span(days: Sequence[str]) -> tuple[str, str]:
    known = sorted(filter(None, days))
    return (known[0], known[-1]) if known else ("", "")


def _board(name: str, grown: _Growing, licence: str) -> ReportedBoard:
    missing = ReportedScore(score=None, reason=NOT_GIVEN)
    columns = list(grown.columns.values())
    models = list(grown.models.values())
    return ReportedBoard(
        name=name,
        origin=Origin(
            organization=grown.organization,
            relationship=grown.relationship,
            kind=grown.kind,
            library=", ".join(filter(None, grown.libraries)),
            licence=", ".join(grown.licences) or licence,
            urls=list(grown.urls),
            retrieved=_span(grown.retrieved),
            evaluated=_span(grown.evaluated),
            files=grown.files,
        ),
        columns=columns,
        models=models,
        scores=[[grown.scores.get((model.id, one.key), missing) for one in columns] for model in models],
    )
