"""The boards of others: what somebody published, shown as theirs and apart from what was measured here.

A page a tab of the source's own board (a tab that has several numbers of one evaluation is a page for each of them).
No tints and no ranks: a mean without its instances does not say which differences are more than noise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from commonweal.evals.exchange.reported import Origin, ReportedBoard, ReportedColumn, ReportedScore
from commonweal.web.site import addresses
from commonweal.web.site.addresses import slug
from commonweal.web.site.downloads import KINDS, MEDIA_TYPES, csv_of, kind_name, parquet_of
from commonweal.web.site.page import HOME, File, Link, Page
from commonweal.web.site.state import Site
from commonweal.web.site.words import figure

OTHERS = Link(text="Boards of others", path=addresses.REPORTED)

_ROW = {
    "reported_by": "string",
    "board": "string",
    "model": "string",
    "group": "string",
    "evaluation": "string",
    "metric": "string",
    "lower_is_better": "bool",
    "summary": "bool",
    "score": "double",
    "n": "int64",
    "low": "double",
    "high": "double",
    "standard_error": "double",
    "reason": "string",
    "note": "string",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one page has of a board: the columns of a tab by their places, or those of one metric in it."""

    group: str
    metric: str
    places: Sequence[int]

    @property
    def name(self) -> str:
        return f"{self.group}: {self.metric}" if self.metric else self.group


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedCell:
    """``value`` is the number for a script, "" where the text says the same. ``note`` is the number of the reason below
    the table, 0 for none."""

    text: str
    value: str
    note: int
    under: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedRow:
    """``published`` is the source's own mean of the tab; ``ours`` the win rate over the cells that are here. A path ""
    leads nowhere: there is no page of that model."""

    name: str
    path: str
    slug: str
    ours: ReportedCell
    share: float
    published: Sequence[ReportedCell]
    cells: Sequence[ReportedCell]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedPage(Page):
    """``untold`` are the columns of which nobody said which way is better; with one there is no win rate of ours."""

    template: ClassVar[str] = "reported.html"

    board: str
    origin: Origin
    tabs: Sequence[tuple[Link, bool]]
    metrics: Sequence[tuple[Link, bool]]
    published: Sequence[str]
    columns: Sequence[ReportedColumn]
    rows: Sequence[ReportedRow]
    untold: int
    sure: bool
    ways: Sequence[Link]
    notes: Sequence[str]
    files: Sequence[Link]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedEntry:
    board: Link
    by: str
    models: int
    columns: int
    given: float
    groups: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedIndexPage(Page):
    """``alone``: nothing was measured here."""

    template: ClassVar[str] = "reported_index.html"

    boards: Sequence[ReportedEntry]
    alone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedOfModel:
    """What one board says of a model."""

    board: Link
    by: str
    given: int
    columns: int
    published: Sequence[tuple[str, str]]
    scores: Sequence[tuple[str, str, str]]


def pages(site: Site) -> Iterator[Page | File]:
    if (first := index(site)) is None:
        return
    yield first
    for board in site.reported:
        for view in views(board):
            yield page(site, board, view)
        for kind in KINDS:
            yield file(board, kind)


def find(site: Site, board: str, view: str) -> Page | None:
    chosen = _board(site, board)
    if chosen is None:
        return None
    all_views = views(chosen)
    found = {_path(chosen, one): one for one in all_views}.get(f"reported/{board}/{view}.html")
    return page(site, chosen, found) if found else None


def find_file(site: Site, board: str, kind: str) -> File | None:
    chosen = _board(site, board)
    return file(chosen, kind) if chosen else None


def _board(site: Site, part: str) -> ReportedBoard | None:
    return next((one for one in site.reported if slug(one.name) == part), None)


def views(board: ReportedBoard) -> list[View]:
    made = []
    for group in board.groups:
        places = board.places(group)
        evaluations = [board.columns[i].evaluation for i in places]
        if len(set(evaluations)) == len(evaluations):
            made.append(View(group=group, metric="", places=places))
            continue
        for metric in dict.fromkeys(board.columns[i].metric for i in places):
            some = [i for i in places if board.columns[i].metric == metric]
            made.append(View(group=group, metric=metric, places=some))
    return made


def _path(board: ReportedBoard, view: View) -> str:
    first = views(board)[0]
    return addresses.reported(board.name, "" if view == first else view.name)


def index(site: Site, path: str = addresses.REPORTED) -> ReportedIndexPage | None:
    """All boards of others. None where there is none."""
    if not site.reported:
        return None
    return ReportedIndexPage(
        path=path,
        title=OTHERS.text,
        trail=() if path == HOME.path else (HOME,),
        boards=[_entry(board) for board in site.reported],
        alone=not site.runs,
    )


def _entry(board: ReportedBoard) -> ReportedEntry:
    cells = [score.score is not None for row in board.scores for score in row]
    return ReportedEntry(
        board=Link(text=board.title, path=addresses.reported(board.name)),
        by=board.origin.organization,
        models=len(board.models),
        columns=len(board.columns),
        given=sum(cells) / len(cells) if cells else 0.0,
        groups=board.groups,
    )


def page(site: Site, board: ReportedBoard, view: View) -> ReportedPage:
    columns = [board.columns[i] for i in view.places]
    summaries = board.places(view.group, summary=True)
    rates, covered = board.win_rates(view.places), board.coverage(view.places)
    measured = {*site.every_model()}
    notes: dict[str, int] = {}
    order = sorted(range(len(board.models)), key=lambda row: _rank(board, row, summaries, rates))
    rows = []
    for row in order:
        model, scores = board.models[row], board.scores[row]
        rows.append(
            ReportedRow(
                name=model.id,
                path=addresses.model(model.id) if model.id in measured else "",
                slug=slug(model.id),
                ours=_number(rates.get(model.id)),
                share=covered[model.id],
                published=[_cell(scores[i], notes) for i in summaries],
                cells=[_cell(scores[i], notes) for i in view.places],
            )
        )
    return ReportedPage(
        path=_path(board, view),
        title=f"{board.title}: {view.name}",
        trail=(HOME, OTHERS),
        board=board.title,
        origin=board.origin,
        tabs=_tabs(board, view),
        metrics=[
            (Link(text=one.metric, path=_path(board, one)), one == view)
            for one in views(board)
            if one.group == view.group and one.metric
        ],
        published=[board.columns[i].evaluation for i in summaries],
        columns=columns,
        rows=rows,
        untold=sum(column.lower_is_better is None for column in columns),
        sure=any(board.scores[row][i].low is not None for row in order for i in view.places),
        ways=[Link(text=url, path=url) for url in board.origin.urls],
        notes=list(notes),
        files=[Link(text=kind_name(kind), path=addresses.reported_file(board.name, kind)) for kind in KINDS],
    )


def _tabs(board: ReportedBoard, view: View) -> list[tuple[Link, bool]]:
    first = {one.group: one for one in reversed(views(board))}
    return [
        (Link(text=group, path=_path(board, first[group])), group == view.group) for group in board.groups
    ]


def _rank(
    board: ReportedBoard, row: int, summaries: Sequence[int], rates: Mapping[str, float]
) -> tuple[float, float, str]:
    """As the source has them, by its own mean; else by our win rate."""
    model = board.models[row].id
    own = board.scores[row][summaries[0]].score if summaries else None
    return (-own if own is not None else 1.0, -rates.get(model, -1.0), model)


def _number(value: float | None) -> ReportedCell:
    return ReportedCell(text=figure(value), value="" if value is None else f"{value:.6g}", note=0)


def _cell(score: ReportedScore, notes: dict[str, int]) -> ReportedCell:
    if score.score is None:
        return ReportedCell(text="", value="", note=notes.setdefault(score.reason, len(notes) + 1))
    text = figure(score.score)
    parts = []
    if score.low is not None and score.high is not None:
        parts.append(f"{figure(score.low)} to {figure(score.high)}")
    if score.n is not None:
        parts.append(f"n {score.n:,}")
    plain = text.replace(",", "").replace("−", "-")
    value = "" if float(plain) == score.score else f"{score.score:.6g}"
    return ReportedCell(text=text, value=value, note=0, under=", ".join(parts))


def of_model(site: Site, model: str) -> list[ReportedOfModel]:
    """What others reported of a model: their own means, and the numbers of their first tab."""
    found = []
    for board in site.reported:
        for row, one in enumerate(board.models):
            if one.id == model:
                found.append(_of_model(board, board.scores[row]))
    return found


def _of_model(board: ReportedBoard, scores: Sequence[ReportedScore]) -> ReportedOfModel:
    first = views(board)[0]
    return ReportedOfModel(
        board=Link(text=board.title, path=addresses.reported(board.name)),
        by=board.origin.organization,
        given=sum(score.score is not None for score in scores),
        columns=len(board.columns),
        published=[
            (board.columns[i].evaluation, figure(scores[i].score))
            for i in board.places(first.group, summary=True)
        ],
        scores=[
            (board.columns[i].evaluation, board.columns[i].metric, figure(scores[i].score))
            for i in first.places
        ],
    )


def file(board: ReportedBoard, kind: str) -> File:
    """The whole board to load: a row a model and column, empty cells with their reasons too."""
    rows = _rows(board)
    if kind == "json":
        told: dict[str, Any] = {
            "name": board.name,
            "measured_here": False,
            "reported_by": board.origin.organization,
            "licence": board.origin.licence or "not disclosed",
            "sources": list(board.origin.urls),
            "files": dict(board.origin.files),
            "scores": [{name: row[name] for name in list(_ROW)[2:]} for row in rows],
        }
        data = (json.dumps(told, ensure_ascii=False) + "\n").encode("utf-8", "replace")
    else:
        data = (csv_of if kind == "csv" else parquet_of)(rows, _ROW)
    return File(path=addresses.reported_file(board.name, kind), data=data, media_type=MEDIA_TYPES[kind])


def _rows(board: ReportedBoard) -> list[dict[str, Any]]:
    return [
        {
            "reported_by": board.origin.organization,
            "board": board.name,
            "model": model.id,
            "group": column.group,
            "evaluation": column.evaluation,
            "metric": column.metric,
            "lower_is_better": column.lower_is_better,
            "summary": column.summary,
            **{name: getattr(score, name) for name in list(_ROW)[8:]},
        }
        for model, scores in zip(board.models, board.scores, strict=True)
        for column, score in zip(board.columns, scores, strict=True)
    ]
