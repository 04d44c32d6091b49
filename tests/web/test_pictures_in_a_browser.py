"""Pictures of prompts in a real Chromium: they are seen, they move nothing, and their sizes are what it finds too."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import CHROMIUM, Reader, axe, chromium, hosted
from made_runs import answer, record, write_run
from vision_server import evaluate_pictures, seeing

from commonweal.core.completion import Image, Message, Request
from commonweal.core.hashing import content_hash
from commonweal.evals.raster import Raster, raster_of
from commonweal.web.site import Site, export, load
from commonweal.web.site.addresses import shard

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
    pytest.mark.slow,
]

_DRAWN = """([kind, width, height]) => {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#e9e5de"; pen.fillRect(0, 0, width, height);
  pen.fillStyle = "#1f5f5b"; pen.fillRect(width / 4, height / 4, width / 2, height / 2);
  return canvas.toDataURL(kind);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def drawn(browser: Any) -> list[tuple[str, int, int, bytes]]:
    """Pictures of three formats as Chromium itself writes them."""
    page = browser.new_page()
    made = []
    for kind, width, height in (
        ("image/png", 1600, 300),
        ("image/jpeg", 301, 777),
        ("image/webp", 97, 33),
    ):
        url = page.evaluate(_DRAWN, [kind, width, height])
        assert url.startswith(f"data:{kind}")
        made.append((kind, width, height, b64decode(url.partition(",")[2])))
    page.close()
    return made


@pytest.fixture(scope="module")
def seen_runs(data_root: Path, tmp_path_factory: pytest.TempPathFactory, site: Site, drawn: Any) -> Path:
    """A run of a model that sees, and one with pictures of several formats and sizes."""
    root = tmp_path_factory.mktemp("seen")
    with seeing() as server:
        more = ("--max-instances", "4", "--perturbations", "robustness")
        evaluate_pictures(f"{server.url}#eye", root, data_root, *more)
        assert server.pictures
    pictures = tuple(Image(data=data, media_type=kind) for kind, _, _, data in drawn)
    ask = Request(model="m", messages=(Message(role="user", content="What are these?", images=pictures),))
    names = [f"{one.media_type} {content_hash(one.data)}" for one in pictures]
    like = site.by_place["mock", "kinds"].folder
    write_run(root / "formats", like, "eye", "formats", [record("all", ask, answer("a"), 1.0, images=names)])
    (root / "formats" / "images").mkdir()
    for one in pictures:
        ending = one.media_type.partition("/")[2].replace("jpeg", "jpg")
        (root / "formats" / "images" / f"{content_hash(one.data)}.{ending}").write_bytes(one.data)
    return root


@pytest.fixture(scope="module")
def root(seen_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("web")
    export(load([seen_runs]), folder / "some" / "where")
    with hosted(folder) as address:
        yield f"{address}some/where/"


def seen(page: Any) -> list[list[int]]:
    """The size of each picture, once all have come; every fold is opened, as a lazy one is not asked for inside."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    for one in page.locator("img").all():
        one.scroll_into_view_if_needed()
    page.wait_for_function("[...document.images].every((one) => one.complete)")
    found: list[list[int]] = page.evaluate(
        "[...document.images].map((one) => [one.naturalWidth, one.naturalHeight])"
    )
    return found


def test_sizes_are_those_that_a_browser_finds(drawn: list[tuple[str, int, int, bytes]]) -> None:
    for kind, width, height, data in drawn:
        found = raster_of(data)
        assert isinstance(found, Raster)
        assert (found.media_type, found.width, found.height) == (kind, width, height)


@pytest.mark.parametrize("script", [True, False])
def test_what_a_model_saw_is_seen_on_an_exported_page(browser: Any, root: str, script: bool) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, java_script_enabled=script)
    reader = Reader(context, root)
    reader.open(shard("eye", "easy_vqa", 1))
    if script:
        assert seen(reader.page) == [[64, 64]] * 16
        assert not axe(reader.page)
    else:
        first = reader.page.locator("img").first
        first.scroll_into_view_if_needed()
        assert first.bounding_box()["width"] >= 64
    assert not reader.troubles
    reader.page.locator("p.picture a").first.click()  # Chromium's own page for a picture has styles in line
    assert reader.page.url.endswith(".png")
    assert reader.page.locator("img").bounding_box()["width"] == 64
    context.close()


@pytest.mark.parametrize("width", [320, 1280])
def test_large_pictures_fit_and_move_nothing(browser: Any, root: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme="dark")
    page = context.new_page()
    held, holds = list[Any](), True
    page.route("**/images/**", lambda route: held.append(route) if holds else route.continue_())
    page.goto(root + shard("eye", "formats", 1), wait_until="domcontentloaded")
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    before = page.evaluate("document.documentElement.scrollHeight")
    holds = False
    for route in held:
        route.continue_()
    assert seen(page) == [[1600, 300], [301, 777], [97, 33]] * 2
    assert abs(page.evaluate("document.documentElement.scrollHeight") - before) <= 6, "a pixel a picture"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for box in (one.bounding_box() for one in page.locator("img").all()):
        assert box["width"] <= width
        assert box["height"] <= 364
    context.close()
