"""The schema of labels is served and exported beside them, and every label that is given out is valid by it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
from fastapi.testclient import TestClient

import hub_records
from commonweal.app import HubSettings, build
from commonweal.core.blobs import Blobs
from commonweal.core.clock import SystemClock
from commonweal.core.database import Database
from commonweal.labels.from_toml import from_toml
from commonweal.labels.json_form import SCHEMA_ID, dumps, from_json, schema
from commonweal.labels.serving import HubLabels
from commonweal.pool import access
from commonweal.web.site import export, load
from commonweal.web.site.catalogue import Catalogue
from commonweal.web.site.label import SavedLabels
from commonweal.web.site.routes import LiveSite


def test_the_schema_has_a_name() -> None:
    assert schema()["$id"] == SCHEMA_ID == "urn:commonweal:label:1"
    label = from_toml({"name": "m"}, where="x")
    told = json.loads(dumps(label))
    assert told["$schema"] == SCHEMA_ID
    jsonschema.Draft202012Validator(schema()).validate(told)
    assert from_json(told, where="x") == label
    del told["$schema"]
    assert from_json(told, where="x") == label, "labels of before are read too"
    jsonschema.Draft202012Validator(schema()).validate(told)


def test_every_exported_label_leads_to_its_schema_and_is_valid(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "public"
    labels = SavedLabels({"mock": from_toml({"name": "mock", "use": {"risks": "some"}}, where="x")})
    export(load([runs], labels=labels), out)
    found = list(out.rglob("label.json"))
    files = [file for file in found if file.parent.name != "schemas"]
    assert files
    for file in files:
        told = json.loads(file.read_text())
        lies = (file.parent / told["$schema"]).resolve()
        assert lies == (out / "schemas" / "label.json").resolve()
        jsonschema.Draft202012Validator(json.loads(lies.read_text())).validate(told)
        assert "../../schemas/label.json" in (file.parent / "label.html").read_text()


def test_every_label_of_a_hub_is_valid_by_the_schema_that_it_serves(database: Database, blobs: Blobs) -> None:
    """Also where the hub shows no runs; its pages of models are there too."""
    hub_records.fill(database, blobs)
    with database.transaction() as connection:
        key = access.issue_key(connection, role="user", owner="user:bob", label="t", now=0.0)
    hub = TestClient(build(database, blobs, {}, HubSettings(folder=Path("unused"), runs=None)))
    answer = hub.get("/schemas/label.json")
    assert answer.headers["content-type"].startswith("application/schema+json")
    valid = jsonschema.Draft202012Validator(answer.json())
    slugs = Catalogue(database, blobs).slugs()
    assert len(slugs) >= 3
    for slug, name in slugs.items():
        told = hub.get(f"/v1/models/{name}/label", headers={"Authorization": f"Bearer {key}"}).json()
        assert told["$schema"] == "/schemas/label.json"
        valid.validate(told)
        shown = hub.get(f"/models/{slug}/label.json").json()
        assert shown["$schema"] == "../../schemas/label.json"
        valid.validate(shown)
        page = hub.get(f"/models/{slug}/label.html")
        assert page.status_code == 200
        assert f"Label of {name}" in page.text
        assert f'href="{slug}/label.html"' in hub.get(f"/models/{slug}.html").text
    assert 'href="stdlib-1m.html"' in hub.get("/models/index.html").text
    assert hub.get("/static/label.css").status_code == 200


def test_records_of_a_hub_are_links_where_it_shows_them(database: Database, blobs: Blobs) -> None:
    hub_records.fill(database, blobs)
    hub = TestClient(build(database, blobs, {}, HubSettings(folder=Path("unused"), runs=None)))
    page = hub.get("/models/stdlib-1m/label.html").text
    job = hub_records.JOB
    for path in (
        f"pool/jobs/{job}.html",
        f"pool/jobs/{job}/rounds-1.html",
        "pool/v1/credits/export",
    ):
        assert f'href="../../{path}"' in page, path
        assert hub.get(f"/{path}").status_code == 200, path
    assert f"/pool/v1/jobs/{job}" in page, "and its address, for programs"


def test_records_of_a_hub_are_text_where_they_are_not_shown(
    database: Database, blobs: Blobs, runs: Path, tmp_path: Path
) -> None:
    hub_records.fill(database, blobs)
    told = HubLabels(database).label("stdlib-1m")
    assert told is not None
    told_of = from_json({**json.loads(dumps(told)), "model": "mock"}, where="x")
    export(load([runs], labels=SavedLabels({"mock": told_of})), tmp_path / "public")
    page = (tmp_path / "public" / "models" / "mock" / "label.html").read_text()
    assert "pool/jobs" not in page
    assert 'href="../../pool' not in page
    assert f"/pool/v1/jobs/{hub_records.JOB}" in page
    live = LiveSite([runs], SystemClock(), labels=SavedLabels({"mock": told_of}))
    assert live.answer("models/mock/label.html").body.decode() == page
