"""What can be done on the exported site, in a real Chromium; that every page is in order is seen in the matrix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import CHROMIUM, Reader, chromium, hosted
from made_runs import answer, hostile_records, record, write_run

from commonweal.core.completion import Request
from commonweal.evals.run_folder import RUN, read_json, write_json
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


@pytest.fixture(scope="module")
def boards(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site of fourteen models of three makers, some imported, of which half lack a scenario."""
    like, runs = site.by_place["mock", "kinds"].folder, tmp_path_factory.mktemp("fourteen")
    for place in range(14):
        name = ("ada/", "bob/", "")[place % 3] + f"m{place:02}"
        for scenario in ("one", "two")[: 1 + place % 2]:
            asked = [
                record(f"id{n}", Request(model="m", prompt=f"{n}?"), answer("yes"), float(n <= place))
                for n in range(20)
            ]
            write_run(runs / f"{place}-{scenario}", like, name, scenario, asked)
            if place < 4:
                told = read_json(runs / f"{place}-{scenario}" / RUN)
                write_json(
                    runs / f"{place}-{scenario}" / RUN, {**told, "imported": {"from": "HELM", "name": "x"}}
                )
    folder = tmp_path_factory.mktemp("filtered")
    export(load([runs], wanted=[("ada/m00", "bob/m13")]), folder)
    with hosted(folder) as address:
        yield address


def test_a_board_is_filtered_and_the_address_keeps_it(browser: Any, boards: str) -> None:
    context = browser.new_context()
    reader = Reader(context, boards)
    page = reader.page
    reader.open("index.html")
    assert len(reader.names()) == 14
    assert not page.get_by_role("status").inner_text()
    page.get_by_label("measured by").select_option("HELM")
    assert sorted(name[-3:] for name in reader.names()) == ["m00", "m01", "m02", "m03"]
    page.get_by_label("made by").select_option("ada")
    assert sorted(reader.names()) == ["ada/m00", "ada/m03"]
    assert "2 of 14 models shown" in page.get_by_role("status").inner_text()
    page.get_by_label("only scenarios that all shown models have").check()
    assert "and 1 of 2 scenarios shown" in page.get_by_role("status").inner_text()
    assert page.locator("thead th:visible").count() == 4
    page.get_by_label("at least").select_option("all")
    assert reader.names() == ["ada/m03"]
    assert page.locator("thead th:visible").count() == 5, "the one that is left has both"
    for part in ("from=HELM", "by=ada", "least=100", "common=1"):
        assert part in page.url
    page.reload()
    assert reader.names() == ["ada/m03"]
    page.get_by_role("button", name="clear the filters").focus()
    page.keyboard.press("Enter")
    assert len(reader.names()) == 14
    assert page.url == f"{boards}index.html"
    reader.open("index.html?by=nobody&least=7&from=%3Cb%3E")
    assert len(reader.names()) == 14, "what no filter offers hides nothing"
    reader.open("index.html?by=-")
    assert sorted(reader.names()) == ["m02", "m05", "m08", "m11"]
    context.close()
    assert not reader.troubles


def test_filters_are_worked_with_the_keyboard(browser: Any, boards: str) -> None:
    context = browser.new_context()
    reader = Reader(context, boards)
    page = reader.page
    reader.open("index.html")
    page.get_by_label("Search models").focus()
    for name in ("from", "by", "least"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.name") == name
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert "common=1" in page.evaluate("location.href"), "page.url is told of it a little later"
    page.keyboard.press("Shift+Tab")
    page.keyboard.type("all")
    assert len(reader.names()) == 7
    assert page.evaluate("document.activeElement.name") == "least", "the focus stays where it was"
    context.close()
    assert not reader.troubles


def test_without_a_script_no_filter_stands_in_the_way(browser: Any, boards: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    reader = Reader(context, boards)
    reader.open("index.html?from=HELM&common=1")
    assert len(reader.names()) == 14
    assert reader.page.locator("select").count() == 0
    context.close()


def test_pinned_models_without_a_page_are_told_how_to_get_one(browser: Any, boards: str) -> None:
    context = browser.new_context()
    reader = Reader(context, boards)
    page = reader.page
    reader.open("index.html")
    page.get_by_role("button", name="pin ada/m00").click()
    page.get_by_role("button", name="pin m11").click()
    assert '--compare "' in page.locator(".bar code").inner_text()
    assert set(page.locator(".bar code").inner_text().split('"')[1].split(",")) == {"ada/m00", "m11"}
    page.get_by_role("button", name="pin m11").click()
    page.get_by_role("button", name="pin bob/m13").click()
    page.get_by_role("link", name="Compare the two pinned models").click()
    assert page.url == boards + comparison("ada/m00", "bob/m13")
    context.close()
    assert not reader.troubles


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
