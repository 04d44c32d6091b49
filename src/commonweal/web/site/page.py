"""What every page is: a frozen context with its place, its title and the way to it. Knows no single page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A word that leads to a path below the root of the site; a path "" leads nowhere."""

    text: str
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of HTML. ``trail`` is the way to it from the board, itself left out."""

    template: ClassVar[str]

    path: str
    title: str
    trail: Sequence[Link] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """Anything else that the site is made of: a style sheet, a table to load."""

    path: str
    data: bytes
    media_type: str


HOME = Link(text="Leaderboard", path="index.html")

MODELS = Link(text="Models", path="models/index.html")

PLACES = (HOME, MODELS, Link(text="Releases", path="releases.html"))
"""What stands above every page of a site that was exported; a hub adds its own."""
