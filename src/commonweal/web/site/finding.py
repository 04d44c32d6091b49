"""The runs of a site as they lie below some folders: the newest of each model and name, those before it, the damaged.

A look reads only what has changed since the look before. Invariant: what one run's files hold never keeps the others
from being shown; a run that cannot be read stands among the damaged, with what to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from commonweal.core.errors import DataError, NotFound
from commonweal.evals.run_folder import RUN, read_json
from commonweal.evals.sample import Stat
from commonweal.evals.summary.runs import SavedRun
from commonweal.evals.tables import TABLES, read_stats
from commonweal.web.site.scored import ScoredRun

_MAGIC = b"PAR1"
_SMALLEST = 12
Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A run's folder, the file in it that cannot be read, and why."""

    folder: Path
    file: str
    why: str

    @property
    def named(self) -> str:
        """The file by the end of its path: where the runs are kept is nobody's business."""
        return "/".join((*self.folder.parts[-2:], self.file))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``runs`` are the newest, by model and name; ``earlier`` those of the same model and name, the newest first. A
    damaged run of which is known whose it is stands among ``runs`` too, if there is none beside it. ``read`` is for the
    next look."""

    runs: Sequence[ScoredRun] = ()
    earlier: Mapping[tuple[str, str], Sequence[ScoredRun]] = field(default_factory=dict)
    damaged: Sequence[Damaged] = ()
    read: Mapping[Path, tuple[Stamp, ScoredRun | Damaged]] = field(default_factory=dict)

    @property
    def stamps(self) -> Mapping[Path, Stamp]:
        """The same as those of another look where no run has changed in between."""
        return {folder: stamp for folder, (stamp, _) in self.read.items()}


def look(paths: Sequence[Path], before: Found | None = None) -> Found:
    """The runs below ``paths`` now. Raises NotFound for a path that is no folder, and where there is no run."""
    known = before.read if before is not None else {}
    read: dict[Path, tuple[Stamp, ScoredRun | Damaged]] = {}
    for folder in _folders(paths):
        stamp = _stamp(folder)
        old = known.get(folder)
        read[folder] = old if old is not None and old[0] == stamp else (stamp, _read(folder))
    groups: dict[tuple[str, str], list[ScoredRun]] = {}
    damaged = []
    for _, one in read.values():
        if isinstance(one, Damaged):
            damaged.append(one)
            continue
        if one.damage:
            damaged.append(Damaged(folder=one.folder, file=one.damaged_file, why=one.damage))
        groups.setdefault((one.model, one.name), []).append(one)
    if not read:
        raise NotFound(
            f"{', '.join(map(str, paths))}: no runs there",
            hint="make some: commonweal eval --model mock --suite offline",
        )
    ordered = {key: sorted(runs, key=_age, reverse=True) for key, runs in sorted(groups.items())}
    return Found(
        runs=[runs[0] for runs in ordered.values()],
        earlier={key: [run for run in runs[1:] if not run.damage] for key, runs in ordered.items()},
        damaged=damaged,
        read=read,
    )


def _age(run: SavedRun) -> tuple[bool, str, str]:
    """What has numbers is before what has none."""
    return bool(run.stats), str(run.run.get("updated", "")), str(run.folder)


def _folders(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            raise NotFound(f"{path}: no such folder")
        yield from sorted(Path(place) for place, _, files in os.walk(path) if RUN in files)


def _stamp(folder: Path) -> Stamp:
    """Changes whenever a run begins, goes on or ends."""
    told = os.stat(folder / RUN)
    try:
        tables = os.stat(folder / "stats.parquet").st_mtime_ns
    except OSError:
        tables = 0
    return told.st_mtime_ns, told.st_size, tables


def _read(folder: Path) -> ScoredRun | Damaged:
    try:
        told = read_json(folder / RUN)
        stats, file, why = _stats(folder)
        found = ScoredRun(folder=folder, run=told, stats=stats, damage=why, damaged_file=file)
        _ = found.model, found.name, found.scenario, found.main_metric, told["scenario"].get("tags")
    except DataError as error:
        return Damaged(folder=folder, file=RUN, why=error.message.rpartition(f"{RUN}: ")[2])
    except (KeyError, TypeError, AttributeError) as error:
        return Damaged(folder=folder, file=RUN, why=f"not written by commonweal: {error!r}")
    return found


def _stats(folder: Path) -> tuple[Sequence[Stat], str, str]:
    """The stats of a run; where a table is not whole none, with its file and why."""
    file, why = _torn(folder)
    if why:
        return (), file, why
    if not (folder / "stats.parquet").exists():
        return (), "", ""
    try:
        return read_stats(folder), "", ""
    except DataError as error:
        return (), "stats.parquet", error.message.rpartition("stats.parquet: ")[2]
    except TypeError as error:
        return (), "stats.parquet", f"not a table of stats: {error}"


def _torn(folder: Path) -> tuple[str, str]:
    """A table that was cut off or overwritten: one that is whole begins and ends with the same four letters."""
    for name in TABLES:
        path = folder / f"{name}.parquet"
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - len(_MAGIC)))
                end = file.read()
                file.seek(0)
                whole = size >= _SMALLEST and file.read(len(_MAGIC)) == end == _MAGIC
        except FileNotFoundError:
            continue
        except OSError as error:
            return path.name, f"cannot be read: {error.strerror}"
        if not whole:
            return path.name, "not whole: it was cut off or overwritten"
    return "", ""
