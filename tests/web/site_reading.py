"""Reads pages as a browser does: their links, their anchors, what they load, and the text of their blocks."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "input", "img", "line", "rect", "circle"}


class Read(HTMLParser):
    """``links`` are all addresses in a page, ``blocks`` the texts of its ``pre``; ``wholes`` are these with what they
    are said to begin with; ``images`` are the attributes of its pictures."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: list[str] = []
        self.blocks: list[str] = []
        self.wholes: list[str] = []
        self.tags: list[str] = []
        self.images: list[dict[str, str]] = []
        self.forbidden: list[str] = []
        self._inside = False
        self._beginnings: dict[str, str] = {}
        self._before = self._place = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if tag == "img":
            self.images.append(told)
        if tag == "a" and "href" in told:
            self.links.append(told["href"])
            if told["href"].startswith("#begin-"):
                self._before = self._beginnings[told["href"][1:]]
        if tag == "section":
            self._place = told.get("id", "")
        for name in ("src", "href"):
            if tag in ("script", "link", "img", "iframe") and name in told:
                self.loads.append(told[name])
        if "id" in told:
            self.anchors.append(told["id"])
        self.forbidden += [name for name in told if name == "style" or name.startswith("on")]
        if tag == "pre":
            self._inside = True
            self.blocks.append("")

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self._inside = False
            self.wholes.append(self._before + self.blocks[-1])
            self._beginnings[self._place] = self.blocks[-1]
            self._before = self._place = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.blocks[-1] += data
