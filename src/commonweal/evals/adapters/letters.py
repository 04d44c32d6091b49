"""Reading a letter, and with it a reference, out of what a model wrote. Pure text; never a guess.

Understood are a bare label ("B"), a marked one ("B.", "(B)", "B) text"), an option's whole text, and a plain statement
("The answer is (B)"). Anything else is no answer: an answer that names two options, that denies one, or that only
contains a letter somewhere. HELM takes the bare label alone, so what HELM understands is understood alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from commonweal.evals.adaptation import Adaptation

_WRAPPING = " \t\r\n*_`\"'“”‘’$"
_CLOSING = _WRAPPING + ".!"


def first_alphanumeric(prefix: str) -> str:
    """The character of a reference prefix that counts up: "A" of "A. ". Raises ValueError where there is none."""
    found = next((character for character in prefix if character.isalnum()), None)
    if found is None:
        raise ValueError("reference_prefix: has no letter or digit that could name the options")
    return found


@lru_cache(maxsize=64)
def prefixes(prefix: str, count: int) -> tuple[str, ...]:
    """The prefixes of the options.

    >>> prefixes("A. ", 3)
    ('A. ', 'B. ', 'C. ')
    """
    first = first_alphanumeric(prefix)
    return tuple(prefix.replace(first, chr(ord(first) + i)) for i in range(count))


@lru_cache(maxsize=64)
def labels(prefix: str, count: int) -> tuple[str, ...]:
    """The options' labels.

    >>> labels("A. ", 3)
    ('A', 'B', 'C')
    """
    return prefixes(first_alphanumeric(prefix), count)


def chosen(text: str, names: Sequence[str], options: Sequence[str]) -> int | None:
    """Which option a direct answer chooses; None where it is not plain.

    >>> [chosen(text, "ABC", ["red", "green", "blue"]) for text in (" B", "(b)", "C) blue", "green", "A or B", "a")]
    [1, 1, 2, 1, None, None]
    """
    bare = text.strip()
    if bare in names:
        return names.index(bare)
    bare = bare.strip(_WRAPPING)
    if not bare or not names:
        return None
    found = _marked(bare, tuple(names), options)
    if found is None:
        found = _whole_text(bare, options)
    if found is None:
        stated = set(_statements(bare, tuple(names)))
        found = stated.pop() if len(stated) == 1 else None
    return found


def concluded(text: str, names: Sequence[str], options: Sequence[str], adaptation: Adaptation) -> int | None:
    """Which option a worked solution ends with: the last plain statement, before the model goes on to a question of
    its own making."""
    following = adaptation.instance_prefix + adaptation.input_prefix
    if following.strip() and (at := text.find(following)) > 0:
        text = text[:at]
    suffix = adaptation.chain_of_thought_suffix.strip()
    if suffix and (at := text.rfind(suffix)) >= 0:
        found = chosen(text[at + len(suffix) :], names, options)
        if found is not None:
            return found
    stated = _statements(text, tuple(names)) if names else []
    if stated:
        return stated[-1]
    lines = text.strip().splitlines()
    return chosen(lines[-1], names, options) if lines else None


def _marked(text: str, names: tuple[str, ...], options: Sequence[str]) -> int | None:
    """A label at the beginning, set off from what follows."""
    match = _patterns(names).marked.match(text)
    if match is None:
        return None
    label = match["inside"] or match["closed"] or match["open"]
    index = _index(label, names)
    rest = text[match.end() :].strip(_WRAPPING)
    if not rest or _same(rest, options[index]):
        return index
    if match["open"] and not match["mark"]:
        return None
    return None if _patterns(names).another.match(rest) else index


def _whole_text(text: str, options: Sequence[str]) -> int | None:
    same = [i for i, option in enumerate(options) if _same(text, option)]
    return same[0] if len(same) == 1 else None


def _statements(text: str, names: tuple[str, ...]) -> list[int]:
    patterns = _patterns(names)
    found = []
    for match in patterns.stated.finditer(text):
        if patterns.another.match(text[match.end() :].strip()):
            continue
        found.append(_index(next(group for group in match.groups() if group), names))
    return found


def _same(text: str, option: str) -> bool:
    return text.strip(_CLOSING).casefold() == option.strip(_CLOSING).casefold() != ""


def _index(label: str, names: tuple[str, ...]) -> int:
    if label in names:
        return names.index(label)
    return [name.lower() for name in names].index(label.lower())


class _Patterns:
    """What is looked for, given the labels. A label in parentheses may be in either case; one that stands alone may
    not, and "A" and "I" before a word are words themselves, but for a few that go on about a label."""

    def __init__(self, names: tuple[str, ...]) -> None:
        any_of = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        loose = f"(?ai:{any_of})"
        wrap = r"[*_`$\s\"'“‘]*"
        alone = rf"(?![AI]\s+(?!because|since|as\b|is\b|which)[a-z])(?:{any_of})(?![\w'’])"
        self.marked = re.compile(
            rf"(?:(?i:option|choice|answer)\s*[:\-]?\s*)?"
            rf"(?:[(\[]\s*(?P<inside>{loose})\s*[)\]]|(?P<closed>{loose})\)"
            rf"|(?P<open>{any_of})(?P<mark>[*_`]*(?:[.:,](?=[\s*_`]|$)|\n)|(?=\s|$)))"
        )
        self.another = re.compile(
            rf"(?:(?i:and|or|nor)\b|[,/&|+])?\s*[(\[]?(?:{any_of})(?:[)\].:,]|\s*$|\s+(?i:and|or)\b)"
        )
        self.stated = re.compile(
            r"(?i:\b(?:answer|choice|option)(?:\s+(?:is|would\s+be|must\s+be|should\s+be))?\s*[:=]?)"
            rf"{wrap}(?:\(\s*({loose})\s*\)|({alone}))"
            rf"|\\boxed\{{\s*(?:\\text\{{)?\(?({any_of})\)?\}}"
            rf"|^{wrap}\(?({any_of})\)?{wrap}\s+(?i:is\s+(?:the\s+)?(?:correct|right|best))\b",
            re.MULTILINE,
        )


@lru_cache(maxsize=64)
def _patterns(names: tuple[str, ...]) -> _Patterns:
    return _Patterns(names)
