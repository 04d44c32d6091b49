"""Improvements over HTTP and by the loop: promoted, refused, failed, cancelled, and killed at any point."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from improving_world import World, improving_world

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.serve import catalogue


@pytest.fixture
def world(database: Database, blobs: Blobs) -> Iterator[World]:
    with improving_world(database, blobs) as world:
        yield world


def latest(database: Database, name: str = "small") -> str:
    with database.transaction() as connection:
        return catalogue.find(connection, f"{name}:latest", "user:bob").name


def test_a_better_version_is_promoted_with_what_it_rests_on(world: World, database: Database) -> None:
    begun = world.begin(guards=["addition"], instances=20, epochs=2)
    assert (begun["state"], begun["current"], begun["guards"]) == ("queued", "small", ["addition"])
    world.drive(begun["id"])
    training = world.look(begun["id"])
    assert training["state"] == "training"
    assert training["job"].startswith("ftjob_")
    made = world.finish(begun["id"])
    assert made["state"] == "promoted", made
    assert list(made["stages"]) == ["queued", "building", "training", "scoring", "guarding", "promoted"]
    assert made["feedback"] == 20
    assert latest(database) == made["candidate"]
    decision = made["decision"]
    assert decision["verdict"] == "promote"
    by_name = {measure["name"]: measure for measure in decision["measures"]}
    assert set(by_name) == {"feedback/dpo", "feedback/sft", "addition"}
    better = by_name["feedback/sft"]
    assert better["held_out"] is True
    assert better["outcome"] == "better"
    assert better["candidate"]["value"] - better["current"]["value"] == pytest.approx(1.0)
    assert better["change"]["low"] > 0
    texts = [line["text"] for line in made["lines"]]
    assert texts[-2:] == ["addition was easy", decision["reason"]]
