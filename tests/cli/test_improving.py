"""`commonweal improve` over HTTP: what it asks of a hub, and what it makes of the answers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from commonweal.commands.improving import Improvement, run_improve
from commonweal.core.errors import Unavailable, UserError
from commonweal.core.hashing import content_hash

PAIRS = 12


def _pair(number: int) -> str:
    line = {
        "input": {"messages": [{"role": "user", "content": f"question {number}"}]},
        "preferred_output": [{"role": "assistant", "content": "good"}],
        "non_preferred_output": [{"role": "assistant", "content": "bad"}],
    }
    return json.dumps(line)


FILES = {
    "dpo.train.jsonl": "\n".join(_pair(n) for n in range(40)).encode(),
    "dpo.heldout.jsonl": "\n".join(_pair(n) for n in range(100, 100 + PAIRS)).encode(),
}


class Hub:
    """Knows the routes that are asked, and which model likes which answer."""

    def __init__(
        self, *, better: bool = True, status: str = "succeeded", files: dict[str, bytes] = FILES
    ) -> None:
        self.better, self.status, self.files = better, status, files
        self.trained: dict[str, Any] = {}
        self.promoted: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer key"
        path = request.url.path
        if path == "/v1/community/datasets":
            return httpx.Response(201, json=self._dataset())
        if path.startswith("/v1/community/datasets/ds_1/files/"):
            return httpx.Response(200, content=self.files[path.rsplit("/", 1)[1]])
        if path == "/v1/files":
            assert b"preferred_output" in request.content
            return httpx.Response(200, json={"id": "file_1"})
        body = json.loads(request.content) if request.content else {}
        if path == "/v1/fine_tuning/jobs":
            self.trained = body
            return httpx.Response(200, json={"id": "ftjob_1", "status": "running"})
        if path == "/v1/fine_tuning/jobs/ftjob_1":
            done = {"id": "ftjob_1", "status": self.status, "fine_tuned_model": "ft:tiny:feedback:1"}
            return httpx.Response(200, json=done | {"error": {"message": "no machine had the time"}})
        if path == "/serve/v1/score":
            return httpx.Response(200, json=self._score(body))
        if path == "/serve/v1/promotions":
            self.promoted.append(body)
            return httpx.Response(201, json={"name": body["model"]})
        raise AssertionError(path)

    def _dataset(self) -> dict[str, Any]:
        return {
            "object": "community.dataset",
            "id": "ds_1",
            "built_by": "operator",
            "created": 1.0,
            "manifest": {
                "files": {name: {"examples": data.count(b"\n") + 1} for name, data in self.files.items()},
                "feedback": ["fdb_1", "fdb_2"],
                "licences": {"CC-BY-4.0": 2},
            },
            "files": {name: content_hash(data) for name, data in self.files.items()},
            "withdrawn": [],
        }

    def _score(self, body: dict[str, Any]) -> dict[str, Any]:
        likes = "good" if body["model"].startswith("ft:") and self.better else "bad"
        logprob = -1.0 if body["continuation"] == likes else -2.0
        return {"logprob": logprob, "tokens": [{"token": body["continuation"], "logprob": logprob}]}


def run(hub: Hub, **wishes: Any) -> Any:
    asked = Improvement(
        model="tiny", guards=(), instances=10, runs=Path("unused"), fewest=10, epochs=3, json=True
    )
    return run_improve(
        "http://hub", "key", dataclasses.replace(asked, **wishes), transport=httpx.MockTransport(hub)
    )


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commonweal.commands.improving._LOOK_SECONDS", 0.0)


def test_a_better_version_is_promoted_with_what_went_in(capsys: pytest.CaptureFixture[str]) -> None:
    hub = Hub()
    made = run(hub)
    assert made.decision.verdict == "promote"
    assert hub.trained["method"] == {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 3}}}
    assert hub.trained["model"] == "tiny"
    [promoted] = hub.promoted
    assert (promoted["name"], promoted["model"]) == ("tiny", "ft:tiny:feedback:1")
    assert promoted["record"]["dataset"] == "ds_1"
    assert "promoted" in promoted["record"]["gate"]["reason"]
    told = json.loads(capsys.readouterr().out)
    assert told["feedback"] == ["fdb_1", "fdb_2"]


def test_one_that_is_no_better_is_refused_and_kept() -> None:
    hub = Hub(better=False)
    made = run(hub)
    assert made.decision.verdict == "refuse"
    assert made.candidate == "ft:tiny:feedback:1"
    assert hub.promoted == []


def test_too_little_feedback_is_told_before_anything_is_trained() -> None:
    hub = Hub()
    with pytest.raises(UserError, match="too few"):
        run(hub, fewest=PAIRS + 1)
    assert hub.trained == {}


def test_a_job_that_fails_says_why() -> None:
    with pytest.raises(Unavailable, match="no machine had the time"):
        run(Hub(status="failed"))
