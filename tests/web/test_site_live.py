"""A live site follows its folders: only what changed is read anew, and a damaged run harms no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from made_runs import many_records, write_run

from commonweal.core.clock import SystemClock
from commonweal.core.errors import DataError, NotFound
from commonweal.evals.run_folder import RUN
from commonweal.web.site import Site, export, find, load, pages, render
from commonweal.web.site import state as state_of_site
from commonweal.web.site.addresses import run as run_path
from commonweal.web.site.routes import LiveSite, router_of


class Ticking(SystemClock):
    moment = 0.0

    def now(self) -> float:
        return self.moment


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def like(site: Site) -> Path:
    return site.by_place["mock", "kinds"].folder


@pytest.fixture
def client(root: Path, clock: Ticking) -> TestClient:
    app = FastAPI()
    app.include_router(router_of(LiveSite([root], clock)))
    return TestClient(app)


def tear(folder: Path, table: str) -> None:
    """As a writer that was killed leaves it, or a copy that was broken off."""
    path = folder / f"{table}.parquet"
    path.write_bytes(path.read_bytes()[:-40])


def spoil(folder: Path, table: str) -> None:
    """Its ends are whole, and what lies between is not."""
    path = folder / f"{table}.parquet"
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 2] = b"x" * (len(data) // 2 - 4)
    path.write_bytes(bytes(data))


def test_a_live_site_follows_its_folder(client: TestClient, clock: Ticking, root: Path, like: Path) -> None:
    assert "Nothing has been evaluated yet" in client.get("/").text
    write_run(root / "first", like, "m", "one", list(many_records(3)))
    clock.moment = 10.0
    assert ">one</a>" in client.get("/").text
    write_run(root / "second", like, "m", "two", list(many_records(3)))
    assert ">two</a>" not in client.get("/").text, "it does not look that often"
    clock.moment = 20.0
    assert ">two</a>" in client.get("/").text


def test_only_what_changed_is_read_again(
    clock: Ticking, root: Path, like: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boards: list[list[str]] = []
    made = state_of_site.make_board
    monkeypatch.setattr(
        state_of_site,
        "make_board",
        lambda runs, suites: boards.append(sorted(run.name for run in runs)) or made(runs, suites),
    )
    for name in ("one", "two"):
        write_run(root / name, like, "m", name, list(many_records(3)))
    live = LiveSite([root], clock)
    first = live.site()
    kept = live.answer("index.html")
    assert live.answer("index.html") is kept, "it is not made again"
    boards.clear()
    clock.moment = 10.0
    assert live.site() is first, "nothing has changed"
    assert live.answer("index.html") is kept
    write_run(root / "three", like, "m", "three", list(many_records(3)))
    clock.moment = 20.0
    assert live.site() is not first
    assert b">three</a>" in live.answer("index.html").body
    assert ["three"] in boards
    assert not {("one",), ("two",)} & {tuple(names) for names in boards}
    assert live.site().by_place["m", "one"] is first.by_place["m", "one"]


@pytest.mark.parametrize("table", ["instances", "requests", "samples", "scores", "stats"])
def test_a_torn_table_makes_one_run_damaged_and_no_other(
    client: TestClient, root: Path, like: Path, table: str
) -> None:
    for model in ("m", "n"):
        write_run(root / model, like, model, "one", list(many_records(60)))
    tear(root / "n", table)
    board = client.get("/")
    assert board.status_code == 200
    assert f"runs/n/{table}.parquet" in board.text
    assert str(root) not in board.text, "where it lies on the disk is nobody's business"
    assert "damaged: " in board.text
    page = client.get(f"/{run_path('n', 'one')}")
    assert page.status_code == 200
    assert f"{table}.parquet is not whole" in page.text
    for path in (
        run_path("m", "one"),
        "runs/m/one/instances-2.html",
        "scenarios/one.html",
        "compare/m/n.html",
        "across/one/1.html",
    ):
        assert client.get(f"/{path}").status_code == 200, path
    assert "is not whole" in client.get("/compare/m/n.html").text
    with pytest.raises(NotFound):
        client.get("/runs/n/one/instances-1.html")


@pytest.mark.parametrize("table", ["instances", "requests", "samples", "scores"])
def test_a_table_that_is_spoiled_inside_spoils_its_own_pages_alone(
    client: TestClient, root: Path, like: Path, table: str
) -> None:
    for model in ("m", "n"):
        write_run(root / model, like, model, "one", list(many_records(60)))
    spoil(root / "n", table)
    assert client.get("/").status_code == 200
    assert client.get("/runs/m/one/instances-1.html").status_code == 200
    told = client.get("/runs/n/one/instances-1.html")
    assert told.status_code == 500
    assert f"n/{table}.parquet: not a table that can be read" in told.text
    assert str(root) not in told.text


def test_what_is_no_run_is_told_and_passed_over(client: TestClient, root: Path, like: Path) -> None:
    write_run(root / "m", like, "m", "one", list(many_records(3)))
    (root / "half").mkdir()
    (root / "half" / RUN).write_text('{"version": 1, "spec"')
    (root / "other").mkdir()
    (root / "other" / RUN).write_text('{"hello": 1}')
    board = client.get("/").text
    assert ">one</a>" in board
    assert "runs/half/run.json: cannot be read" in board
    assert "runs/other/run.json: not written by commonweal" in board


@pytest.mark.parametrize("harm", [tear, spoil])
@pytest.mark.parametrize("table", ["requests", "scores"])
@pytest.mark.parametrize("processes", [1, 2])
def test_an_export_names_the_damaged_file_or_goes_on_without_it(
    root: Path, like: Path, tmp_path: Path, harm: object, table: str, processes: int
) -> None:
    assert callable(harm)
    for model in ("m", "n"):
        write_run(root / model, like, model, "one", list(many_records(60)))
    harm(root / "n", table)
    with pytest.raises(DataError, match=rf"n/{table}\.parquet") as told:
        export(load([root]), tmp_path / "public", processes=processes)
    assert "away" in (told.value.hint or "")
    assert not (tmp_path / "public").exists()
    export(load([root]), tmp_path / "public", processes=processes, skip_damaged=True)
    assert (tmp_path / "public" / "runs/m/one/instances-2.html").exists()
    assert not (tmp_path / "public" / "runs/n/one/instances-1.html").exists()
    assert f"{table}.parquet is " in (tmp_path / "public" / "runs/n/one/index.html").read_text()


def test_a_site_of_one_process_and_of_two_is_the_same(root: Path, like: Path, tmp_path: Path) -> None:
    for model in ("m", "n", "o"):
        for name in ("one", "two"):
            write_run(root / model / name, like, model, name, list(many_records(120)))
    site = load([root])
    for processes in (1, 2):
        export(load([root]), tmp_path / str(processes), processes=processes)
    files = {
        str(path.relative_to(tmp_path / "1")): path.read_bytes()
        for path in (tmp_path / "1").rglob("*")
        if path.is_file()
    }
    for path, data in files.items():
        assert (tmp_path / "2" / path).read_bytes() == data, path
    made = {page.path: render(page) for page in pages(site)}
    assert made.keys() == files.keys() - {".commonweal-site"}
    assert all(files[path] == data for path, data in made.items())
    assert render(find(site, "compare/m/n.html")) == files["compare/m/n.html"]
