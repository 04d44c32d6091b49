"""The section on quality at equal tokens, from what bench/quality.py measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from report_page import NOT_RUN, Found, Section, Verdict, table

FEWER_BYTES_GOALS = ((1200, 300.0), (12_000, 1000.0))
WORSE_LOSS_GOAL = 0.01
FEWEST_SEEDS = 3
DEMO_PARAMETERS = 700_000
"""A goal is for the demo's size (0.8 million parameters) and three seeds: a smaller run, or fewer, can miss it but not
meet it."""


def quality(found: Found) -> Section:
    runs = [run for run in found.get("runs", []) if run.get("loss") is not None]
    lines = [
        "What: loss on held-out text after the same number of tokens, and the bytes of one member, up and down, from "
        "the first step on. How: simulated members, exact arithmetic and real encoded bytes, from scratch. Peers: "
        "per-step all-reduce in float32 with AdamW, and with the way's own inner optimizer, each at the best of the "
        "settings tried, same seeds, same run.",
        "",
    ]
    rows, verdicts = [], []
    for steps, size in sorted({(run["way"]["steps"], run["parameters"]) for run in runs}):
        same = [run for run in runs if (run["way"]["steps"], run["parameters"]) == (steps, size)]
        verdict, more = _quality_at(steps, size, same)
        rows += more
        verdicts += verdict
    head = (
        "way",
        "parameters",
        "steps",
        "seeds",
        "loss",
        "against all-reduce, AdamW",
        "same optimizer",
        "fewer bytes",
    )
    reached = {run["way"]["steps"] for run in runs}
    verdicts += [
        Verdict(what=f"quality, {steps} steps", goal=_bytes_goal(fewer), found=NOT_RUN, met=None)
        for steps, fewer in FEWER_BYTES_GOALS
        if steps not in reached
    ]
    made = provenances(runs)
    return Section(
        title="a. Quality at equal tokens", lines=lines + table(head, rows) + made, verdicts=verdicts
    )


def provenances(runs: Sequence[Found]) -> list[str]:
    """How the runs came about: they may be of several days, commits and commands."""
    noted = [run["made"] for run in runs if "made" in run]
    lines = []
    for command, processor in sorted({(made["command"], made["machine"]["processor"]) for made in noted}):
        same = [m for m in noted if (m["command"], m["machine"]["processor"]) == (command, processor)]
        commits = ", ".join(sorted({made["commit"] for made in same}))
        loads = [made["load_before"][0] for made in same] + [made["load_after"][0] for made in same]
        days = sorted(made["date"][:10] for made in same)
        lines += [
            f"{len(same)} runs by `{command}` on {same[0]['machine']['cores']} cores of {processor}, {days[0]} to "
            f"{days[-1]}, commit {commits}, load average {min(loads):.1f} to {max(loads):.1f}.",
            "",
        ]
    if older := len(runs) - len(noted):
        lines += [f"{older} runs are older than the note of machine, commit, command and load.", ""]
    return lines


def _quality_at(steps: int, size: int, runs: Sequence[Found]) -> tuple[list[Verdict], list[list[str]]]:
    """The ways of one length and size, and the goal for it if there is one."""
    by_way: dict[str, dict[int, Found]] = {}
    for run in runs:
        by_way.setdefault(run["way"]["name"], {})[run["seed"]] = run
    peers = {name: seeds for name, seeds in by_way.items() if next(iter(seeds.values()))["reduction"] <= 1.0}
    rows, fitting = [], list[_Fitting]()
    wanted = dict(FEWER_BYTES_GOALS).get(steps)
    for name, seeds in by_way.items():
        optimizer = _optimizer(seeds)
        by_adamw, by_same = (_against(seeds, _of(peers, one)) for one in ("adamw", optimizer))
        fewer = statistics.fmean(run["reduction"] for run in seeds.values())
        losses = [run["loss"] for run in seeds.values()]
        spread = f" ± {statistics.stdev(losses):.3f}" if len(losses) > 1 else ""
        loss = f"{statistics.fmean(losses):.4f}{spread}"
        rows.append(
            [
                name,
                f"{size / 1e6:.1f}M",
                str(steps),
                str(len(seeds)),
                loss,
                _signed(by_adamw),
                _signed(by_same),
                f"{fewer:,.0f}x",
            ]
        )
        if wanted and by_adamw is not None and round(fewer) >= wanted:
            fitting.append(
                _Fitting(name=name, seeds=len(seeds), fewer=fewer, by_adamw=by_adamw, by_same=by_same)
            )
    return _quality_verdicts(steps, size, fitting), rows


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fitting:
    """A way that saves as many bytes as the goal asks for, and how much worse its loss is than each peer's (None:
    all-reduce with its optimizer was not run for so long)."""

    name: str
    seeds: int
    fewer: float
    by_adamw: float
    by_same: float | None


def _optimizer(seeds: Mapping[int, Found]) -> str:
    return str(next(iter(seeds.values()))["way"].get("optimizer", "adamw"))


def _of(peers: Mapping[str, Mapping[int, Found]], optimizer: str) -> dict[str, Mapping[int, Found]]:
    return {name: seeds for name, seeds in peers.items() if _optimizer(seeds) == optimizer}


def _signed(share: float | None) -> str:
    return "-" if share is None else f"{share:+.2%}"


def _against(seeds: Mapping[int, Found], peers: Mapping[str, Mapping[int, Found]]) -> float | None:
    """How much worse than the best all-reduce, over the seeds that both have."""
    ratios = []
    for peer in peers.values():
        both = sorted(set(seeds) & set(peer))
        if both == sorted(seeds):
            ratios.append(
                statistics.fmean(seeds[s]["loss"] for s in both)
                / statistics.fmean(peer[s]["loss"] for s in both)
            )
    return max(ratios) - 1 if ratios else None


def _quality_verdicts(steps: int, size: int, fitting: Sequence[_Fitting]) -> list[Verdict]:
    """Two for one goal: per-step all-reduce as everybody runs it, and the stricter one with the way's optimizer."""
    fewer = dict(FEWER_BYTES_GOALS).get(steps)
    if fewer is None:
        return []
    goal = _bytes_goal(fewer)
    if not fitting:
        return [
            Verdict(
                what=f"quality, {steps} steps",
                goal=goal,
                found=f"no way with so few bytes was run at {size / 1e6:.1f}M parameters",
                met=None,
            )
        ]
    usual = min(fitting, key=lambda f: f.by_adamw)
    found = [("AdamW", usual, usual.by_adamw)]
    same = [(f.by_same, f) for f in fitting if f.by_same is not None]
    if same:
        worse, strict = min(same, key=lambda pair: pair[0])
        found.append(("the same optimizer", strict, worse))
    verdicts = [
        Verdict(
            what=f"quality, {steps} steps, against all-reduce with {peer}",
            goal=goal,
            found=f"{best.name}: {best.fewer:,.0f}x fewer bytes, loss {worse:+.2%} "
            f"({size / 1e6:.1f}M parameters, {best.seeds} {'seed' if best.seeds == 1 else 'seeds'})",
            met=_met(worse, size, best.seeds),
        )
        for peer, best, worse in found
    ]
    if not same:
        what = f"quality, {steps} steps, against all-reduce with the same optimizer"
        verdicts.append(Verdict(what=what, goal=goal, found=NOT_RUN, met=None))
    return verdicts


def _met(worse: float, size: int, seeds: int) -> bool | None:
    if worse > WORSE_LOSS_GOAL:
        return False
    return True if size >= DEMO_PARAMETERS and seeds >= FEWEST_SEEDS else None


def _bytes_goal(fewer: float) -> str:
    return f"{fewer:,.0f}x fewer bytes at most {WORSE_LOSS_GOAL:.0%} worse loss"
