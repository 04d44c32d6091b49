"""Sizes, speeds, times and states as the pool's pages say them."""

from __future__ import annotations

from datetime import UTC, datetime

_STATES = {
    "working": "working",
    "idle": "waiting for work",
    "paused": "paused by its owner",
    "away": "silent",
    "left": "gone",
    "banned": "banned",
}


def count(number: float | None) -> str:
    """A number with three figures or so.

    >>> count(12), count(1_234), count(56_789_000), count(None)
    ('12', '1.23 k', '56.8 M', '–')
    """
    if number is None:
        return "–"
    for limit, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= limit:
            scaled = number / limit
            return f"{scaled:.0f}{unit}" if scaled >= 100 else f"{scaled:.3g}{unit}"
    return f"{number:.0f}" if number == round(number) or abs(number) >= 100 else f"{number:.2g}"


def size(number: float | None) -> str:
    """Bytes.

    >>> size(0), size(12_345), size(3_000_000)
    ('0 B', '12.3 kB', '3 MB')
    """
    told = count(number)
    return told if number is None else f"{told}B" if " " in told else f"{told} B"


def bits(number: float | None) -> str:
    """A link's speed, of bytes a second.

    >>> bits(1_250_000), bits(None)
    ('10 Mbit/s', '–')
    """
    if number is None:
        return "–"
    told = count(8 * number)
    return f"{told}bit/s" if " " in told else f"{told} bit/s"


def moment(at: float) -> str:
    """
    >>> moment(0.0)
    '1970-01-01 00:00:00 UTC'
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(at: float) -> str:
    """
    >>> iso(0.0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def lasting(seconds: float) -> str:
    """About how long.

    >>> lasting(7.2), lasting(100), lasting(7300), lasting(200_000)
    ('7 s', '2 min', '2 h 2 min', '2 days 7 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} days {hours % 24} h"


def state(word: str) -> str:
    return _STATES.get(word, word)


def counted(number: int, what: str) -> str:
    """
    >>> counted(1, "machine"), counted(1200, "machine")
    ('1 machine', '1,200 machines')
    """
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
