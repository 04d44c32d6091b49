"""Improvements over HTTP and by the loop: promoted, refused, failed, cancelled, and killed at any point."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from community_hub import Step, publish, running
from improving_world import PATH, World, improving_world

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.errors import InsufficientCredits, Unavailable, UserError
from commonweal.core.streaming import Event
from commonweal.serve import catalogue
from commonweal.serve.community.loop import MOST_SURPRISES, MOST_TROUBLE
from commonweal.serve.desk import Ask
from commonweal.serve.files.schema import files as stored_files
from commonweal.serve.schema import promotions
from commonweal.serve.tuning.schema import tuning_jobs
from tuning_fakes import Deaths, Killed, MortalDatabase

GUARDS = "/v1/community/guards"


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


@pytest.mark.parametrize(("gain", "guard"), [(0.0, 0.0), (1.0, -0.25)])
def test_one_that_is_not_better_is_refused_and_kept(
    database: Database, blobs: Blobs, gain: float, guard: float
) -> None:
    with improving_world(database, blobs, gain=gain) as world:
        world.guards.gain = guard
        made = world.finish(world.begin(guards=["boolq"], instances=30)["id"])
        assert made["state"] == "refused"
        assert made["decision"]["verdict"] == "refuse"
        expected = "worse beyond noise on boolq" if guard else "no difference that noise cannot explain"
        assert expected in made["decision"]["reason"]
        assert latest(database) == "small"
        with database.transaction() as connection:
            assert catalogue.find(connection, made["candidate"], "operator").public is False


def test_the_next_one_begins_at_the_model_and_is_compared_with_the_latest(world: World) -> None:
    first = world.finish(world.begin()["id"])
    second = world.begin(model="small:latest")
    assert second["current"] == first["candidate"]
    assert second["model"] == "small"
    made = world.finish(second["id"])
    assert made["dataset"] == first["dataset"]
    assert made["job"] != first["job"]
    with world.operator() as operator:
        assert operator.get(f"/v1/fine_tuning/jobs/{made['job']}").json()["model"] == "small"
    assert made["state"] == "refused"


def test_too_little_feedback_says_what_is_missing(database: Database, blobs: Blobs) -> None:
    with improving_world(database, blobs, feedback=False) as world:
        for wishes, words in (
            ({}, "no feedback can be used yet"),
            ({"fewest": 13}, "13 of one kind are needed"),
        ):
            begun = world.begin(**wishes)
            world.drive(begun["id"])
            made = world.look(begun["id"])
            assert made["state"] == "failed"
            assert made["error"]["code"] == "too_little_feedback"
            assert words in f"{made['error']['message']} {made['error']['hint']}"
            assert made["job"] is None
            if not wishes:
                world.give_feedback()
        assert world.trainer.calls == []


def test_training_that_fails_says_why(world: World) -> None:
    begun = world.begin()
    world.drive(begun["id"])
    world.trainer.trouble = [UserError("the model cannot be trained so")]
    made = world.finish(begun["id"])
    assert made["state"] == "failed"
    assert "the model cannot be trained so" in made["error"]["message"]
    assert made["job"] in made["error"]["hint"]
    assert world.begin()["state"] == "queued"


def test_who_may_and_what_is_asked_is_checked(world: World, database: Database) -> None:
    publish(database, "bobs", owner="user:bob")
    publish(database, "far", kind="fronted")
    with world.operator() as operator, world.hub.client("cw-ann") as ann:

        def refused(status: int, words: str, **body: Any) -> None:
            reply = operator.post(PATH, json={"model": "small"} | body)
            assert reply.status_code == status, reply.text
            assert words in reply.json()["error"]["message"]

        for method, path in (("GET", PATH), ("POST", PATH), ("GET", f"{PATH}/imp_1"), ("GET", GUARDS)):
            reply = ann.request(method, path, **({"json": {"model": "small"}} if method == "POST" else {}))
            assert reply.status_code == 401, (method, path)
        refused(400, "Did you mean 'boolq'?", guards=["bolq"])
        refused(400, "instances", instances=3)
        refused(400, "epochs", epochs=0)
        refused(404, "does not exist", model="smal")
        refused(404, "is not yours", model="bobs")
        refused(400, "its weights are not here", model="far")
        begun = world.begin()
        refused(409, f"an improvement of 'small' is under way: {begun['id']}")
        known = operator.get(GUARDS).json()["data"]
        assert [(one["id"], one["offline"]) for one in known] == [("addition", True), ("boolq", False)]
        assert operator.get(f"{PATH}/imp_none").status_code == 404
        assert operator.post(f"{PATH}/imp_none/cancel").status_code == 404


def test_a_hub_without_a_trainer_says_so(database: Database, blobs: Blobs) -> None:
    publish(database, "small")
    with running(database, blobs) as hub, hub.client("cw-op") as operator:
        reply = operator.post(PATH, json={"model": "small"})
        assert reply.status_code == 503
        assert "this hub trains nothing" in reply.json()["error"]["message"]
        assert "commonweal[torch]" in reply.json()["error"]["message"]
        assert operator.get(PATH).json()["data"] == []


def test_they_are_listed_in_pages_and_by_model(world: World, database: Database) -> None:
    publish(database, "other")
    made = []
    for model in ("small", "other", "small"):
        world.clock.sleep(1)
        made.append(world.begin(model=model)["id"])
        with world.operator() as operator:
            assert operator.post(f"{PATH}/{made[-1]}/cancel").json()["state"] == "cancelled"
    with world.operator() as operator:
        page = operator.get(PATH, params={"limit": 2}).json()
        assert ([one["id"] for one in page["data"]], page["has_more"]) == (made[:0:-1], True)
        rest = operator.get(PATH, params={"limit": 2, "after": page["last_id"]}).json()
        assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (made[:1], False)
        others = operator.get(PATH, params={"model": "other"}).json()
        assert [one["id"] for one in others["data"]] == made[1:2]


def test_one_that_waits_or_trains_is_cancelled_with_its_job(world: World) -> None:
    queued, trained = world.begin(), None
    with world.operator() as operator:
        assert operator.post(f"{PATH}/{queued['id']}/cancel").json()["state"] == "cancelled"
        trained = world.begin()
        world.drive(trained["id"])
        job = world.look(trained["id"])["job"]
        assert operator.post(f"{PATH}/{trained['id']}/cancel").json()["state"] == "cancelled"
        assert operator.get(f"/v1/fine_tuning/jobs/{job}").json()["status"] == "cancelled"
        again = operator.post(f"{PATH}/{trained['id']}/cancel")
        assert again.status_code == 200
        assert [line["text"] for line in again.json()["lines"]][-1] == "cancelled by operator"
        world.drive(trained["id"])
        assert world.look(trained["id"])["state"] == "cancelled"
        done = world.finish(world.begin()["id"])
        reply = operator.post(f"{PATH}/{done['id']}/cancel")
        assert reply.status_code == 409
        assert "it is promoted" in reply.json()["error"]["message"]


@pytest.mark.parametrize("stage", ["scoring", "guarding"])
def test_what_is_being_asked_is_cancelled_too(world: World, stage: str) -> None:
    """The desk does not answer: the questions that are at it are closed."""
    begun = world.begin(guards=["addition"])
    world.drive(begun["id"])
    world.train()
    answers, asked, never = world.hub.desk.script, threading.Event(), threading.Event()

    def hang(ask: Ask) -> Sequence[Step]:
        if (ask.request.kind == "score") == (stage == "scoring"):
            asked.set()
            return [never]
        return answers(ask)

    world.hub.desk.script = hang
    driving = threading.Thread(target=world.drive, args=(begun["id"],))
    driving.start()
    assert asked.wait(60)
    with world.operator() as operator:
        assert operator.get(f"{PATH}/{begun['id']}").json()["state"] == stage
        operator.post(f"{PATH}/{begun['id']}/cancel")
    driving.join(20)
    assert not driving.is_alive()
    assert world.look(begun["id"])["state"] == "cancelled"
    assert {ask.id for ask in world.hub.desk.asks} == set(world.hub.desk.closed)


def test_what_passes_is_waited_for_and_what_does_not_is_told(world: World) -> None:
    begun = world.begin()
    world.drive(begun["id"])
    world.train()
    answers = world.hub.desk.script
    world.hub.desk.script = lambda ask: [Unavailable("nobody serves it")]
    world.drive(begun["id"])
    waiting = world.look(begun["id"])
    assert waiting["state"] == "scoring"
    assert waiting["lines"][-1]["text"] == "waits: nobody serves it"
    world.drive(begun["id"])
    assert world.look(begun["id"])["lines"] == waiting["lines"]
    world.clock.sleep(5)
    world.hub.desk.script = answers
    assert world.finish(begun["id"])["state"] == "promoted"
    second = world.begin()
    world.drive(second["id"])
    world.train()
    world.hub.desk.script = lambda ask: [InsufficientCredits("no credits left", hint="lend a machine")]
    made = world.finish(second["id"])
    assert made["state"] == "failed"
    assert made["error"] == {
        "code": "insufficient_credits",
        "message": "no credits left",
        "hint": "lend a machine",
    }


def test_what_never_passes_ends_and_so_does_a_mistake(world: World) -> None:
    for error, code, tries in (
        (Unavailable("away"), "unavailable", MOST_TROUBLE),
        (KeyError("a mistake"), "internal_error", MOST_SURPRISES),
    ):
        begun = world.begin(guards=["addition"])
        world.drive(begun["id"])
        world.train()
        world.guards.asked.clear()
        world.guards.fails = [error] * 100
        for _ in range(MOST_TROUBLE + 3):
            world.drive(begun["id"])
            world.clock.sleep(100)
        made = world.look(begun["id"])
        assert (made["state"], made["error"]["code"]) == ("failed", code)
        assert len(world.guards.asked) == tries + 1


def test_another_promotion_meanwhile_wins(world: World, database: Database) -> None:
    publish(database, "rival")
    begun = world.begin(guards=["addition"])

    def overtake() -> None:
        with database.transaction() as connection:
            catalogue.promote(connection, "small", "rival", "operator", {}, 5.0)

    world.guards.inside = overtake
    made = world.finish(begun["id"])
    assert made["state"] == "failed"
    assert "small:latest has become rival meanwhile" in made["error"]["message"]
    assert latest(database) == "rival"


def test_questions_are_the_operators_and_wait_for_who_waits(world: World) -> None:
    world.hub.desk.asks.clear()
    world.finish(world.begin(guards=["addition"])["id"])
    asks = world.hub.desk.asks
    assert {ask.account for ask in asks} == {"operator"}
    assert all(-10 < ask.priority < 0 for ask in asks)
    assert {ask.request.kind for ask in asks} == {"score", "generate"}
    assert len({ask.id for ask in asks}) == len(asks)


class MortalDesk:
    """Kills at the ``at``-th question."""

    def __init__(self, world: World, deaths: Deaths) -> None:
        self._desk, self._deaths = world.hub.desk, deaths

    async def stream(self, ask: Ask) -> AsyncIterator[Event]:
        self._deaths.here()
        async for event in self._desk.stream(ask):
            yield event


def ended(world: World, database: Database, id: str) -> dict[str, Any]:
    """The end, ids aside, and how much there is of what may be there once."""
    made = world.look(id)
    with database.transaction() as connection:
        jobs = connection.execute(
            sa.select(sa.func.count()).where(tuning_jobs.c.metadata["improvement"].astext == id)
        ).scalar()
        promoted = sum(one.record["improvement"] == id for one in catalogue.versions(connection, "small"))
        files = connection.execute(sa.select(sa.func.count()).select_from(stored_files)).scalar()
    texts = [line["text"].replace(str(made["candidate"]), "CANDIDATE") for line in made["lines"]]
    return {
        "state": made["state"],
        "error": made["error"],
        "dataset": made["dataset"],
        "lines": [text.replace(str(made["job"]), "JOB") for text in texts],
        "decision": made["decision"],
        "jobs": jobs,
        "promoted": promoted,
        "files": files,
    }


@pytest.mark.slow
def test_a_death_at_any_point_changes_nothing(world: World, database: Database) -> None:
    """Of the process, before, in and after every transaction, and at every question; another one goes on."""

    def live(at: int) -> tuple[dict[str, Any], bool]:
        with database.transaction() as connection:
            connection.execute(sa.delete(promotions))
            connection.execute(sa.delete(stored_files))
        begun = world.begin(guards=["addition"], instances=20)
        deaths = Deaths(at=at)
        mortal = MortalDatabase(database.engine, database.url, deaths)
        for _ in range(6):
            improver = world.improver(mortal, MortalDesk(world, deaths))
            with suppress(Killed, BaseExceptionGroup):  # the next process begins anew
                asyncio.run(improver.drive(begun["id"]))
            world.train()
        return ended(world, database, begun["id"]), deaths.passed >= at

    calm, _ = live(at=10**6)
    assert calm["state"] == "promoted"
    assert (calm["jobs"], calm["promoted"]) == (1, 1)
    deaths = 0
    for at in (*range(1, 34), *range(34, 400, 9)):
        end, died = live(at)
        assert end == calm, f"killed at point {at}"
        deaths += died
        if not died:
            break
    assert deaths > 40


def test_two_hubs_work_on_one_together_and_do_it_once(world: World, database: Database) -> None:
    begun = world.begin(guards=["addition"], instances=20)

    async def hubs() -> None:
        running = [asyncio.create_task(world.improver().run()) for _ in range(2)]
        for _ in range(200):
            await asyncio.to_thread(world.train)
            if (await asyncio.to_thread(world.look, begun["id"]))["finished"]:
                break
            await asyncio.sleep(0.05)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    asyncio.run(hubs())
    end = ended(world, database, begun["id"])
    assert (end["state"], end["jobs"], end["promoted"]) == ("promoted", 1, 1)
    assert len(world.guards.asked) == 1


def test_while_another_process_is_at_it_nothing_is_done(world: World, database: Database) -> None:
    begun = world.begin()
    with database.exclusive(f"improvement {begun['id']}") as mine:
        assert mine
        world.drive(begun["id"])
        assert world.look(begun["id"])["state"] == "queued"
