"""The evaluation site: from the leaderboard to the exact prompt, as pages that a hub serves and a folder holds.

One module a page: a frozen context, made of saved runs, and a template of the same name. :func:`pages` gives all
contexts of a site, :func:`find` the one of a path, :func:`render` the bytes of either; the route and the export both
call these, so they cannot differ. Pages read saved runs and decide nothing.
"""

from commonweal.web.site.book import find, pages
from commonweal.web.site.export import Exported, export
from commonweal.web.site.render import media_type, render
from commonweal.web.site.state import Site, load

__all__ = ["Exported", "Site", "export", "find", "load", "media_type", "pages", "render"]
