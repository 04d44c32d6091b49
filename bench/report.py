"""Renders bench/results.md from what the other scripts measured. Every number comes from bench/data; only the goals
are written here.

    python bench/report.py [--data bench/data] [--out bench/results.md]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Found = Mapping[str, Any]

FEWER_BYTES_GOALS = ((1200, 300.0), (12_000, 1000.0))
WORSE_LOSS_GOAL = 0.01
SLOWDOWN_GOAL = 1.10
CODEC_GOAL_MS = 10.0
EVAL_PARTS = ("cost", "endpoint", "local", "helm", "win_rates", "memory", "failing")
EVAL_FIXED_SECONDS = 1.0
EVAL_INSTANCE_MS = 0.3
EVAL_PER_SECOND = 1200.0
EVAL_MEMORY_GROWTH = 1.25
EVAL_DELAY_SECONDS = 1.0
NOT_RUN = "not run yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One goal and what was found. ``met`` is None where there is no goal, or nothing was measured."""

    what: str
    goal: str
    found: str
    met: bool | None

    @property
    def word(self) -> str:
        return {True: "met", False: "**missed**", None: "-"}[self.met]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    title: str
    lines: Sequence[str]
    verdicts: Sequence[Verdict]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown: the first column left, numbers right."""
    rule = ["---", *("---:" for _ in head[1:])]
    return ["", *("| " + " | ".join(row) + " |" for row in (head, rule, *rows)), ""]


def provenance(found: Found) -> list[str]:
    """On what, when, of which commit, by which command."""
    machine = found.get("machine")
    if machine is None:
        said = [f"{key} {found[key]}" for key in ("processor", "python", "numpy") if key in found]
        return [f"On: {', '.join(said)}.", ""] if said else []
    load = f"load average {found['load_before'][0]:.1f} before, {found['load_after'][0]:.1f} after"
    return [
        f"On: {machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}, torch {machine['torch']}; {found['date']}, commit {found['commit']}, {load}, "
        f"{found['seconds']:.0f} s.",
        "",
        f"By: `{found['command']}`",
        "",
    ]


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
    for steps in sorted({run["way"]["steps"] for run in runs}):
        verdict, more = _quality_at(steps, [run for run in runs if run["way"]["steps"] == steps])
        rows += more
        verdicts += verdict
    head = ("way", "steps", "seeds", "loss", "against all-reduce, AdamW", "same optimizer", "fewer bytes")
    reached = {steps for steps, _ in FEWER_BYTES_GOALS} & {run["way"]["steps"] for run in runs}
    verdicts += [
        Verdict(what=f"quality, {steps} steps", goal=_bytes_goal(fewer), found=NOT_RUN, met=None)
        for steps, fewer in FEWER_BYTES_GOALS
        if steps not in reached
    ]
    return Section(title="a. Quality at equal tokens", lines=lines + table(head, rows), verdicts=verdicts)


def _quality_at(steps: int, runs: Sequence[Found]) -> tuple[list[Verdict], list[list[str]]]:
    """The ways of one length, and the goal for it if there is one."""
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
            [name, str(steps), str(len(seeds)), loss, _signed(by_adamw), _signed(by_same), f"{fewer:,.0f}x"]
        )
        if wanted and by_adamw is not None and by_same is not None and round(fewer) >= wanted:
            fitting.append(_Fitting(name=name, fewer=fewer, by_adamw=by_adamw, by_same=by_same))
    return _quality_verdicts(steps, fitting), rows


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fitting:
    """A way that saves as many bytes as the goal asks for, and how much worse its loss is than each peer's."""

    name: str
    fewer: float
    by_adamw: float
    by_same: float


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


def _quality_verdicts(steps: int, fitting: Sequence[_Fitting]) -> list[Verdict]:
    """Two for one goal: per-step all-reduce as everybody runs it, and the stricter one with the way's optimizer."""
    fewer = dict(FEWER_BYTES_GOALS).get(steps)
    if fewer is None:
        return []
    goal = _bytes_goal(fewer)
    if not fitting:
        return [
            Verdict(
                what=f"quality, {steps} steps", goal=goal, found="no way with so few bytes was run", met=None
            )
        ]
    usual, strict = min(fitting, key=lambda f: f.by_adamw), min(fitting, key=lambda f: f.by_same)
    return [
        Verdict(
            what=f"quality, {steps} steps, against all-reduce with {peer}",
            goal=goal,
            found=f"{best.name}: {best.fewer:,.0f}x fewer bytes, loss {worse:+.2%}",
            met=worse <= WORSE_LOSS_GOAL,
        )
        for peer, best, worse in (
            ("AdamW", usual, usual.by_adamw),
            ("the same optimizer", strict, strict.by_same),
        )
    ]


def _bytes_goal(fewer: float) -> str:
    return f"{fewer:,.0f}x fewer bytes at most {WORSE_LOSS_GOAL:.0%} worse loss"


def links(found: Found) -> Section:
    goal = f"at most {SLOWDOWN_GOAL:.2f}x the time without a limit"
    title = "b. Speed over slow links"
    if found["skipped"]:
        skipped = Verdict(what="wall time over slow links", goal=goal, found=NOT_RUN, met=None)
        return Section(
            title=title, lines=[*provenance(found), f"Skipped: {found['skipped']}"], verdicts=[skipped]
        )
    settings = found["settings"]
    lines = [
        f"What: wall time of the same training job on a hub and {settings['members']} members, with links held to "
        f"{8 * found['link_bytes_per_second'] / 1e6:.2f} Mbit/s and {settings['round_trip_ms']:.0f} ms, and without "
        f"a limit. How: each in its own network namespace, `tc tbf` on both ends of every link; {_share(found)}; runs "
        f"by turns. The rate makes one float32 gradient of {found['parameters']:,} parameters take "
        f"{found['times_slower'] * settings['datacentre_share']:.1f} steps to send; a data centre is assumed to need "
        f"{settings['datacentre_share']:g} of a step, so the link is {found['times_slower']:.0f} times slower "
        f"relative to the step (aim: {settings['times_slower']:.0f}).",
        "",
        *provenance(found),
        *_links_table(found),
        *_links_ratios(found),
    ]
    return Section(title=title, lines=lines, verdicts=_links_verdicts(found, goal))


def _share(found: Found) -> str:
    share = found.get("members_held_to_share", found.get("share"))
    return f"every member has {share:g} of a core to itself" if share else "members share the cores freely"


def _links_table(found: Found) -> list[str]:
    rows = [
        [
            f"{way} {number}",
            f"{run['wall_seconds']:.1f}",
            f"{run['after_first_round_seconds']:.1f}",
            f"{run['held_out_loss']:.4f}",
            f"{len(run['rounds'])}",
            ", ".join(sorted({row["codec"] for row in run["rounds"]})),
            f"{sum(run['wire_bytes'].values()) / 1e6:.1f}",
            f"{run['cpu_seconds']['members']:.0f}",
            f"{run['cpu_seconds']['hub'] + run['cpu_seconds']['database']:.0f}",
            f"{run['load_before']:.1f}",
        ]
        for way, runs in found["runs"].items()
        for number, run in enumerate(runs, 1)
    ]
    head = ("run", "wall s", "after round 1 s", "held-out loss", "rounds", "codecs", "MB on all links")
    return table((*head, "members' cpu s", "hub's cpu s", "load"), rows)


RATIOS = {
    "to_loss": "time to the same loss",
    "wall": "wall, from the first plan on",
    "after_first_round": "wall after the first round (in which the whole model is fetched)",
    "median_step": "median round, per inner step",
    "loss": "held-out loss",
    "member_cpu": "members' processor time",
}


def _links_ratios(found: Found) -> list[str]:
    """Limited against free, medians over the pairs of runs that were made one after the other."""
    rows = []
    for key, name in RATIOS.items():
        cells = [_median(pairs, key) for pairs in (found["ratios"], found["overlap_ratios"])]
        rows.append([name, *("-" if cell is None else f"{cell:.3f}" for cell in cells)])
    peer = found["peer"]
    rows.append([f"peer: {peer['name']}, time of a step", f"{peer['ratio']:.1f}", ""])
    return table(("with the limit / without", "wait for the update", "overlap"), rows)


def _median(rows: Sequence[Found], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return statistics.median(values) if values else None


def _links_verdicts(found: Found, goal: str) -> list[Verdict]:
    verdicts = []
    for what, rows in (("slow links", found["ratios"]), ("slow links, overlap", found["overlap_ratios"])):
        ratio = _median(rows, "to_loss")
        if ratio is None:
            verdicts.append(Verdict(what=what, goal=goal, found=NOT_RUN, met=None))
            continue
        wall, steady = _median(rows, "wall"), _median(rows, "after_first_round")
        said = f"{ratio:.2f}x to the same loss ({wall:.2f}x for the same steps, {steady:.2f}x after round 1)"
        said += f"; per-step all-reduce {found['peer']['ratio']:.1f}x"
        verdicts.append(Verdict(what=what, goal=goal, found=said, met=ratio <= SLOWDOWN_GOAL))
    return verdicts


def codecs(found: Found) -> Section:
    rows = [
        [
            row["codec"],
            f"{row['bytes_per_parameter']:.4f}",
            f"{row['encode_ms_per_million']:.2f}",
            f"{row['decode_ms_per_million']:.2f}",
            f"{row['total_ms_per_million']:.2f}",
            f"{row['relative_squared_error']:.4f}",
        ]
        for row in found["rows"]
    ]
    head = ("codec", "bytes a parameter", "encode ms", "decode ms", "both ms", "squared error")
    lines = [
        f"What: {found['what']}, of {found['parameters']:,} numbers spread like a pseudo-gradient. Peer: the last row, "
        "in the same process.",
        "",
        *provenance(found),
        *table(head, rows),
    ]
    goal = f"under {CODEC_GOAL_MS:.0f} ms a million parameters, 4 bits"
    ours = next((row for row in found["rows"] if row["codec"] == "int4"), None)
    peer = found["rows"][-1]
    if ours is None:
        verdict = Verdict(what="compression", goal=goal, found=NOT_RUN, met=None)
    else:
        total = ours["total_ms_per_million"]
        said = f"{total:.1f} ms ({peer['codec']}: {peer['total_ms_per_million']:.1f} ms)"
        verdict = Verdict(what="compression", goal=goal, found=said, met=total < CODEC_GOAL_MS)
    return Section(title="c. Compression cost", lines=lines, verdicts=[verdict])


def hub(found: Found) -> Section:
    lines = [
        "What: how soon a waiting member has a unit, how many members one hub process keeps, its memory, and what a "
        "fold takes. How: a hub process with its embedded database, asked over HTTP by a process that plays the "
        "members, on the same cores; units that only count, one planned when the last was handed in. No goal is set; "
        "what matters is how it grows. Peer of the fold: a plain mean in numpy of vectors already decoded.",
        "",
        *provenance(found),
        "Leases: from the plan of a unit to the lease in the hands of one of the waiting members (commit, wake-up and "
        "answer), and what it costs that they wait.",
        *_lease_table(found["leases"]),
        "Calls, when work is there:",
        *_call_table(found["calls"]),
        f"Heartbeats, open loop, each due at its time; kept while the 99th percentile is below "
        f"{found['settings']['p99_goal_seconds']:g} s:",
        *_heartbeat_table(found["heartbeats"]),
        "Folds (4 bits; read, decode, check, clip, average, outer step, encode, store; not scored):",
        *_fold_table(found["folds"]),
        *_growth(found["folds"]),
    ]
    return Section(title="d. The hub", lines=lines, verdicts=_hub_verdicts(found))


def _lease_table(rows: Sequence[Found]) -> list[str]:
    head = (
        "waiting",
        "units",
        "p50 ms",
        "p99 ms",
        "worst ms",
        "cores used by waiting",
        "hub MB",
        "database MB",
    )
    return table(
        head,
        [
            [
                str(row["waiting"]),
                str(row["units"]),
                f"{1e3 * row['p50_seconds']:.0f}",
                f"{1e3 * row['p99_seconds']:.0f}" if row["units"] >= 100 else "-",
                f"{1e3 * row['worst_seconds']:.0f}",
                f"{row['idle_cores']:.2f}",
                f"{row['memory_bytes']['hub'] / 1e6:.0f}",
                f"{row['memory_bytes']['database'] / 1e6:.0f}",
            ]
            for row in rows
        ],
    )


def _call_table(rows: Sequence[Found]) -> list[str]:
    head = ("registered", "lease p50 ms", "p99 ms", "submit p50 ms", "p99 ms", "cpu ms a unit")
    keys = ("lease_p50_seconds", "lease_p99_seconds", "submit_p50_seconds", "submit_p99_seconds")
    return table(
        head,
        [
            [
                str(row["registered"]),
                *(f"{1e3 * row[key]:.0f}" for key in keys),
                f"{1e3 * row['cpu_seconds_per_unit']:.0f}",
            ]
            for row in rows
        ],
    )


def _heartbeat_table(found: Sequence[Found]) -> list[str]:
    head = (
        "registered",
        "a second",
        "members at 30 s",
        "p50 ms",
        "p99 ms",
        "kept",
        "hub cpu ms",
        "database cpu ms",
    )
    return table(
        head,
        [
            [
                str(one["registered"]),
                f"{row['rate']:g}",
                f"{row['members_at_30_s']:,.0f}",
                f"{1e3 * row['p50_seconds']:.0f}",
                f"{1e3 * row['p99_seconds']:.0f}",
                "yes" if row["kept"] else "no",
                f"{row['cpu_ms_per_heartbeat']['hub']:.1f}",
                f"{row['cpu_ms_per_heartbeat']['database']:.1f}",
            ]
            for one in found
            for row in sorted(one["rows"], key=lambda r: r["rate"])
        ],
    )


def _fold_table(rows: Sequence[Found]) -> list[str]:
    head = ("parameters", "members", "wall s", "cpu s", "cpu ms a million and member", "plain mean ms")
    return table(
        head,
        [
            [
                f"{row['parameters']:,}",
                str(row["members"]),
                f"{row['seconds']:.3f}",
                f"{row['cpu_seconds']:.3f}",
                f"{row['cpu_ms_per_million_and_member']:.1f}",
                f"{row['plain_mean_ms_per_million_and_member']:.1f}",
            ]
            for row in rows
        ],
    )


def _growth(rows: Sequence[Found]) -> list[str]:
    """Least squares of processor seconds over ``parameters (outer + each * members)``."""
    if len(rows) < 3:
        return []
    millions = [[r["parameters"] / 1e6, r["parameters"] / 1e6 * r["members"]] for r in rows]
    outer, each = 1e3 * np.linalg.lstsq(np.array(millions), np.array([r["cpu_seconds"] for r in rows]))[0]
    return [
        f"By least squares a fold takes, for every million parameters, {outer:.1f} ms of the processor and "
        f"{each:.1f} ms more for each member.",
        "",
    ]


def _hub_verdicts(found: Found) -> list[Verdict]:
    many = min(found["leases"], key=lambda row: abs(row["waiting"] - 500))
    fold = max(found["folds"], key=lambda row: (row["parameters"], row["members"]))
    tail = (
        f"p99 {1e3 * many['p99_seconds']:.0f} ms"
        if many["units"] >= 100
        else f"worst of {many['units']} {1e3 * many['worst_seconds']:.0f} ms"
    )
    lease = f"p50 {1e3 * many['p50_seconds']:.0f} ms, {tail}"
    beats = sorted(one["members"] for one in found["heartbeats"])
    kept = " to ".join(f"{count:,.0f}" for count in sorted({beats[0], beats[-1]}))
    said = f"{kept} by heartbeats alone; {_members_a_core(found):,.0f} a core if they wait for work as well"
    cost = (
        f"{fold['cpu_ms_per_million_and_member']:.1f} ms of {fold['members']} members' {fold['parameters']:,}"
    )
    return [
        Verdict(what=f"lease, {many['waiting']} members waiting", goal="none set", found=lease, met=None),
        Verdict(what="members a hub process keeps at 30 s", goal="none set", found=said, met=None),
        Verdict(what="fold, a million parameters and member", goal="none set", found=cost, met=None),
    ]


def _members_a_core(found: Found) -> float:
    """What a waiting member's polls cost, and its heartbeats, hub and database together."""
    most = max(found["leases"], key=lambda row: row["waiting"])
    rows = [row for one in found["heartbeats"] for row in one["rows"] if row["kept"]]
    beat = statistics.median(sum(row["cpu_ms_per_heartbeat"].values()) for row in rows) if rows else 0.0
    seconds = found["settings"]["heartbeat_seconds"]
    return float(1 / (most["idle_cores"] / most["waiting"] + beat / 1e3 / seconds))


def gain(found: Found) -> Section:
    alone = statistics.median(row["tokens_per_second"] for row in found["alone"])
    alone_cpu = statistics.median(row["tokens_per_cpu_second"] for row in found["alone"])
    rows = [["alone, plain torch", f"{alone:,.0f}", "1.00", "1.00", "100%", f"{alone_cpu:,.0f}", "0", ""]]
    for one in found["summary"]:
        mine = [row for row in found["pool"] if row["members"] == one["members"]]
        rows.append(
            [
                f"{one['members']} of a pool",
                f"{statistics.median(row['steady_tokens_per_second'] for row in mine):,.0f}",
                f"{one['gain']:.2f}",
                f"{one['gain_with_start']:.2f}",
                f"{one['share_of_ideal']:.0%}",
                f"{statistics.median(row['tokens_per_member_cpu_second'] for row in mine):,.0f}",
                f"{one['hub_cpu_ms_per_1000_tokens']:.0f}",
                f"{max(row['load_before'] for row in mine):.1f}",
            ]
        )
    head = ("machines", "tokens a second", "gain", "with round 1", "of the ideal", "tokens a cpu second")
    lines = [
        f"What: tokens per second of a pool, against one machine alone with the same model and batch in plain torch, "
        f"one thread, no pool. How: a hub and members as processes on loopback; {_share(found)}, the machine alone as "
        "well, so that each is a machine of its own; the hub scores every contribution. Tokens a cpu second are the "
        "members' own, which needs no such trick.",
        "",
        *provenance(found),
        *table((*head, "hub cpu ms a 1,000 tokens", "load"), rows),
    ]
    most = max(found["summary"], key=lambda one: one["members"])
    said = f"{most['gain']:.2f}x of one machine alone, {most['cpu_efficiency']:.0%} of its tokens a processor second"
    verdict = Verdict(what=f"gain of {most['members']} members", goal="none set", found=said, met=None)
    return Section(title="e. Gain", lines=lines, verdicts=[verdict])


def evals(found: Found) -> Section:
    """Each part stands for itself: one that was skipped says why."""
    parts = (
        _eval_cost,
        _eval_endpoint,
        _eval_local,
        _eval_helm,
        _eval_win_rates,
        _eval_memory,
        _eval_failing,
    )
    lines = [
        "What: `commonweal eval` as a person starts it, a process of its own each time. How: processor time, user and "
        "system, of the whole child; the cost of one more instance is what many take more than few, over their "
        "difference. Peers: in environments of their own, same questions, same run.",
        "",
        *provenance(found),
        *_eval_times(found),
    ]
    verdicts = list[Verdict]()
    for part in parts:
        more, judged = part(found)
        lines += ["", *more]
        verdicts += judged
    return Section(title="f. Evaluation", lines=lines, verdicts=verdicts)


def _eval_times(found: Found) -> list[str]:
    """When each part was made: they may be of several runs."""
    parts = {name: part for name, part in found.items() if isinstance(part, dict) and name in EVAL_PARTS}
    times = [
        f"{name} {part['measured']['date']} at load {part['measured']['load_before']:.1f}"
        if "measured" in part
        else f"{name} in an earlier run"
        for name, part in parts.items()
    ]
    return [f"Parts: {'; '.join(times)}.", ""] if times else []


Part = tuple[list[str], list[Verdict]]


def _part(found: Found, name: str) -> Found:
    """A part's results; none of it was measured where it says "skipped"."""
    return found.get(name) or {"skipped": NOT_RUN}


def _unmeasured(title: str, why: str, *goals: tuple[str, str]) -> Part:
    verdicts = [Verdict(what=what, goal=goal, found=f"skipped: {why}", met=None) for what, goal in goals]
    return [f"{title}: skipped: {why}.", ""], verdicts


def _not_run(part: Found) -> list[str]:
    told = [f"{who}: not run, {why}" for who, why in part.get("not_run", {}).items()]
    return [*(f"- {one}" for one in told), ""] if told else []


def _beside(part: Found, key: str, digits: int, unit: str) -> str:
    """What the peers took, for the verdict."""
    rows = [row for row in part["rows"] if row["who"] != "commonweal" and row.get(key) is not None]
    told = ", ".join(f"{row['who']} {row[key]:,.{digits}f} {unit}" for row in rows)
    return f" ({told})" if told else " (no peer run)"


def _eval_cost(found: Found) -> Part:
    part = _part(found, "cost")
    fixed_goal, each_goal = f"under {EVAL_FIXED_SECONDS:g} s", f"at most {EVAL_INSTANCE_MS:g} ms"
    names = ("evaluation, fixed cost", "evaluation, an instance")
    if "skipped" in part:
        return _unmeasured("Cost", part["skipped"], (names[0], fixed_goal), (names[1], each_goal))
    rows = [
        [
            row["who"],
            f"{row['fixed_seconds']:.2f}",
            f"{row['ms_per_instance']:.2f}",
            f"{row['few']:,} and {row['many']:,}",
        ]
        for row in part["rows"]
    ]
    lines = [
        "Cost, with each one's mock model, four choices in one prompt, one request an instance. From the issue, not "
        "measured here: crfm-helm 3.9 s and 2.0 to 4.5 ms, lm-eval 11 to 14 s and 1.5 ms, inspect_ai 4.2 s and 11 to "
        "15 ms.",
        *table(("", "one instance, cpu s", "each further, cpu ms", "from instances"), rows),
        *_not_run(part),
    ]
    ours = part["rows"][0]
    return lines, [
        Verdict(
            what=names[0],
            goal=fixed_goal,
            found=f"{ours['fixed_seconds']:.2f} s of the processor" + _beside(part, "fixed_seconds", 1, "s"),
            met=ours["fixed_seconds"] < EVAL_FIXED_SECONDS,
        ),
        Verdict(
            what=names[1],
            goal=each_goal,
            found=f"{ours['ms_per_instance']:.2f} ms of the processor"
            + _beside(part, "ms_per_instance", 1, "ms"),
            met=ours["ms_per_instance"] <= EVAL_INSTANCE_MS,
        ),
    ]


def _eval_endpoint(found: Found) -> Part:
    part, goal = _part(found, "endpoint"), f"{EVAL_PER_SECOND:,.0f} requests a second"
    what = "evaluation, slow endpoint"
    if "skipped" in part:
        return _unmeasured("Endpoint", part["skipped"], (what, goal))
    settings = found["settings"]
    rows = [
        [
            row["who"],
            f"{row['requests']:,}",
            f"{row['per_second']:,.0f}",
            f"{row['per_second_median']:,.0f}",
            f"{row['cpu_ms_per_request']:.2f}",
        ]
        for row in part["rows"]
    ]
    lines = [
        f"A server on loopback that answers after {settings['delay_ms']:.0f} ms, {settings['at_once']} requests at "
        f"once; {part['ideal_per_second']:,.0f} a second are the most there can be. Ours: all requests over the wall "
        "time of the run, with its tables written; a peer: those beyond the first over the wall time beyond that of "
        "one, which leaves out its own start. Wall time: what else runs on the machine counts here. From the issue, "
        "not measured here: crfm-helm 200 to 220, lm-eval 950 to 1,100, inspect_ai 30 to 40.",
        *table(("", "requests", "best a second", "median", "cpu ms a request"), rows),
        *_not_run(part),
    ]
    ours = part["rows"][0]
    said = f"{ours['per_second']:,.0f} a second at {ours['cpu_ms_per_request']:.2f} ms of the processor each"
    said += _beside(part, "per_second", 0, "a second")
    return lines, [Verdict(what=what, goal=goal, found=said, met=ours["per_second"] >= EVAL_PER_SECOND)]


def _eval_local(found: Found) -> Part:
    part, goal = _part(found, "local"), "faster than lm-eval at batch 64"
    ways = {
        "choice": "evaluation, local model, four scored choices",
        "generate": "evaluation, local model, 8 tokens",
    }
    if "skipped" in part:
        return _unmeasured("Local model", part["skipped"], *((what, goal) for what in ways.values()))
    rows = [[row["who"], row["way"], f"{row['ms_per_instance']:.2f}"] for row in part["rows"]]
    lines = [
        "A Llama of 2 layers of 64 numbers on this machine's processor, one thread. From the issue, not measured here: "
        "lm-eval 5.3 ms for four choices and 7.3 ms for 8 tokens.",
        *table(("", "instance", "cpu ms an instance"), rows),
        *_not_run(part),
    ]
    verdicts = []
    for way, what in ways.items():
        mine = [row for row in part["rows"] if row["way"] == way]
        ours = next((row["ms_per_instance"] for row in mine if row["who"] == "commonweal"), None)
        theirs = next((row["ms_per_instance"] for row in mine if row["who"] != "commonweal"), None)
        said = (
            NOT_RUN
            if ours is None
            else f"{ours:.2f} ms" + _beside({"rows": mine}, "ms_per_instance", 2, "ms")
        )
        met = None if ours is None or theirs is None else ours < theirs
        verdicts.append(Verdict(what=what, goal=goal, found=said, met=met))
    return lines, verdicts


def _eval_helm(found: Found) -> Part:
    part, goal = _part(found, "helm"), "equal to the last digit, all models"
    what = "evaluation, HELM's group table from its instances"
    if "skipped" in part:
        return _unmeasured("HELM's group table", part["skipped"], (what, goal))
    rows = [
        [row["model"], repr(row["helm"]), repr(row["ours"]), "yes" if row["equal"] else "no"]
        for row in part["rows"]
    ]
    equal = sum(row["equal"] for row in part["rows"])
    lines = [
        "HELM's raw MMLU output imported: exact match by model, from the numbers of its instances.",
        *table(("model", "HELM's", "ours", "equal"), rows),
    ]
    said = f"{equal} of {len(rows)} models"
    return lines, [Verdict(what=what, goal=goal, found=said, met=equal == len(rows) > 0)]


def _eval_win_rates(found: Found) -> Part:
    part, what = _part(found, "win_rates"), "evaluation, mean win rate against the published one"
    if "skipped" in part:
        return _unmeasured("Mean win rates", part["skipped"], (what, "none set"))
    rows = [
        [row["table"], str(row["models"]), f"{row['largest']:.4f}", f"{row['mean']:.4f}"]
        for row in part["rows"]
    ]
    lines = [
        "Mean win rates recomputed from the columns of published leaderboards. The tables lack columns that HELM had "
        "(one of Lite, two of Classic), and Instruct has four models. What helm_mmlu calls the mean win rate ranks "
        "worse models higher: it is not made of these columns.",
        *table(("leaderboard", "models", "largest deviation", "mean"), rows),
    ]
    said = "; ".join(f"{row[0]}: {row[2]} at most, {row[3]} on average" for row in rows)
    return lines, [Verdict(what=what, goal="none set", found=said, met=None)]


def _eval_memory(found: Found) -> Part:
    part, what = _part(found, "memory"), "evaluation, memory"
    goal = f"flat (at most {EVAL_MEMORY_GROWTH:g}x from 10,000 to 100,000 instances)"
    if "skipped" in part:
        return _unmeasured("Memory", part["skipped"], (what, goal))
    rows = [
        [
            f"{row['instances']:,}",
            f"{row['bytes'] / 1e6:.0f}",
            f"{row['cpu_seconds']:.1f}",
            f"{row['wall_seconds']:.1f}",
        ]
        for row in part["rows"]
    ]
    lines = [
        "Memory: the greatest resident set of `commonweal eval --model mock`.",
        *table(("instances", "MB", "cpu s", "wall s"), rows),
        *_not_run(part),
    ]
    by_size = {row["instances"]: row["bytes"] for row in part["rows"]}
    small, large = by_size.get(10_000), by_size.get(100_000)
    told = ", ".join(f"{size:,}: {held / 1e6:.0f} MB" for size, held in by_size.items())
    if "100,000 instances" in part["not_run"]:
        told += f"; 100,000: {part['not_run']['100,000 instances']}"
    met = large <= EVAL_MEMORY_GROWTH * small if small and large else None
    summary = part["summary"]
    said = (
        f"{summary['cpu_seconds']:.1f} s of the processor, {summary['wall_seconds']:.1f} s in all; one run "
    )
    said += f"{summary['cpu_seconds_of_one']:.1f} s"
    of_many = f"summary of {summary['runs']} runs of {summary['instances']} instances"
    return [*lines, f"`commonweal leaderboard`, {of_many}: {said}.", ""], [
        Verdict(what=what, goal=goal, found=told, met=met),
        Verdict(what=f"evaluation, {of_many}", goal="none set", found=said, met=None),
    ]


def _eval_failing(found: Found) -> Part:
    part, what = _part(found, "failing"), "evaluation, one request of 100 always answered 400"
    goal = f"1 failed, 99 scored, less than {EVAL_DELAY_SECONDS:g} s more"
    if "skipped" in part:
        return _unmeasured("One bad request", part["skipped"], (what, goal))
    rows = [
        [
            str(row["refused"]),
            str(row["scored"]),
            str(row["failed"]),
            f"{row['seconds']:.2f}",
            f"{row['wall_seconds']:.1f}",
        ]
        for row in part["rows"]
    ]
    lines = [
        "One request of a hundred is always answered with status 400, and the same without. From the issue, not "
        "measured here: crfm-helm tries for 157 s and writes nothing.",
        *table(("refused", "scored", "failed", "run, wall s", "command, wall s"), rows),
    ]
    without, with_one = part["rows"]
    more = with_one["seconds"] - without["seconds"]
    said = f"{with_one['failed']} failed, {with_one['scored']} scored, {more:+.2f} s"
    met = (with_one["failed"], with_one["scored"]) == (1, 99) and more < EVAL_DELAY_SECONDS
    return lines, [Verdict(what=what, goal=goal, found=said, met=met)]


SECTIONS: dict[str, tuple[str, Callable[[Found], Section]]] = {
    "quality": ("a. Quality at equal tokens", quality),
    "links": ("b. Speed over slow links", links),
    "codecs": ("c. Compression cost", codecs),
    "hub": ("d. The hub", hub),
    "gain": ("e. Gain", gain),
    "evals": ("f. Evaluation", evals),
}


def render(data: Mapping[str, Found]) -> str:
    """The page, from the results by script; one that is missing is said to be missing."""
    sections = [_section(name, data.get(name)) for name in SECTIONS]
    verdicts = [verdict for section in sections for verdict in section.verdicts]
    summary = [[v.what, v.goal, v.found, v.word] for v in verdicts]
    lines = [
        "# Measurements",
        "",
        "Written by `make bench` from the runs recorded in bench/data; bench/README.md says how each is made. "
        "Not to be edited.",
        *table(("what", "goal", "found", "goal met"), summary),
    ]
    for section in sections:
        lines += [f"## {section.title}", "", *section.lines, ""]
    return "\n".join(_without_doubles(lines)).rstrip() + "\n"


def _section(name: str, found: Found | None) -> Section:
    title, make = SECTIONS[name]
    if found is None:
        missing = Verdict(what=title[3:].lower(), goal="", found=NOT_RUN, met=None)
        return Section(title=title, lines=[f"Not run yet: `make bench-{name}`."], verdicts=[missing])
    return make(found)


def _without_doubles(lines: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    return kept


def load(folder: Path) -> dict[str, Found]:
    """The results that are there."""
    files = {name: folder / f"{name}.json" for name in SECTIONS}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Render bench/results.md from bench/data.")
    parser.add_argument("--data", type=Path, default=Path("bench/data"))
    parser.add_argument("--out", type=Path, default=Path("bench/results.md"))
    arguments = parser.parse_args()
    arguments.out.write_text(render(load(arguments.data)))
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
