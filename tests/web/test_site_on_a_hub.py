"""A hub shows the site at its root beside its API, and none where it was given no runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastapi.testclient import TestClient

from commonweal.app import HubSettings, build
from commonweal.app.pages import places
from commonweal.core.blobs import open_blobs
from commonweal.core.database import Database
from commonweal.web.site import Site, find, render
from commonweal.web.site.page import Page


def client(tmp_path: Path, runs: Path | None, database: Database | None = None) -> TestClient:
    nowhere: Any = database or SimpleNamespace(dsn=lambda: "")
    return TestClient(build(nowhere, open_blobs("memory://"), {}, HubSettings(folder=tmp_path, runs=runs)))


def test_a_hub_serves_the_pages_of_its_runs(
    tmp_path: Path, runs: Path, site: Site, database: Database
) -> None:
    hub = client(tmp_path, runs, database)
    for path in (
        "index.html",
        "scenarios/people.html",
        "runs/mock/people/instances-1.html",
        "static/site.js",
    ):
        expected = find(site, path)
        here = places(runs) if isinstance(expected, Page) else ()
        assert hub.get(f"/{path}").content == render(expected, here), path
    assert hub.get("/").content == render(find(site, "index.html"), places(runs))
    assert b'href="pool/index.html"' in hub.get("/").content
    missing = hub.get("/runs/mock/nothing/index.html")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert hub.get("/chat").status_code == 200, "the other pages are where they were"
    assert hub.get("/v1/nothing").status_code == 404
    assert not any(path.startswith("/runs") for path in hub.get("/openapi.json").json()["paths"])


def test_a_hub_without_runs_leads_to_its_pool(tmp_path: Path) -> None:
    hub = client(tmp_path, None)
    answer = hub.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/pool/index.html")
    assert hub.get("/static/site.css").status_code == 200, "the pool's pages are styled"
    assert hub.get("/index.html").status_code == 404


def test_a_board_without_a_run_is_styled(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    hub = client(tmp_path, tmp_path / "runs")
    assert hub.get("/").status_code == 200
    assert hub.get("/static/site.css").status_code == 200
