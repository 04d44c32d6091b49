"""Labels of models that were made of others: by feedback, as an adapter, behind somebody's server."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import sqlalchemy as sa

import hub_records
from commonweal.core.blobs import Blobs
from commonweal.core.clock import ManualClock
from commonweal.core.database import Database
from commonweal.core.errors import NotFound
from commonweal.labels.facts import Base, Fact, Facts, Label, Record, not_applicable, told
from commonweal.labels.from_hub import from_hub
from commonweal.labels.inheritance import inherit
from commonweal.labels.json_form import from_json, schema, to_json
from commonweal.labels.records import records_of
from commonweal.labels.score import score
from commonweal.labels.serving import KEPT_SECONDS, HubLabels
from commonweal.labels.trainings import Trainings
from commonweal.pool.schema import jobs as pool_jobs
from commonweal.serve import catalogue
from commonweal.serve.community.building import BuildOptions, build
from commonweal.serve.community.evidence import Evidence, Said
from commonweal.serve.community.parts import Community
from commonweal.serve.community.schema import datasets
from commonweal.serve.community.terms import terms

RECORD = Record(kind="word", id="somebody")


@pytest.fixture
def promoted(database: Database, blobs: Blobs) -> str:
    name = hub_records.fill(database, blobs)
    with database.transaction() as connection:
        connection.execute(sa.update(datasets).values(manifest=manifest()))
    return name


def manifest() -> dict[str, Any]:
    """Of a data set that the hub's own code builds: edits of three users, of which one allows nothing."""
    said = [
        Evidence(
            feedback=f"fb_{number}",
            kind="edit",
            account=f"user:{number}",
            conversation=f"conv_{number}",
            created=float(number),
            terms=terms("improve" if number else "none"),
            status="accepted",
            clean=True,
            context=(Said(role="user", content=f"What of {number * 7919}? Write to ann@example.org"),),
            answer=Said(role="assistant", content="No."),
            ideal=f"It is {number * 104729}, surely.",
        )
        for number in range(3)
    ]
    built = build(said, BuildOptions(held_out=0.0), Community().scrubber, code="test")
    return dict(json.loads(json.dumps(built.manifest)))


def label(database: Database, name: str, account: str = "operator") -> Label:
    with database.transaction() as connection:
        made = from_hub(records_of(connection, name, account, Trainings().of))
    jsonschema.validate(to_json(made), schema())
    assert from_json(json.loads(json.dumps(to_json(made))), where="test") == made
    return made


def test_whose_feedback_it_is_and_what_they_agreed_to(database: Database, promoted: str) -> None:
    made = label(database, promoted)
    feedback, people = made.fact("alignment.feedback"), made.fact("alignment.people")
    assert feedback.value == {"pieces": 2, "by_kind": {"edit": 2}, "withdrawn": 0}
    assert people.value == {"accounts": 2}
    assert "user:1" not in json.dumps(to_json(made)), "people are counted and not named"
    assert made.fact("alignment.consent").value == {"improve": 2}
    assert made.fact("alignment.pay").text.startswith("nothing")
    assert made.fact("data.privacy").value == {"EMAIL": 2}
    assert made.fact("data.curation").value == {"without consent": 1}
    assert made.fact("alignment.guidance").status == "not_disclosed"
    assert made.fact("method.stages").text.startswith(
        "fine-tuning on preferences (DPO), from stdlib-1m; before that"
    )
    assert {one.kind for one in feedback.records} == {"dataset"}


def test_a_promotion_is_told_with_its_reason(database: Database, promoted: str) -> None:
    made = label(database, promoted)
    assert "promoted: pairs: right 0.1 -> 0.9" in made.fact("accountability.release").text
    (change,) = made.fact("accountability.changes").value
    assert (change["name"], change["model"]) == ("stdlib-1m", promoted)
    assert label(database, "stdlib-1m").fact("accountability.changes").value == [change]


def test_what_the_base_was_made_with_is_part_of_it(database: Database, promoted: str) -> None:
    made, base = label(database, promoted), label(database, "stdlib-1m")
    assert made.base == Base(
        name="stdlib-1m",
        identity=base.fact("accountability.versions").value,
        label="/v1/models/stdlib-1m/label",
    )
    sources = made.fact("data.sources")
    assert sources.text == (
        "feedback of this hub's users; before that, of stdlib-1m: the standard library of Python, without its tests"
    )
    assert [one.kind for one in sources.records][-1] == "label"
    licences = made.fact("data.licences")
    assert "LicenseRef-Commonweal-Training" in licences.text
    assert "PSF-2.0" in licences.text
    assert base.fact("compute.tokens").value == 12_288
    assert made.fact("compute.tokens").missing == "that of its own training", (
        "its job is not in the pool any more"
    )
    assert made.fact("data.access").missing == "that of its own training"
    assert "Direct external data access" in score(made).whole.untold


def test_adapters_and_servers(database: Database, promoted: str) -> None:
    adapter = label(database, hub_records.ADAPTER)
    assert adapter.fact("model.parts").text.startswith("adapters (LoRA) on stdlib-1m")
    assert adapter.fact("data.sources").missing == "that of its own training", (
        "nobody told what it was tuned on"
    )
    assert adapter.fact("alignment.feedback").status == "not_disclosed", "that of the base says nothing of it"
    server = label(database, hub_records.FRONTED)
    assert "word" in server.fact("model.size").method
    assert server.fact("model.weights").status == server.fact("use.files").status == "not_disclosed"
    assert server.fact("model.precision").text == "q4_k_m"
    assert len(score(server).whole.told) < len(score(label(database, "stdlib-1m")).whole.told)


def test_what_is_private_has_no_label_for_others(database: Database, promoted: str) -> None:
    labels = HubLabels(database)
    assert labels.label(hub_records.PRIVATE) is None
    assert labels.label("nobody") is None
    with pytest.raises(NotFound):
        labels.label_json(hub_records.PRIVATE, "user:ann")
    assert labels.label_json(hub_records.PRIVATE, "operator")["model"] == hub_records.PRIVATE
    assert labels.label(promoted) is not None
    assert labels.label_json("stdlib-1m:latest", "user:ann")["model"] == promoted


@pytest.mark.parametrize(
    "provenance",
    [
        {},
        {"kind": "files"},
        {"kind": "files", "train": {}, "hash": 3},
        {"kind": "files", "train": {"tokens": "many"}, "licence": {"x": 1}, "location": ["x"]},
        {"kind": "dataset", "location": "x" * 9000, "train": None, "held_out": None, "libraries": "none"},
        {"kind": "examples", "examples": "x", "libraries": {"a": 1}},
    ],
)
def test_a_specification_of_a_stranger_breaks_no_label(
    database: Database, promoted: str, provenance: dict[str, Any]
) -> None:
    with database.transaction() as connection:
        (spec,) = connection.execute(sa.select(pool_jobs.c.spec)).scalars()
        broken = {**spec, "provenance": provenance, "model": {"hidden_size": "wide", "model_type": {}}}
        connection.execute(sa.update(pool_jobs).values(spec=broken))
    made = label(database, "stdlib-1m")
    assert made.fact("compute.tokens").value == 12_288, "what can be read is told"
    assert max(len(fact.text) for fact in made.facts) < 1000
    with database.transaction() as connection:
        connection.execute(sa.update(pool_jobs).values(spec={"version": 7}))
    assert label(database, "stdlib-1m").fact("compute.tokens").status == "not_disclosed"


def alone(*facts: Fact) -> Label:
    gathered = Facts()
    gathered.add(*facts)
    return Label(model="m", source="hub", facts=gathered.all(), base=Base(name="b", label="/b"))


SAID, OF_BASE = told("data.size", "small", RECORD), told("data.size", "large", RECORD)
NONE = not_applicable("data.size", "there is none", RECORD)


@pytest.mark.parametrize(
    ("own", "base", "status", "whole"),
    [
        ((SAID,), (OF_BASE,), "disclosed", True),
        ((SAID,), (), "disclosed", False),
        ((SAID,), (NONE,), "disclosed", True),
        ((), (OF_BASE,), "disclosed", False),
        ((), (NONE,), "not_disclosed", False),
        ((), (), "not_disclosed", False),
        ((NONE,), (OF_BASE,), "disclosed", True),
        ((NONE,), (NONE,), "not_applicable", False),
        ((NONE,), (), "not_disclosed", False),
    ],
)
def test_both_halves_count(own: tuple[Fact, ...], base: tuple[Fact, ...], status: str, whole: bool) -> None:
    made = inherit(alone(*own), alone(*base)).fact("data.size")
    assert (made.status, made.whole) == (status, whole)


def test_a_base_that_cannot_be_seen_is_not_guessed() -> None:
    made = inherit(alone(SAID), None)
    assert made.fact("data.size").missing == "that of b"
    assert made.fact("data.sources").missing == "the label of b cannot be seen"
    assert made.fact("model.architecture").status == "not_disclosed"


def test_what_is_the_bases_own_is_shown_with_its_label() -> None:
    made = inherit(alone(), alone(told("model.architecture", "llama", RECORD))).fact("model.architecture")
    assert (made.text, made.whole) == ("of b: llama", True)
    assert made.records == (Record(kind="label", id="b", address="/b"),)


def test_a_label_is_kept_for_a_while_but_not_the_right_to_see_it(database: Database, promoted: str) -> None:
    clock = ManualClock(1e9)
    labels = HubLabels(database, clock=clock)
    before = labels.label("stdlib-1m")
    with database.transaction() as connection:
        connection.execute(sa.update(pool_jobs).values(spec={"version": 7}))
    assert labels.label("stdlib-1m") is before
    clock.sleep(KEPT_SECONDS + 1)
    after = labels.label("stdlib-1m")
    assert after is not None
    assert after.fact("compute.tokens").status == "not_disclosed"
    with database.transaction() as connection:
        catalogue.retire(connection, "stdlib-1m", "operator", 1e9)
    assert labels.label("stdlib-1m") is None
