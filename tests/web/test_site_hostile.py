"""What models write is shown as text; chats, tools and pictures as such; large runs as pages that stay small."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from made_runs import HOSTILE, answer, chat_records, hostile_records, many_records, record, write_run
from site_reading import Read

from commonweal.core.completion import Request, Token
from commonweal.evals.run_folder import read_json, write_json
from commonweal.web.site import Site, comparison, disputed, export, find, load, pages, render
from commonweal.web.site.addresses import run as run_path
from commonweal.web.site.book import run_pages

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
    ours = html.count("<b class=in>") + len(re.findall(r"<li[^<>]*><b>", html))
    assert read.tags.count("b") == ours, "only those of an input that is set apart, and of tokens"
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
    assert asked.turns[1].images[0].name.startswith("image/png ")
    assert "calls calculator" in html
    assert "&lt;b&gt;6*7" in html
    assert "its bytes are not kept" in html


def test_every_page_of_ten_thousand_instances_stays_small(many: Site) -> None:
    run = many.by_place["m", "many"]
    sizes: dict[str, list[int]] = {}
    for page in (*run_pages(many, run), *disputed.pages(many, "many"), *comparison.pages(many, "m", "n")):
        sizes.setdefault(type(page).__name__, []).append(len(render(page)))
    assert {name: len(found) for name, found in sizes.items()} == {
        "RunPage": 1,
        "ListingPage": 50 + 17 + 34,
        "InstancesPage": 200,
        "DisputedPage": 200,
        "ComparisonPage": 1,
    }
    assert max(max(found) for found in sizes.values()) < 200_000
    folder = run_path("m", "many").rpartition("/")[0]
    assert find(many, f"{folder}/instances-200.html").instances[-1].id == "id9999"
    wrong = find(many, f"{folder}/wrong-17.html")
    assert (wrong.total, len(wrong.items)) == (3334, 3334 - 16 * 200)


def test_a_page_of_long_texts_has_a_limit(site: Site, tmp_path: Path) -> None:
    """Fifty instances, each with a prompt and an answer of 200,000 characters, and as many tokens as models give."""
    tokens = tuple(Token(text=f"w{n} ", logprob=-0.5, top={"a": -0.5, "b": -1.5}) for n in range(2000))
    records = [
        record(
            f"id{n}",
            Request(model="m", prompt=f"{n}" + "p" * 200_000),
            answer(f"{n}" + "x" * 200_000, tokens=tokens),
            0.0,
        )
        for n in range(50)
    ]
    like = site.by_place["mock", "kinds"].folder
    write_run(tmp_path / "long", like, "m", "long", records)
    made = load([tmp_path])
    pages_of_run = list(run_pages(made, made.runs[0]))
    [page] = [one for one in pages_of_run if type(one).__name__ == "InstancesPage"]
    assert len(render(page)) < 1_000_000
    assert len(page.instances) == 50
    whole = {one.path: render(one) for one in pages_of_run if one.path.endswith(".txt")}
    for link in Read(render(page).decode()).links:
        if link.endswith(".txt"):
            assert f"runs/m/long/{link}" in whole
    assert {len(data) for data in whole.values()} == {200_001, 200_002}
    assert len(whole) == 100, "the prompts, and what was written (and read so)"


def test_the_next_wrong_one_is_the_next_wrong_one(many: Site) -> None:
    page, _ = shard(many, "m", "many")
    nexts = {one.id: one.next_wrong for one in page.instances}
    assert nexts["id0"].endswith("instances-1.html#i-id3")
    assert nexts["id1"] == nexts["id0"]
    assert nexts["id48"].endswith("instances-2.html#i-id51")


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
