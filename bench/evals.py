"""``commonweal eval`` measured: processor time, requests a second, local models, HELM's own numbers, memory, failures.

    python bench/evals.py --out bench/data/evals.json [--quick] [--only cost,endpoint] [--no-peers]

Every evaluation is the command as a person starts it, in a process of its own, whose processor time is counted: wall
time says nothing on a machine that does something else as well. Peers run the same questions in environments of their
own, turn by turn with ours (``evals_peers.py`` installs them below ``--peers``, in some minutes the first time); what
cannot be run is recorded with its reason. A measure that fails is recorded as such, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evals_peers import Peer, find_peers, said
from evals_runs import (
    COMMONWEAL,
    HERE,
    REFUSED,
    Child,
    Failed,
    answered,
    endpoint,
    evaluate,
    only_run,
    run,
    steady_rate,
    write_sums,
)
from machine import Record, commit

Found = dict[str, Any]
OURS = "commonweal"
DATA = HERE.parent.parent / "shared" / "data"
NO_DATA = "no data"
SLOW = "inspect_ai"
"""The peer that is asked for less, as it takes a minute for what takes the others seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How much is run. ``few`` (``peer_few``) and ``many`` instances give the cost of one by their difference."""

    repeats: int = 3
    peer_repeats: int = 3
    local_repeats: int = 3
    few: int = 1000
    many: int = 3000
    peer_few: int = 100
    slow_many: int = 500
    requests: int = 1000
    at_once: int = 64
    delay_ms: float = 50.0
    local_few: int = 64
    local_many: int = 3072
    sizes: tuple[int, ...] = (1000, 10_000, 100_000)
    size_seconds: float = 180.0
    runs: int = 100


QUICK = Settings(
    repeats=1, peer_repeats=1, local_repeats=1, many=2000, requests=500, local_many=512, sizes=(1000, 10_000)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where and with whom things are run."""

    folder: Path
    settings: Settings
    peers: list[Peer]
    missing: dict[str, str] = field(default_factory=dict)


def cost(place: Place) -> Found:
    """a. The processor seconds of one instance, and of each further one, with a mock model."""
    settings = place.settings
    ours = {size: list[float]() for size in (1, settings.few, settings.many)}
    sums = {size: write_sums(place.folder, f"sums{size}", size) for size in ours}
    evaluate("mock", sums[1], 0, place.folder)  # the first run after a change compiles modules
    for _ in range(settings.repeats):
        for size, found in ours.items():
            found.append(evaluate("mock", sums[size], 0, place.folder).cpu)
    rows = [_cost_row(OURS, ours, settings.few, settings.many)]
    missing = dict(place.missing)
    for peer in place.peers:
        try:
            rows.append(_peer_cost(peer, place))
        except Failed as error:
            missing[peer.title] = str(error)
    return {"rows": rows, "not_run": missing}


def _peer_cost(peer: Peer, place: Place) -> Found:
    settings = place.settings
    many = settings.slow_many if peer.name == SLOW else settings.many
    found = {size: list[float]() for size in (1, settings.peer_few, many)}
    sums = {size: write_sums(place.folder, f"sums{size}", size).with_suffix(".jsonl") for size in found}
    peer.child("mock", sums[1], 1, place.folder)  # its first run compiles modules and fills its caches
    for _ in range(settings.peer_repeats):
        for size, seconds in found.items():
            seconds.append(peer.child("mock", sums[size], size, place.folder).cpu)
    return _cost_row(peer.title, found, settings.peer_few, many)


def _cost_row(who: str, cpu: Mapping[int, list[float]], few: int, many: int) -> Found:
    """Medians; the cost of one instance is what ``many`` take more than ``few``."""
    middle = {size: statistics.median(values) for size, values in cpu.items()}
    return {
        "who": who,
        "fixed_seconds": middle[1],
        "ms_per_instance": 1e3 * (middle[many] - middle[few]) / (many - few),
        "few": few,
        "many": many,
        "cpu_seconds": {str(size): values for size, values in cpu.items()},
    }


def requests(place: Place) -> Found:
    """b. Requests a second at an endpoint that takes its time, and the processor time of one."""
    settings = place.settings
    scenario = write_sums(place.folder, "asked", settings.requests)
    rows, missing = [], dict(place.missing)
    with endpoint(settings.delay_ms) as url:
        rows.append(_our_requests(url, scenario, place))
        for peer in place.peers:
            try:
                rows.append(_peer_requests(peer, url, place))
            except Failed as error:
                missing[peer.title] = str(error)
    ideal = settings.at_once / (settings.delay_ms / 1e3)
    return {"rows": rows, "not_run": missing, "ideal_per_second": ideal}


def _our_requests(url: str, scenario: Path, place: Place) -> Found:
    def asked(count: int) -> tuple[Child, float]:
        more = ("--concurrency", str(place.settings.at_once))
        child = evaluate(f"{url}#tiny", scenario, count, place.folder, *more)
        return child, float(only_run(child)["seconds"])

    return _requests_row(OURS, url, place.settings.requests, place.settings.repeats, asked)


def _peer_requests(peer: Peer, url: str, place: Place) -> Found:
    settings, data = place.settings, place.folder / "asked.jsonl"

    def asked(count: int) -> tuple[Child, float]:
        more = ("--url", url, "--concurrency", str(settings.at_once))
        child = peer.child("endpoint", data, count, place.folder, *more)
        return child, float(said(child)["seconds"])

    repeats = 1 if peer.name == SLOW else settings.peer_repeats
    return _requests_row(peer.title, url, settings.requests, repeats, asked)


def _requests_row(
    who: str, url: str, count: int, repeats: int, asked: Callable[[int], tuple[Child, float]]
) -> Found:
    """Requests a second by the server's clock, so that nobody's start counts, nor what is done with the answers;
    ``whole`` is over all of the evaluation's own wall time: reading the data, asking, scoring and writing."""
    one, _ = asked(1)
    rates, seconds, cpu = list[float](), list[float](), list[float]()
    for _ in range(repeats):
        answered(url)
        child, wall = asked(count)
        rates.append(steady_rate(answered(url)))
        seconds.append(wall)
        cpu.append(child.cpu)
    return {
        "who": who,
        "requests": count,
        "per_second": max(rates),
        "per_second_median": statistics.median(rates),
        "per_second_whole": count / min(seconds),
        "cpu_ms_per_request": 1e3 * (statistics.median(cpu) - one.cpu) / (count - 1),
        "seconds": seconds,
    }


def local(place: Place) -> Found:
    """c. Processor time of an instance with a tiny model on this machine: scored choices, and generation."""
    from evals_model import save_model

    settings = place.settings
    model = save_model(place.folder / "tiny-llama")
    ways = {
        "choice": write_sums(
            place.folder,
            "choice",
            settings.local_many,
            method="multiple_choice_separate",
            instructions="",
            input_prefix="",
            input_suffix=" ",
            output_prefix="",
        ),
        "generate": write_sums(
            place.folder,
            "generate",
            settings.local_many,
            shape="generation",
            metric="exact_match",  # what the peer computes: others have no part in this measure
            max_tokens=8,
            stop=["<|never|>"],
            instructions="",
            input_prefix="",
            input_suffix="",
            output_prefix="",
            output_suffix="",
        ),
    }
    rows, missing = [], dict(place.missing)
    peers = [peer for peer in place.peers if peer.name == "lm_eval"]
    for way, scenario in ways.items():
        rows.append(_local_row(OURS, way, settings, _our_local(scenario, model, place)))
        for peer in peers:
            try:
                rows.append(
                    _local_row(peer.title, way, settings, _peer_local(peer, way, scenario, model, place))
                )
            except Failed as error:
                missing[f"{peer.title}, {way}"] = str(error)
    not_run = {who: why for who, why in missing.items() if who.startswith("lm_eval")}
    return {"rows": rows, "not_run": not_run}


def _our_local(scenario: Path, model: Path, place: Place) -> Callable[[int], float]:
    return lambda count: evaluate(str(model), scenario, count, place.folder).cpu


def _peer_local(peer: Peer, way: str, scenario: Path, model: Path, place: Place) -> Callable[[int], float]:
    data = scenario.with_suffix(".jsonl")
    return lambda count: peer.child(way, data, count, place.folder, "--model", str(model)).cpu


def _local_row(who: str, way: str, settings: Settings, cpu: Callable[[int], float]) -> Found:
    pairs = [(cpu(settings.local_few), cpu(settings.local_many)) for _ in range(settings.local_repeats)]
    more = settings.local_many - settings.local_few
    each = statistics.median(many for _, many in pairs) - statistics.median(few for few, _ in pairs)
    if each <= 0:
        raise Failed(f"{way}: {more} instances cannot be told from the noise of starting: {pairs}")
    return {"who": who, "way": way, "ms_per_instance": 1e3 * each / more, "cpu_seconds": pairs}


def helm(place: Place) -> Found:
    """d. HELM's group table, from its per-instance numbers, by our aggregation."""
    from commonweal.evals.exchange.helm import read_helm, read_splits
    from commonweal.evals.exchange.importing import group_means

    folder, splits = DATA / "helm_raw_mmlu", DATA / "mmlu_57_sample" / "mmlu_57_sample.jsonl"
    if not (folder.is_dir() and splits.is_file()):
        return {"skipped": NO_DATA}
    runs = read_helm(folder, read_splits(splits))
    ours = group_means(runs, "exact_match")
    models = {run.name: run.spec.model for run in runs}
    rows = []
    for title, helm_value, name in _published(folder):
        value = ours.get(models.get(name, ""))
        rows.append({"model": title, "helm": helm_value, "ours": value, "equal": value == helm_value})
    return {"rows": rows}


def _published(folder: Path) -> list[tuple[str, float, str]]:
    """Each model of HELM's own table: its title, its exact match, and the name of one of its runs."""
    table = json.loads((folder / "groups" / "json" / "mmlu_mmlu.json").read_text())
    place = [head["value"] for head in table["header"]].index("EM")
    cells = [(row[0]["value"], row[place]) for row in table["rows"]]
    return [(title, cell["value"], cell["run_spec_names"][0]) for title, cell in cells]


def win_rates(place: Place) -> Found:
    """e. The mean win rate from the columns of published leaderboards, against the published one."""
    from commonweal.evals.exchange.leaderboards import recompute

    files = sorted(
        file for file in (DATA / "helm_leaderboards").glob("helm_*.csv") if not file.stem.endswith("_long")
    )
    if not files:
        return {"skipped": NO_DATA}
    rows = []
    for file in files:
        if "Mean win rate" not in file.open(encoding="utf-8").readline():
            continue  # it ranks by a mean score
        found = recompute(file)
        rows.append(
            {"table": file.stem, "models": len(found.published), "largest": found.largest, "mean": found.mean}
        )
    return {"rows": rows}


def memory(place: Place) -> Found:
    """f. The greatest memory by number of instances, and the time to summarise many runs."""
    settings, rows, not_run = place.settings, list[Found](), dict[str, str]()
    for size in settings.sizes:
        scenario = write_sums(place.folder, f"sums{size}", size)
        try:
            child = evaluate("mock", scenario, 0, place.folder, seconds=settings.size_seconds)
        except Failed as error:
            not_run[f"{size:,} instances"] = str(error)
            continue
        rows.append(
            {"instances": size, "bytes": child.memory, "cpu_seconds": child.cpu, "wall_seconds": child.wall}
        )
    return {"rows": rows, "not_run": not_run, "summary": _summary(place)}


def _summary(place: Place) -> Found:
    """``commonweal leaderboard`` over copies of one run under other names: ten models, and scenarios for each."""
    settings, instances = place.settings, 500
    scenario = write_sums(place.folder, "copied", instances)
    child = evaluate("mock", scenario, 0, place.folder)
    told = json.loads(child.said)
    made = place.folder / told["folder"] / told["runs"][0]["folder"]
    many = place.folder / "many"
    for number in range(settings.runs):
        copy = many / f"run{number}"
        shutil.copytree(made, copy)
        saved = json.loads((copy / "run.json").read_text())
        saved["name"] = saved["spec"]["scenario"] = f"sums{number // 10}"
        saved["spec"]["model"] = f"model{number % 10}"
        (copy / "run.json").write_text(json.dumps(saved))
    one = run([*COMMONWEAL, "leaderboard", str(many / "run0"), "--json"], place.folder)
    child = run([*COMMONWEAL, "leaderboard", str(many), "--json"], place.folder)
    return {
        "runs": settings.runs,
        "instances": instances,
        "cpu_seconds": child.cpu,
        "wall_seconds": child.wall,
        "cpu_seconds_of_one": one.cpu,
        "bytes": child.memory,
    }


def failing(place: Place) -> Found:
    """g. One request of a hundred is always answered 400."""
    rows = []
    scenario = write_sums(place.folder, "refused", 100)
    data = scenario.with_suffix(".jsonl")
    lines = data.read_text().splitlines()
    lines[50] = lines[50].replace("A shop", f"An {REFUSED} shop")
    data.write_text("\n".join(lines) + "\n")
    for refuse in ("", REFUSED):
        with endpoint(place.settings.delay_ms, refuse) as url:
            found = [
                evaluate(f"{url}#tiny", scenario, 0, place.folder) for _ in range(place.settings.repeats)
            ]
        runs = [only_run(child) for child in found]
        rows.append(
            {
                "refused": 1 if refuse else 0,
                "scored": runs[0]["coverage"]["scored"],
                "failed": runs[0]["coverage"]["failed"],
                "seconds": statistics.median(one["seconds"] for one in runs),
                "wall_seconds": statistics.median(child.wall for child in found),
            }
        )
    return {"rows": rows}


MEASURES: dict[str, Callable[[Place], Found]] = {
    "cost": cost,
    "endpoint": requests,
    "memory": memory,
    "failing": failing,
    "helm": helm,
    "win_rates": win_rates,
    "local": local,
}
"""In this order: a child's greatest memory is at least its parent's, so memory comes before what reads data in here."""


def measured(name: str, place: Place) -> Found:
    """One measure, or why there is none; with when it was made and how busy the machine was."""
    began, at, load = time.monotonic(), time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), os.getloadavg()[0]
    try:
        found = MEASURES[name](place)
    except Failed as error:
        found = {"skipped": str(error)}
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return {**found, "measured": {"date": at, "commit": commit(), "load_before": round(load, 2)}}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure commonweal eval.")
    parser.add_argument("--out", type=Path, default=Path("bench/data/evals.json"))
    parser.add_argument("--quick", action="store_true", help="fewer repeats and instances")
    parser.add_argument("--only", default=",".join(MEASURES), help="measures, by commas; the others are kept")
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "peers")
    parser.add_argument("--no-peers", action="store_true", help="measure ours alone")
    arguments = parser.parse_args()
    settings = QUICK if arguments.quick else Settings()
    peers, missing = ([], {}) if arguments.no_peers else find_peers(arguments.peers, install=True)
    names = arguments.only.split(",")
    if unknown := set(names) - set(MEASURES):
        parser.error(f"--only: no measure {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    record = Record(
        what="commonweal eval", settings={key: getattr(settings, key) for key in Settings.__slots__}
    )
    before = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    results = {name: before[name] for name in MEASURES if name in before}
    with tempfile.TemporaryDirectory(prefix="commonweal-evals-") as made:
        for name in MEASURES:
            if name in names:
                folder = Path(made) / name
                folder.mkdir()
                results[name] = measured(
                    name, Place(folder=folder, settings=settings, peers=peers, missing=missing)
                )
                record.save(arguments.out, results)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
