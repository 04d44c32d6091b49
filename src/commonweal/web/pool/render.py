"""From a page of the pool to HTML: whole, or only its parts that change while somebody looks.

A part is a block of the page's template whose name begins with ``live_``, so page and news cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from jinja2 import Template

from commonweal.ledger.amounts import shown as credits
from commonweal.web.pool import addresses, words
from commonweal.web.pool.job import summary
from commonweal.web.site.addresses import relative
from commonweal.web.site.page import Link, Page
from commonweal.web.site.render import environment

LIVE = "live_"

_ENVIRONMENT = environment("commonweal.web.pool")
for _name in ("count", "size", "bits", "moment", "iso", "state", "counted"):
    _ENVIRONMENT.filters[_name] = getattr(words, _name)
_ENVIRONMENT.filters["credits"] = credits
_ENVIRONMENT.filters["summary"] = summary
_ENVIRONMENT.globals["news"] = addresses.news


def render(page: Page, places: Sequence[Link], now: float) -> bytes:
    """The page as it was made at ``now``."""
    template = _ENVIRONMENT.get_template(page.template)
    return template.render(**_variables(page), places=places, now=now).encode("utf-8", "replace")


def parts(page: Page) -> Mapping[str, str]:
    """The HTML of the parts that change, by name."""
    template = _ENVIRONMENT.get_template(page.template)
    return {name: _block(template, name, page) for name in template.blocks if name.startswith(LIVE)}


def piece(name: str, page: Page, **more: Any) -> bytes:
    """A template that is a part of ``page`` only, for who may see it."""
    made: str = _ENVIRONMENT.get_template(name).render(**_variables(page), **more)
    return made.encode("utf-8", "replace")


def _block(template: Template, name: str, page: Page) -> str:
    return "".join(template.blocks[name](template.new_context(_variables(page))))


def _variables(page: Page) -> dict[str, Any]:
    return {"page": page, "to": partial(relative, page.path)}
