"""The section on evaluation, from what bench/evals.py measured; each of its parts stands for itself."""

from __future__ import annotations

from report_page import NOT_RUN, Found, Section, Verdict, provenance, table

EVAL_PARTS = ("cost", "endpoint", "local", "helm", "win_rates", "memory", "failing")
EVAL_FIXED_SECONDS = 1.0
EVAL_INSTANCE_MS = 0.3
EVAL_PER_SECOND = 1200.0
EVAL_MEMORY_GROWTH = 1.25
EVAL_DELAY_SECONDS = 1.0


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
    """What the peers took, for the verdict. A number that is not positive was lost in what else the machine did."""
    rows = [row for row in part["rows"] if row["who"] != "commonweal" and (row.get(key) or 0) > 0]
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
            f"{row['per_second_whole']:,.0f}" if "per_second_whole" in row else "-",
            f"{row['cpu_ms_per_request']:.2f}",
        ]
        for row in part["rows"]
    ]
    lines = [
        f"A server on loopback that answers after {settings['delay_ms']:.0f} ms, {settings['at_once']} requests at "
        f"once; {part['ideal_per_second']:,.0f} a second are the most there can be. Answers a second by the server's "
        "clock, from the tenth part of them on; `whole`: all requests over all of the evaluation's wall time, with its "
        "start, scoring and writing. What else runs on the machine counts here. From the issue, not measured here: "
        "crfm-helm 200 to 220, lm-eval 950 to 1,100, inspect_ai 30 to 40.",
        *table(("", "requests", "best a second", "median", "whole", "cpu ms a request"), rows),
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
