"""What can be done on the exported site, in a real Chromium; that every page is in order is seen in the matrix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import CHROMIUM, Reader, chromium, hosted
from made_runs import hostile_records, write_run

from commonweal.web.site import Site, export, load
from commonweal.web.site.addresses import comparison, shard, slug
from commonweal.web.site.addresses import run as run_path

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
    pytest.mark.slow,
]

YES = "mock:always=Yes"


@pytest.fixture(scope="module")
def root(runs: Path, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site at a sub-path."""
    like, odd = site.by_place["mock", "kinds"].folder, tmp_path_factory.mktemp("odd")
    write_run(odd / "hostile", like, "<script>", "hostile", list(hostile_records()))
    folder = tmp_path_factory.mktemp("web")
    export(load([runs, odd]), folder / "some" / "where")
    with hosted(folder) as address:
        yield f"{address}some/where/"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def reader(browser: Any, root: str) -> Iterator[Reader]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    reader = Reader(context, root)
    yield reader
    context.close()
    assert not reader.troubles


def test_from_the_board_to_the_exact_prompt_without_a_script(browser: Any, root: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    reader = Reader(context, root)
    page = reader.page
    reader.open("index.html")
    page.get_by_role("link", name="people", exact=True).click()
    page.get_by_role("table").first.get_by_role("link", name=YES).click()
    page.get_by_role("link", name="wrong", exact=False).first.click()
    first = page.locator("tbody th a").first
    key = first.inner_text()
    first.click()
    article = page.locator("article:target")
    assert article.locator("h2").inner_text() == key
    assert article.locator("h2").evaluate("one => one.getBoundingClientRect().top < innerHeight")
    prompt = article.locator("details[open] pre").first
    assert prompt.is_visible()
    assert prompt.inner_text().startswith("Passage: ")
    article.get_by_role("link", name="Its beginning").first.click()
    beginning = page.locator(":target pre, pre:target").first
    assert beginning.inner_text().startswith("Answer with Yes or No."), "what all prompts share stands once"
    page.go_back()
    page.get_by_role("link", name="next wrong one").first.click()
    assert page.url.startswith(root)
    context.close()
    assert not reader.troubles


def test_sorting_searching_and_pinning_stay_in_the_address(reader: Reader) -> None:
    page = reader.page
    reader.open("index.html")
    assert sorted(reader.names()) == sorted(["mock", YES, "mock:fails=0.08", "<script>"])
    page.get_by_role("button", name="sort by model").click()
    up = reader.names()
    page.get_by_role("button", name="sort by model").click()
    assert reader.names() == up[::-1]
    page.get_by_role("button", name="sort by people").click()
    head = page.locator("th[aria-sort]")
    assert head.get_attribute("aria-sort") == "descending"
    assert reader.names()[0] == YES, "it alone says yes"
    assert reader.names()[-1] == "<script>", "who has no number is last"
    page.get_by_label("Search models").fill("fails")
    assert reader.names() == ["mock:fails=0.08"]
    page.get_by_role("button", name="pin mock:fails=0.08").click()
    page.get_by_label("Search models").fill("always")
    assert reader.names() == ["mock:fails=0.08", YES], "what is pinned stays, and stays above"
    page.reload()
    assert reader.names() == ["mock:fails=0.08", YES]
    assert page.get_by_label("Search models").input_value() == "always"
    page.get_by_role("button", name=f"pin {YES}").click()
    page.get_by_role("link", name="Compare the two pinned models").click()
    assert page.url == reader.root + comparison(YES, "mock:fails=0.08")
    page.go_back()
    page.wait_for_url(f"**pin={slug(YES)}**")
    assert set(reader.names()) == {"mock:fails=0.08", YES}


def test_a_board_is_worked_with_the_keyboard(reader: Reader) -> None:
    page = reader.page
    reader.open("index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.get_by_role("button", name="sort by people").focus()
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort]").count() == 1
    assert page.evaluate("document.activeElement.className") == "sort", "the focus stays where it was"


def test_white_space_and_hidden_characters_are_shown_on_demand(reader: Reader) -> None:
    page = reader.page
    reader.open(shard("mock", "people", 1))
    mark = "getComputedStyle(document.querySelector('pre i:not([class])'), '::before').content"
    text = page.locator("pre").first.text_content()
    assert page.evaluate(mark) == "none"
    page.get_by_label("Show white space").check()
    assert page.evaluate(mark) == '"↵"'
    assert page.locator("pre").first.text_content() == text, "marks are no part of the text"


def test_a_page_prints(reader: Reader) -> None:
    reader.open(run_path("mock", "people"))
    reader.page.emulate_media(media="print")
    assert not reader.page.locator("header.top").is_visible()
    assert reader.page.pdf()[:4] == b"%PDF"
