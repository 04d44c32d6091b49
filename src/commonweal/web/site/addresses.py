"""Where each page lies: a path below the root of the site, made of names, the same on every export.

Invariants: a path holds only ``[a-z0-9._-]`` and ``/``, so it means the same on every file system and needs no
escaping in a link; different names have different slugs, as a name that had to be changed carries its hash, and so
does one that ends as such a slug does, or as a file of the site.
"""

from __future__ import annotations

import re
from functools import lru_cache

from commonweal.core.hashing import content_hash

_LONGEST = 60
_PLAIN = re.compile(r"[a-z0-9](?:[a-z0-9_.-]*[a-z0-9])?")
_DIGITS = 12
_TAKEN = re.compile(rf".*(?:-[0-9a-f]{{{_DIGITS}}}|\.(?:html|json|md|csv|parquet|txt|events))")
_RESERVED = frozenset({"index", "con", "nul", "aux", "prn"})


@lru_cache(maxsize=65_536)
def slug(name: str) -> str:
    """The name as a part of a path.

    >>> slug("gsm"), slug("openai/gpt-4"), slug("../x")
    ('gsm', 'openai_gpt-4-f245a4d18572', 'x-d6b96a97d147')
    """
    taken = name in _RESERVED or _TAKEN.fullmatch(name)
    if _PLAIN.fullmatch(name) and len(name) <= _LONGEST and not taken:
        return name
    kept = re.sub(r"[^a-z0-9.-]+", "_", name.lower()).strip("._-")[: _LONGEST - _DIGITS - 4].strip("._-")
    told = content_hash(name.encode("utf-8", "surrogatepass"))[:_DIGITS]
    return f"{kept}-{told}" if kept else f"x-{told}"


def relative(here: str, there: str) -> str:
    """The link from the page ``here`` to ``there`` (which may have an anchor), for any sub-path.

    >>> relative("runs/a/b/index.html", "static/site.css"), relative("runs/a/b/x.html", "runs/a/b/y.html#i-1")
    ('../../../static/site.css', 'y.html#i-1')
    """
    folder = here[: here.rfind("/") + 1]
    if folder and there.startswith(folder):
        return there[len(folder) :]
    return "../" * here.count("/") + there


def board(group: str) -> str:
    return "index.html" if group == "all" else f"boards/{slug(group)}.html"


def board_file(group: str, kind: str) -> str:
    return f"boards/{slug(group)}.{kind}"


def scenario(name: str) -> str:
    return f"scenarios/{slug(name)}.html"


def across(run_name: str, number: int) -> str:
    """The instances of one run's name across all models, most disputed first."""
    return f"across/{slug(run_name)}/{number}.html"


def model(name: str) -> str:
    return f"models/{slug(name)}.html"


def label(name: str, kind: str = "html") -> str:
    """The label of a model; as JSON, or as a card (md), it lies beside the page."""
    return f"models/{slug(name)}/label.{kind}"


def run(model_name: str, run_name: str) -> str:
    return f"runs/{slug(model_name)}/{slug(run_name)}/index.html"


def folder(model_name: str, run_name: str) -> str:
    """Where all pages of a run lie."""
    return f"runs/{slug(model_name)}/{slug(run_name)}"


def listing(model_name: str, run_name: str, view: str, number: int) -> str:
    """A list of a run's samples; ``view`` is all, right, wrong ..., or ``by-`` and a perturbation."""
    return f"runs/{slug(model_name)}/{slug(run_name)}/{view}-{number}.html"


def shard(model_name: str, run_name: str, number: int) -> str:
    return f"runs/{slug(model_name)}/{slug(run_name)}/instances-{number}.html"


def earlier(model_name: str, run_name: str, number: int) -> str:
    """A run against the one that was made ``number`` runs before it."""
    return f"{folder(model_name, run_name)}/earlier-{number}.html"


def text(model_name: str, run_name: str, number: int, name: str) -> str:
    """A long text of a shard, as plain text."""
    return f"runs/{slug(model_name)}/{slug(run_name)}/text-{number}/{name}.txt"


def picture(model_name: str, run_name: str, name: str, ending: str) -> str:
    """A picture of a run's prompts, by the hash of its bytes."""
    return f"runs/{slug(model_name)}/{slug(run_name)}/images/{name}.{ending}"


def comparison(a: str, b: str) -> str:
    """Two models, whichever is named first: the page has the one whose slug is first as ``a``."""
    first, second = sorted((slug(a), slug(b)))
    return f"compare/{first}/{second}.html"


def flips(a: str, b: str, run_name: str) -> str:
    first, second = sorted((slug(a), slug(b)))
    return f"compare/{first}/{second}/{slug(run_name)}.html"


RELEASES = "releases.html"
LABEL_SCHEMA = "schemas/label.json"

REPORTED = "reported/index.html"
"""The boards of others."""


def reported(board_name: str, view: str = "") -> str:
    """A board of somebody else's; ``view`` is one of its tabs, "" the first."""
    return f"reported/{slug(board_name)}/{slug(view) if view else 'index'}.html"


def reported_file(board_name: str, kind: str) -> str:
    return f"reported/{slug(board_name)}.{kind}"
