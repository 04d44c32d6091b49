"""Releases: a set of runs frozen under a name, with the history of what changed from one to the next, and why.

Owns a folder of releases: ``NAME.json`` each, and ``index.json``, oldest first. A release holds no outputs: of each run
what was asked (the hash of its spec and of its data), by whom it was judged, and its stats. Invariants: a release is
never written again; each names the one before it, whose changes it tells.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from commonweal.core.errors import Conflict, UserError
from commonweal.core.hashing import record_hash
from commonweal.evals.plan import changes as spec_changes
from commonweal.evals.run_folder import locked, read_json, write_json
from commonweal.evals.summary.runs import SavedRun

INDEX = "index.json"
VERSION = 1

Kind = Literal[
    "new model",
    "model gone",
    "new scenario",
    "scenario gone",
    "new run",
    "run gone",
    "scenario version",
    "data",
    "judge",
    "asked otherwise",
    "number moved",
]
Frozen = Mapping[str, Any]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference from the release before. ``model`` or ``run`` is "" where it is about all of them; ``text`` says
    what was and what is, and for a number that moved what else changed of its run."""

    kind: Kind
    model: str = ""
    run: str = ""
    text: str = ""


def freeze(runs: Sequence[SavedRun], folder: Path, name: str, now: str) -> dict[str, Any]:
    """Write the release ``name`` of ``runs`` into ``folder``, and return it. ``now`` is the time as ISO 8601.

    Raises UserError for a name that cannot be a file's, Conflict for one that is taken.
    """
    if not _NAME.fullmatch(name) or f"{name}.json" == INDEX:
        raise UserError(
            f"no release can be called '{name}'", hint="letters, digits, . _ + -; such as 2026-11"
        )
    with locked(folder):
        path = folder / f"{name}.json"
        if path.exists():
            raise Conflict(f"{path}: this release is there, and stays as it is", hint="choose another name")
        index = read_json(folder / INDEX)["releases"] if (folder / INDEX).exists() else []
        before = read_json(folder / f"{index[-1]['name']}.json") if index else None
        release = make_release(runs, name=name, now=now, before=before)
        write_json(path, release)
        write_json(folder / INDEX, {"version": VERSION, "releases": [*index, _entry(release)]})
    return release


def make_release(runs: Sequence[SavedRun], *, name: str, now: str, before: Frozen | None) -> dict[str, Any]:
    """The release as plain JSON. ``hash`` is of its runs: two releases of the same runs have the same."""
    frozen = [frozen_run(run) for run in sorted(runs, key=lambda run: (run.model, run.name))]
    return {
        "version": VERSION,
        "name": name,
        "created": now,
        "before": before["name"] if before else None,
        "hash": record_hash(frozen),
        "runs": frozen,
        "changes": [asdict(change) for change in changed(before["runs"], frozen)] if before else [],
    }


def frozen_run(run: SavedRun) -> dict[str, Any]:
    """What a release keeps of a run."""
    spec = run.run["spec"]
    return {
        "model": run.model,
        "name": run.name,
        "scenario": run.scenario,
        "scenario_version": spec["version"],
        "spec": spec,
        "spec_hash": run.run["hash"],
        "data_hash": spec["rows"],
        "judge": judge_of(run.run),
        "status": run.run["status"],
        "reason": run.reason,
        "updated": run.run["updated"],
        "main_metric": run.main_metric,
        "stats": [asdict(stat) for stat in run.stats],
    }


def judge_of(run: Mapping[str, Any]) -> str:
    """The judge of a run, "" for none. Runs of before that was written down tell it by their command."""
    if (told := run.get("judge")) is not None:
        return str(told)
    words = shlex.split(run.get("command") or "")
    return words[words.index("--judge") + 1] if "--judge" in words[:-1] else ""


def changed(before: Sequence[Frozen], after: Sequence[Frozen]) -> Iterator[Change]:
    """What is new, gone, asked otherwise or answered otherwise, in this order."""
    old, new = _by_key(before), _by_key(after)
    yield from _names("model", before, after)
    yield from _names("scenario", before, after)
    both = [{run[field] for run in before} & {run[field] for run in after} for field in ("model", "scenario")]
    for key in sorted(old.keys() ^ new.keys()):
        run = new.get(key) or old[key]
        if run["model"] in both[0] and run["scenario"] in both[1]:
            yield Change(kind="new run" if key in new else "run gone", model=key[0], run=key[1])
    for key in sorted(old.keys() & new.keys()):
        yield from _run_changes(old[key], new[key])


def _by_key(runs: Sequence[Frozen]) -> dict[tuple[str, str], Frozen]:
    return {(run["model"], run["name"]): run for run in runs}


def _names(
    field: Literal["model", "scenario"], before: Sequence[Frozen], after: Sequence[Frozen]
) -> Iterator[Change]:
    old, new = Counter(run[field] for run in before), Counter(run[field] for run in after)
    kinds: tuple[Kind, Kind] = (
        ("new model", "model gone") if field == "model" else ("new scenario", "scenario gone")
    )
    for kind, here, there in ((kinds[0], new, old), (kinds[1], old, new)):
        for name in sorted(here.keys() - there.keys()):
            text = f"{here[name]} run" + ("s" if here[name] > 1 else "")
            yield Change(
                kind=kind,
                model=name if field == "model" else "",
                run=name if field == "scenario" else "",
                text=text,
            )


def _run_changes(old: Frozen, new: Frozen) -> Iterator[Change]:
    """The causes first, then what came of them."""
    causes = list(_causes(old, new))
    yield from causes
    moved = _moved(old, new)
    if moved:
        why = ", ".join(dict.fromkeys(cause.kind for cause in causes)) or "asked the same"
        yield Change(kind="number moved", model=new["model"], run=new["name"], text=f"{moved} ({why})")


def _causes(old: Frozen, new: Frozen) -> Iterator[Change]:
    fields: tuple[tuple[Kind, str], ...] = (
        ("scenario version", "scenario_version"),
        ("data", "data_hash"),
        ("judge", "judge"),
    )
    for kind, field in fields:
        if old[field] != new[field]:
            text = f"{str(old[field])[:40] or 'none'} -> {str(new[field])[:40] or 'none'}"
            yield Change(kind=kind, model=new["model"], run=new["name"], text=text)
    told = {"version": 0, "rows": ""}
    found = spec_changes({**old["spec"], **told}, {**new["spec"], **told})
    if found:
        yield Change(kind="asked otherwise", model=new["model"], run=new["name"], text="; ".join(found))


def _moved(old: Frozen, new: Frozen) -> str:
    """The main metric, where each release's mean lies outside of the other one's interval or one of them has none."""
    before, after = _main(old), _main(new)
    was, now = before.get("mean"), after.get("mean")
    if was is None and now is None:
        return ""
    if was is None or now is None:
        reason = new["reason"] if now is None else old["reason"]
        return f"{new['main_metric']} {_told(was)} -> {_told(now)}" + (f": {reason}" if reason else "")
    if _within(was, after) or _within(now, before):
        return ""
    return f"{new['main_metric']} {_told(was)} -> {_told(now)}"


def _main(run: Frozen) -> Mapping[str, Any]:
    found = [
        stat
        for stat in run["stats"]
        if (stat["name"], stat["perturbation"], stat["subset"]) == (run["main_metric"], "", "")
    ]
    return next((stat for stat in found if stat["split"] == "test"), found[0] if found else {})


def _within(value: float, stat: Mapping[str, Any]) -> bool:
    if stat["low"] is None or stat["high"] is None:
        return bool(value == stat["mean"])
    return bool(stat["low"] <= value <= stat["high"])


def _told(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _entry(release: Frozen) -> dict[str, Any]:
    return {
        "name": release["name"],
        "created": release["created"],
        "hash": release["hash"],
        "models": len({run["model"] for run in release["runs"]}),
        "runs": len(release["runs"]),
        "changes": dict(Counter(change["kind"] for change in release["changes"])),
    }
