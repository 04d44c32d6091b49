"""Every kind of page, live on a hub and exported below a sub-path, with and without scripts: in a real Chromium nothing
goes wrong, nothing is asked of another host, and axe-core finds nothing that keeps somebody from using it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from browsing import CHROMIUM, Reader, axe, chromium, hosted
from live_hub import LiveHub, live_hub, machine
from made_runs import chat_records, hostile_records, write_run

import hub_records
from commonweal.core.database import connect
from commonweal.web.pool import addresses
from commonweal.web.site import Site, export, load, pages
from commonweal.web.site.addresses import label, listing, model, shard
from commonweal.web.site.page import Page

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")

PICTURES = os.environ.get("COMMONWEAL_PICTURES")
"""A folder for screenshots, for people to look at."""

HOSTILE = {
    "hostile": shard("<script>", "hostile", 1),
    "chat": shard("<script>", "chat", 1),
    "wrong": listing("mock", "people", "wrong", 1),
}
SERVED = {
    "trained": model(hub_records.BASE),
    "adapter": model(hub_records.ADAPTER),
    "fronted": model(hub_records.FRONTED),
    "trained label": label(hub_records.BASE),
    "fronted label": label(hub_records.FRONTED),
}
SIGHTS = ((1280, "light"), (390, "dark"), (320, "light"))
"""Widths and colours in which every page is seen."""

RULES = ((), ("color-contrast",))
"""What axe-core looks for in the first two: all, and what other colours change."""


@pytest.fixture(scope="module")
def shown(runs: Path, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of mocks, and two that no mock would write."""
    folder, like = tmp_path_factory.mktemp("shown"), site.by_place["mock", "kinds"].folder
    shutil.copytree(runs, folder / "mocks")
    write_run(folder / "hostile", like, "<script>", "hostile", list(hostile_records()))
    write_run(folder / "chat", like, "<script>", "chat", list(chat_records()))
    return folder


@pytest.fixture(scope="module")
def kinds(shown: Path) -> Mapping[str, str]:
    """A page of each kind, by its name."""
    found: dict[str, str] = {}
    for page in pages(load([shown])):
        if isinstance(page, Page):
            found.setdefault(type(page).__name__, page.path)
    assert len(found) >= 11
    return found | HOSTILE


@pytest.fixture(scope="module")
def exported(shown: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("web")
    export(load([shown]), folder / "some" / "where")
    with hosted(folder) as root:
        yield f"{root}some/where/"


@pytest.fixture(scope="module")
def hub(
    shown: Path, postgres_url: str, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveHub]:
    name = f"browsed_{os.getpid()}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {migrated}")
    url = postgres_url.replace("/postgres?", f"/{name}?").replace("@/postgres", f"@/{name}")
    database, folder = connect(url), tmp_path_factory.mktemp("hub")
    try:
        with live_hub(database, folder, shown) as hub, machine(hub, folder / "pc"):
            yield hub
    finally:
        database.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def roots(
    exported: str, hub: LiveHub, kinds: Mapping[str, str]
) -> Mapping[str, tuple[str, Mapping[str, str]]]:
    """Where each site is and what pages it has."""
    pool = {
        "pool": addresses.OVERVIEW,
        "join": addresses.JOIN,
        "yours": addresses.YOURS,
        "machines": addresses.machines("all", 1),
        "machine": addresses.machine(hub.member),
        "jobs": addresses.jobs(1),
        "job": addresses.job(hub_records.JOB),
        "rounds": addresses.rounds(hub_records.JOB, 1),
    }
    return {"exported": (exported, kinds), "live": (hub.root, kinds | SERVED | pool)}


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize("where", ["live", "exported"])
def test_every_page_fits_and_nothing_goes_wrong(
    browser: Any,
    roots: Mapping[str, tuple[str, Mapping[str, str]]],
    where: str,
    scripts: bool,
) -> None:
    root, paths = roots[where]
    context = browser.new_context(java_script_enabled=scripts)
    reader = Reader(context, root)
    page, wide = reader.page, []
    for name, path in paths.items():
        reader.open(path)
        assert page.locator("h1").first.is_visible(), name
        assert page.evaluate("window.hacked === undefined"), name
        for width, scheme in SIGHTS:
            seen(page, width, scheme)
            if not fits(page, width):
                wide.append(f"{name} at {width}")
            if PICTURES and scripts:
                page.screenshot(
                    path=str(Path(PICTURES) / f"{where}-{name}-{width}-{scheme}.png"), full_page=True
                )
    context.close()
    assert not reader.troubles
    assert not wide, "these pages do not fit"


@pytest.mark.parametrize("part", ["evaluations", "hub"])
def test_nothing_keeps_a_reader_with_a_disability_out(
    browser: Any, roots: Mapping[str, tuple[str, Mapping[str, str]]], kinds: Mapping[str, str], part: str
) -> None:
    root, paths = roots["live"]
    context = browser.new_context()
    reader = Reader(context, root)
    found: dict[str, None] = {}
    for name in [name for name in paths if (name in kinds) == (part == "evaluations")]:
        reader.open(paths[name])
        for (width, scheme), rules in zip(SIGHTS, RULES, strict=False):
            seen(reader.page, width, scheme)
            found.update(dict.fromkeys(f"{name}, {scheme}: {one}" for one in axe(reader.page, rules)))
    context.close()
    assert not found, "\n".join(found)


def test_what_axe_core_finds_is_heard(browser: Any, exported: str) -> None:
    context = browser.new_context()
    reader = Reader(context, exported)
    reader.open("index.html")
    assert not axe(reader.page)
    reader.page.evaluate("document.querySelector('h1').style.color = '#ddd'")
    assert [one.partition(" ")[0] for one in axe(reader.page, ["color-contrast"])] == ["color-contrast"]
    reader.page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert "button-name (critical)" in " ".join(axe(reader.page))
    context.close()


def fits(page: Any, width: int) -> bool:
    """Whether nothing stands out to the side; what is drawn by a script may take a moment to follow."""
    deadline = time.monotonic() + 3
    while page.evaluate("document.documentElement.scrollWidth") > width:
        if time.monotonic() > deadline:
            return False
        page.wait_for_timeout(50)
    return True


def seen(page: Any, width: int, scheme: str) -> None:
    """Look at a page so, without loading it anew."""
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)


@pytest.fixture
def reader(browser: Any, hub: LiveHub) -> Iterator[Reader]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    reader = Reader(context, hub.root)
    yield reader
    context.close()
    assert not reader.troubles


@pytest.mark.parametrize("where", ["live", "exported"])
def test_a_deep_link_lands_and_a_reload_keeps_the_state(
    browser: Any, roots: Mapping[str, tuple[str, Mapping[str, str]]], where: str
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    reader = Reader(context, roots[where][0])
    page = reader.page
    reader.open(shard("mock", "people", 1))
    last = page.locator("article").last.get_attribute("id")
    reader.open(f"{shard('mock', 'people', 1)}#{last}")
    target = page.locator("article:target h2")
    assert target.evaluate("one => one.getBoundingClientRect().top < innerHeight")
    page.reload()
    assert target.evaluate("one => one.getBoundingClientRect().top < innerHeight")
    state = "index.html?sort=people&order=ascending&q=mock&pin=mock"
    reader.open(state)
    before = reader.names()
    assert before[0] == "mock", "what is pinned stands above"
    assert "<script>" not in before
    page.reload()
    assert reader.names() == before
    assert page.url.endswith(state)
    context.close()
    assert not reader.troubles


def test_from_a_models_page_into_a_chat_with_it(reader: Reader, hub: LiveHub) -> None:
    page = reader.page
    reader.open("models/index.html")
    page.get_by_role("link", name=hub_records.BASE, exact=True).click()
    assert f"{hub.root}v1/chat/completions" in page.locator("pre").nth(1).inner_text()
    assert f'base_url="{hub.root}v1"' in page.locator("pre").nth(2).inner_text()
    page.get_by_role("link", name="Chat with it").click()
    page.get_by_label("Key", exact=True).fill(hub.key)
    door = axe(page)
    page.get_by_role("button", name="Enter").click()
    field = page.get_by_label("Your message")
    field.wait_for()
    assert page.locator("#model").input_value() == hub_records.BASE
    field.fill("Well?")
    page.keyboard.press("Enter")
    page.locator(".measures").wait_for()
    assert page.locator("article.answer .text").inner_text().strip()
    assert hub_records.BASE in page.locator(".measures").inner_text()
    assert not [*door, *axe(page)]
    page.reload()
    field.wait_for()
    assert page.locator("#model").input_value() == hub_records.BASE, "a reload keeps the model"
