"""A hub shows the site at its root beside its API, and none where it was given no runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastapi.testclient import TestClient

from commonweal.app import HubSettings, build
from commonweal.core.blobs import open_blobs
from commonweal.web.site import Site, find, render


def client(tmp_path: Path, runs: Path | None) -> TestClient:
    nowhere: Any = SimpleNamespace(dsn=lambda: "")
    return TestClient(build(nowhere, open_blobs("memory://"), {}, HubSettings(folder=tmp_path, runs=runs)))


def test_a_hub_serves_the_pages_of_its_runs(tmp_path: Path, runs: Path, site: Site) -> None:
    hub = client(tmp_path, runs)
    for path in (
        "index.html",
        "scenarios/people.html",
        "runs/mock/people/instances-1.html",
        "static/site.js",
    ):
        assert hub.get(f"/{path}").content == render(find(site, path)), path
    assert hub.get("/").content == render(find(site, "index.html"))
    missing = hub.get("/runs/mock/nothing/index.html")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert hub.get("/chat").status_code == 200, "the other pages are where they were"
    assert hub.get("/v1/nothing").status_code == 404
    assert not any(path.startswith("/runs") for path in hub.get("/openapi.json").json()["paths"])


def test_a_hub_without_runs_has_no_site(tmp_path: Path) -> None:
    assert client(tmp_path, None).get("/").status_code == 404
