"""HELM's own runs, imported: from the board to the prompts that HELM sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from browsing import CHROMIUM, Reader, chromium, hosted
from site_reading import Read

from commonweal.evals.exchange.helm import read_helm
from commonweal.evals.exchange.importing import write_imported
from commonweal.web.site import export, find, load, pages, render
from commonweal.web.site.addresses import run as run_path


def test_helms_runs_can_be_walked_from_the_board_to_the_prompt(data_root: Path, tmp_path: Path) -> None:
    source = data_root / "helm_raw_mmlu" / "runs_full"
    for run in read_helm(source):
        write_imported(run, tmp_path)
    site = load([tmp_path])
    made = {page.path: render(page).decode("utf-8", "replace") for page in pages(site)}
    board = find(site, "index.html")
    assert [column.scenario.text for column in board.columns] == ["mmlu"]
    assert len(board.rows) == 5
    scenario = find(site, board.rows[0].cells[0].path)
    assert [part.name.partition("=")[2] for part in scenario.parts] == [
        "abstract_algebra",
        "anatomy",
        "international_law",
    ]
    for folder in source.iterdir():
        if "subject=anatomy" not in folder.name:
            continue
        states = json.loads((folder / "scenario_state.json").read_text())
        model = states["adapter_spec"]["model"]
        page = find(site, f"{run_path(model, 'mmlu:subject=anatomy').rpartition('/')[0]}/instances-1.html")
        shown = set(Read(render(page).decode()).wholes)
        asked = {state["request"]["prompt"] for state in states["request_states"]}
        assert len(asked) >= 10
        assert not asked - shown
        assert page.path in made


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_a_reader_goes_from_helms_board_to_a_prompt_of_helms(data_root: Path, tmp_path: Path) -> None:
    """In a real browser, by links alone."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    source = data_root / "helm_raw_mmlu" / "runs_full"
    asked: set[str] = set()
    for run in read_helm(source):
        write_imported(run, tmp_path / "runs")
    for folder in source.iterdir():
        states = json.loads((folder / "scenario_state.json").read_text())
        asked |= {state["request"]["prompt"] for state in states["request_states"]}
    export(load([tmp_path / "runs"]), tmp_path / "web" / "helm")
    with hosted(tmp_path / "web") as address, chromium() as browser:
        context = browser.new_context(java_script_enabled=False)
        reader = Reader(context, f"{address}helm/")
        page = reader.page
        reader.open("index.html")
        page.get_by_role("link", name="mmlu", exact=True).click()
        page.get_by_role("row").filter(has_text="anatomy").get_by_role("link").first.click()
        page.get_by_role("link", name="wrong", exact=False).first.click()
        page.locator("tbody th a").first.click()
        article = page.locator("article:target")
        shown = article.locator("pre").first.text_content()
        assert len(shown) > 40
        assert any(prompt.endswith(shown) for prompt in asked), shown
        context.close()
        assert not reader.troubles
