"""Vector stores through the real openai client."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai import OpenAI
from tools_hub import ToolsHub

BEES = b"Bees make honey in summer, and they sleep in winter."
TRAINS = b"The night train leaves at nine o'clock."


def upload(client: OpenAI, name: str, data: bytes) -> str:
    return client.files.create(file=(name, data), purpose="user_data").id


def test_made_searched_changed_and_deleted(hub: ToolsHub) -> None:
    client = hub.client()
    bees, trains = upload(client, "bees.txt", BEES), upload(client, "trains.txt", TRAINS)
    store = client.vector_stores.create(name="notes", file_ids=[bees], metadata={"a": "b"})
    assert (store.name, store.status, store.file_counts.completed, store.metadata) == (
        "notes",
        "completed",
        1,
        {"a": "b"},
    )
    added = client.vector_stores.files.create_and_poll(
        trains, vector_store_id=store.id, attributes={"kind": "rail", "year": 1900, "new": False}
    )
    assert (added.status, added.usage_bytes) == ("completed", len(TRAINS))
    assert added.attributes == {"kind": "rail", "year": 1900, "new": False}
    found = client.vector_stores.search(store.id, query="when does the train leave?")
    (hit,) = found.data
    assert (hit.file_id, hit.filename, hit.content[0].text) == (trains, "trains.txt", TRAINS.decode())
    assert hit.attributes == {"kind": "rail", "year": 1900, "new": False}
    assert 0 < hit.score < 1
    both = client.vector_stores.search(store.id, query=["honey", "night"]).data
    assert {hit.file_id for hit in both} == {bees, trains}
    ranking: Any = {"score_threshold": 0.99}
    assert client.vector_stores.search(store.id, query="honey", ranking_options=ranking).data == []
    (page,) = client.vector_stores.files.content(bees, vector_store_id=store.id).data
    assert page.text == BEES.decode()
    changed = client.vector_stores.update(
        store.id, name="other", expires_after={"anchor": "last_active_at", "days": 3}
    )
    assert (changed.name, changed.metadata) == ("other", {"a": "b"})
    assert changed.expires_at == pytest.approx((changed.last_active_at or 0) + 3 * 86_400, abs=1)
    updated = client.vector_stores.files.update(bees, vector_store_id=store.id, attributes={"x": "y"})
    assert updated.attributes == {"x": "y"}
    assert client.vector_stores.files.delete(bees, vector_store_id=store.id).deleted
    assert client.vector_stores.search(store.id, query="honey").data == []
    assert client.vector_stores.delete(store.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.retrieve(store.id)
    assert client.files.retrieve(bees).filename == "bees.txt"


def test_lists_in_pages(hub: ToolsHub) -> None:
    client = hub.client()
    made = [client.vector_stores.create(name=str(number)).id for number in range(5)]
    first = client.vector_stores.list(limit=2, order="asc")
    assert ([store.id for store in first.data], first.has_more) == (made[:2], True)
    assert [store.id for store in client.vector_stores.list(limit=2, order="asc")] == made
    files = [upload(client, f"{number}.txt", b"text %d" % number) for number in range(3)]
    for file in files:
        client.vector_stores.files.create(made[0], file_id=file)
    assert [file.id for file in client.vector_stores.files.list(made[0], limit=1)] == files[::-1]


def test_a_file_that_cannot_be_read_is_there_as_failed(hub: ToolsHub) -> None:
    client = hub.client()
    paper = upload(client, "paper.pdf", b"%PDF-1.7")
    store = client.vector_stores.create(file_ids=[paper])
    assert store.file_counts.failed == 1
    failed = client.vector_stores.files.retrieve(paper, vector_store_id=store.id)
    assert failed.status == "failed"
    assert failed.last_error is not None
    assert "pdftotext" in failed.last_error.message
    assert client.vector_stores.search(store.id, query="paper").data == []
    assert len(client.vector_stores.files.list(store.id, filter="failed").data) == 1
    assert client.vector_stores.files.list(store.id, filter="completed").data == []


def test_a_deleted_file_is_in_no_store(hub: ToolsHub) -> None:
    client = hub.client()
    bees = upload(client, "bees.txt", BEES)
    store = client.vector_stores.create(file_ids=[bees])
    client.files.delete(bees)
    assert client.vector_stores.search(store.id, query="honey").data == []
    assert client.vector_stores.retrieve(store.id).file_counts.total == 0


def test_anothers_are_not_found(hub: ToolsHub) -> None:
    ann, bob = hub.client("ann"), hub.client("bob")
    bees = upload(ann, "bees.txt", BEES)
    store = ann.vector_stores.create(file_ids=[bees]).id
    theirs = bob.vector_stores.create().id
    calls: list[Any] = [
        lambda: bob.vector_stores.retrieve(store),
        lambda: bob.vector_stores.update(store, name="mine"),
        lambda: bob.vector_stores.delete(store),
        lambda: bob.vector_stores.search(store, query="honey"),
        lambda: bob.vector_stores.files.list(store),
        lambda: bob.vector_stores.files.create(store, file_id=upload(bob, "b.txt", b"b")),
        lambda: bob.vector_stores.files.retrieve(bees, vector_store_id=store),
        lambda: bob.vector_stores.files.content(bees, vector_store_id=store),
        lambda: bob.vector_stores.files.update(bees, vector_store_id=store, attributes={}),
        lambda: bob.vector_stores.files.delete(bees, vector_store_id=store),
        lambda: bob.vector_stores.files.create(theirs, file_id=bees),
        lambda: bob.vector_stores.create(file_ids=[bees]),
        lambda: bob.vector_stores.list(after=store),
    ]
    for attempt in calls:
        with pytest.raises(openai.NotFoundError):
            attempt()
    assert [one.id for one in bob.vector_stores.list()] == [theirs]
    assert len(ann.vector_stores.search(store, query="honey").data) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", {"name": "a\0"}),
        ("", {"file_ids": ["x"] * 101}),
        ("", {"expires_after": {"anchor": "last_active_at", "days": 0}}),
        ("", {"chunking_strategy": {"type": "static"}}),
        ("", {"colour": "red"}),
        ("/{store}/search", {"query": ""}),
        ("/{store}/search", {"query": []}),
        ("/{store}/search", {"query": "x", "max_num_results": 0}),
        ("/{store}/search", {"query": "x", "filters": {"type": "eq", "key": "a", "value": "b"}}),
        ("/{store}/files", {}),
        ("/{store}/files", {"file_id": "a\0"}),
        ("/{store}/files", {"file_id": "a", "attributes": {"x": [1]}}),
    ],
)
def test_bad_bodies_are_refused(hub: ToolsHub, path: str, body: Any) -> None:
    store = hub.client().vector_stores.create().id
    answer = hub.post("/v1/vector_stores" + path.format(store=store), body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"
