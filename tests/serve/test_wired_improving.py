"""A whole hub improves a model: its own loops, its own desk, a member that serves, and a scenario as guard."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from whole_hub import Whole

from commonweal.app import HubSettings, build, first_start
from commonweal.core.blobs import Blobs
from commonweal.core.clock import SystemClock
from commonweal.core.database import Database
from commonweal.serve.community.building import side_of
from commonweal.serve.tuning.trainer import Progress
from served_app import serving
from tuning_fakes import FakeTrainer

IMPROVEMENTS = "/v1/community/improvements"


class QuickTrainer(FakeTrainer):
    """A round is done whenever somebody looks."""

    def look(self, job: str, owner: str, *, after: int) -> Progress | None:
        self.fold()
        return super().look(job, owner, after=after)


@pytest.fixture
def training(database: Database, blobs: Blobs, tmp_path: Path) -> Iterator[Whole]:
    settings = HubSettings(folder=tmp_path, tick_seconds=0.1)
    keys = first_start(database, settings, SystemClock())
    assert keys is not None
    with serving(build(database, blobs, {}, settings, trainer=QuickTrainer(blobs))) as url:
        yield Whole(url, keys, blobs, tmp_path)


def give_feedback(client: httpx.Client) -> None:
    """Edits, accepted, of twelve conversations on the held-out side and a few on the other."""
    left = {"train": 4, "heldout": 12}
    number = 0
    while any(left.values()):
        begun = client.post("/v1/community/conversations", json={"consent": "improve"}).json()["id"]
        if not left[side_of(begun, 0.2)]:
            continue
        left[side_of(begun, 0.2)] -= 1
        number += 1
        words = " ".join(f"{number * 7919 + place * 104729:x}" for place in range(9))
        asked = {"model": "tiny", "content": f"What of {words}?", "max_tokens": 4}
        client.post(f"/v1/community/conversations/{begun}/messages", json=asked).raise_for_status()
        found = client.get(f"/v1/community/conversations/{begun}").json()
        message = found["messages"][-1]["id"]
        ideal = {"content": f"It is {words[::-1]}."}
        client.put(f"/v1/community/messages/{message}/ideal", json=ideal).raise_for_status()
        for review in client.get("/v1/community/reviews").json()["data"]:
            client.post(f"/v1/community/reviews/{review['id']}", json={"status": "accepted"})


def finished(client: httpx.Client, id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        made: dict[str, Any] = client.get(f"{IMPROVEMENTS}/{id}").json()
        if made["finished"] is not None:
            return made
        time.sleep(0.2)
    raise AssertionError(f"not over: {made}")


@pytest.mark.slow
def test_a_hub_improves_a_model_by_itself(training: Whole) -> None:
    training.publish("tiny")
    member = training.registered(training.keys.admin)
    with training.http(training.keys.admin) as client, training.member(member["key"]):
        guard = client.get("/v1/community/guards").json()["data"][0]
        assert guard["offline"] is True
        give_feedback(client)
        wishes = {"model": "tiny", "guards": [guard["id"]], "instances": 10}
        begun = client.post(IMPROVEMENTS, json=wishes)
        assert begun.status_code == 201, begun.text
        made = finished(client, begun.json()["id"])
        assert made["state"] in ("promoted", "refused"), made
        measures = {one["name"]: one for one in made["decision"]["measures"]}
        assert set(measures) == {"feedback/dpo", "feedback/sft", guard["id"]}
        assert measures["feedback/sft"]["change"]["n"] == 12
        assert measures[guard["id"]]["change"]["n"] == 10
        jobs = client.get("/v1/fine_tuning/jobs").json()["data"]
        assert [job["id"] for job in jobs] == [made["job"]]
    folders = training.folder / "guards" / made["id"]
    assert {folder.name for folder in folders.iterdir()} == {"current", "candidate"}
