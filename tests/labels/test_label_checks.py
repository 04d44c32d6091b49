"""Checking labels of models that were made of feedback, over HTTP; and the pure decision what holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from label_world import run

import hub_records
from commonweal.app import HubSettings, build, first_start
from commonweal.core.blobs import Blobs
from commonweal.core.clock import SystemClock
from commonweal.core.database import Database
from commonweal.labels.checking import Proof, check
from commonweal.labels.facts import Facts, Label, Record, told
from commonweal.labels.json_form import dumps, from_json
from commonweal.serve.community.schema import datasets
from served_app import serving

HOLDS, UNKNOWN, WRONG = (
    Proof(outcome="holds"),
    Proof(outcome="unknown", why="away"),
    Proof(outcome="wrong", why="no"),
)
ONE, TWO = Record(kind="job", id="one", hash="1"), Record(kind="rounds", id="two", hash="2")


def label(text: str = "much") -> Label:
    facts = Facts()
    facts.add(told("data.size", text, ONE, TWO))
    return Label(model="m", source="hub", facts=facts.all())


@pytest.mark.parametrize(
    ("proofs", "again", "outcome", "why"),
    [
        ((HOLDS, HOLDS), label(), "holds", ""),
        ((HOLDS, WRONG), label(), "wrong", "no"),
        ((UNKNOWN, WRONG), None, "wrong", "no"),
        ((HOLDS, UNKNOWN), label(), "unknown", "away"),
        ((HOLDS, HOLDS), label("little"), "wrong", "its records say: little"),
        ((UNKNOWN, HOLDS), label("little"), "wrong", "its records say: little"),
        ((HOLDS, HOLDS), None, "unknown", "cannot be made of its records"),
    ],
)
def test_what_holds(proofs: tuple[Proof, Proof], again: Label | None, outcome: str, why: str) -> None:
    asked = []

    def prove(record: Record) -> Proof:
        asked.append(record)
        return proofs[(ONE, TWO).index(record)]

    (verdict,) = check(label(), prove, again)
    assert (verdict.key, verdict.outcome) == ("data.size", outcome)
    assert why in verdict.why
    assert len(asked) == len(set(asked)), "each record is proved once"


def test_a_fact_without_a_record_is_not_proved() -> None:
    bare = label()
    fact = replace(bare.fact("data.size"), records=())
    (verdict,) = check(bare.with_facts({"data.size": fact}), lambda record: HOLDS, bare)
    assert verdict.outcome == "unknown"


@pytest.fixture
def hub(database: Database, blobs: Blobs, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    settings = HubSettings(folder=tmp_path, fold=False)
    keys = first_start(database, settings, SystemClock())
    assert keys is not None
    promoted = hub_records.fill(database, blobs)
    with serving(build(database, blobs, {}, settings)) as url:
        yield promoted, "--hub", url, "--key", keys.admin


def outcomes(*words: str) -> dict[str, Any]:
    done = run("label", *words, "--check", "--json")
    assert done.stdout, done.stderr
    found = {one["key"]: one for one in json.loads(done.stdout)["facts"]}
    assert done.returncode == any(one["outcome"] == "wrong" for one in found.values())
    return found


def test_feedback_and_promotions_are_proved(hub: tuple[str, ...], database: Database, tmp_path: Path) -> None:
    promoted, *way = hub
    found = outcomes(promoted, *way)
    assert found["alignment.feedback"]["outcome"] == "holds"
    assert found["accountability.changes"]["outcome"] == "holds"
    assert found["accountability.release"]["outcome"] == "holds"
    assert found["model.weights"]["outcome"] == "holds"
    assert found["data.hashes"]["outcome"] == "unknown", "the file that it learned from is not in the store"
    assert "wrong" not in {one["outcome"] for one in found.values()}
    kept = tmp_path / "label.json"
    assert run("label", promoted, *way, "--format", "json", "--out", str(kept)).returncode == 0
    with database.transaction() as connection:
        manifest = connection.execute(sa.select(datasets.c.manifest)).scalar_one()
        connection.execute(sa.update(datasets).values(manifest={**manifest, "accounts": 70_000}))
    label = from_json(json.loads(kept.read_text()), where="x")
    kept.write_text(dumps(label))
    found = outcomes(str(kept), *way)
    assert found["alignment.people"]["outcome"] == "wrong"
    assert "manifest is another" in found["alignment.people"]["why"]


def test_rounds_that_do_not_add_up_are_found_out_on_a_hub_too(hub: tuple[str, ...]) -> None:
    """The rows of this hub were made up: its members' tokens are not those of its rounds."""
    _, *way = hub
    found = outcomes(hub_records.BASE, *way)
    assert found["compute.tokens"]["outcome"] == "wrong"
    assert "handed in" in found["compute.tokens"]["why"]
    assert found["model.size"]["outcome"] == "holds"


def test_a_server_of_somebody_is_their_word(hub: tuple[str, ...]) -> None:
    _, *way = hub
    found = outcomes(hub_records.FRONTED, *way)
    assert {one["outcome"] for one in found.values()} <= {"holds", "unknown"}
