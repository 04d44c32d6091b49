"""What the prompts on a page begin with in common: instructions and examples, which are shown once and not fifty times.

Pure. Invariant: a shared beginning and the rest of a text are the text, letter by letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

LEAST = 600
"""Characters from which on a beginning is worth setting apart."""


def shared_beginnings(texts: Iterable[str]) -> Mapping[str, str]:
    """The beginnings that several of ``texts`` have, up to the end of a line, by their first ``LEAST`` characters.

    >>> head = "An example.\\n" * 60
    >>> [len(one) for one in shared_beginnings([head + "Why?", head + "Who?", "else"]).values()]
    [720]
    """
    groups: dict[str, list[str]] = {}
    for text in texts:
        if len(text) > LEAST:
            groups.setdefault(text[:LEAST], []).append(text)
    found = {}
    for head, group in groups.items():
        first, last = min(group), max(group)
        if first != last:
            end = first.rfind("\n", 0, _alike(first, last)) + 1
            if end >= LEAST:
                found[head] = first[:end]
    return found


def _alike(a: str, b: str) -> int:
    """How many characters two texts begin with in common: by halving, as comparing slices is quick."""
    low, high = LEAST, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
