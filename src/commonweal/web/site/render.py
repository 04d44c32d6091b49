"""From a context to bytes, the same for the live route and for the export.

Owns the Jinja environment. Everything is escaped but what :func:`commonweal.web.site.words.exact` and the charts made;
a name that a template does not have is an error and no empty text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from commonweal import __version__
from commonweal.web.site import words
from commonweal.web.site.addresses import relative
from commonweal.web.site.article import article
from commonweal.web.site.page import PLACES, File, Link, Page
from commonweal.web.site.rows import disputed_rows, flip_rows, sample_rows

HTML = "text/html; charset=utf-8"


def environment(*packages: str) -> Environment:
    """Of the templates of these packages, the first first, and of the site's own."""
    made = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in (*packages, "commonweal.web.site")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    for name in ("exact", "line", "figure", "signed", "interval", "chance", "share", "span"):
        made.filters[name] = getattr(words, name)
    for made_of_strings in (article, sample_rows, disputed_rows, flip_rows):
        made.filters[made_of_strings.__name__] = made_of_strings
    made.globals["version"] = __version__
    return made


_ENVIRONMENT = environment()


def render(page: Page | File, places: Sequence[Link] = PLACES) -> bytes:
    """The bytes of a page or a file. ``places`` are the links that stand above every page."""
    if isinstance(page, File):
        return page.data
    template = _ENVIRONMENT.get_template(page.template)
    made: str = template.render(page=page, to=partial(relative, page.path), places=places)
    return made.encode("utf-8", "replace")


def media_type(page: Page | File) -> str:
    return page.media_type if isinstance(page, File) else HTML
