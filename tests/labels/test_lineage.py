"""The lineage of a model: from the data to the versions that were made of it, from records and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

import hub_records
from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.errors import NotFound
from commonweal.labels.lineage import Lineage, read_lineage
from commonweal.labels.lineage_steps import HIDDEN
from commonweal.labels.trainings import Trainings
from commonweal.serve import catalogue


@pytest.fixture
def promoted(database: Database, blobs: Blobs) -> str:
    return hub_records.fill(database, blobs)


def read(database: Database, name: str) -> Lineage:
    with database.transaction() as connection:
        return read_lineage(connection, name, Trainings().of)


def kinds(found: Lineage) -> list[str]:
    return [step.kind for step in found.steps]


def test_a_model_that_the_pool_trained_leads_to_its_data_and_its_versions(
    database: Database, promoted: str
) -> None:
    found = read(database, hub_records.BASE)
    by_key = {step.key: step for step in found.steps}
    source, job = found.steps[:2]
    assert (source.kind, source.name) == ("data", "the Python standard library")
    assert dict(source.facts) == {
        "licence": "PSF-2.0",
        "documents": "700",
        "bytes of text": "8,000,000",
        "tokens": "2,500,000",
    }
    assert job.id == hub_records.JOB
    assert job.word == "publisher", "the hub did not see which weights were uploaded"
    assert dict(job.facts)["members"] == "3"
    assert dict(job.facts)["rounds"] == "3"
    own = by_key[f"model:{hub_records.BASE}"]
    [state] = found.before(own.key)
    assert (state.kind, state.hash) == ("checkpoint", hub_records.STATES[2])
    decisions = {dict(step.facts)["decision"] for step in found.steps if step.kind == "improvement"}
    assert decisions == {"promoted: pairs: right 0.1 -> 0.9", "refused: worse beyond noise on boolq"}
    versions = {step.name for step in found.steps if step.kind == "model"} - {hub_records.BASE}
    assert versions == {promoted, hub_records.ADAPTER}, "what was refused, or is private, has no name"
    [before] = found.before(f"model:{promoted}")
    assert (before.kind, before.name) == ("improvement", "promoted")
    assert not found.gaps


def test_every_step_stands_after_those_that_it_comes_from(database: Database, promoted: str) -> None:
    for name in (hub_records.BASE, hub_records.ADAPTER, hub_records.FRONTED, promoted):
        found = read(database, name)
        places = {step.key: number for number, step in enumerate(found.steps)}
        assert len(places) == len(found.steps)
        assert all(places[first] < places[then] for first, then in found.ways), name


def test_an_improved_version_leads_through_feedback_to_the_first_data(
    database: Database, promoted: str
) -> None:
    found = read(database, promoted)
    assert kinds(found) == [
        *("data", "training", "checkpoint", "checkpoint", "checkpoint", "model"),
        *("feedback", "tuning", "checkpoint", "improvement", "model"),
    ]
    feedback = next(step for step in found.steps if step.kind == "feedback")
    assert dict(feedback.facts) == {
        "pieces of feedback": "80",
        "from people": "7",
        "licences": "CC-BY-4.0 (50), CC0-1.0 (30)",
    }
    assert all(step.word == "hub" for step in found.steps[6:]), "this the hub did itself"


def test_what_nobody_wrote_down_is_told_as_a_gap(database: Database, promoted: str) -> None:
    [gap] = read(database, hub_records.FRONTED).gaps
    assert gap == "big-server stands behind its publisher's own server: the hub has none of its files"
    adapter = read(database, hub_records.ADAPTER)
    assert adapter.gaps == (
        f"{hub_records.ADAPTER} was published from files: no record says how they were made",
    )
    assert [step.name for step in adapter.before(f"model:{hub_records.ADAPTER}")] == [hub_records.BASE]


def test_private_models_have_no_lineage_and_no_name(database: Database, promoted: str) -> None:
    for name in (hub_records.PRIVATE, "nothing"):
        with pytest.raises(NotFound):
            read(database, name)
    with database.transaction() as connection:
        catalogue.retire(connection, hub_records.BASE, hub_records.OPERATOR, 1.0)
    found = read(database, promoted)
    assert HIDDEN in [step.name for step in found.steps]
    assert hub_records.BASE not in [step.name for step in found.steps]


def test_no_lineage_tells_what_a_job_is_scored_on(database: Database, promoted: str) -> None:
    assert "scored" not in repr(read(database, hub_records.BASE))


def test_weights_that_no_state_of_the_job_has_are_told(
    database: Database, blobs: Blobs, promoted: str
) -> None:
    with database.transaction() as connection:
        model = catalogue.find(connection, hub_records.BASE, "")
        other = replace(model, name="other", lineage={"job": hub_records.JOB, "state": "f" * 64, "step": 1})
        catalogue.publish(connection, other)
        lost = replace(model, name="lost", lineage={"job": "job_ffffffffffffffff"})
        catalogue.publish(connection, lost)
        odd = replace(model, name="odd", lineage={"job": ["x"], "state": {}, "step": True})
        catalogue.publish(connection, odd)
    assert read(database, "other").gaps == (
        f"other is said to be a state of {hub_records.JOB}, of which this hub has no record",
    )
    assert read(database, "lost").gaps == (
        "lost is said to be a state of job_ffffffffffffffff, of which this hub has no record",
    )
    assert read(database, "odd").gaps == ("odd was published from files: no record says how they were made",)
