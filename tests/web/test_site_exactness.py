"""What a page must not get wrong: the letters of a prompt, and whose page an address is."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from commonweal.app import HubSettings, build
from commonweal.core.blobs import open_blobs
from commonweal.core.database import Database
from commonweal.evals.summary.release import freeze
from commonweal.evals.summary.runs import find_runs
from commonweal.web.site.addresses import slug
from commonweal.web.site.article import _question

MARKUP = st.text(alphabet="aiclsmpt39<>&;\"' \n=", max_size=40)


def read(markup: str) -> str:
    """The letters that a browser shows, without what marks white space."""
    without = re.sub(r"<i[^>]*>[^<]*</i>", "", markup)
    return html.unescape(re.sub(r"<[^<>]*>", "", without))


@given(before=MARKUP, part=MARKUP.filter(bool), after=MARKUP)
def test_a_prompt_with_its_input_set_apart_is_the_same_text(before: str, part: str, after: str) -> None:
    text = before + part + after
    marked = _question(text, part)
    assert marked.count("<b class=in>") == marked.count("</b>") <= 1
    plain = re.sub(r"</?b(?: class=in)?>", "", marked)
    assert plain == _question(text, "\ue000"), "nothing but the mark was put in"
    assert "<" not in read(marked) or "<" in text


@pytest.mark.parametrize(("text", "part"), [("A & B: amp", "amp"), ("Say\nX\ni", "i"), ("a < b: lt", "lt")])
def test_no_entity_and_no_tag_is_taken_for_the_input(text: str, part: str) -> None:
    assert _question(text, part) == _question(text, "\ue000")


def test_an_input_that_is_found_once_is_set_apart() -> None:
    assert _question("Q: Is it <red>?\nA:", "Is it <red>?") == (
        "Q: <b class=in>Is it &lt;red&gt;?</b>" + _question("\nA:", "\ue000")
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("openai/gpt-4", slug("openai/gpt-4")),
        ("x", "x.html"),
        ("Model", "model"),
        ("a" * 60, "a" * 61),
        ("con", "Con"),
    ],
)
def test_two_names_have_two_addresses(one: str, other: str) -> None:
    assert slug(one) != slug(other)


@given(name=st.text(min_size=1, max_size=80))
def test_no_name_is_the_slug_of_another(name: str) -> None:
    made = slug(name)
    assert re.fullmatch(r"[a-z0-9._-]+", made)
    assert made == name or slug(made) != made
    assert not made.endswith((".html", ".json", ".md", ".csv", ".parquet", ".txt", ".events"))


def test_a_hub_shows_releases_from_when_on_they_are_there(
    tmp_path: Path, runs: Path, database: Database
) -> None:
    settings = HubSettings(folder=tmp_path, runs=runs, releases=tmp_path / "releases")

    def page() -> str:
        return TestClient(build(database, open_blobs("memory://"), {}, settings)).get("/releases.html").text

    assert "None yet" in page()
    freeze(find_runs([runs]), tmp_path / "releases", "autumn", "2026-11-24T00:00:00Z")
    assert "None yet" not in page()
    assert "autumn" in page()
