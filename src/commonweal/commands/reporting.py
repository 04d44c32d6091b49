"""``commonweal import-results``: what others published, kept apart from runs, for the site to show as theirs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from commonweal import console
from commonweal.console import safe
from commonweal.core.hashing import content_hash
from commonweal.evals.exchange.reported import ReportedBoard, to_json
from commonweal.evals.exchange.reported_records import read_records
from commonweal.evals.run_folder import write_json

_UNSAFE = re.compile(r"[^a-z0-9._-]+")


def import_results(paths: Sequence[Path], out: Path, licence: str, *, as_json: bool) -> None:
    """The records in ``paths`` become boards below ``out``, each in place of an earlier one of its name."""
    boards = read_records(paths, licence)
    out.mkdir(parents=True, exist_ok=True)
    told = []
    for board in boards:
        path = out / f"{file_name(board.name)}.json"
        write_json(path, to_json(board))
        told.append(
            {
                "name": board.name,
                "file": str(path),
                "reported_by": board.origin.organization,
                "models": len(board.models),
                "columns": len(board.columns),
                "scores": _scores(board),
                "empty": len(board.models) * len(board.columns) - _scores(board),
                "sources": dict(board.origin.files),
            }
        )
    if as_json:
        console.print_json(told)
        return
    for one in told:
        console.out.print(
            safe(f"{one['name']}: {one['models']} models, {one['columns']} columns, {one['scores']:,} scores")
        )
    console.out.print(safe(f"to see them: commonweal site --reported {out}"))


def file_name(name: str) -> str:
    """A board's name as that of a file; one that had to be changed carries its hash.

    >>> file_name("helm_lite"), file_name("../x y")
    ('helm_lite', 'x_y-46c740c6')
    """
    kept = _UNSAFE.sub("_", name.lower()).strip("._-")[:60]
    return kept if kept == name else f"{kept or 'x'}-{content_hash(name.encode())[:8]}"


def _scores(board: ReportedBoard) -> int:
    return sum(score.score is not None for row in board.scores for score in row)
