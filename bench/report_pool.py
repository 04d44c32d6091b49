"""The sections on the pool: slow links, compression, the hub, and what more members gain."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np
from report_page import NOT_RUN, Found, Section, Verdict, provenance, table

SLOWDOWN_GOAL = 1.10
CODEC_GOAL_MS = 10.0


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
