"""The label as a page of a site, live and exported, and as one file; no text of anybody's is more than text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from label_world import assert_clear, run

import hub_records
from commonweal.core.blobs import Blobs
from commonweal.core.clock import SystemClock
from commonweal.core.database import Database
from commonweal.core.errors import NotFound
from commonweal.labels.folder import read_any
from commonweal.labels.from_toml import from_toml
from commonweal.labels.json_form import from_json
from commonweal.labels.serving import HubLabels
from commonweal.web.site import find, load, render
from commonweal.web.site.catalogue import Catalogue
from commonweal.web.site.label import SavedLabels, read_labels, standing_alone
from commonweal.web.site.routes import LiveSite

TOML = """
name = "mock"
by = "its makers"
[model]
licence = "Apache-2.0"
[use]
risks = "<script>alert(1)</script> \\u202eturned"
[data]
size = {value = "much", address = "https://example.org/?a=1&b=\\"2\\""}
"""


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    folder = tmp_path / "labels"
    folder.mkdir()
    (folder / "mock.toml").write_text(TOML)
    (folder / "other.toml").write_text('name = "other"\n')
    (folder / "notes.txt").write_text("no label")
    return folder


def test_every_model_of_a_site_has_a_label(runs: Path) -> None:
    site = load([runs])
    page = render(find(site, "models/mock/label.html")).decode()
    assert "not disclosed" in page
    assert "Model facts" in page
    assert 'href="label.html' not in page
    assert "../../runs/mock/people/index.html" in page
    assert 'href="mock/label.html"' in render(find(site, "models/mock.html")).decode()
    told = from_json(json.loads(render(find(site, "models/mock/label.json"))), where="x")
    assert told.model == "mock"
    assert render(find(site, "models/mock/label.md")).startswith(b"---\n")
    with pytest.raises(NotFound):
        find(site, "models/nobody/label.html")


def test_a_site_shows_the_labels_that_it_was_given(runs: Path, labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "public"
    done = run("site", "--runs", str(runs), "--labels", str(labels), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "no run is of: other" in done.stdout
    page = (out / "models" / "mock" / "label.html").read_text()
    assert "Apache-2.0" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert 'href="https://example.org/?a=1&amp;b=&#34;2&#34;"' in page
    assert page == render(find(load([runs], labels=read_labels(labels)), "models/mock/label.html")).decode()
    assert read_any(out / "models" / "mock" / "label.json").fact("model.licence").text == "Apache-2.0"


def test_mistakes_in_a_folder_of_labels_are_named(runs: Path, labels: Path, tmp_path: Path) -> None:
    words = ("site", "--runs", str(runs), "--out", str(tmp_path / "public"), "--labels")
    assert_clear(run(*words, str(tmp_path / "none")), 3, "no such folder")
    (tmp_path / "empty").mkdir()
    assert_clear(run(*words, str(tmp_path / "empty")), 3, "no labels there")
    (labels / "again.toml").write_text('name = "mock"\n')
    assert_clear(run(*words, str(labels)), 2, "another label of 'mock'")
    (labels / "again.toml").write_text("name = 3\n")
    assert_clear(run(*words, str(labels)), 2, "again.toml", "name")
    assert not (tmp_path / "public").exists()


def test_a_hub_shows_the_labels_of_its_models(database: Database, blobs: Blobs, runs: Path) -> None:
    promoted = hub_records.fill(database, blobs)
    live = LiveSite([runs], SystemClock(), catalogue=Catalogue(database, blobs), labels=HubLabels(database))
    page = live.answer("models/stdlib-1m/label.html").body.decode()
    assert "12,288" in page
    assert "PSF-2.0" in page
    assert "/pool/v1/jobs/job_0123456789abcdef" in page
    index = live.answer("models/index.html").body.decode()
    slug = re.search(r'href="(ft[^/"]+)\.html"', index)
    assert slug is not None
    tuned = live.answer(f"models/{slug[1]}/label.html").body.decode()
    assert "stdlib-1m/label.html" in tuned, "the base's label is a page too"
    assert promoted.split(":")[0] in tuned
    with pytest.raises(NotFound):
        live.answer("models/secret/label.html")
    assert live.runs_of("mock")
    assert not live.runs_of("stdlib-1m")


def test_a_file_that_needs_no_other() -> None:
    page = standing_alone(from_toml({"name": "m", "use": {"risks": "</style><b>x"}}, where="x"))
    assert not re.findall(r"<(?:script|link|img|iframe)\b", page)
    assert page.count("</style>") == 1
    assert "&lt;/style&gt;" in page
    assert not re.findall(r'(?:href|src)="(?!https?://|#)', page)


def test_labels_by_name() -> None:
    label = from_toml({"name": "m"}, where="x")
    assert SavedLabels({"m": label}).label("m") == label
    assert SavedLabels({}).label("m") is None
