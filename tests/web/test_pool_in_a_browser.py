"""The pool's pages in a real Chromium, of a real hub: they grow while somebody looks, and stand without a script."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from browsing import axe
from pool_world import Hub, Machine, pool_hub

from commonweal.app import FirstKeys
from commonweal.core.blobs import Blobs
from commonweal.core.database import Database

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(p).exists()), None)
PICTURES = os.environ.get("COMMONWEAL_PICTURES")
"""A folder for screenshots, for people to look at."""

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Reader:
    """A page, and what went wrong in it. What a lost connection makes a browser say is not wrong if ``lost``."""

    def __init__(self, context: Any, root: str, *, lost: bool = False) -> None:
        self.root = root
        self.page = context.new_page()
        self.page.set_default_timeout(30_000)
        self.troubles: list[str] = []
        self.page.on("console", lambda message: self._said(message.text, lost=lost))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", self._asked)

    def _said(self, text: str, *, lost: bool) -> None:
        if not (lost and "net::ERR_" in text):
            self.troubles.append(text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(self.root):
            self.troubles.append(f"asked for {request.url}")

    def open(self, path: str) -> None:
        self.page.goto(f"{self.root}/{path}")

    def curve(self, chart: str = "loss") -> int:
        """The number of the last round that a curve shows."""
        told = self.page.locator(f"live-curve[data-chart={chart}]").get_attribute("data-last")
        return int(told) if told else -1

    def until(self, true: Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, self.page.locator("main").inner_text()
            self.page.wait_for_timeout(100)


@contextmanager
def reading(chromium: Any, root: str, *, lost: bool = False, **context: Any) -> Iterator[Reader]:
    opened = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}} | context)
    reader = Reader(opened, root, lost=lost)
    yield reader
    opened.close()
    assert not reader.troubles


@contextmanager
def at_work(machines: list[Machine]) -> Iterator[None]:
    """The machines work as long as the block lasts, and hear no more when their hub is away."""
    over = threading.Event()

    def working(machine: Machine) -> None:
        while not over.is_set():
            try:
                machine.work(wait=0.5)
            except (httpx.HTTPError, AssertionError):
                time.sleep(0.1)

    threads = [threading.Thread(target=working, args=(one,), daemon=True) for one in machines]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(10)


@pytest.fixture
def hub(database: Database, blobs: Blobs, tmp_path: Path) -> Iterator[Hub]:
    with pool_hub(database, blobs, tmp_path) as running:
        yield running


def test_the_curve_grows_while_rounds_are_folded(chromium: Any, hub: Hub) -> None:
    machines = [hub.join(name) for name in ("ada", "ben", "cleo")]
    job = hub.submit(refuse="raises_loss")
    hub.play(job, 2)
    with reading(chromium, hub.url) as reader:
        page = reader.page
        reader.open(f"pool/jobs/{job}.html")
        reader.until(lambda: reader.curve() >= 1)
        assert page.locator("live-curve canvas").count() == 2
        assert page.locator("live-curve svg").first.is_hidden()
        assert page.locator(".live-state").inner_text() == "Live"
        link = page.locator("[aria-label='The latest rounds'] + p a")
        link.focus()
        with at_work(machines):
            reader.until(lambda: reader.curve() >= 5)
            reader.until(lambda: reader.curve("crowd") >= 5)
        first = page.locator("[aria-label='The latest rounds'] tbody th").first
        assert int(first.inner_text()) >= 5, "the table grows too"
        assert page.evaluate("document.activeElement.textContent") == "All rounds", "the focus stayed"
        refused = page.locator("[aria-label='Refused contributions'] tbody tr")
        assert refused.count() >= 5
        assert "it makes the model worse" in refused.first.inner_text()
        assert "times fewer" in page.locator("live-part[data-part=live_head]").inner_text()


def test_the_pool_and_a_machine_are_told_live(chromium: Any, hub: Hub) -> None:
    with reading(chromium, hub.url) as reader, reading(chromium, hub.url) as other:
        page = reader.page
        reader.open("pool/index.html")
        assert "No machine is here now." in page.locator("main").inner_text()
        machine = hub.join("ada")
        page.get_by_role("link", name="ada").wait_for()
        other.open(f"pool/machines/{machine.id}.html")
        assert "no training work yet" in other.page.locator("main").inner_text()
        job = hub.submit()
        page.get_by_role("link", name="tiny").wait_for()
        hub.play(job, 2)
        other.page.get_by_role("region", name="Its latest contributions").wait_for()
        assert other.page.locator("live-part svg polyline").count() == 1


def test_who_joins_sees_that_it_worked(chromium: Any, hub: Hub) -> None:
    hub.join("somebody-before")
    with reading(chromium, hub.url) as reader:
        page = reader.page
        reader.open("pool/join.html")
        told = page.locator(".connected")
        assert told.inner_text() == "Waiting for your machine …"
        page.get_by_label("What to call this machine").fill("Ann's PC")
        command = page.locator("[data-command]").inner_text()
        assert command == f"commonweal join {hub.url} --token TOKEN --name 'Ann'\\''s PC'"
        hub.join("another")
        page.get_by_role("link", name="another").wait_for()
        assert told.inner_text() == "Waiting for your machine …", "that was not the one"
        mine = hub.join("Ann's PC")
        page.get_by_text("Your machine is connected: Ann's PC").wait_for()
        assert told.get_attribute("role") == "status"
        told.get_by_role("link").click()
        page.wait_for_url(f"**/pool/machines/{mine.id}.html")


def test_a_page_goes_on_when_its_hub_was_killed_and_started_again(
    chromium: Any, database_url: str, database: Database, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    keys = _first_keys(database, tmp_path)
    with _process(database_url, tmp_path, port) as first:
        hub = Hub(f"http://127.0.0.1:{port}", keys)
        machines = [hub.join(name) for name in ("ada", "ben")]
        job = hub.submit()
        hub.play(job, 3)
        with reading(chromium, hub.url, lost=True) as reader:
            state = reader.page.locator(".live-state")
            reader.open(f"pool/jobs/{job}.html")
            reader.until(lambda: reader.curve() >= 2)
            first.send_signal(signal.SIGKILL)
            first.wait()
            reader.until(lambda: "does not answer" in state.inner_text())
            with _process(database_url, tmp_path, port):
                reader.until(lambda: state.inner_text() == "Live")
                with at_work(machines):
                    reader.until(lambda: reader.curve() >= 5)
                points = reader.page.locator("live-curve").first.get_attribute("data-points")
                assert points is not None
                assert int(points) == reader.curve() + 1, "no round twice, and none is missing"


def _first_keys(database: Database, folder: Path) -> FirstKeys:
    from pool_world import settings

    from commonweal.app import first_start
    from commonweal.core.clock import SystemClock

    keys = first_start(database, settings(folder), SystemClock())
    assert keys is not None
    return keys


@contextmanager
def _process(database_url: str, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A hub in a process of its own."""
    program = Path(__file__).with_name("pool_world.py")
    words = [sys.executable, str(program), database_url, str(folder / "store"), str(folder), str(port)]
    environment = {**os.environ, "PYTHONPATH": str(program.parents[1])}
    process = subprocess.Popen(words, env=environment)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None
            try:
                if httpx.get(f"http://127.0.0.1:{port}/pool/v1/hello").status_code == 200:
                    break
            except httpx.HTTPError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait()


def test_one_signs_in_with_the_key_of_the_chat_page_and_sees_ones_own(chromium: Any, hub: Hub) -> None:
    key = hub.user("alice")
    machine = hub.join("mine", key)
    hub.play(hub.submit(), 2)
    with reading(chromium, hub.url) as reader:
        page = reader.page
        reader.open(f"pool/machines/{machine.id}.html")
        page.get_by_label("Your key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("cell", name="tiny, round 0").first.wait_for()
        assert page.evaluate("sessionStorage.getItem('commonweal.key')") == key
        assert page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"
        reader.open("pool/yours.html")
        page.get_by_role("link", name="mine").wait_for()
        page.get_by_role("button", name="Forget the key").click()
        assert page.get_by_role("link", name="mine").count() == 0
        assert page.evaluate("sessionStorage.getItem('commonweal.key')") is None


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), (320, "light")])
def test_every_page_fits_and_says_nothing_wrong(
    chromium: Any, hub: Hub, scripts: bool, width: int, scheme: str
) -> None:
    machines = [hub.join(name) for name in ("ada", "ben", "a-machine-with-a-rather-long-name-as-some-have")]
    job = hub.submit(refuse="raises_loss", name="a small model of a language")
    hub.play(job, 12)
    pages = {
        "pool": "pool/index.html",
        "machines": "pool/machines/here-1.html",
        "machine": f"pool/machines/{machines[0].id}.html",
        "jobs": "pool/jobs/page-1.html",
        "job": f"pool/jobs/{job}.html",
        "rounds": f"pool/jobs/{job}/rounds-1.html",
        "join": "pool/join.html",
        "yours": "pool/yours.html",
    }
    context = {
        "viewport": {"width": width, "height": 800},
        "color_scheme": scheme,
        "java_script_enabled": scripts,
    }
    with reading(chromium, hub.url, **context) as reader:
        for name, path in pages.items():
            reader.open(path)
            page = reader.page
            assert page.locator("h1").is_visible(), name
            if scripts:
                if name == "job":
                    reader.until(lambda: reader.curve() >= 11)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, name
                assert not axe(page), name
            else:
                assert page.locator("noscript").count() == (name not in ("rounds", "yours")), name
                assert page.locator("main").bounding_box()["width"] <= width, name
                if name == "job":
                    assert page.locator("live-curve svg polyline").count() == 5
            if PICTURES:
                page.screenshot(path=f"{PICTURES}/{name}-{width}-{scheme}-{scripts}.png", full_page=True)


def test_a_job_prints(chromium: Any, hub: Hub) -> None:
    hub.join("ada")
    job = hub.submit()
    hub.play(job, 3)
    with reading(chromium, hub.url) as reader:
        reader.open(f"pool/jobs/{job}.html")
        reader.until(lambda: reader.curve() >= 2)
        reader.page.emulate_media(media="print")
        assert reader.page.locator("live-curve svg").first.is_visible()
        assert not reader.page.locator("live-curve canvas").first.is_visible()
        assert not reader.page.locator("header.top").is_visible()
        assert reader.page.pdf()[:4] == b"%PDF"
