"""Files as text, texts as passages: pure functions on what strangers upload."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.errors import DataError
from commonweal.serve.retrieval.cutting import OVERLAP, WORDS, cut
from commonweal.serve.retrieval.language import configuration_of
from commonweal.serve.retrieval.reading import html_text, read_document


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.txt", b"one\r\ntwo", "one\ntwo"),
        ("a.md", "\ufeff# Title\n\nbody ä".encode(), "# Title\n\nbody ä"),
        ("no-ending", b"plain", "plain"),
        ("a.HTML", b"<p>one<p>two &lt;b&gt;", "one\n\ntwo <b>"),
        ("page", b"<!DOCTYPE html><title>T</title><body>hi", "T\n\nhi"),
        ("a.jsonl", b'{"text": "one"}\n\n{"q": "two", "n": {"a": [1, "x"]}}', "one\n\nq: two\na: 1\na: x"),
    ],
)
def test_what_is_read(name: str, data: bytes, text: str) -> None:
    assert read_document(name, data) == text


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.pdf", b"%PDF-1.7 ...", "a PDF"),
        ("a.docx", b"PK\x03\x04...", "office document"),
        ("a.sqlite", b"SQLite format 3\x00...", "SQLite"),
        ("a.txt", b"fine\nnot \xff fine", "not UTF-8: line 2"),
        ("a.txt", b"null \x00 byte", "null bytes"),
        ("a.txt", b" \n\t ", "has no text"),
        ("a.html", b"<script>let x = 1</script>", "has no text"),
        ("a.jsonl", b'{"a": 1}\n{"a": ', "line 2 is not JSON"),
        ("a.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("a.txt", b"x" * (8 * 2**20 + 1), "larger than 8 MiB"),
    ],
)
def test_what_is_refused(name: str, data: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_document(name, data)


def test_html_shows_what_a_reader_sees() -> None:
    source = "<style>p{}</style><p onclick='x()'>a<svg><p>b</svg><!-- c --><td>d<td>e<br/>f<script>g"
    assert html_text(source) == "a\n\nd e\nf"


@given(st.text(max_size=500))
def test_any_page_can_be_read(source: str) -> None:
    html_text(source)


def words_of(text: str) -> list[str]:
    return text.split()


@given(st.lists(st.text(st.sampled_from("ab.!?。 \n\t漢"), max_size=400), max_size=30).map("\n\n".join))
def test_every_word_is_in_a_passage_and_none_is_too_long(text: str) -> None:
    places = cut(text)
    covered = set[int]()
    for place in places:
        passage = text[place.start : place.stop]
        assert passage == passage.strip()
        assert len(words_of(passage)) <= WORDS
        assert len(passage) <= WORDS * 6 * 2
        covered.update(range(place.start, place.stop))
    assert all(at in covered for at, character in enumerate(text) if not character.isspace())
    assert [place.start for place in places] == sorted({place.start for place in places})


def test_passages_overlap_and_end_with_sentences() -> None:
    text = " ".join(f"This is the sentence of number {number}." for number in range(200))
    places = cut(text)
    assert len(places) > 5
    for place, after in itertools.pairwise(places):
        assert text[place.start : place.stop].endswith(".")
        shared = len(words_of(text[after.start : place.stop]))
        assert 0 < shared <= OVERLAP


def test_a_short_text_is_one_passage_and_none_has_none() -> None:
    assert [(place.start, place.stop) for place in cut("  One.\n\nTwo. ")] == [(2, 12)]
    assert cut(" \n ") == ()


@pytest.mark.parametrize("text", [". " * 100_000, "a\n\n" * 100_000, "." * 300_000 + "x", "\n " * 200_000])
def test_cutting_takes_time_by_length_only(text: str) -> None:
    def seconds(part: str) -> float:
        began = time.process_time()
        cut(part)
        return time.process_time() - began

    small = max(seconds(text[: len(text) // 8]), 0.002)
    assert seconds(text) < 8 * small * 5


def test_the_language_of_a_text() -> None:
    assert (
        configuration_of("The quick brown fox jumps over the lazy dog, and they all went home.") == "english"
    )
    german = "Der schnelle braune Fuchs springt über den faulen Hund, und alle gingen nach Hause."
    assert configuration_of(german) == "german"
    assert configuration_of("12345 67890 " * 9) == "simple"
    assert configuration_of("A few words.") == "english"
    assert configuration_of("これは日本語の文章です。とても短いです。") == "simple"
