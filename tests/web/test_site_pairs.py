"""Which models are compared on a page: near ones, those that were asked for, and on a hub any two."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_runs import answer, record, write_run
from site_reading import Read

import hub_records
from commonweal.commands.site import pairs_of
from commonweal.core.blobs import Blobs
from commonweal.core.clock import SystemClock
from commonweal.core.completion import Request
from commonweal.core.database import Database
from commonweal.core.errors import ConfigError, NotFound
from commonweal.evals.run_folder import RUN, read_json, write_json
from commonweal.web.site import Site, export, find, load, render
from commonweal.web.site.addresses import board, comparison, model, slug
from commonweal.web.site.addresses import run as run_path
from commonweal.web.site.catalogue import Catalogue
from commonweal.web.site.routes import LiveSite

MODELS = [f"m{number:02}" for number in range(16)]
FAR = ("m00", "m15")


@pytest.fixture(scope="module")
def many(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen models, each a little better than the one before it."""
    like, root = site.by_place["mock", "kinds"].folder, tmp_path_factory.mktemp("many")
    for place, name in enumerate(MODELS):
        asked = [
            record(f"id{n}", Request(model="m", prompt=f"{n}?"), answer("yes"), float(n <= place))
            for n in range(20)
        ]
        write_run(root / name, like, name, "one", asked)
    told = read_json(root / "m03" / RUN)
    write_json(root / "m03" / RUN, {**told, "imported": {"from": "HELM", "name": "x"}})
    return root


def page_of(site: Site, path: str) -> str:
    return render(find(site, path)).decode()


def test_of_many_models_only_near_ones_have_a_page_and_those_that_were_asked_for(many: Path) -> None:
    site = load([many])
    assert FAR not in site.pairs
    assert ("m00", "m03") in site.pairs
    assert "m15" not in {link.text for link in find(site, model("m00")).compared}
    asked = load([many], wanted=[("m15", "m00")])
    assert set(asked.pairs) - set(site.pairs) == {FAR}
    assert f" {slug('m00')}/{slug('m15')}" in page_of(asked, board("all"))
    assert "m15" in {link.text for link in find(asked, model("m00")).compared}
    assert comparison(*FAR).rpartition("/")[2] in page_of(asked, run_path("m00", "one"))


def test_every_link_to_a_comparison_leads_to_a_page_on_an_export(many: Path, tmp_path: Path) -> None:
    """Also where a share of the runs is written apart from the others."""
    export(load([many], wanted=[FAR]), tmp_path / "public")
    root = (tmp_path / "public").resolve()
    found = set()
    for file in [*root.rglob("runs/*/*/index.html"), *root.glob("models/*.html")]:
        for link in Read(file.read_text()).links:
            target = (file.parent / link.partition("#")[0]).resolve()
            if root / "compare" in target.parents:
                assert target.is_file(), (file, link)
                found.add(target.relative_to(root).as_posix())
    assert comparison(*FAR) in found
    assert len(found) == len(load([many]).pairs) + 1
    for path in (run_path("m00", "one"), board("all"), comparison(*FAR)):
        assert (root / path).read_bytes() == render(find(load([many], wanted=[FAR]), path)), path


def test_on_a_hub_any_two_models_that_were_measured_have_a_page(
    many: Path, database: Database, blobs: Blobs
) -> None:
    hub_records.fill(database, blobs)
    live = LiveSite([many], SystemClock(), catalogue=Catalogue(database, blobs))
    shown = live.answer("index.html").body.decode()
    assert "data-any" in shown
    assert 'data-model="stdlib-1m" data-unmeasured' in shown
    assert 'data-model="m15">' in shown
    links = Read(live.answer(run_path("m00", "one")).body.decode()).links
    assert f"../../../{comparison(*FAR)}" in links
    assert len([link for link in links if "compare/" in link]) == len(MODELS) - 1
    assert f"../{comparison(*FAR)}" in Read(live.answer(model("m00")).body.decode()).links
    assert "m15 minus m00" in live.answer(comparison(*FAR)).body.decode()


def test_the_board_says_whose_numbers_were_imported(many: Path) -> None:
    shown = page_of(load([many]), board("all"))
    assert shown.count("data-from") == 1
    assert 'data-model="m03" data-from="HELM"' in shown


def test_mistakes_in_pairs_are_named(many: Path) -> None:
    assert pairs_of(["a, b", "c,d"]) == [("a", "b"), ("c", "d")]
    for wrong in ("a", "a,", ",b", "a,b,c"):
        with pytest.raises(ConfigError, match="not two models"):
            pairs_of([wrong])
    with pytest.raises(ConfigError, match="1,001 pairs"):
        pairs_of(["a,b"] * 1_001)
    with pytest.raises(NotFound, match="no run is of a model 'm016'") as found:
        load([many], wanted=[("m00", "m016")])
    assert "did you mean 'm0" in str(found.value.hint)
    with pytest.raises(ConfigError, match="twice"):
        load([many], wanted=[("m00", "m00")])


def test_the_command_takes_pairs(many: Path, tmp_path: Path) -> None:
    def run(*more: str) -> Any:
        words = ["site", "--runs", str(many), "--out", str(tmp_path / "public"), "--json", *more]
        return subprocess.run(
            [sys.executable, "-m", "commonweal", *words], capture_output=True, text=True, check=False
        )

    done = run("--compare", "m15,m00")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["models"] == len(MODELS)
    assert (tmp_path / "public" / comparison(*FAR)).is_file()
    wrong = run("--compare", "m15,nobody")
    assert wrong.returncode == 3, wrong.stderr
    assert "no run is of a model 'nobody'" in wrong.stderr
