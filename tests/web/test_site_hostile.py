"""What models write is shown as text; chats, tools and pictures as such; large runs as pages that stay small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from made_runs import HOSTILE, chat_records, hostile_records, many_records, write_run
from site_reading import Read

from commonweal.core.clock import SystemClock
from commonweal.core.errors import DataError
from commonweal.evals.run_folder import read_json, write_json
from commonweal.web.site import Site, export, find, load, pages, render
from commonweal.web.site.addresses import run as run_path
from commonweal.web.site.routes import LiveSite, router_of

SHOWN = (
    HOSTILE.replace("\x1b", "")
    .replace("\x00", "")
    .replace("\u202e", "")
    .replace("\u2066", "")
    .replace("\u2069", "")
)
NAMED = ("U+001B", "U+0000", "U+202E", "U+2066", "U+2069")


@pytest.fixture(scope="module")
def made(runs: Path, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    like = site.by_place["mock", "kinds"].folder
    root = tmp_path_factory.mktemp("made")
    write_run(root / "hostile", like, "<script>evil</script>", "hostile", list(hostile_records()))
    write_run(root / "chat", like, "../../../up", "chat", list(chat_records()))
    return load([root])


@pytest.fixture(scope="module")
def many(runs: Path, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Two models on ten thousand instances."""
    like = site.by_place["mock", "kinds"].folder
    root = tmp_path_factory.mktemp("many")
    for model in ("m", "n"):
        write_run(root / model, like, model, "many", list(many_records(10_000)))
    return load([root])


def shard(site: Site, model: str, name: str, number: int = 1) -> tuple[Any, str]:
    path = f"{run_path(model, name).rpartition('/')[0]}/instances-{number}.html"
    page = find(site, path)
    return page, render(page).decode()


def test_hostile_text_is_text(made: Site) -> None:
    page, html = shard(made, "<script>evil</script>", "hostile")
    read = Read(html)
    assert read.tags.count("script") == 1, "only ours"
    assert not {"iframe", "img"} & set(read.tags)
    assert not read.forbidden
    assert f"say {SHOWN} \n " in read.blocks, "the prompt, with the input in it"
    assert read.blocks.count(SHOWN) == 1, "what was written, and read so"
    for named in NAMED:
        assert f'data-c="{named}"' in html
    assert not set(html) & set("\x00\x1b\u202e\u2066\u2069")
    assert {one.id for one in page.instances} == {"<i>&\"'", "line", "../../up"}


def test_no_page_of_any_kind_lets_hostile_names_through(made: Site, tmp_path: Path) -> None:
    export(made, tmp_path / "out" / "public")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.parent == tmp_path / "out") == ["public"]
    for page in pages(made):
        if page.path.endswith(".html"):
            read = Read(render(page).decode())
            assert read.tags.count("script") == 1, page.path
            assert not read.forbidden, page.path


def test_a_long_text_is_shown_in_part_and_there_as_a_whole(made: Site) -> None:
    page, html = shard(made, "<script>evil</script>", "hostile")
    assert len(html) < 200_000
    links = [link for link in Read(html).links if link.endswith(".txt")]
    assert len(links) == 2, "an answer and a prompt"
    folder = page.path.rpartition("/")[0]
    texts = {render(find(made, f"{folder}/{link}")).decode() for link in links}
    assert texts == {"x" * 1_000_000, "p" * 30_000}
    assert "986,000 characters are left out" in html


def test_chats_tools_and_pictures_are_shown_as_such(made: Site) -> None:
    page, html = shard(made, "../../../up", "chat")
    [asked] = page.instances[0].forms[0].asked
    assert [turn.role for turn in asked.turns] == ["system", "user", "assistant", "tool"]
    assert asked.turns[1].images[0].startswith("image/png ")
    assert "calls calculator" in html
    assert "&lt;b&gt;6*7" in html
    assert "its bytes are not kept" in html


def test_a_page_of_ten_thousand_instances_stays_small(many: Site) -> None:
    folder = run_path("m", "many").rpartition("/")[0]
    for name in ("index", "all-1", "all-50", "wrong-1", "instances-1", "instances-200"):
        size = len(render(find(many, f"{folder}/{name}.html")))
        assert size < 200_000, name
    assert len(render(find(many, "across/many/1.html"))) < 200_000
    assert find(many, f"{folder}/instances-200.html").instances[-1].id == "id9999"
    wrong = find(many, f"{folder}/wrong-17.html")
    assert (wrong.total, len(wrong.items)) == (3334, 3334 - 16 * 200)


def test_the_next_wrong_one_is_the_next_wrong_one(many: Site) -> None:
    page, _ = shard(many, "m", "many")
    nexts = {one.id: one.next_wrong for one in page.instances}
    assert nexts["id0"].endswith("instances-1.html#i-id3")
    assert nexts["id1"] == nexts["id0"]
    assert nexts["id48"].endswith("instances-2.html#i-id51")


def test_a_live_site_follows_its_folder(site: Site, tmp_path: Path) -> None:
    class Ticking(SystemClock):
        moment = 0.0

        def now(self) -> float:
            return self.moment

    clock, root = Ticking(), tmp_path / "runs"
    root.mkdir()
    app = FastAPI()
    app.include_router(router_of(LiveSite([root], clock)))
    client = TestClient(app)
    assert "Nothing has been evaluated yet" in client.get("/").text
    like = site.by_place["mock", "kinds"].folder
    write_run(root / "first", like, "m", "one", list(many_records(3)))
    clock.moment = 10.0
    assert ">one</a>" in client.get("/").text
    write_run(root / "second", like, "m", "two", list(many_records(3)))
    assert ">two</a>" not in client.get("/").text, "it does not look that often"
    clock.moment = 20.0
    assert ">two</a>" in client.get("/").text


def test_a_run_that_is_not_finished_has_a_page_that_says_so(site: Site, tmp_path: Path) -> None:
    like = site.by_place["mock", "kinds"].folder
    write_run(tmp_path / "whole", like, "m", "one", list(many_records(3)))
    write_run(tmp_path / "torn", like, "n", "one", list(many_records(3)))
    for table in (tmp_path / "torn").glob("*.parquet"):
        table.unlink()
    told = read_json(tmp_path / "torn" / "run.json")
    write_json(
        tmp_path / "torn" / "run.json", {**told, "status": "interrupted", "reason": "stopped by the user"}
    )
    made = load([tmp_path])
    assert {page.path for page in pages(made)} >= {run_path("m", "one"), run_path("n", "one")}
    html = render(find(made, run_path("n", "one"))).decode()
    assert "interrupted: stopped by the user" in html
    assert "None are saved yet." in html
    cell = find(made, "index.html").rows[1].cells[0]
    assert (cell.mean, find(made, "index.html").notes[cell.note - 1]) == (None, "stopped by the user")
    assert len(render(find(made, "compare/m/n.html"))) > 1000


def test_a_damaged_table_is_named(site: Site, tmp_path: Path) -> None:
    write_run(tmp_path / "a", site.by_place["mock", "kinds"].folder, "m", "one", list(many_records(3)))
    (tmp_path / "a" / "scores.parquet").write_bytes(b"not a table")
    with pytest.raises(DataError, match=r"scores\.parquet: not a table"):
        list(pages(load([tmp_path])))
