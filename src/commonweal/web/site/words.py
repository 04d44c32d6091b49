"""Numbers and texts as a page shows them: figures of one length, and any text as text, whatever is in it.

Invariants: what :func:`exact` gives is escaped; control characters and those that turn the direction of writing are
named, and not carried out; all else is kept letter by letter, white space too, which a page can make visible.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache

from markupsafe import Markup

_SPECIAL = re.compile(
    "\n|\t| (?= )|(?<= ) |\\A | \\Z| (?=\n)|(?<=\n) "
    "|[\x00-\x08\x0b-\x1f\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
    "\ufff9-\ufffb\ud800-\udfff]"
)
_SHORT = 32
_DANGEROUS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff]")
_NEWLINE = "<i></i>\n"
_MARKS = {"\n": _NEWLINE, "\t": "<i class=t></i>\t", " ": "<i class=s></i> "}


def exact(text: str) -> Markup:
    """All of a text, safe to show. White space carries marks that a page shows on demand.

    >>> exact("<b>\\x1b[31m ")
    Markup('&lt;b&gt;<i class=c data-c="U+001B"></i>[31m<i class=s></i> ')
    """
    return Markup(marked(text))


def marked(text: str) -> str:
    """:func:`exact` as a string, for what puts strings together."""
    return _marked_short(text) if len(text) <= _SHORT else _marked(text)


def escaped(text: str) -> str:
    """What ``markupsafe.escape`` gives, as a string: it is made many millions of times.

    >>> escaped("<a href='x'>&")
    '&lt;a href=&#39;x&#39;&gt;&amp;'
    """
    if text.isalnum():
        return text
    return (
        text.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace('"', "&#34;")
        .replace("'", "&#39;")
    )


def _marked(text: str) -> str:
    if _is_plain(text):
        return escaped(text).replace("\n", _NEWLINE)
    rest = text[1:]
    if text[0] == " " and rest and rest[0] != "\n" and _is_plain(rest):  # as models begin to write
        return _MARKS[" "] + escaped(rest).replace("\n", _NEWLINE)
    return _marked_special(text)


def _is_plain(text: str) -> bool:
    """Whether nothing in a text carries a mark but the ends of its lines: then no letter need be looked at in Python,
    which is ten times as quick."""
    return (
        not (text.startswith(" ") or text.endswith(" ") or "  " in text or " \n" in text or "\n " in text)
        and text.replace("\n", "").isprintable()
    )


def _marked_special(text: str) -> str:
    return _SPECIAL.sub(_special, escaped(text))


@lru_cache(maxsize=4096)
def _marked_short(text: str) -> str:
    """Parameters, outcomes, letters of answers, tokens: the same few come again and again."""
    return _marked(text)


def _special(match: re.Match[str]) -> str:
    found = match[0]
    known = _MARKS.get(found)
    if known is not None:
        return known
    named = f"U+{ord(found):04X}"
    if _DANGEROUS.match(found):
        return f'<i class=c data-c="{named}"></i>'
    return f'<i class=o data-c="{named}"></i>{found}'


def line(text: str, most: int = 120) -> str:
    """The beginning of a text on one line, without what would turn or hide it.

    >>> line("a\\n  b\\u202ec", 9)
    'a b·c'
    """
    if len(text) <= most and text.isprintable() and "  " not in text:
        return text.strip()
    told = " ".join(_DANGEROUS.sub(_dot, text).split())
    return told if len(told) <= most else told[: most - 1].rstrip() + "…"


def _dot(match: re.Match[str]) -> str:
    return " " if match[0] in "\x1c\x1d\x1e\x1f\r\x0b\x0c\x85\u2028\u2029" else "·"


def figure(value: float | None) -> str:
    """A number in at most seven characters, three of them figures or so.

    >>> [figure(x) for x in (0.0, 1.0, 0.0004, 12.345, 1234.5, -0.25, None)]
    ['0.000', '1.000', '4.0e-04', '12.3', '1,234', '−0.250', '–']
    """
    if value is None:
        return "–"
    size = abs(value)
    if size and size < 0.001:
        told = f"{size:.1e}"
    elif size < 10:
        told = f"{size:.3f}"
    else:
        told = f"{size:.1f}" if size < 100 else f"{size:,.0f}" if size < 1e6 else f"{size:.1e}"
    return f"−{told}" if value < 0 else told


def signed(value: float | None) -> str:
    """
    >>> signed(0.25), signed(-0.25), signed(None)
    ('+0.250', '−0.250', '–')
    """
    return f"+{figure(value)}" if value is not None and value > 0 else figure(value)


def interval(low: float | None, high: float | None) -> str:
    """
    >>> interval(0.4, 0.6), interval(None, None)
    ('0.400 to 0.600', '')
    """
    return "" if low is None or high is None else f"{figure(low)} to {figure(high)}"


def chance(p: float) -> str:
    """A p-value.

    >>> chance(0.04), chance(0.0000001)
    ('0.04', '<0.001')
    """
    return f"{p:.2g}" if p >= 0.001 else "<0.001"


def share(value: float) -> str:
    """
    >>> share(1.0), share(0.9996), share(0.5)
    ('100%', '99.9%', '50%')
    """
    if value == 1 or value == 0:
        return f"{value:.0%}"
    return f"{min(100 * value, 99.9):.1f}%".replace(".0%", "%")


def span(seconds: float) -> str:
    """
    >>> span(3.524), span(75), span(7300)
    ('3.5 s', '1 min 15 s', '2:01:40 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{timedelta(seconds=round(seconds))} h"
