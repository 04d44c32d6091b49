"""Removing the markup of ICE's texts, step by step as HELM does it (scenarios/ice_scenario.py, preprocess_text).

The order of the steps matters: each sees what the one before it left.
"""

from __future__ import annotations

import re

_DELETED = tuple(
    re.compile(pattern)
    for pattern in (
        "[WS]\\d[A-F]-\\d{3} *",
        " <l> ",
        "<#> ",
        "BBB\\S+ \\S+RRR *",
        "BBB\\S+ *",
        "RRR\\S+ *",
        "UUU",
        "III\\S+ *",
    )
)

_REPLACED = tuple(
    (re.compile(pattern), by)
    for pattern, by in (
        ("<\\/*mention>", '"'),
        ("</\\*\\*>", "*"),
        ("</\\*\\*/>", "*"),
        ("&eacute;", "é"),
        (" <,+>", ","),
        ("&ersand;", "&"),
        ("&obrack;", "("),
        ("&cbrack;", ")"),
        ("&percent;", "%"),
        ("&hash;", "#"),
        ("&dash", "-"),
        ("&ldquo;", '"'),
        ("&atsign;", "@"),
        ("\\n+[\\n ]+", "\n\n"),
        ("\\S+><\\+_(\\S+)>", "\\1"),
    )
)

_UNTAGGED = re.compile(
    "<\\/*(I|ICE.+|[\\[\\]\\{\\}]\\d*|X|@|quote|foreign|indig|smallcaps|roman|sb|ss|footnote|p|h|bold|it|ul|\\+|\\="
    "|\\?|sp|}|ea|slang)>"
)
"""Tags that go while what they enclose stays."""

_REMOVED = ("O", "-", "&", ".", "fnr", "marginalia", "del", "w")
"""Tags that go with what they enclose."""


def plain(text: str) -> str:
    """The text without its markup.

    >>> plain("<I> <#> He said <foreign>bonjour</foreign> <O>laughs</O>")
    'He said bonjour'
    """
    text = text.strip()
    for pattern in _DELETED:
        text = pattern.sub("", text)
    for pattern, by in _REPLACED:
        text = pattern.sub(by, text)
    text = _UNTAGGED.sub("", text)
    for tag in _REMOVED:
        text = _without(text, tag)
    return text.strip()


def _without(text: str, tag: str) -> str:
    """The text without what stands between each end of a tag and the last beginning before it."""
    end = f"</{tag}>"
    at = text.find(end)
    while at >= 0:
        start = text[:at].rfind(f"<{tag}>")
        text = text[: at if start < 0 else start] + text[at + len(end) :]
        at = text.find(end)
    return text
