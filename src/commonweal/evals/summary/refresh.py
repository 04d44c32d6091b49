"""What is left to run of a matrix of models and scenarios, and why.

Compares what would be asked with the runs that are saved, and asks no model; the data that a run would have now are
read by whoever passes them in. A model's abilities decide how it is asked (letters in place of
log-probabilities), and they are known for certain only once it was asked: a saved run counts as the same question
where it is what would be asked under the abilities that were found then, or before any were known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from commonweal.core.completion import Abilities
from commonweal.evals.plan import Planned, changes
from commonweal.evals.spec import RunSpec
from commonweal.evals.summary.release import judge_of
from commonweal.evals.summary.runs import SavedRun

State = Literal["kept", "due", "impossible"]
Why = Literal["", "missing", "failed", "unfinished", "scenario version", "asked otherwise", "judge", "data"]
Rows = Callable[[Planned], str]
"""Gives the hash of the instances that a run would have now, "" where that is not to be known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One place of the matrix. ``model`` and ``named`` are how model and scenario were asked for, ``name`` is the
    run's. ``why`` it is due, "" where it is not; ``text`` tells more: what was and what is, or what is lacking."""

    model: str
    name: str
    named: str
    state: State
    why: Why = ""
    text: str = ""


def runs_of(model: str, runs: Iterable[SavedRun]) -> list[SavedRun]:
    """The saved runs of the model that is written ``model``, the newest last. A model behind a server is known by its
    name, whatever the server's address is; one in a folder by how the folder is written."""
    own = model.partition("#")[2] if model.startswith(("http://", "https://")) else model
    found = [run for run in runs if run.run.get("endpoint") == model or (own and run.model == own)]
    return sorted(found, key=lambda run: str(run.run.get("updated", "")))


def abilities_of(runs: Sequence[SavedRun]) -> list[Abilities]:
    """What was found that a model can do, what the newest of its runs found first; last, that nothing is known."""
    known = {field.name for field in fields(Abilities)}
    told = (run.run.get("abilities") or {} for run in reversed(runs))
    found = [Abilities(**{key: value for key, value in one.items() if key in known}) for one in told]
    return list(dict.fromkeys([*found, Abilities()]))


def places(
    model: str,
    plans: Sequence[Sequence[Planned]],
    saved: Sequence[SavedRun],
    judge: str = "",
    rows: Rows = lambda run: "",
) -> list[Place]:
    """The places of one model.

    ``plans`` are the same runs under each of :func:`abilities_of`, in this order; ``saved`` are the model's runs, the
    newest last; ``judge`` is the judge that would be asked; ``rows`` is asked of runs that would be kept but for their
    data.
    """
    by_name: dict[str, list[SavedRun]] = {}
    for run in saved:
        by_name.setdefault(run.name, []).append(run)
    made = []
    for forms in zip(*plans, strict=True):
        planned = forms[0]
        state, why, text = _decided(forms, by_name.get(planned.spec.name, ()), judge, rows)
        made.append(
            Place(model=model, name=planned.spec.name, named=planned.named, state=state, why=why, text=text)
        )
    return made


def _decided(
    forms: Sequence[Planned], saved: Sequence[SavedRun], judge: str, rows: Rows
) -> tuple[State, Why, str]:
    planned = forms[0]
    told = [_difference(forms, run, judge, rows) for run in saved]
    if any(why == "" for why, _ in told):
        return "kept", "", ""
    if planned.reason:
        return "impossible", "", planned.reason
    why, text = told[-1] if told else ("missing", "")
    return "due", why, text


def _difference(forms: Sequence[Planned], run: SavedRun, judge: str, rows: Rows) -> tuple[Why, str]:
    """Why a saved run does not do; "" where it does."""
    before = run.run["spec"]
    version = forms[0].spec.version
    if before["version"] != version:
        return "scenario version", f"{before['version']} -> {version}"
    found = [changes(_asked(before), _asked(_plain(planned.spec))) for planned in forms]
    if all(found):
        return "asked otherwise", "; ".join(found[0])
    judged = judge_of(run.run)
    if judge and judge != judged and "judge" in forms[0].scenario.needs:
        return "judge", f"{judged or 'none'} -> {judge}"
    status = str(run.run.get("status", "unfinished"))
    if status == "done":
        return _data(before["rows"], rows(forms[0]) if before["rows"] else "")
    reason = str(run.run.get("reason") or "")
    return ("failed", reason) if status == "failed" else ("unfinished", reason or status)


def _data(before: str, now: str) -> tuple[Why, str]:
    """The hash is of all that is asked about, so another reading of the same file shows in it as well."""
    if not now or before == now:
        return "", ""
    return (
        "data",
        f"instances {before[:12]}, now {now[:12]}: the data or the scenario's reading of them changed",
    )


def _asked(spec: dict[str, Any]) -> dict[str, Any]:
    """What two runs must have in common. Data are looked at apart, and the model may be written in two ways."""
    return {**spec, "rows": "", "model": ""}


def _plain(spec: RunSpec) -> dict[str, Any]:
    """The spec as ``run.json`` has it: lists for tuples."""
    plain: dict[str, Any] = json.loads(json.dumps(spec.to_json()))
    return plain
