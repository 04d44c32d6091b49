"""The section on serving: the engine, what hub and API add, failures, fine-tuning, audits."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from report_page import NOT_RUN, Found, Section, Verdict, provenance, table

THROUGH_GOAL = 0.95
REQUESTS_GOAL = 1000.0
TITLE = "g. Serving"

Part = Mapping[str, Any]


def serve(found: Found) -> Section:
    parts: Mapping[str, Part] = found["parts"]
    makers = {
        "engine": _engine,
        "through": _through,
        "api": lambda part: _requests(part, "API alone"),
        "whole": lambda part: _requests(part, "API, books, router and a member"),
        "hub": _hub,
        "tuning": _tuning,
        "audit": _audit,
        "tools": _tools,
    }
    lines = [
        "What: one engine and its peers on a Llama of 15 million random weights; the same through hub and member; the "
        "API and the hub with engines that compute nothing; fine-tuning of the demo's model; audits. Tokens a "
        "processor second are the measure where other work ran beside.",
        "",
        *provenance(found),
    ]
    verdicts: list[Verdict] = []
    for name, make in makers.items():
        if name not in parts:
            lines += [f"Not run yet: `python bench/serve.py --only {name}`.", ""]
            verdicts.append(Verdict(what=f"serving, {name}", goal="", found=NOT_RUN, met=None))
            continue
        more, judged = make(parts[name])
        lines += more
        verdicts += judged
    return Section(title=TITLE, lines=lines, verdicts=verdicts)


def _engine(part: Part) -> tuple[list[str], list[Verdict]]:
    def row(name: str, one: Part) -> list[str]:
        first = f"{1e3 * one['first_token_s']:.0f}" if "first_token_s" in one else ""
        return [name, f"{one['tokens_per_s']:.0f}", f"{one['tokens_per_processor_s']:.0f}", first]

    engine, rows = part["engine"], []
    for key in engine:
        rows.append(row(f"ours, {key.replace('_', ', ')} streams", engine[key]))
    rows.append(row("transformers generate, one prompt", part["generate"]))
    peer = part.get("peer", {})
    for key in peer if "error" not in peer else ():
        rows.append(
            row(f"transformers serve --continuous-batching, {key.replace('_', ', ')} streams", peer[key])
        )
    llama = part.get("llama_cpp", {"error": "not run"})
    for key in llama if "error" not in llama else ():
        rows.append(row(f"llama.cpp's server, float32, {key.replace('_', ', ')} streams", llama[key]))
    if "adapters" in part:
        adapters = part["adapters"]
        count = adapters["adapters"]
        rows.append(row(f"ours, {2 * count} streams of the base", adapters["base"]))
        rows.append(row(f"ours, {count} adapters mixed in one batch, 2 streams each", adapters["mixed"]))
        rows.append(row(f"ours, {count} adapters one after the other", adapters["switching"]))
    head = ("engine alone", "tokens/s", "tokens a processor s", "first token, ms")
    verdicts = []
    if "greedy_16" in peer:
        ours, theirs = (one["greedy_16"]["tokens_per_processor_s"] for one in (engine, peer))
        theirs_too = (
            f"llama.cpp's server {llama['greedy_16']['tokens_per_processor_s']:.0f}"
            if "greedy_16" in llama
            else f"llama.cpp's server: {llama['error'][:80]}"
        )
        verdicts.append(
            Verdict(
                what="serving, engine at 16 streams",
                goal="none set",
                found=f"{ours:.0f} tokens a processor second (transformers serve {theirs:.0f}, {theirs_too})",
                met=None,
            )
        )
    if "adapters" in part:
        mixed, turns = (part["adapters"][way]["tokens_per_processor_s"] for way in ("mixed", "switching"))
        verdicts.append(
            Verdict(
                what="serving, adapters mixed in one batch",
                goal="none set",
                found=f"{mixed / turns:.1f}x of one after the other",
                met=None,
            )
        )
    return table(head, rows), verdicts


def _through(part: Part) -> tuple[list[str], list[Verdict]]:
    rows, verdicts = [], []
    for streams in sorted({row["streams"] for row in part["rows"]}):
        pairs = [row for row in part["rows"] if row["streams"] == streams]
        alone, through = (
            {
                key: statistics.median(pair[way][key] for pair in pairs)
                for key in ("tokens_per_s", "tokens_per_processor_s", "first_token_s")
            }
            for way in ("alone", "through")
        )
        wall = statistics.median(
            pair["through"]["tokens_per_s"] / pair["alone"]["tokens_per_s"] for pair in pairs
        )
        cpu = statistics.median(
            pair["through"]["tokens_per_processor_s"] / pair["alone"]["tokens_per_processor_s"]
            for pair in pairs
        )
        hub = statistics.median(pair["through"]["hub_us_a_token"] for pair in pairs)
        rows.append(
            [
                str(streams),
                f"{alone['tokens_per_s']:.0f} / {through['tokens_per_s']:.0f}",
                f"{wall:.2f}",
                f"{alone['tokens_per_processor_s']:.0f} / {through['tokens_per_processor_s']:.0f}",
                f"{cpu:.2f}",
                f"{hub:.0f}",
                f"{1e3 * alone['first_token_s']:.0f} / {1e3 * through['first_token_s']:.0f}",
            ]
        )
        verdicts.append(
            Verdict(
                what=f"serving, through hub and worker, {streams} streams",
                goal=f"at least {THROUGH_GOAL:.0%} of the engine alone",
                found=f"{cpu:.0%} of its tokens a processor second ({wall:.0%} a second, beside other work)",
                met=cpu >= THROUGH_GOAL,
            )
        )
    head = (
        "streams, alone / through",
        "tokens/s",
        "ratio",
        "a processor s of the engine's",
        "ratio",
        "hub, us a token",
        "first token, ms",
    )
    return table(head, rows), verdicts


def _requests(part: Part, what: str) -> tuple[list[str], list[Verdict]]:
    rows = [
        [
            f"{'streamed' if row['stream'] else 'whole'}, {row['tokens']} tokens",
            str(row["connections"]),
            f"{row['requests_a_second']:.0f}",
            f"{row['cpu_ms_a_request']:.2f}",
            f"{row['p50_ms']:.0f} / {row['p99_ms']:.0f}",
            f"{row['first_p50_ms']:.0f} / {row['first_p99_ms']:.0f}",
            f"{row['memory_mib']:.0f}",
        ]
        for row in part["rows"]
    ]
    head = (
        f"{what}, mock engine",
        "connections",
        "requests/s",
        "cpu ms",
        "p50 / p99 ms",
        "first token",
        "MiB",
    )
    plain = next(row for row in part["rows"] if row["connections"] == 32 and not row["stream"])
    verdict = Verdict(
        what=f"serving, requests a second of one hub process, {what}",
        goal=f"{REQUESTS_GOAL:,.0f} with a mock engine",
        found=f"{plain['requests_a_cpu_second']:,.0f} a second of the hub's processor time at 32 connections; "
        f"{plain['requests_a_second']:,.0f} by the clock, beside clients and all else on two cores",
        met=plain["requests_a_cpu_second"] >= REQUESTS_GOAL,
    )
    return table(head, rows), [verdict]


def _hub(part: Part) -> tuple[list[str], list[Verdict]]:
    rows = []
    for ways, name in (("streams", "one process"), ("streams_over_two", "over two")):
        rows += [
            [
                f"{name}, {row['streams']} streams",
                f"{row['first_p50_ms']:.0f} / {row['first_p99_ms']:.0f}",
                f"{row['token_p50_ms']:.1f} / {row['token_p99_ms']:.1f}",
                f"{row['cpu_us_per_token']:.0f}",
                f"{row['memory_mib']:.0f}",
            ]
            for row in part[ways]
        ]
    lines = table(
        ("what the hub adds", "first token, p50 / p99 ms", "a token, p50 / p99 ms", "cpu us a token", "MiB"),
        rows,
    )
    most = max(part["asks"], key=lambda row: row["asks_per_second"])
    killed: Sequence[Part] = part["killed"]
    lines += [f"A worker killed under 32 streams: {'; '.join(_told(one) for one in killed)}.", ""]
    lines += [
        f"Books after it all: {'exact' if part['books_ok'] else 'NOT EXACT'}, {part['journals']} journals.",
        "",
    ]
    return lines, [
        Verdict(
            what="serving, asks a second of one hub process, router and books",
            goal=f"{REQUESTS_GOAL:,.0f} with a mock engine",
            found=f"{most['asks_per_second']:,.0f} ({most['asks_per_core_second']:,.0f} a processor second), "
            f"{most['at_once']} at once",
            met=most["asks_per_second"] >= REQUESTS_GOAL,
        ),
        Verdict(
            what="serving, a worker killed under 32 streams",
            goal="none lost that had not begun",
            found=_told(killed[-1]),
            met=all(one["not_begun_lost"] == 0 for one in killed),
        ),
    ]


def _told(one: Part) -> str:
    return (
        f"{one['not_begun_lost']} of {one['not_begun']} that had not begun lost, {one['begun_lost']} cut off with an "
        f"error event; noticed after {one['noticed_ms']:.0f} ms, all at work elsewhere after "
        f"{one['all_seated_again_ms']:.0f} ms"
    )


def _tuning(part: Part) -> tuple[list[str], list[Verdict]]:
    rows = []
    for name in ("supervised", "dpo"):
        job = part[name]
        rows.append(
            [
                name,
                f"{job['parameters']:,}",
                f"{job['examples']}",
                f"{job['tokens']:,}",
                f"{job['rounds']}",
                f"{job['up_bytes']:,} / {job['down_bytes']:,}",
                f"{job['model_bytes'] / job['up_bytes']:.0f}x",
                f"{job['first']:.3f} -> {job['last']:.3f}",
                f"{job['processor_s']:.0f}",
            ]
        )
    head = (
        "LoRA, 4 bits, two members",
        "parameters",
        "examples",
        "tokens",
        "rounds",
        "bytes a round, up / down",
        "less than the model",
        "held-out loss",
        "cpu s",
    )
    verdict = Verdict(
        what="fine-tuning, text to arithmetic, exact match",
        goal="none set",
        found=f"{part['before']:.0%} before, {part['after']:.0%} after; {part['supervised']['up_bytes']:,} bytes a "
        "round up at 4 bits",
        met=None,
    )
    return table(head, rows), [verdict]


def _audit(part: Part) -> tuple[list[str], list[Verdict]]:
    count = part["answers"]
    rows = [
        [
            row["served"],
            "yes" if row["honest"] else "no",
            f"{row['mismatches']} of {count}",
            str(row["unclear"]),
            "-" if row["first_found_after"] is None else str(row["first_found_after"]),
            f"{row['cost']:.1%}",
        ]
        for row in part["rows"]
    ]
    head = (
        "what a member serves",
        "honest",
        "found out",
        "unclear",
        "first found at answer",
        "cost of writing",
    )
    cheats = {row["served"]: row["mismatches"] / count for row in part["rows"] if not row["honest"]}
    accused = sum(row["mismatches"] for row in part["rows"] if row["honest"])
    cost = statistics.median(row["cost"] for row in part["rows"])
    verdict = Verdict(
        what="serving, audits",
        goal="about 4% of the cost of writing; cheats found",
        found=f"{cost:.1%}; "
        + ", ".join(f"{name} {share:.0%}" for name, share in cheats.items())
        + f"; honest members accused {accused} times",
        met=accused == 0 and all(cheats.values()),
    )
    return table(head, rows), [verdict]


def _tools(part: Part) -> tuple[list[str], list[Verdict]]:
    rows = [
        [name, f"{one['median_ms']:.0f}", f"{one['best_ms']:.0f}", f"{one['own_cpu_ms']:.1f}"]
        for name, one in part["queries"].items()
    ]
    search = part["search"]
    lines = table((f"a query ({part['sandbox']})", "median ms", "best ms", "hub's own cpu ms"), rows)
    lines += [
        f"Passages: {search['bytes'] / 1e6:.1f} MB of text indexed as {search['passages']:,} in "
        f"{search['index_seconds']:.1f} s; a search among them {search['best_median_ms']:.0f} to "
        f"{search['worst_median_ms']:.0f} ms.",
        "",
    ]
    return lines, []
