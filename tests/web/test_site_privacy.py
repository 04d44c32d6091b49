"""No page says on whose machine, or in which folder, something was made, nor names who did not give a name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from made_runs import answer, record, write_run

import hub_records
from commonweal.core.blobs import Blobs
from commonweal.core.clock import SystemClock
from commonweal.core.completion import Request
from commonweal.core.database import Database
from commonweal.evals.run_folder import RUN, read_json, write_json
from commonweal.labels.serving import HubLabels
from commonweal.serve.schema import served_models
from commonweal.web.site import Site, export, load
from commonweal.web.site.catalogue import Catalogue
from commonweal.web.site.routes import LiveSite

HOME, HOST = "/home/ada-lovelace", "ada-pc"
TOLD: Mapping[str, Any] = {
    "command": f"commonweal eval --model http://{HOST}:8000/v1#m --data-root '{HOME}/my data' --scenario one",
    "endpoint": f"http://{HOST}:8000/v1",
    "judge": f"http://{HOST}.local/v1#j",
    "note": f"read {HOME}/notes/list.txt",
    "reason": f"stopped: {HOME}/runs/x is full",
    "answered_by": [f"{HOME}/models/tiny.gguf"],
    "data": {"sources": [{"kind": "files", "location": f"{HOME}/data/one.jsonl"}], "missed": [f"{HOME}/a/b"]},
}


@pytest.fixture
def told(site: Site, tmp_path: Path) -> Path:
    """A run, and one before it, made in somebody's home folder with a server beside it."""
    like, root = site.by_place["mock", "kinds"].folder, tmp_path / "runs"
    for number in range(2):
        asked = record("id0", Request(model="m", prompt="Is it?"), answer("yes"), float(number))
        write_run(root / str(number), like, "m", "one", [asked])
        run = read_json(root / str(number) / RUN)
        more = {
            **run["environment"],
            "endpoint": f"http://{HOST}-{number}:8000/v1",
            "folder": f"{HOME}-{number}/x",
        }
        write_json(
            root / str(number) / RUN,
            {**run, **TOLD, "updated": f"2026-11-0{number + 1}T00:00:00+00:00", "environment": more},
        )
    return root


def pages_of(folder: Path) -> Iterator[tuple[str, str]]:
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix != ".parquet":
            yield file.relative_to(folder).as_posix(), file.read_text()


def test_no_page_says_where_a_run_was_made(told: Path, tmp_path: Path) -> None:
    export(load([told]), tmp_path / "public")
    shown = dict(pages_of(tmp_path / "public"))
    assert not [
        path for path, text in shown.items() if "ada" in text.replace("adapt", "").replace("adata", "")
    ]
    assert not [path for path, text in shown.items() if str(tmp_path) in text]
    run = shown["runs/m/one/index.html"]
    assert "--data-root &#39;.../my data&#39;" in run
    assert "http://private-host:8000/v1#m" in run
    assert "list.txt" in run
    assert "tiny.gguf" in shown["runs/m/one/earlier-1.html"] or "tiny.gguf" in run
    assert "private-host" in shown["models/m/label.json"]


def test_the_run_itself_keeps_its_command(told: Path) -> None:
    """Whoever made it wants to do it again."""
    load([told])
    assert read_json(told / "0" / RUN)["command"] == TOLD["command"]


@pytest.fixture
def hub(database: Database, blobs: Blobs, runs: Path) -> LiveSite:
    hub_records.fill(database, blobs)
    return LiveSite([runs], SystemClock(), catalogue=Catalogue(database, blobs), labels=HubLabels(database))


def everything_of(hub: LiveSite) -> dict[str, str]:
    names = Catalogue.slugs(hub.site().catalogue)  # type: ignore[arg-type]
    return {
        path: hub.answer(path).body.decode()
        for slug in names
        for path in (f"models/{slug}.html", f"models/{slug}/label.html", f"models/{slug}/label.json")
    }


def test_no_page_of_a_model_names_an_account(hub: LiveSite) -> None:
    shown = everything_of(hub)
    assert len(shown) >= 9
    assert not [path for path, text in shown.items() if "user:" in text]
    assert "by the operator of this hub" in shown[f"models/{hub_records.BASE}.html"]
    assert any("by an account of this hub" in text for text in shown.values())


def test_a_publisher_that_gives_a_name_is_named(hub: LiveSite, database: Database) -> None:
    rows = served_models.c
    with database.transaction() as connection:
        query = served_models.select().where(rows.name == hub_records.BASE)
        lineage = connection.execute(query).one().lineage
        stated = {"accountability.publisher": "The Analytical <b>Society"}
        connection.execute(
            served_models.update()
            .where(rows.name == hub_records.BASE)
            .values(lineage={**lineage, "stated": stated})
        )
    shown = everything_of(hub)
    page, label = (
        shown[f"models/{hub_records.BASE}.html"],
        shown[f"models/{hub_records.BASE}/label.html"],
    )
    for text in (page, label):
        assert "The Analytical &lt;b&gt;Society" in text
        assert "user:" not in text
    assert "its publisher" in label
