"""From a rating to a data set over HTTP, and out of it again: reviews, withdrawal, export, who may read what."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from community_hub import CommunityHub, said
from test_community_asking import answer, begin, read

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.hashing import BlobHash
from commonweal.pool import garbage
from commonweal.serve.community import datasets, withdrawal
from commonweal.serve.community.building import BuildOptions
from commonweal.serve.community.schema import (
    comparisons,
    conversations,
    dataset_items,
    feedback,
    messages,
    reviews,
)
from commonweal.serve.community.scrubbing import PatternScrubber

TABLES = (conversations, messages, comparisons, feedback, reviews)


def talk(client: httpx.Client, hub: CommunityHub, words: str, **terms: Any) -> tuple[str, str]:
    """A conversation of one question and its answer: their ids."""
    hub.desk.script = lambda ask: said(f"Concerning {words}: it is so.")
    conversation = begin(client, **({"consent": "improve"} | terms))
    return conversation, answer(client, conversation, f"Tell me about {words}")["id"]


def rate(client: httpx.Client, message: str, rating: int = 1, **body: Any) -> dict[str, Any]:
    response = client.put(f"/v1/community/messages/{message}/thumb", json={"rating": rating, **body})
    assert response.status_code == 200, response.text
    given: dict[str, Any] = response.json()
    return given


def edit(client: httpx.Client, message: str, ideal: str) -> dict[str, Any]:
    response = client.put(f"/v1/community/messages/{message}/ideal", json={"content": ideal})
    assert response.status_code == 200, response.text
    given: dict[str, Any] = response.json()
    return given


def build(operator: httpx.Client, **options: Any) -> dict[str, Any]:
    response = operator.post("/v1/community/datasets", json={"held_out": 0, **options})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def lines(client: httpx.Client, dataset: dict[str, Any], file: str) -> list[Any]:
    response = client.get(f"/v1/community/datasets/{dataset['id']}/files/{file}")
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


def test_a_thumb_goes_into_the_next_data_set_and_an_edit_waits_for_a_person(hub: CommunityHub) -> None:
    with hub.client() as ann, hub.client("cw-op") as operator:
        _, first = talk(ann, hub, "the tides of the northern sea")
        _, second = talk(ann, hub, "how bees find their way home")
        thumb = rate(ann, first, -1, reasons=["wrong", "too_long"], comment="No.")
        ideal = edit(ann, second, "Bees remember landmarks and the sun.")
        made = build(operator)
        assert made["manifest"]["feedback"] == [thumb["id"]]
        assert made["manifest"]["left_out"] == {"pending": 1}
        (review,) = operator.get("/v1/community/reviews").json()["data"]
        assert review["feedback"]["ideal"] == "Bees remember landmarks and the sun."
        assert [m["role"] for m in review["messages"]] == ["user", "assistant"]
        done = operator.post(
            f"/v1/community/reviews/{review['id']}", json={"status": "accepted", "why": "good"}
        )
        assert [step["by"] for step in done.json()["history"]] == ["auto", "operator"]
        again = build(operator)
        assert again["id"] != made["id"]
        assert again["manifest"]["feedback"] == sorted([thumb["id"], ideal["id"]])
        (sft,) = lines(operator, again, "sft.train.jsonl")
        assert sft["messages"][-1]["content"] == "Bees remember landmarks and the sun."
        assert build(operator)["id"] == again["id"]
        listed = operator.get("/v1/community/datasets").json()["data"]
        assert {one["id"] for one in listed} == {made["id"], again["id"]}


def test_what_a_user_keeps_to_itself_goes_nowhere(hub: CommunityHub) -> None:
    with hub.client() as ann, hub.client("cw-op") as operator:
        _, message = talk(ann, hub, "private matters", consent="none")
        rate(ann, message)
        response = operator.post("/v1/community/datasets", json={})
        assert response.status_code == 400
        assert "no feedback can be used" in response.json()["error"]["message"]


def everything_named(database: Database) -> dict[str, int]:
    with database.transaction() as connection:
        return {
            t.name: connection.execute(sa.select(sa.func.count()).select_from(t)).scalar_one() for t in TABLES
        }


def test_a_deleted_conversation_is_gone_from_tables_data_sets_and_store(
    hub: CommunityHub, database: Database, blobs: Blobs
) -> None:
    with hub.client() as ann, hub.client("cw-op") as operator:
        conversation, message = talk(ann, hub, "my secret garden behind the house")
        kept, other = talk(ann, hub, "the price of salt in the middle ages")
        gone = rate(ann, message)
        edit(ann, message, "Another answer altogether, and an ideal one.")
        stays = rate(ann, other)
        drafts = ann.post(
            f"/v1/community/conversations/{conversation}/drafts",
            json={"models": ["small", "large"], "content": "Which?", "parent": message},
        )
        ann.post(f"/v1/community/comparisons/{drafts.json()['id']}", json={"choice": "tie"})
        made = build(operator)
        before = made["files"]["kto.train.jsonl"]
        assert len(lines(operator, made, "kto.train.jsonl")) == 2

        response = ann.delete(f"/v1/community/conversations/{conversation}")
        assert response.json()["datasets"] == [made["id"]]
        assert response.json()["feedback"] == 3
        (line,) = lines(operator, made, "kto.train.jsonl")
        assert "salt" in line["messages"][0]["content"]
        after = operator.get(f"/v1/community/datasets/{made['id']}").json()
        assert after["withdrawn"] == [gone["id"]]
        assert after["manifest"] == made["manifest"]
        assert after["files"]["kto.train.jsonl"] != before
        assert build(operator)["manifest"]["feedback"] == [stays["id"]]
        assert ann.get(f"/v1/community/conversations/{conversation}").status_code == 404
        assert [c["id"] for c in ann.get("/v1/community/conversations").json()["data"]] == [kept]
    assert everything_named(database) == {
        "community_conversations": 1,
        "community_messages": 2,
        "community_comparisons": 0,
        "community_feedback": 1,
        "community_reviews": 1,
    }
    assert b"secret garden" in blobs.get(BlobHash(before))
    garbage.collect(database, blobs, 2e10, 60, also=[datasets.named_blobs])
    assert not blobs.has(BlobHash(before))
    assert blobs.has(BlobHash(after["files"]["kto.train.jsonl"]))


def test_an_account_can_take_all_along_and_delete_it_and_nothing_of_others(
    hub: CommunityHub, database: Database
) -> None:
    with hub.client() as ann, hub.client("cw-bob") as bob, hub.client("cw-op") as operator:
        _, hers = talk(ann, hub, "violins and how they are made")
        _, his = talk(bob, hub, "the rules of an old card game")
        rate(ann, hers, comment="Thank you.")
        rate(bob, his)
        made = build(operator)
        taken = ann.get("/v1/community/me").json()
        assert taken["account"] == "user:ann"
        (one,) = taken["conversations"]
        assert [m["content"] for m in one["messages"]] == [
            "Tell me about violins and how they are made",
            "Concerning violins and how they are made: it is so.",
        ]
        assert one["feedback"][0]["comment"] == "Thank you."
        assert one["datasets"] == [made["id"]]
        assert "card game" not in json.dumps(taken)

        gone = ann.delete("/v1/community/me").json()
        assert (gone["conversations"], gone["feedback"], gone["datasets"]) == (1, 1, [made["id"]])
        assert ann.get("/v1/community/me").json()["conversations"] == []
        (line,) = lines(operator, made, "kto.train.jsonl")
        assert "card game" in line["messages"][0]["content"]
        assert len(bob.get("/v1/community/me").json()["conversations"]) == 1
    assert everything_named(database)["community_messages"] == 2


@pytest.mark.parametrize(
    ("change", "left_in"),
    [
        ({"consent": "none"}, set()),
        ({"consent": "improve"}, {"improve"}),
        ({"consent": "publish", "licence": "CC-BY-4.0"}, {"improve"}),
        ({"title": "Another"}, {"improve", "publish"}),
    ],
)
def test_narrower_terms_take_it_out_of_what_goes_beyond(
    hub: CommunityHub, change: dict[str, Any], left_in: set[str]
) -> None:
    with hub.client() as ann, hub.client("cw-op") as operator:
        conversation, message = talk(ann, hub, "mountain weather in spring", consent="publish")
        rate(ann, message)
        made = {consent: build(operator, consent=consent) for consent in ("improve", "publish")}
        changed = ann.patch(f"/v1/community/conversations/{conversation}", json=change)
        assert changed.status_code == 200, changed.text
        assert {c for c, one in made.items() if lines(operator, one, "kto.train.jsonl")} == left_in
        said_so = {m["consent"] for m in read(ann, conversation)["messages"]}
        assert said_so == {change.get("consent", "publish")}


def test_the_same_consent_keeps_its_licence(hub: CommunityHub) -> None:
    with hub.client() as ann:
        conversation = begin(ann, consent="publish", licence="CC-BY-4.0")
        same = ann.patch(f"/v1/community/conversations/{conversation}", json={"consent": "publish"})
    assert same.json()["licence"] == "CC-BY-4.0"


def test_consent_that_is_given_again_makes_the_same_data_set_whole(hub: CommunityHub) -> None:
    with hub.client() as ann, hub.client("cw-op") as operator:
        conversation, message = talk(ann, hub, "the colour of old maps")
        rate(ann, message)
        made = build(operator)
        ann.patch(f"/v1/community/conversations/{conversation}", json={"consent": "none"})
        assert lines(operator, made, "kto.train.jsonl") == []
        ann.patch(f"/v1/community/conversations/{conversation}", json={"consent": "improve"})
        again = build(operator)
        assert again["id"] == made["id"]
        assert again["withdrawn"] == []
        assert len(lines(operator, again, "kto.train.jsonl")) == 1


def test_what_is_refused_later_or_said_anew_is_taken_out(hub: CommunityHub) -> None:
    with hub.client() as ann, hub.client("cw-op") as operator:
        _, message = talk(ann, hub, "why cats purr at night")
        rate(ann, message)
        made = build(operator)
        (review,) = operator.get("/v1/community/reviews?status=accepted").json()["data"]
        url = f"/v1/community/reviews/{review['id']}"
        assert operator.post(url, json={"status": "refused"}).status_code == 400
        refused = operator.post(url, json={"status": "refused", "why": "spam"})
        assert refused.json()["datasets"] == [made["id"]]
        assert lines(operator, made, "kto.train.jsonl") == []
        assert operator.post(url, json={"status": "refused", "why": "spam"}).status_code == 409

        _, other = talk(ann, hub, "why dogs bark at the moon")
        operator.post(url, json={"status": "accepted", "why": "it was not"})
        rate(ann, other, 1)
        second = build(operator)
        assert len(lines(operator, second, "kto.train.jsonl")) == 2
        rate(ann, other, -1)
        assert len(lines(operator, second, "kto.train.jsonl")) == 1
        third = build(operator)
        assert sorted(line["label"] for line in lines(operator, third, "kto.train.jsonl")) == [False, True]
        ann.delete(f"/v1/community/messages/{other}/thumb")
        assert [line["label"] for line in lines(operator, third, "kto.train.jsonl")] == [True]


def test_a_deletion_while_a_data_set_is_built_is_not_missed(
    hub: CommunityHub, database: Database, blobs: Blobs
) -> None:
    """The deletion comes between the reading of the feedback and the writing of the data set."""
    with hub.client() as ann:
        conversation, message = talk(ann, hub, "the depth of the lake")
        _, other = talk(ann, hub, "the height of the tower")
        rate(ann, message)
        rate(ann, other)
        read_all, deleted = threading.Event(), threading.Event()

        class Waiting(Blobs):
            def put(self, data: bytes) -> BlobHash:
                read_all.set()
                assert deleted.wait(60)
                return blobs.put(data)

        made: list[datasets.DataSet] = []
        options = BuildOptions(held_out=0.0)
        waiting = Waiting(blobs._store)
        building = threading.Thread(
            target=lambda: made.append(
                datasets.make(database, waiting, options, PatternScrubber(), by="op", now=1.0)
            )
        )
        building.start()
        assert read_all.wait(60)
        assert ann.delete(f"/v1/community/conversations/{conversation}").status_code == 200
        deleted.set()
        building.join(20)
    (dataset,) = made
    assert b"lake" not in datasets.read(blobs, dataset, "kto.train.jsonl")
    assert b"tower" in datasets.read(blobs, dataset, "kto.train.jsonl")
    assert len(dataset.withdrawn) == 1


def test_only_the_operator_reviews_and_builds_and_only_published_sets_are_for_all(hub: CommunityHub) -> None:
    with hub.client() as ann, hub.client("cw-op") as operator:
        _, message = talk(ann, hub, "the history of paper", consent="publish")
        rate(ann, message)
        for method, path in (("GET", "reviews"), ("POST", "reviews/rev_x"), ("POST", "datasets")):
            body = {"status": "accepted"} if "rev_x" in path else {}
            refused = ann.request(method, f"/v1/community/{path}", json=body if method == "POST" else None)
            assert refused.status_code == 401, path
        closed, open_ = build(operator), build(operator, consent="publish")
        assert [one["id"] for one in ann.get("/v1/community/datasets").json()["data"]] == [open_["id"]]
        assert ann.get(f"/v1/community/datasets/{closed['id']}").status_code == 401
        assert ann.get(f"/v1/community/datasets/{closed['id']}/files/kto.train.jsonl").status_code == 401
        assert len(lines(ann, open_, "kto.train.jsonl")) == 1
        missing = ann.get(f"/v1/community/datasets/{open_['id']}/files/..%2Fsecrets")
        assert missing.status_code == 404
        assert operator.get("/v1/community/datasets/ds_none").status_code == 404


def test_feedback_that_makes_no_sense_is_refused(hub: CommunityHub) -> None:
    with hub.client() as ann:
        conversation, message = talk(ann, hub, "anything at all")
        question = read(ann, conversation)["messages"][0]["id"]
        thumb, ideal = (f"/v1/community/messages/{message}/{kind}" for kind in ("thumb", "ideal"))
        assert "is no reason for a thumb up" in ann.put(thumb, json={"rating": 1, "reasons": ["wrong"]}).text
        assert ann.put(thumb, json={"rating": 2}).status_code == 400
        assert "only answers" in ann.put(thumb.replace(message, question), json={"rating": 1}).text
        assert ann.put(thumb.replace(message, "msg_none"), json={"rating": 1}).status_code == 404
        assert "is empty" in ann.put(ideal, json={"content": "  "}).text
        same = ann.put(ideal, json={"content": "Concerning anything at all: it is so. "})
        assert "the answer itself" in same.text
        assert read(ann, conversation)["feedback"] == []


def test_flagged_feedback_waits_whatever_its_kind(hub: CommunityHub) -> None:
    with hub.client() as ann, hub.client("cw-op") as operator:
        _, message = talk(ann, hub, "anything at all")
        rate(ann, message, -1, comment="I will kill you")
        (review,) = operator.get("/v1/community/reviews").json()["data"]
        assert "flagged: threat" in review["because"]


def test_terms_that_do_not_go_together_are_refused(hub: CommunityHub) -> None:
    with hub.client() as ann:
        for body in (
            {"consent": "none", "licence": "CC0-1.0"},
            {"consent": "publish", "licence": "MIT"},
            {"consent": "perhaps"},
        ):
            assert ann.post("/v1/community/conversations", json=body).status_code == 400
        told = ann.get("/v1/community/terms").json()
        assert [c["id"] for c in told["consents"]] == ["none", "improve", "publish"]
        assert "can read what you write" in told["read_by"]


def test_conversations_are_listed_by_page(hub: CommunityHub, database: Database) -> None:
    with hub.client() as ann:
        for i in range(5):
            begin(ann, title=f"No. {i}")
            hub.serve.clock.sleep(1)
        first = ann.get("/v1/community/conversations?limit=3").json()
        last = first["data"][-1]["updated"]
        second = ann.get(f"/v1/community/conversations?limit=3&before={last}").json()
    titles = [c["title"] for c in first["data"] + second["data"]]
    assert titles == [f"No. {i}" for i in (4, 3, 2, 1, 0)]
    assert (first["has_more"], second["has_more"]) == (True, False)


def test_the_queue_is_read_by_page(hub: CommunityHub) -> None:
    with hub.client() as ann, hub.client("cw-op") as operator:
        for words in ("rivers", "lakes and ponds", "the wide ocean"):
            edit(ann, talk(ann, hub, words)[1], f"Better words about {words}.")
        first = operator.get("/v1/community/reviews?limit=2").json()
        second = operator.get(f"/v1/community/reviews?limit=2&after={first['last_id']}").json()
    assert (len(first["data"]), first["has_more"]) == (2, True)
    assert (len(second["data"]), second["has_more"]) == (1, False)


def test_after_three_good_edits_the_fourth_needs_no_reading(hub: CommunityHub) -> None:
    with hub.client() as ann, hub.client("cw-op") as operator:
        for words in ("rivers", "lakes and ponds", "the wide ocean"):
            edit(ann, talk(ann, hub, words)[1], f"Better words about {words}.")
        for review in operator.get("/v1/community/reviews").json()["data"]:
            operator.post(f"/v1/community/reviews/{review['id']}", json={"status": "accepted"})
        edit(ann, talk(ann, hub, "deserts and dunes")[1], "Better words about deserts.")
        assert operator.get("/v1/community/reviews").json()["data"] == []


def test_withdrawal_of_nothing_is_nothing(database: Database, blobs: Blobs) -> None:
    with database.transaction() as connection:
        assert withdrawal.withdraw_feedback(connection, blobs, ("fdb_none",), 1.0) == ()
        assert withdrawal.forget_account(connection, blobs, "user:nobody", 1.0).conversations == 0
        assert connection.execute(sa.select(dataset_items)).first() is None
