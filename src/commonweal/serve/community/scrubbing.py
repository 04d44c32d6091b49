"""Personal data taken out of texts before they enter a data set: each find is replaced by the name of its kind.

What the default finds: e-mail addresses; telephone numbers written with a +, or with separators; IBANs and card numbers
whose check digits are right; IP addresses; keys, tokens and passwords in their usual forms; and names where a text
introduces them with a capital (``my name is ...``, ``Dr. ...``). What it does not find: any other name, postal
addresses, dates of birth, numbers of identity papers, telephone numbers without separators, account names, and anything
spelled out or written in a form that is not above.
:mod:`commonweal.serve.community.presidio` adds Microsoft Presidio.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrubbed:
    """``found`` counts what was replaced, by kind."""

    text: str
    found: Mapping[str, int]


class Scrubber(Protocol):
    """Takes personal data out of a text. To scrub a text that was scrubbed changes nothing."""

    def scrub(self, text: str) -> Scrubbed: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """``group`` of the pattern is replaced, where ``holds`` says that it is what it looks like."""

    kind: str
    pattern: re.Pattern[str]
    holds: Callable[[str], bool] = bool
    group: int = 0


def luhn(digits: str) -> bool:
    """The check of card numbers (ISO/IEC 7812-1).

    >>> luhn("4111 1111 1111 1111"), luhn("4111 1111 1111 1112")
    (True, False)
    """
    plain = [int(c) for c in digits if c.isdecimal()]
    doubled = [d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(reversed(plain))]
    return 13 <= len(plain) <= 19 and sum(doubled) % 10 == 0 and len(set(plain)) > 1


def iban(text: str) -> bool:
    """The check of international bank account numbers (ISO 7064, MOD 97-10).

    >>> iban("GB82 WEST 1234 5698 7654 32"), iban("GB82 WEST 1234 5698 7654 33")
    (True, False)
    """
    plain = "".join(c for c in text if c.isalnum()).upper()
    moved = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def _address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _telephone(text: str) -> bool:
    return 7 <= sum(c.isdecimal() for c in text) <= 15


_A = re.ASCII
_TOKENS = (
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----[\s\S]*?(?:-----END (?:[A-Z]+ )*PRIVATE KEY-----|\Z)",
    r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}",
    r"\b(?:sk|pk|rk)[-_](?:[a-z]+[-_])*[A-Za-z0-9_-]{16,}",
    r"\bcw(?:admin|join|member)?-[A-Za-z0-9_-]{20,}",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}",
    r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    r"\bAIza[\w-]{30,}",
    r"\bhf_[A-Za-z0-9]{30,}",
)
_SAID = r"(?:pass(?:word|wd|phrase)|secret|api[ _-]?key|access[ _-]?token|auth[ _-]?token)"
_INTRODUCED = r"(?i:\b(?:my (?:full )?name is|my name's|i am called|mein name ist|je m'appelle|me llamo))"
_NAME = r"[A-ZÀ-ÖØ-ÞĀ-Ž][\w'’-]*"
_PARTICLES = r"(?:(?:de|van|von|der|la|da|al|bin) +){0,2}"

_RULES = (
    *(_Rule(kind="SECRET", pattern=re.compile(token, _A)) for token in _TOKENS),
    _Rule(
        kind="SECRET",
        pattern=re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://([^\s/:@\[\]]+:[^\s/@\[\]]+)@", _A),
        group=1,
    ),
    _Rule(kind="SECRET", pattern=re.compile(r"(?i)\bbearer\s+([\w.~+/=-]{16,})", _A), group=1),
    _Rule(
        kind="SECRET",
        pattern=re.compile(rf"(?i)\b{_SAID}\b[\"']?(?:\s+is|\s*[:=])\s*[\"']?([^\s\"'\[\],;]{{4,}})", _A),
        group=1,
    ),
    _Rule(
        kind="EMAIL",
        pattern=re.compile(r"[\w.+%-]{1,64}(?<!\.)@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}"),
    ),
    _Rule(
        kind="IBAN",
        pattern=re.compile(r"\b[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,3})?\b", _A),
        holds=iban,
    ),
    _Rule(kind="CARD", pattern=re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])", _A), holds=luhn),
    _Rule(
        kind="IP",
        pattern=re.compile(r"(?<![\w.:])(?:\d{1,3}\.){3}\d{1,3}(?![\w:]|\.\d)", _A),
        holds=_address,
    ),
    _Rule(
        kind="IP",
        pattern=re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:)[0-9A-Fa-f:]{3,39}(?![\w:])", _A),
        holds=lambda text: len(text) > 4 and _address(text),
    ),
    _Rule(
        kind="PHONE",
        pattern=re.compile(r"(?<![\w+])\+\d[\d ()./-]{5,20}\d(?!\w)", _A),
        holds=_telephone,
    ),
    _Rule(
        kind="PHONE",
        pattern=re.compile(
            r"(?<![\w+.,/-])(?:\(\d{2,5}\)[ -]?|0\d{1,4}[ /-]|\d{3}[-. ])\d{3,4}[-. ]\d{3,5}(?![\w-])", _A
        ),
        holds=_telephone,
    ),
    _Rule(
        kind="NAME", pattern=re.compile(rf"{_INTRODUCED} +({_NAME}(?: +{_PARTICLES}{_NAME}){{0,2}})"), group=1
    ),
    _Rule(
        kind="NAME",
        pattern=re.compile(rf"\b(?:Mr|Mrs|Ms|Mx|Dr|Prof)\.? +({_NAME}(?: +{_PARTICLES}{_NAME})?)"),
        group=1,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternScrubber:
    """The default: patterns and check digits. See the module for what it does not find."""

    def scrub(self, text: str) -> Scrubbed:
        found: Counter[str] = Counter()
        before = None
        while text != before:  # what was replaced may have hidden the beginning of something else
            before = text
            for rule in _RULES:
                text = rule.pattern.sub(partial(_replaced, rule, found), text)
        return Scrubbed(text=text, found=dict(found))


def _replaced(rule: _Rule, found: Counter[str], match: re.Match[str]) -> str:
    hit = match[rule.group]
    if not rule.holds(hit) or hit.startswith("["):
        return match[0]
    found[rule.kind] += 1
    start, end = match.start(rule.group) - match.start(), match.end(rule.group) - match.start()
    return f"{match[0][:start]}[{rule.kind}]{match[0][end:]}"
