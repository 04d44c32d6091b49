"""Pictures of prompts, from a model that sees to the page: what was sent is what is shown, and nothing else is."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from made_runs import answer, record, write_run
from site_reading import Read
from vision_server import evaluate_pictures, seeing

from commonweal.core.clock import SystemClock
from commonweal.core.completion import Image, Message, Request
from commonweal.core.errors import NotFound
from commonweal.core.hashing import content_hash
from commonweal.web.site import Site, export, find, load, pages, render
from commonweal.web.site.addresses import picture, shard, slug
from commonweal.web.site.routes import LiveSite, router_of

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 1600, 400) + b"\x08\x02\x00\x00\x00"
POLYGLOT = PNG + b"<!DOCTYPE html><script>alert(1)</script>"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a model was sent, and the run that tells of it."""

    pictures: list[bytes]
    runs: Path
    folder: Path


@pytest.fixture(scope="module")
def seen(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    root = tmp_path_factory.mktemp("seen")
    with seeing() as server:
        more = ("--max-instances", "6", "--perturbations", "robustness")
        folder = evaluate_pictures(f"{server.url}#eye", root, data_root, *more)
        sent = [data for some in server.pictures for data in some]
        yield Seen(pictures=sent, runs=root, folder=folder)


@pytest.fixture
def copy(seen: Seen, tmp_path: Path) -> Path:
    """The run's folder, to be harmed."""
    shutil.copytree(seen.runs, tmp_path / "runs")
    [told] = (tmp_path / "runs").rglob("run.json")
    return told.parent


def page_of(folder: Path) -> str:
    site = load([folder])
    [run] = site.runs
    return render(find(site, shard(run.model, run.name, 1))).decode()


def images(html: str) -> list[dict[str, str]]:
    return Read(html).images


def test_what_the_model_saw_is_what_the_run_keeps_and_the_site_shows(seen: Seen, tmp_path: Path) -> None:
    kept = {path.name: path.read_bytes() for path in (seen.folder / "images").iterdir()}
    assert len(seen.pictures) == 12
    assert kept == {f"{content_hash(data)}.png": data for data in seen.pictures}
    site = load([seen.runs])
    [run] = site.runs
    export(site, tmp_path / "web")
    shown = images((tmp_path / "web" / shard(run.model, run.name, 1)).read_text())
    assert len(shown) == 4 * 6, "with the input of each form, and in the message of each"
    for one in shown:
        data = (tmp_path / "web" / shard(run.model, run.name, 1)).parent / one["src"]
        assert data.read_bytes() in seen.pictures
        assert (one["width"], one["height"], one["loading"]) == ("64", "64", "lazy")
        assert one["alt"] == "A picture of this prompt: image/png, 64 × 64 pixels"
    assert {one["src"] for one in shown} == {f"images/{name}" for name in kept}


def test_live_pictures_are_the_bytes_of_the_export(seen: Seen) -> None:
    app = FastAPI()
    app.include_router(router_of(LiveSite([seen.runs], SystemClock())))
    site = load([seen.runs])
    [run] = site.runs
    with TestClient(app) as client:
        made = list(pages(site))
        assert len({page.path for page in made}) == len(made), "each picture is one file"
        for page in made:
            assert client.get(f"/{page.path}").content == render(page)
        for data in seen.pictures:
            found = client.get("/" + picture(run.model, run.name, content_hash(data), "png"))
            assert (found.status_code, found.content) == (200, data)
            assert found.headers["content-type"] == "image/png"
            assert found.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in found.headers["content-security-policy"]


def test_a_picture_that_is_missing_or_another_one_is_told_in_words(copy: Path) -> None:
    first, second, *_ = sorted((copy / "images").iterdir())
    before = len(images(page_of(copy)))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    html = page_of(copy)
    assert "its file is missing from the run" in html
    assert "its file is damaged: it has another hash than what was sent" in html
    assert len(images(html)) == before - 8
    site = load([copy])
    [run] = site.runs
    for gone in (first, second):
        with pytest.raises(NotFound):
            find(site, picture(run.model, run.name, gone.stem, "png"))
        assert not any(page.path.endswith(gone.name) for page in pages(site))


def test_a_run_of_before_pictures_were_kept_is_shown_as_ever(copy: Path) -> None:
    shutil.rmtree(copy / "images")
    told = json.loads((copy / "run.json").read_text())
    del told["pictures"]
    (copy / "run.json").write_text(json.dumps(told))
    html = page_of(copy)
    assert not images(html)
    assert "its bytes are not kept with the run" in html


def test_pictures_that_were_left_out_are_told_so(data_root: Path, tmp_path: Path) -> None:
    folder = evaluate_pictures("mock:always=no", tmp_path, data_root, "--max-instances", "2", "--no-pictures")
    assert not (folder / "images").exists()
    assert "--no-pictures" in json.loads((folder / "run.json").read_text())["command"]
    html = page_of(folder)
    assert not images(html)
    assert "left out of the run on purpose (--no-pictures)" in html


@pytest.fixture
def hostile(site: Site, tmp_path: Path) -> Path:
    """A run that was not made here, with what calls itself a picture."""
    like = site.by_place["mock", "kinds"].folder
    names = {content_hash(data): data for data in (POLYGLOT, SVG)}
    told = [f"image/png {name}" for name in names] + ["image/png ../../run", "image/svg+xml <b>x"]
    message = Message(role="user", content="What is it?", images=(Image(data=POLYGLOT), Image(data=SVG)))
    ask = Request(model="m", messages=(message,))
    write_run(tmp_path / "odd", like, "../../m", "odd", [record("one", ask, answer("yes"), 1.0, images=told)])
    folder = tmp_path / "odd" / "images"
    folder.mkdir()
    for name, data in names.items():
        (folder / f"{name}.png").write_bytes(data)
        (folder / f"{name}.html").write_bytes(data)
        (folder / f"{name}.svg").write_bytes(data)
    return tmp_path / "odd"


def test_hostile_bytes_are_never_given_out_as_a_page(hostile: Path, tmp_path: Path) -> None:
    html = page_of(hostile)
    shown = images(html)
    assert {one["src"] for one in shown} == {f"images/{content_hash(POLYGLOT)}.png"}
    assert (shown[0]["width"], shown[0]["height"]) == ("480", "120"), "a wide picture is shown smaller"
    assert shown[0]["alt"] == "Picture 1 of 4 of this prompt: image/png, 1600 × 400 pixels"
    assert "its file is not shown: it is neither PNG, JPEG, GIF nor WebP" in html
    assert "<b>x" not in html
    export(load([hostile]), tmp_path / "web")
    written = [path for path in (tmp_path / "web").rglob("*") if path.is_file()]
    assert [path.suffix for path in written if b"<script>alert" in path.read_bytes()] == [".png"]
    app = FastAPI()
    app.include_router(router_of(LiveSite([hostile], SystemClock())))
    folder = f"/runs/{slug('../../m')}/odd/images"
    with TestClient(app, raise_server_exceptions=False) as client:
        found = client.get(f"{folder}/{content_hash(POLYGLOT)}.png")
        assert (found.content, found.headers["content-type"]) == (POLYGLOT, "image/png")
        assert found.headers["x-content-type-options"] == "nosniff"
        for name in (content_hash(POLYGLOT), content_hash(SVG)):
            for ending in ("html", "svg", "jpg", "gif", "webp", "txt", "png.html"):
                with pytest.raises(NotFound):
                    find(load([hostile]), f"{folder[1:]}/{name}.{ending}")
        with pytest.raises(NotFound):
            find(load([hostile]), f"{folder[1:]}/{content_hash(SVG)}.png")
        with pytest.raises(NotFound):
            find(load([hostile]), f"{folder[1:]}/../run.json")
