"""The exported site in a real Chromium, with and without scripts, wide and narrow, light and dark."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_runs import chat_records, hostile_records, write_run

from commonweal.web.site import Site, export, load
from commonweal.web.site.addresses import comparison, flips, listing, model, scenario, shard, slug
from commonweal.web.site.addresses import run as run_path

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(p).exists()), None)
PICTURES = os.environ.get("COMMONWEAL_PICTURES")
"""A folder for screenshots, for people to look at."""

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
    pytest.mark.slow,
]

YES = "mock:always=Yes"
PAGES = {
    "board": "index.html",
    "scenario": scenario("people"),
    "model": model("mock"),
    "run": run_path("mock", "people"),
    "wrong": listing("mock", "people", "wrong", 1),
    "instances": shard("mock", "people", 1),
    "hostile": shard("<script>", "hostile", 1),
    "chat": shard("<script>", "chat", 1),
    "across": "across/people/1.html",
    "compare": comparison("mock", YES),
    "flips": flips("mock", YES, "people"),
    "releases": "releases.html",
}
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()


@pytest.fixture(scope="module")
def root(runs: Path, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site at a sub-path."""
    like, odd = site.by_place["mock", "kinds"].folder, tmp_path_factory.mktemp("odd")
    write_run(odd / "hostile", like, "<script>", "hostile", list(hostile_records()))
    write_run(odd / "chat", like, "<script>", "chat", list(chat_records()))
    folder = tmp_path_factory.mktemp("web")
    export(load([runs, odd]), folder / "some" / "where")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/some/where/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Reader:
    """A page, and what went wrong in it."""

    def __init__(self, context: Any, root: str) -> None:
        self.root = root
        self.page = context.new_page()
        self.page.set_default_timeout(20_000)
        self.troubles: list[str] = []
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", self._asked)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(self.root):
            self.troubles.append(f"asked for {request.url}")

    def open(self, path: str) -> None:
        self.page.goto(self.root + path)

    def names(self) -> list[str]:
        """The models of the board as they stand, from above."""
        return [one.inner_text() for one in self.page.locator("tbody th a").all() if one.is_visible()]


@pytest.fixture
def reader(chromium: Any, root: str) -> Iterator[Reader]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    reader = Reader(context, root)
    yield reader
    context.close()
    assert not reader.troubles


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), (320, "light")])
def test_every_page_fits_and_says_nothing_wrong(
    chromium: Any, root: str, scripts: bool, width: int, scheme: str
) -> None:
    context = chromium.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=scripts
    )
    reader = Reader(context, root)
    for name, path in PAGES.items():
        reader.open(path)
        assert reader.page.locator("h1").is_visible(), name
        box = reader.page.locator("main").bounding_box()
        assert box["width"] <= width, name
        if scripts:
            assert reader.page.evaluate("document.documentElement.scrollWidth") <= width, name
            assert reader.page.evaluate("window.hacked === undefined"), name
        if PICTURES and scripts:
            reader.page.screenshot(path=str(Path(PICTURES) / f"site-{name}-{width}-{scheme}.png"))
    assert not reader.troubles
    context.close()


def test_from_the_board_to_the_exact_prompt_without_a_script(chromium: Any, root: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
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
    assert prompt.inner_text().startswith("Answer with Yes or No.")
    page.get_by_role("link", name="next wrong one").first.click()
    assert page.url.startswith(root)
    context.close()


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
    reader.open(PAGES["instances"])
    mark = "getComputedStyle(document.querySelector('pre .n'), '::before').content"
    text = page.locator("pre").first.text_content()
    assert page.evaluate(mark) == "none"
    page.get_by_label("Show white space").check()
    assert page.evaluate(mark) == '"↵"'
    assert page.locator("pre").first.text_content() == text, "marks are no part of the text"


def test_a_page_prints(reader: Reader) -> None:
    reader.open(PAGES["run"])
    reader.page.emulate_media(media="print")
    assert not reader.page.locator("header.top").is_visible()
    assert reader.page.pdf()[:4] == b"%PDF"
