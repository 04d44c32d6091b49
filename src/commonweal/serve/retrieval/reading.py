"""Documents as text: what a file holds that can be searched and read. Pure.

Plain text and Markdown as they are, HTML without its tags, JSON lines as their texts. Other formats are refused with
what to do: guessing at bytes would make passages of noise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

from commonweal.core.errors import DataError

LARGEST = 8 << 20
"""Bytes of a document."""

_FORMATS = "text, Markdown, HTML and JSON lines can be read"
_SIGNS = (
    (b"%PDF", "a PDF", "make text of it first, for example with pdftotext"),
    (b"PK\x03\x04", "an archive or office document", "export it as text, Markdown or HTML"),
    (b"\xd0\xcf\x11\xe0", "an office document", "export it as text, Markdown or HTML"),
    (b"SQLite format 3\x00", "a SQLite database", "ask it by the tool 'sql' or POST /v1/answers"),
    (b"\x1f\x8b", "compressed", "unpack it first"),
    (b"\x89PNG", "a picture", _FORMATS),
    (b"\xff\xd8\xff", "a picture", _FORMATS),
)
_SILENT = frozenset({"script", "style", "template", "noscript", "svg", "iframe", "object"})
_BLOCKS = frozenset(
    {
        *("address", "article", "aside", "blockquote", "body", "dd", "div", "dl", "dt", "figure", "footer"),
        *("form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre"),
        *("section", "table", "title", "tr", "ul"),
    }
)
_BLANKS = re.compile(r"[ \t\f\v\xa0]+")
_LINES = re.compile(r"\s*\n\s*\n\s*")


def read_document(filename: str, data: bytes) -> str:
    """The text of a file. Raises DataError, with what to do."""
    if len(data) > LARGEST:
        raise DataError(f"'{filename}' is larger than {LARGEST >> 20} MiB", hint="cut it into several files")
    for sign, what, hint in _SIGNS:
        if data.startswith(sign):
            raise DataError(f"'{filename}' is {what}, which cannot be read", hint=hint)
    text = _decoded(filename, data)
    name = filename.lower()
    if name.endswith((".html", ".htm", ".xhtml")) or text[:200].lstrip().lower().startswith("<!doctype html"):
        text = html_text(text)
    elif name.endswith((".jsonl", ".ndjson")):
        text = "\n\n".join(_json_lines(filename, text))
    text = text.encode("utf-8", "replace").decode()  # escaped halves of surrogate pairs are not Unicode
    if not text.strip():
        raise DataError(f"'{filename}' has no text")
    return text


def _decoded(filename: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"'{filename}' is not UTF-8: line {line}", hint=_FORMATS) from None
    if "\0" in text:
        raise DataError(f"'{filename}' is no text: it has null bytes", hint=_FORMATS)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def html_text(source: str) -> str:
    """What a reader sees of a page: blocks as paragraphs, no scripts, no attributes.

    >>> html_text("<h1>A &amp; B</h1><script>x()</script><p>one<br>two")
    'A & B\\n\\none\\ntwo'
    """
    parser = _Visible()
    parser.feed(source)
    parser.close()
    text = _BLANKS.sub(" ", "".join(parser.pieces))
    return _LINES.sub("\n\n", text).strip()


class _Visible(HTMLParser):
    """Collects text outside of silent elements. One that is never closed silences the rest, as it does in a browser."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent += 1
        elif tag == "br":
            self.pieces.append("\n")
        elif tag in _BLOCKS:
            self.pieces.append("\n\n")
        elif tag in ("td", "th"):
            self.pieces.append(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _SILENT:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag in _BLOCKS:
            self.pieces.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.pieces.append(data)


def _json_lines(filename: str, text: str) -> Iterator[str]:
    """Each line's text: its field ``text``, or all its texts by name."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise DataError(f"'{filename}': line {number} is not JSON") from None
        if isinstance(value, dict) and isinstance(value.get("text"), str):
            yield value["text"].replace("\0", "")
        else:
            yield "\n".join(_texts(value, "")).replace("\0", "")


def _texts(value: Any, name: str, depth: int = 0) -> Iterator[str]:
    if depth > 8:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, str(key), depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, name, depth + 1)
    elif value is not None and value != "":
        yield f"{name}: {value}" if name else str(value)
