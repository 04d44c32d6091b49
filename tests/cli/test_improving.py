"""`commonweal improve`: what it asks of a hub, and what it tells of the answers."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import httpx
import pytest

from commonweal.commands.improving import Improvement, run_improve
from commonweal.core.errors import Conflict, NotFound, Refused, UserError

PATH = "/v1/community/improvements"
MADE = {
    "id": "imp_1",
    "model": "tiny",
    "candidate": "ft:tiny:feedback:1",
    "dataset": "ds_1",
    "detail": "",
    "error": None,
    "decision": {"verdict": "promote", "reason": "promoted: better", "measures": []},
}
LINES = [{"at": 1.0, "text": "data set ds_1: sft.train.jsonl 3"}, {"at": 2.0, "text": "promoted: better"}]


class Hub:
    """Answers with one step of ``steps`` after the other."""

    def __init__(self, *steps: dict[str, Any], refusal: int = 0) -> None:
        self.steps = [MADE | {"lines": [], "finished": None} | step for step in steps]
        self.refusal = refusal
        self.begun: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer key"
        path = request.url.path
        if path == "/v1/community/datasets/ds_1":
            files = {"sft.train.jsonl": {"examples": 3}}
            manifest = {"feedback": ["fdb_1", "fdb_2"], "licences": {"CC0-1.0": 2}, "files": files}
            return httpx.Response(200, json={"id": "ds_1", "manifest": manifest})
        if request.method == "POST":
            assert path == PATH
            self.begun.append(json.loads(request.content))
            if self.refusal:
                error = {
                    "message": "an improvement of 'tiny' is under way",
                    "type": "conflict",
                    "code": "conflict",
                }
                return httpx.Response(self.refusal, json={"error": error | {"param": None}})
            return httpx.Response(201, json=self._next())
        if path == PATH:
            assert dict(request.url.params) == {"model": "tiny", "limit": "1"}
            return httpx.Response(200, json={"data": [self._next()] if self.steps else []})
        assert path == f"{PATH}/imp_1"
        return httpx.Response(200, json=self._next())

    def _next(self) -> dict[str, Any]:
        return self.steps.pop(0)


WAY = (
    {"state": "queued"},
    {"state": "training", "lines": LINES[:1], "detail": "Step 1/4"},
    {"state": "promoted", "lines": LINES, "finished": 9.0},
)


def run(hub: Hub, **wishes: Any) -> Any:
    asked = Improvement(
        model="tiny", guards=("boolq",), instances=10, fewest=10, epochs=3, follow=False, json=False
    )
    return run_improve(
        "http://hub", "key", dataclasses.replace(asked, **wishes), transport=httpx.MockTransport(hub)
    )


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commonweal.commands.improving._LOOK_SECONDS", 0.0)


def test_it_asks_for_what_was_wished_and_tells_every_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    hub = Hub(*WAY)
    assert run(hub)["state"] == "promoted"
    assert hub.begun == [{"model": "tiny", "guards": ["boolq"], "instances": 10, "epochs": 3, "fewest": 10}]
    out = capsys.readouterr().out
    assert [out.count(line["text"]) for line in LINES] == [1, 1]
    assert "tiny:latest is now ft:tiny:feedback:1" in out


def test_json_has_what_went_in_and_nothing_else_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    run(Hub(*WAY), json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["feedback"] == ["fdb_1", "fdb_2"]
    assert told["examples"] == {"sft.train.jsonl": 3}
    assert told["decision"]["verdict"] == "promote"


def test_one_that_is_refused_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    made = run(Hub({"state": "refused", "finished": 9.0, "lines": LINES[:1]}))
    assert made["state"] == "refused"
    assert "tiny stays; the candidate is kept as ft:tiny:feedback:1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "kind"), [("too_little_feedback", UserError), ("refused", Refused), ("unavailable", Exception)]
)
def test_what_failed_says_why(code: str, kind: type[Exception]) -> None:
    error = {"code": code, "message": "3 held-out examples are too few", "hint": "collect more"}
    with pytest.raises(kind, match="too few"):
        run(Hub({"state": "failed", "finished": 9.0, "error": error}))


def test_one_that_was_cancelled_meanwhile_is_no_success() -> None:
    with pytest.raises(Refused, match="imp_1 was cancelled"):
        run(Hub({"state": "training"}, {"state": "cancelled", "finished": 9.0}))


def test_a_second_one_of_a_model_is_refused() -> None:
    with pytest.raises(Conflict, match="under way"):
        run(Hub(refusal=409))


def test_follow_begins_none_and_looks_at_the_last() -> None:
    hub = Hub(*WAY[1:])
    assert run(hub, follow=True, model="tiny:latest")["state"] == "promoted"
    assert hub.begun == []
    with pytest.raises(NotFound, match="nobody has improved 'tiny' yet"):
        run(Hub(), follow=True)


def test_who_stops_looking_is_told_how_to_look_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("commonweal.commands.improving.time.sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(Hub(*WAY))
    told = " ".join(capsys.readouterr().err.split())
    assert "the hub goes on with imp_1; to look again: commonweal improve tiny --follow" in told
