"""The pages of a hub's models: the card as text, the ways to try it, the lineage as a picture and a table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from site_reading import Read

import hub_records
from commonweal.core.blobs import Blobs
from commonweal.core.clock import SystemClock
from commonweal.core.database import Database
from commonweal.labels.lineage import Lineage
from commonweal.labels.lineage_steps import Step
from commonweal.pool.api import faults
from commonweal.serve import catalogue
from commonweal.serve.catalogue import ServedModel
from commonweal.web.site import Site, find, load, pages, render
from commonweal.web.site.addresses import model
from commonweal.web.site.card import parse
from commonweal.web.site.catalogue import Catalogue
from commonweal.web.site.leaderboard import LeaderboardPage
from commonweal.web.site.lineage_chart import chart, lanes_of
from commonweal.web.site.model import ModelPage, ModelsPage
from commonweal.web.site.routes import LiveSite, router_of, router_of_models
from commonweal.web.site.served import served


@dataclass(frozen=True, slots=True)
class Hub:
    promoted: str
    catalogue: Catalogue
    client: TestClient
    site: Site
    database: Database


@pytest.fixture
def hub(database: Database, blobs: Blobs, runs: Path) -> Iterator[Hub]:
    promoted = hub_records.fill(database, blobs)
    known, app = Catalogue(database, blobs), FastAPI()
    faults.install(app)
    app.include_router(router_of(LiveSite([runs], SystemClock(), catalogue=known)))
    with TestClient(app, base_url="http://hub.example") as client:
        yield Hub(promoted, known, client, load([runs], catalogue=known), database)


def test_a_page_shows_card_and_ways_to_try_with_the_hubs_own_address(hub: Hub) -> None:
    answer = hub.client.get(f"/{model(hub_records.BASE)}")
    assert answer.status_code == 200
    read = Read(answer.text)
    card, curl, python = read.wholes
    assert card.startswith("# A small model of Python\n\nIt goes on with code. <script>")
    assert "\u202e" not in answer.text, "what turns the direction of writing is named"
    assert "<script>window" not in answer.text
    assert "http://hub.example/v1/chat/completions" in curl
    assert f'"model": "{hub_records.BASE}"' in curl
    assert 'base_url="http://hub.example/v1"' in python
    assert f"../chat?model={hub_records.BASE}" in read.links
    assert "<dd>apache-2.0</dd>" in answer.text
    assert "<dd>en, ar</dd>" in answer.text
    assert f"../pool/jobs/{hub_records.JOB}.html" in read.links
    assert model(hub.promoted).partition("/")[2] in read.links


def test_a_long_card_is_folded_up() -> None:
    model = ServedModel(
        name="m",
        kind="full",
        owner="user:ada",
        files={},
        identity="a" * 64,
        parameters=1,
        window=8,
        price_in=1,
        price_out=3,
        created=0.0,
    )
    lineage = Lineage(model="m", steps=(), ways=())
    told = {n: served(model, parse("x" * n), lineage, "m") for n in (10, 1000, 10_000)}
    assert [(one.long, one.cut) for one in told.values()] == [(False, False), (True, False), (True, True)]
    page = ModelPage(
        path="models/m.html",
        title="m",
        name="m",
        label="models/m/label.html",
        endpoint="",
        win_rate=None,
        coverage=None,
        missing=(),
        aspects=(),
        runs=(),
        compared=(),
        served=told[1000],
    )
    text = render(page).decode()
    assert text.index("<details>") < text.index("x" * 1000) < text.index("</details>")


def test_what_is_not_disclosed_is_said(hub: Hub) -> None:
    text = hub.client.get(f"/{model(hub_records.FRONTED)}").text
    assert '<dt>licence</dt><dd><span class="none">not disclosed</span></dd>' in text
    assert "there is no README.md among its files" in text
    assert "published</dt><dd>by an account of this hub" in text
    assert "ada" not in text
    assert "stands behind its publisher&#39;s own server" in text
    assert "<svg" not in text, "there is nothing to draw"


def test_private_models_have_no_page(hub: Hub) -> None:
    assert hub.client.get(f"/{model(hub_records.PRIVATE)}").status_code == 404
    everything = "".join(
        render(page).decode() for page in pages(hub.site) if isinstance(page, ModelPage | ModelsPage)
    )
    assert hub_records.PRIVATE not in everything


def test_the_list_and_the_board_have_the_models_that_nobody_has_run(hub: Hub) -> None:
    listed = find(hub.site, "models/index.html")
    assert isinstance(listed, ModelsPage)
    rows = {row.model.text: row for row in listed.rows}
    assert rows[hub_records.BASE].coverage is None
    assert rows[hub_records.BASE].runs == 0
    assert rows["mock"].what == "", "the hub does not serve it"
    assert rows["mock"].runs == 3
    board = find(hub.site, "index.html")
    assert isinstance(board, LeaderboardPage)
    names = [row.model.text for row in board.rows]
    assert set(names) == {*rows}
    row = board.rows[names.index(hub_records.BASE)]
    assert {board.notes[cell.note - 1] for cell in row.cells} == {"not run"}
    some = find(hub.site, next(link.path for link in board.groups if link.text != "all"))
    assert isinstance(some, LeaderboardPage)
    assert hub_records.BASE not in [row.model.text for row in some.rows], (
        "a group has those that were measured"
    )


def test_a_live_board_follows_the_catalogue(hub: Hub) -> None:
    assert hub_records.ADAPTER in hub.client.get("/").text
    with hub.database.transaction() as connection:
        catalogue.retire(connection, hub_records.ADAPTER, hub_records.OPERATOR, 1.0)
    assert hub_records.ADAPTER not in hub.client.get("/").text
    assert hub.client.get(f"/{model(hub_records.ADAPTER)}").status_code == 404


def test_every_page_of_a_model_is_found_by_its_path(hub: Hub) -> None:
    found = [page for page in pages(hub.site) if isinstance(page, ModelPage)]
    assert {page.name for page in found} > {hub_records.BASE, hub.promoted, "mock"}
    for page in found:
        assert render(find(hub.site, page.path)) == render(page)
        base = hub.client.get(f"/{page.path}").text.replace("http://hub.example", "")
        assert base == render(page).decode()


def test_models_have_pages_on_a_hub_without_runs(hub: Hub) -> None:
    app = FastAPI()
    faults.install(app)
    app.include_router(router_of_models(LiveSite([], SystemClock(), catalogue=hub.catalogue)))
    client = TestClient(app)
    assert hub_records.BASE in client.get("/models/index.html").text
    assert client.get(f"/{model(hub_records.BASE)}").status_code == 200
    assert client.get("/models/nothing.html").status_code == 404
    assert client.get("/index.html").status_code == 404


def test_the_picture_has_a_mark_and_a_title_for_each_step_and_no_markup_of_others() -> None:
    steps = [
        Step(key="a", kind="data", name='<b onclick="x">&'),
        Step(key="b", kind="training", name="x" * 300),
        Step(key="c", kind="model", name="m"),
        Step(key="d", kind="improvement", name="refused"),
    ]
    lineage = Lineage(model="m", steps=steps, ways=[("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
    drawn = str(chart(lineage))
    assert drawn.count("<title>") == 1 + len(steps)
    assert drawn.count("<path class=way") == 4
    assert "<b " not in drawn
    assert lanes_of(lineage) == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert max(len(text) for text in re.findall(r"<text[^>]*>([^<]*)<", drawn)) < 80
    assert not chart(Lineage(model="m", steps=steps[2:3], ways=[]))


@given(st.text())
def test_any_readme_is_a_card(text: str) -> None:
    card = parse(text)
    assert len(card.text) <= len(text)
    assert all(values and all(values) for values in card.head.values())


@given(st.text(alphabet="-\n:[]'\" lice#nse\r\u2028"))
def test_any_head_is_read_or_left(text: str) -> None:
    card = parse(f"---\n{text}\n---\nbody")
    assert card.text.endswith("body")


@pytest.mark.parametrize(
    ("head", "licence"),
    [
        ("license: mit", "mit"),
        ("license: 'cc-by-4.0'", "cc-by-4.0"),
        ("license:\n- mit\n- apache-2.0", "mit"),
        ("license: other\nlicense_name: my-own", "my-own"),
        ("license: other", "other"),
        ("license: unknown", ""),
        ("licence: mit", ""),
        ("model-index:\n- name: x\n  license: y", ""),
    ],
)
def test_the_licence_of_a_card(head: str, licence: str) -> None:
    assert parse(f"---\n{head}\n---\n").licence == licence
