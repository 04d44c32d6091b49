"""Labels of strangers' models from TOML; JSON by its schema, the card by the Hub's own reader, text in 80 columns."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_world import assert_clear, run

from commonweal.core.errors import ConfigError, DataError
from commonweal.labels.card import card, metadata
from commonweal.labels.facts import Label, Record, told
from commonweal.labels.from_toml import from_toml, named, read_toml
from commonweal.labels.json_form import dumps, from_json, read_label, schema, to_json
from commonweal.labels.stated import stated_facts
from commonweal.labels.text import lines
from commonweal.web.site.label import standing_alone

TABLE: dict[str, Any] = {
    "name": "org/model-7b",
    "by": "who wrote it",
    "base": "org/base",
    "model": {"size": 7_000_000_000, "licence": "Apache-2.0"},
    "data": {
        "sources": ["web pages", "books"],
        "size": {"value": "1.5 trillion tokens", "address": "https://example.org/paper", "missing": "code"},
        "personal": {"not_applicable": "the texts are made by a program"},
    },
}
HOSTILE = "</style><script>alert(1)</script> | `x` [a](javascript:b) \u202egnirts \x1b[31m\n---\nlicense: mit"


def made(**more: Any) -> Label:
    return from_toml({**TABLE, **more}, where="test")


def test_what_a_file_states() -> None:
    label = made()
    assert (label.model, label.source) == ("org/model-7b", "word")
    assert label.base is not None
    assert label.fact("model.base").text == label.base.name == "org/base"
    size, sources = label.fact("data.size"), label.fact("data.sources")
    assert size.records == (Record(kind="address", id="who wrote it", address="https://example.org/paper"),)
    assert (size.missing, size.whole) == ("code", False)
    assert (sources.text, sources.value) == ("web pages, books", ["web pages", "books"])
    assert sources.records[0].kind == "word"
    assert label.fact("model.size").text == "7 billion"
    assert label.fact("data.personal").status == "not_applicable"
    assert label.fact("use.risks").status == "not_disclosed"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"dat": {"size": 1}}, ("unknown table 'dat'", "did you mean 'data'?")),
        ({"data": {"sizes": 1}}, ("unknown question 'sizes'", "did you mean 'size'?")),
        ({"data": {"size": {"values": 1}}}, ("unknown key 'values'", "did you mean 'value'?")),
        ({"data": {"size": True}}, ("data.size", "expected a text")),
        ({"data": {"size": {}}}, ("data.size", "no value")),
        ({"data": {"size": {"value": "x", "address": "javascript:x"}}}, ("no web address",)),
        ({"data": {"size": {"value": "x", "file": "a"}}}, ("sha256",)),
        ({"data": {"size": {"value": "x", "file": "a", "sha256": "1"}}}, ("64 figures",)),
        ({"data": {"size": "x" * 5000}}, ("at most 4,000",)),
        ({"data": 3}, ("expected a table",)),
        ({"evaluation": {"accuracy": "high"}}, ("measured and not stated",)),
        ({"name": ""}, ("name", "expected a text")),
        ({"nam": "x"}, ("unknown key 'nam'",)),
    ],
)
def test_mistakes_are_named(wrong: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        made(**wrong)
    for word in words:
        assert word in str(error.value)


def test_a_name_is_needed(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("[data]\nsize = 3\n")
    assert_clear(run("label", str(tmp_path / "x.toml")), 2, "x.toml", "missing key 'name'")
    (tmp_path / "y.toml").write_text("name = \n")
    assert_clear(run("label", str(tmp_path / "y.toml")), 2, "not valid TOML", "line 1")
    assert_clear(run("label", str(tmp_path / "none.toml")), 3, "no such file")
    assert_clear(run("label", str(tmp_path)), 2, "no files of a model")
    (tmp_path / "z.json").write_text("{}")
    assert_clear(run("label", str(tmp_path / "z.json")), 2, "not a label")


def test_what_came_over_the_network_is_taken_as_far_as_it_can_be_read() -> None:
    answers = {"data.size": "much", "data.nothing": "x", "use.risks": {"evil": 1}, "evaluation.bias": "none"}
    assert [fact.key for fact in stated_facts(answers, by="ann")] == ["data.size"]


def test_json_is_what_the_schema_says_and_is_read_back() -> None:
    label = made()
    value = to_json(label)
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(value, schema())
    assert from_json(json.loads(dumps(label)), where="test") == label
    for broken in ({**value, "score": {}}, {**value, "more": 1}, {**value, "facts": [{"key": "x"}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema())
    unfounded = json.loads(dumps(label))
    next(fact for fact in unfounded["facts"] if fact["key"] == "data.sources")["records"] = []
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(unfounded, schema())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    part=st.sampled_from(["format", "model", "source", "base", "facts", "evaluations", "gaps"]), value=JSON
)
def test_a_file_that_is_no_label_is_an_error_with_words(part: str, value: Any) -> None:
    told_of = {**to_json(made()), part: value}
    message = ""
    try:
        from_json(told_of, where="a file")
    except DataError as error:
        message = error.message
    assert not message or "a file" in message


def test_a_label_file_can_be_shown_again(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(dumps(made()))
    assert read_label(tmp_path / "x.json") == made()
    assert run("label", str(tmp_path / "x.json"), "--json").stdout == dumps(made())


def test_the_card_is_one_of_the_hub() -> None:
    hub = pytest.importorskip("huggingface_hub")
    read = hub.ModelCard(card(made()))
    assert read.data.license == "apache-2.0"
    assert read.data.base_model == "org/base"
    assert read.data.tags == ["commonweal", "label"]
    assert "1.5 trillion tokens" in read.text
    assert "not disclosed" in read.text
    assert hub.ModelCard(card(named("x"))).data.license == "unknown"
    other = hub.ModelCard(card(made(model={"licence": "My Own, v1"}))).data
    assert (other.license, other.license_name) == ("other", "my-own-v1")


def test_nothing_that_is_said_breaks_out_of_its_place() -> None:
    hub = pytest.importorskip("huggingface_hub")
    label = made(name=HOSTILE[:300].replace("\n", " "), model={"licence": HOSTILE}, use={"risks": HOSTILE})
    read = hub.ModelCard(card(label))
    assert read.data.license == "other"
    assert "<script" not in card(label).split("---", 2)[2]
    page = standing_alone(label)
    assert "<script" not in page
    assert "javascript:b" not in re.sub(r">[^<]*<", "><", page), "not in any tag"
    assert "\x1b" not in page
    shown = run_lines(label)
    assert max(map(len, shown)) <= 80


def run_lines(label: Label) -> list[str]:
    return list(lines(label))


def test_datasets_and_a_licence_are_metadata() -> None:
    record = Record(kind="data", id="job_1")
    value = [{"kind": "dataset", "location": "org/books"}, {"kind": "files", "location": "/x"}]
    label = named("m").with_facts({"data.sources": told("data.sources", "books", record, value=value)})
    assert metadata(label)["datasets"] == ["org/books"]


def test_every_line_fits_a_terminal(tmp_path: Path) -> None:
    long = {"sources": ["x" * 200, "word " * 100], "size": "y" * 300}
    assert max(map(len, lines(made(data=long)))) <= 80
    (tmp_path / "x.toml").write_text('name = "m"\n[use]\nrisks = "\\u001b[31m red"\n')
    assert "\x1b" not in run("label", str(tmp_path / "x.toml")).stdout
    assert read_toml(tmp_path / "x.toml").fact("use.risks").text.startswith("\x1b")
