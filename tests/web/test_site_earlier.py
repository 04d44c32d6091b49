"""Two runs of one model on the same questions: what was done otherwise, what came of it, and what flipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_runs import answer, record, write_run
from site_reading import Read

from commonweal.core.completion import Request
from commonweal.core.errors import NotFound
from commonweal.evals.run_folder import RUN, read_json, write_json
from commonweal.web.site import Site, export, find, load, pages, render
from commonweal.web.site.addresses import earlier
from commonweal.web.site.addresses import run as run_path


def records(right: set[int]) -> Iterator[dict[str, Any]]:
    for number in range(60):
        text = f"yes {number}" if number in right else f"no {number}"
        yield record(
            f"id{number}", Request(model="m", prompt=f"Is it {number}?"), answer(text), float(number in right)
        )


def change(folder: Path, updated: str, **adaptation: Any) -> None:
    told = read_json(folder / RUN)
    spec = {**told["spec"], "adaptation": {**told["spec"]["adaptation"], **adaptation}}
    write_json(folder / RUN, {**told, "updated": updated, "spec": spec})


@pytest.fixture
def two(site: Site, tmp_path: Path) -> Path:
    """The same questions asked twice of one model: with no examples, and with five, which is better."""
    like, root = site.by_place["mock", "kinds"].folder, tmp_path / "runs"
    write_run(root / "first", like, "m", "one", list(records(set(range(30)))))
    write_run(root / "second", like, "m", "one", list(records(set(range(5, 55)))))
    change(root / "first", "2026-11-01T10:00:00+00:00", shots=0)
    change(root / "second", "2026-11-02T10:00:00+00:00", shots=5)
    return root


def test_an_earlier_run_is_compared_with_the_newest(two: Path) -> None:
    site = load([two])
    run = find(site, run_path("m", "one"))
    assert [link.path for link in run.earlier] == [earlier("m", "one", 1)]
    page = find(site, run.earlier[0].path)
    assert ("shots", "0", "5") in page.changed
    assert page.dates == ("2026-11-01 10:00:00", "2026-11-02 10:00:00")
    assert (page.compared.a, page.compared.b) == (0.5, pytest.approx(50 / 60))
    assert page.compared.difference.p < 0.01
    (before, lost, n_lost), (now, won, n_won) = page.sides
    assert (before, n_lost, now, n_won) == ("before", 5, "now", 25)
    assert [one.id for one in lost] == [f"id{n}" for n in range(5)]
    assert won[0].outputs == ("no 30", "yes 30")
    read = Read(render(page).decode())
    assert "instances-1.html#i-id30" in read.links
    for link in read.links:
        if link.startswith("instances-"):
            path, _, anchor = link.partition("#")
            assert anchor in Read(render(find(site, f"runs/m/one/{path}")).decode()).anchors
    with pytest.raises(NotFound):
        find(site, earlier("m", "one", 2))


def test_it_is_the_same_exported_and_of_no_other_site(two: Path, site: Site, tmp_path: Path) -> None:
    made = load([two])
    for processes in (1, 2):
        export(load([two]), tmp_path / str(processes), processes=processes)
        for page in pages(made):
            assert (tmp_path / str(processes) / page.path).read_bytes() == render(page), page.path
    assert not any("/earlier-" in page.path for page in pages(site))


def test_a_damaged_newest_run_leaves_the_page_of_the_one_before(two: Path) -> None:
    """What has numbers is shown before what has none, and the damage is told on the board."""
    table = two / "second" / "scores.parquet"
    table.write_bytes(table.read_bytes()[:-9])
    site = load([two])
    assert site.runs[0].folder == two / "first"
    assert find(site, run_path("m", "one")).main.mean == 0.5
    assert [file for file, _ in find(site, "index.html").damaged] == ["runs/second/scores.parquet"]
