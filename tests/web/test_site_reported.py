"""HELM's published leaderboards on the site: apart from what was measured here, cell by cell as they were published."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import published
import pyarrow.parquet as pq
import pytest
from browsing import CHROMIUM, Reader, axe, chromium, hosted
from fastapi import FastAPI
from fastapi.testclient import TestClient
from made_runs import many_records, write_run

from commonweal.commands.reporting import import_results
from commonweal.core.clock import SystemClock
from commonweal.core.errors import DataError, NotFound
from commonweal.web.site import Site, export, find, load, pages, render
from commonweal.web.site.reported import ReportedPage
from commonweal.web.site.routes import LiveSite, router_of
from commonweal.web.site.words import figure

LIMIT = 200_000
MODEL = "meta/llama-3-8b"
"""On HELM Lite; here it also has a (made) run."""

URL = "https://storage.googleapis.com/crfm-helm-public/"


@pytest.fixture(scope="module")
def folder(data_root: Path) -> Path:
    return data_root / "helm_leaderboards"


@pytest.fixture(scope="module")
def reported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    files = [published.records(folder, board, root) for board in published.BOARDS]
    import_results(files, root / "reported", "Apache-2.0", as_json=True)
    return root / "reported"


@pytest.fixture(scope="module")
def with_a_run(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("one_run")
    write_run(root / "a", site.by_place["mock", "kinds"].folder, MODEL, "kinds", list(many_records(3)))
    return root


class Table(HTMLParser):
    """The rows of the board on a page: the model, then each cell's text and its number for scripts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[list[str | None]]] = []
        self._cell: list[str | None] | None = None
        self._small = 0
        self.feed(html[html.index("<tbody>") : html.index("</tbody>")])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self._cell = ["", dict(attrs).get("data-value")]
            self.rows[-1].append(self._cell)
        self._small += tag == "small"

    def handle_endtag(self, tag: str) -> None:
        self._small -= tag == "small"

    def handle_data(self, data: str) -> None:
        if self._cell is not None and not self._small:
            self._cell[0] = f"{self._cell[0]}{data}".strip()


def boards_of(site: Site) -> Iterator[ReportedPage]:
    return (page for page in pages(site) if isinstance(page, ReportedPage))


def test_every_number_on_the_pages_is_that_of_the_table(folder: Path, reported: Path) -> None:
    site = load([], reported=reported)
    shown: dict[tuple[str, str, str, str, str], tuple[str, str | None]] = {}
    for page in boards_of(site):
        html = render(page).decode()
        assert len(html) < LIMIT, page.path
        assert "Reported by crfm, not measured here" in html
        assert f'<a href="{URL}' in html
        assert "Apache-2.0" in html
        columns = [
            *((name, "") for name in page.published),
            *((c.evaluation, c.metric) for c in page.columns),
        ]
        group = page.columns[0].group
        board = page.path.split("/")[1]
        table = Table(html)
        assert len(table.rows) == len(page.rows)
        for row in table.rows:
            assert len(row) == 3 + len(columns)
            for (evaluation, metric), (text, value) in zip(columns, row[3:], strict=True):
                shown[board, str(row[0][0]), group, evaluation, metric] = (str(text), value)
    checked = empty = 0
    for board in published.BOARDS:
        for told in published.rows(folder, board):
            name = told["evaluation"]
            if name in ("Mean win rate", "Mean score"):
                evaluation, metric = name, ""
            elif told["metric"].endswith(f" on {name}"):
                evaluation, metric = name, told["metric"].removesuffix(f" on {name}")
            else:
                evaluation, _, metric = told["metric"].rpartition(" - ")
            key = (f"helm_{board}", told["model_id"], told["tab"], evaluation, metric)
            if not told["score"] and key not in shown and not metric:
                continue  # a mean of a tab that has nothing else
            text, value = shown[key]
            if told["score"]:
                score = float(told["score"])
                assert text == figure(score), key
                plain = float(text.replace("−", "-").replace(",", ""))
                assert (plain if value is None else float(value)) == pytest.approx(score, rel=1e-5), key
                checked += 1
            else:
                assert (text[0], value) == ("–", ""), key
                empty += 1
    assert checked > 20_000
    assert empty > 5_000


def test_an_empty_cell_says_why_and_coverage_is_told(reported: Path) -> None:
    site = load([], reported=reported)
    page = find(site, "reported/helm_classic/index.html")
    assert isinstance(page, ReportedPage)
    assert page.notes == ["not run (the source writes -1)"]
    html = render(page).decode()
    assert 'id="why-1"' in html
    assert "The source gives no intervals" in html
    shares = {row.name: row.share for row in page.rows}
    assert shares["openai/text-davinci-002"] == 1
    assert 0 < shares["meta/Llama-2-70B"] < 1
    first = page.rows[0]
    assert first.ours.text != "–"
    assert first.published[0].text == "0.944"
    calibration = next(link.path for link, _ in page.tabs if link.text == "Calibration")
    tab = find(site, calibration)
    assert isinstance(tab, ReportedPage)
    assert tab.untold == 12, "the records do not say that a lower error is better"
    assert {row.ours.text for row in tab.rows} == {"–"}


def test_a_board_is_loaded_as_csv_json_and_parquet(folder: Path, reported: Path) -> None:
    site = load([], reported=reported)
    rows = published.rows(folder, "classic")
    given = sum(row["score"] != "" for row in rows)
    data = find(site, "reported/helm_classic.csv").data.decode()
    read = list(csv.DictReader(io.StringIO(data)))
    assert sum(row["score"] != "" for row in read) == given
    assert {row["reported_by"] for row in read} == {"crfm"}
    assert all(bool(row["score"]) != bool(row["reason"]) for row in read)
    told = json.loads(find(site, "reported/helm_classic.json").data)
    assert told["measured_here"] is False
    assert sum(one["score"] is not None for one in told["scores"]) == given
    table = pq.read_table(io.BytesIO(find(site, "reported/helm_classic.parquet").data))
    assert table.num_rows == len(read)
    assert table["score"].null_count == table.num_rows - given
    exact = {float(row["score"]) for row in rows if row["score"]}
    assert {value for value in table["score"].to_pylist() if value is not None} == exact


def test_the_page_of_a_model_lists_what_others_reported(reported: Path, with_a_run: Path) -> None:
    site = load([with_a_run], reported=reported)
    board = render(find(site, "index.html")).decode()
    assert 'href="reported/index.html"' in board
    page = find(site, "reported/helm_lite/index.html")
    assert isinstance(page, ReportedPage)
    assert [row.name for row in page.rows if row.path] == [MODEL]
    [path] = [row.path for row in page.rows if row.path]
    model = find(site, path)
    assert {one.board.text for one in model.reported} == {"HELM Lite", "HELM MMLU"}
    html = render(model).decode()
    assert "Reported by others" in html
    lite = next(one for one in model.reported if one.board.text == "HELM Lite")
    assert ("NarrativeQA", "F1", "0.754") in lite.scores
    without = render(find(load([with_a_run]), path)).decode()
    assert "Reported by others" not in without
    assert "reported/" not in render(find(load([with_a_run]), "index.html")).decode()


def test_live_and_exported_are_the_same_and_follow_the_folder(
    reported: Path, with_a_run: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "reported"
    shutil.copytree(reported, kept)
    site = load([with_a_run], reported=kept)
    export(site, tmp_path / "web", processes=1)

    class Ticking(SystemClock):
        moment = 0.0

        def now(self) -> float:
            return self.moment

    clock = Ticking()
    app = FastAPI()
    app.include_router(router_of(LiveSite([with_a_run], clock, reported=kept)))
    client = TestClient(app)
    paths = ["index.html", *(page.path for page in pages(site) if page.path.startswith("reported/"))]
    assert len(paths) > 50
    for path in paths:
        answer = client.get(f"/{quote(path)}")
        assert answer.status_code == 200, path
        assert answer.content == (tmp_path / "web" / path).read_bytes(), path
    (kept / "helm_lite.json").unlink()
    clock.moment = 60.0
    with pytest.raises(NotFound):
        client.get("/reported/helm_lite/index.html")
    with pytest.raises(NotFound):
        client.get("/reported/helm_classic/nothing.html")
    (kept / "bad.json").write_text("{}", encoding="utf-8")
    clock.moment = 120.0
    assert "bad.json: not reported results" in client.get("/").text, "the others are shown all the same"
    assert client.get("/reported/helm_classic/index.html").status_code == 200
    damaged = load([with_a_run], reported=kept)
    with pytest.raises(DataError, match=r"bad\.json: not reported results"):
        export(damaged, tmp_path / "web", processes=1)
    export(damaged, tmp_path / "web", processes=1, skip_damaged=True)


def test_a_site_of_reported_results_alone(reported: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for paths in ([], [tmp_path / "runs"]):
        site = load(paths, reported=reported)
        html = render(find(site, "index.html")).decode()
        assert "Nothing was measured here yet" in html
        assert "HELM Classic" in html
    with pytest.raises(NotFound, match="no such folder"):
        load([tmp_path / "none"], reported=reported)
    app = FastAPI()
    app.include_router(router_of(LiveSite([tmp_path / "none"], SystemClock(), reported=reported)))
    assert "HELM Classic" in TestClient(app).get("/").text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
@pytest.mark.parametrize("script", [True, False])
def test_a_reader_goes_from_the_board_to_a_model_and_the_source(
    script: bool, reported: Path, with_a_run: Path, tmp_path: Path
) -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    export(load([with_a_run], reported=reported), tmp_path / "web" / "sub", processes=1)
    with hosted(tmp_path / "web") as address, chromium() as browser:
        context = browser.new_context(java_script_enabled=script, viewport={"width": 390, "height": 800})
        reader = Reader(context, f"{address}sub/")
        page = reader.page
        reader.open("index.html")
        page.get_by_role("link", name="Boards of others").click()
        page.get_by_role("link", name="HELM Classic").click()
        page.get_by_role("link", name="Bias", exact=True).click()
        page.get_by_role("link", name="Stereotypes (gender)", exact=True).click()
        assert page.get_by_role("heading", level=1).inner_text() == "HELM Classic: Bias: Stereotypes (gender)"
        source = page.get_by_role("link", name=URL, exact=False).first
        assert source.get_attribute("href").startswith(URL)
        if script:
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            assert axe(page) == []
        reader.open("reported/helm_lite/index.html")
        if script:
            page.get_by_role("button", name="sort by GSM8K").click()
            shown = page.locator("tbody tr")
            assert shown.first.locator("th").inner_text().startswith("anthropic/claude-3-5-sonnet-20241022")
            page.get_by_role("searchbox").fill("llama-3-8b")
            assert shown.locator("visible=true").count() == 1
            page.get_by_role("button", name=f"pin {MODEL}").click()
            page.get_by_role("searchbox").fill("openai/")
            page.reload()
            names = [row.locator("th > :first-child").inner_text() for row in shown.all() if row.is_visible()]
            assert names[0] == MODEL
            assert all(name.startswith("openai/") for name in names[1:])
            assert len(names) == 10
            assert axe(page) == []
        page.get_by_role("link", name=MODEL, exact=True).click()
        page.get_by_role("heading", name="Reported by others").wait_for()
        page.get_by_role("link", name="HELM MMLU").click()
        assert page.get_by_role("heading", level=1).inner_text() == "HELM MMLU: Accuracy"
        context.close()
        assert not reader.troubles
