"""The site of real runs: every page is there, says what the tables say, and is the same live and exported."""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from site_reading import Read

from commonweal.core.clock import SystemClock
from commonweal.core.errors import NotFound
from commonweal.evals.scenarios.registry import SUITES
from commonweal.evals.summary.board import make_board
from commonweal.evals.summary.runs import find_runs
from commonweal.evals.tables import read_rows
from commonweal.web.site import Site, export, find, pages, render
from commonweal.web.site.addresses import run as run_path
from commonweal.web.site.addresses import slug
from commonweal.web.site.routes import LiveSite, router_of

KINDS = {
    "File",
    "LeaderboardPage",
    "ScenarioPage",
    "ModelPage",
    "ReleasesPage",
    "RunPage",
    "ListingPage",
    "InstancesPage",
    "DisputedPage",
    "ComparisonPage",
    "FlipsPage",
}


@pytest.fixture(scope="module")
def public(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "public"
    export(site, folder)
    return folder


@pytest.fixture(scope="module")
def live(runs: Path) -> TestClient:
    app = FastAPI()
    app.include_router(router_of(LiveSite([runs], SystemClock())))
    return TestClient(app)


@pytest.fixture(scope="module")
def read(public: Path) -> dict[str, Read]:
    return {
        str(file.relative_to(public)): Read(file.read_text(encoding="utf-8"))
        for file in public.rglob("*.html")
    }


def test_a_page_is_the_same_live_exported_and_found_by_its_path(
    site: Site, public: Path, live: TestClient
) -> None:
    seen = Counter[str]()
    for page in pages(site):
        made = render(page)
        assert render(find(site, page.path)) == made, page.path
        assert (public / page.path).read_bytes() == made, page.path
        answer = live.get(f"/{page.path}")
        assert (answer.status_code, answer.content == made) == (200, True), page.path
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        seen[type(page).__name__] += 1
    assert live.get("/").content == (public / "index.html").read_bytes()
    assert set(seen) >= KINDS, "all kinds of page came"
    files = {str(file.relative_to(public)) for file in public.rglob("*") if file.is_file()}
    assert len(files) == sum(seen.values()) + 1, "no page was written over by another"


def test_links_lead_to_pages_and_anchors_that_are_there(public: Path, read: dict[str, Read]) -> None:
    reached = {"index.html"}
    for path, page in read.items():
        for link in page.links:
            target, _, anchor = link.partition("#")
            there = posixpath.normpath(posixpath.join(posixpath.dirname(path), target)) if target else path
            assert (public / there).is_file(), f"{path}: {link}"
            reached.add(there)
            if anchor:
                assert anchor in read[there].anchors, f"{path}: {link}"
    assert set(read) == reached & set(read), "there is a way to every page"


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs_in_line(read: dict[str, Read]) -> None:
    for path, page in read.items():
        assert not page.forbidden, path
        assert page.tags.count("script") == 1, path
        assert {one.rpartition("/")[0][-6:] for one in page.loads} == {"static"}, path
        for address in (*page.loads, *page.links):
            assert ":" not in address.partition("#")[0], f"{path}: {address}"
            assert not address.startswith("/"), f"{path}: {address}"
        assert len(page.anchors) == len(set(page.anchors)), path


def test_every_prompt_stands_on_its_page_letter_by_letter(site: Site, read: dict[str, Read]) -> None:
    run = site.by_place["mock", "people"]
    folder = run_path("mock", "people").rpartition("/")[0]
    shown = [
        text for path, page in read.items() if path.startswith(f"{folder}/instances-") for text in page.wholes
    ]
    rows = list(read_rows(run.folder, "requests"))
    assert len(rows) > 150
    assert not {row["prompt"] for row in rows} - set(shown)
    assert not {row["completion"] for row in rows} - set(shown)
    assert sum(path.startswith(f"{folder}/instances-") for path in read) == 2, "60 instances, 50 a page"


def test_filters_hold_what_they_say(site: Site) -> None:
    run = site.by_place["mock:fails=0.08", "people"]
    digest = site.samples(run).digest
    folder = run_path(run.model, run.name).rpartition("/")[0]
    samples = list(read_rows(run.folder, "samples"))
    failed = [row for row in samples if row["failure"]]
    assert failed, "the mock failed somewhere"
    page = find(site, f"{folder}/failed-1.html")
    assert {(one.id, one.perturbation) for one in page.items} == {
        (r["id"], r["perturbation"]) for r in failed
    }
    changed = find(site, f"{folder}/by-dialect-1.html")
    assert {one.perturbation for one in changed.items} == {"dialect"}
    assert len(digest.originals) == find(site, f"{folder}/all-1.html").total == 60
    with pytest.raises(NotFound):
        find(site, f"{folder}/nothing-1.html")
    with pytest.raises(NotFound):
        find(site, f"{folder}/all-9.html")
    with pytest.raises(NotFound):
        find(site, "runs/../../etc/passwd")


def test_the_board_and_its_files_say_what_the_leaderboard_says(site: Site, runs: Path, public: Path) -> None:
    for group in site.groups:
        expected = make_board(find_runs([runs]), SUITES, group)
        assert site.group_board(group).to_json() == expected.to_json(), group
        stem = public / "boards" / slug(group)
        assert json.loads(stem.with_suffix(".json").read_text()) == expected.to_json()
        rows = pq.read_table(stem.with_suffix(".parquet")).to_pylist()
        written = list(csv.DictReader(io.StringIO(stem.with_suffix(".csv").read_text())))
        assert len(rows) == len(written) == len(expected.models) * len(expected.columns)
        for row, line in zip(rows, written, strict=True):
            cell = expected.cells[row["model"]][row["scenario"]]
            assert (row["mean"], row["n"], row["reason"]) == (cell.mean, cell.n, cell.reason)
            assert line["mean"] == ("" if cell.mean is None else repr(cell.mean))


def test_an_empty_cell_says_why(site: Site, public: Path) -> None:
    board = (public / "index.html").read_text()
    assert '<li id="why-1">not run</li>' in board
    assert board.count('href="#why-1"') == 2, "two models were not asked for tools"
