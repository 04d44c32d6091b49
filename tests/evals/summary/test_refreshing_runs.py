"""What is left to run of a matrix, decided from saved runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from commonweal.core.completion import Abilities
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance
from commonweal.evals.plan import Planned
from commonweal.evals.scenario import Args, Loader, Scenario
from commonweal.evals.spec import RunSpec
from commonweal.evals.summary.refresh import Place, abilities_of, places, runs_of
from commonweal.evals.summary.runs import SavedRun

LETTERS = Adaptation(method="multiple_choice_joint")


def planned(name: str, *, reason: str = "", needs: tuple[str, ...] = (), **other: Any) -> Planned:
    def read(loader: Loader, args: Args) -> list[Instance]:
        raise AssertionError("deciding reads no data")

    adaptation = other.get("adaptation", Adaptation())
    scenario = Scenario(
        name=name,
        title=name,
        description="",
        source="",
        licence="",
        read=read,
        adaptation=adaptation,
        main_metric="exact_match",
        metrics=("exact_match",),
        needs=needs,
    )
    spec = RunSpec(
        scenario=name, model="m", adaptation=adaptation, metrics=("exact_match",), main_metric="exact_match"
    )
    return Planned(spec=replace(spec, **other), scenario=scenario, named=name, folder=name, reason=reason)


def saved(of: Planned, **more: Any) -> SavedRun:
    run: dict[str, Any] = {
        "name": of.spec.name,
        "status": "done",
        "reason": "",
        "spec": json.loads(json.dumps(replace(of.spec, rows="told when read").to_json())),
        "endpoint": "http://a/v1#m",
        "updated": "2026-11-01",
        **more,
    }
    return SavedRun(folder=Path(of.folder), run=run, stats=())


def decide(wanted: Planned, runs: Sequence[SavedRun], judge: str = "", *others: Planned) -> Place:
    [place] = places("http://a/v1#m", [[wanted], *([other] for other in others)], runs, judge)
    return place


def told(place: Place) -> tuple[str, str, str]:
    return place.state, place.why, place.text


def test_what_is_there_is_kept_and_what_is_not_is_missing() -> None:
    a, b = planned("a"), planned("b")
    found = places("m", [[a, b]], [saved(a)])
    assert [told(place) for place in found] == [("kept", "", ""), ("due", "missing", "")]
    assert [(place.model, place.name, place.named) for place in found] == [("m", "a", "a"), ("m", "b", "b")]


def test_each_reason_is_told() -> None:
    one = planned("a")
    assert told(decide(planned("a", version=2), [saved(one)])) == ("due", "scenario version", "1 -> 2")
    asked = decide(planned("a", max_instances=9), [saved(one)])
    assert told(asked) == ("due", "asked otherwise", "max_instances: 0 -> 9")
    broken = saved(one, status="failed", reason="all refused")
    assert told(decide(one, [broken])) == ("due", "failed", "all refused")
    assert told(decide(one, [saved(one, status="budget")])) == ("due", "unfinished", "budget")
    del broken.run["status"]  # type: ignore[attr-defined]
    assert decide(one, [broken]).why == "unfinished"


def test_a_run_that_does_counts_whatever_came_after_it() -> None:
    one = planned("a")
    newer = saved(planned("a", max_instances=5), updated="2026-11-02")
    assert decide(one, [saved(one), newer]).state == "kept"
    assert decide(one, [newer]).why == "asked otherwise"


def test_changed_data_are_told_and_only_asked_about_where_all_else_is_the_same() -> None:
    one, asked = planned("a"), list[str]()

    def rows(run: Planned) -> str:
        asked.append(run.spec.name)
        return "other rows now"

    [place] = places("m", [[one]], [saved(one)], rows=rows)
    assert told(place)[:2] == ("due", "data")
    assert place.text.startswith("instances told when re, now other rows n: the data or the scenario")
    for other in (planned("a", seed=3), planned("a", version=2), planned("b")):
        [place] = places("m", [[other]], [saved(one)], rows=rows)
        assert place.why != "data"
    assert asked == ["a"]
    for now in ("told when read", ""):
        [place] = places("m", [[one]], [saved(one)], rows=lambda run, now=now: now)  # type: ignore[misc]
        assert place.state == "kept"
    [place] = places("m", [[one]], [saved(one, spec={**saved(one).run["spec"], "rows": ""})], rows=rows)
    assert place.state == "kept"


def test_the_judge_counts_only_where_one_judges() -> None:
    judged, plain = planned("a", needs=("judge",)), planned("a")
    run = saved(judged, judge="j1")
    assert decide(judged, [run], "j1").state == "kept"
    assert told(decide(judged, [run], "j2")) == ("due", "judge", "j1 -> j2")
    assert decide(plain, [run], "j2").state == "kept"
    assert decide(judged, [run]).state == "kept"


def test_what_cannot_be_measured_is_not_due() -> None:
    one = planned("a", reason="no sandbox")
    assert told(decide(one, [])) == ("impossible", "", "no sandbox")
    assert decide(one, [saved(one)]).state == "kept"


def test_a_run_may_have_been_asked_before_abilities_were_known() -> None:
    by_option, by_letter = planned("a"), planned("a", adaptation=LETTERS)
    for asked in (by_option, by_letter):
        assert decide(by_letter, [saved(asked)], "", by_option).state == "kept"
    other = saved(planned("a", seed=3))
    assert decide(by_letter, [other], "", by_option).why == "asked otherwise"


def abilities(**found: Any) -> Mapping[str, Any]:
    return asdict(Abilities(**found))


def test_abilities_are_those_that_were_found_the_newest_first() -> None:
    one = planned("a")
    runs = [
        saved(one, abilities=abilities(score=True)),
        saved(one, abilities=abilities(score=False)),
        saved(one),
    ]
    found = abilities_of(runs)
    assert [ability.score for ability in found] == [None, False, True]
    assert abilities_of([]) == [Abilities()]
    later = {**abilities(chat=True), "telepathy": True}
    assert abilities_of([saved(one, abilities=later)])[0].chat is True


def test_a_model_is_known_by_its_name_on_any_server_and_a_folder_by_its_path() -> None:
    one = planned("a")
    served = saved(one, updated="2026-11-02")
    other = saved(replace(one, spec=replace(one.spec, model="n")), endpoint="http://a/v1#n")
    assert runs_of("http://a/v1#m", [served, other]) == [served]
    assert runs_of("http://elsewhere/v1#m", [served, other]) == [served]
    assert runs_of("http://elsewhere/v1", [served, other]) == []
    older = saved(one, endpoint="./m", updated="2026-11-01")
    assert runs_of("./m", [served, older]) == [older]
    assert runs_of("m", [served, older]) == [older, served]
