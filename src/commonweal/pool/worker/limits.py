"""When and how much the owner of a machine wants it to work: the words of the flags, and the decision. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from commonweal.core.errors import UserError

DAY = 24 * 60
_RESUME_SHARE = 0.75
"""A machine paused for its load goes on at this share of the limit, so that it does not flap around it."""

_SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12} | {
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
_NUMBER = r"(\d{1,12}(?:\.\d{1,6})?)\s*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """A span of the day, in minutes since local midnight; over midnight if it ends before it starts."""

    start: int
    end: int

    def __contains__(self, minute: int) -> bool:
        if self.start <= self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end

    def __str__(self) -> str:
        return f"{_clock(self.start)}-{_clock(self.end)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``memory`` is the bytes that the member may hold; ``max_load`` is the share of the machine's cores that others
    may use before the member gives way."""

    memory: int | None = None
    hours: Hours | None = None
    on_battery: bool = False
    max_load: float | None = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How things stand: the minute of the local day, whether the machine runs on its battery, the share (0 to 1) of its
    cores that everything but this process has used lately, and the bytes of memory that this process holds."""

    minute: int
    on_battery: bool
    others_load: float
    own_memory: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Why not to work. ``at_once``: hand back the unit in hand, instead of finishing it first."""

    reason: Literal["memory", "hours", "battery", "load", "disk", "failures"]
    message: str
    at_once: bool = False


def may_work(limits: Limits, conditions: Conditions, *, paused_for: str | None = None) -> Pause | None:
    """None if the machine may work now, or the first reason why not. ``paused_for`` is the reason of the pause
    that it is in already.

    A unit lasts minutes. Out of hours or under load it is finished; but nobody wants to see a battery drained, or a
    machine that swaps.
    """
    if limits.memory is not None and conditions.own_memory > limits.memory:
        held, allowed = conditions.own_memory / 1e9, limits.memory / 1e9
        message = f"it holds {held:.2f} GB of memory, and {allowed:.2f} GB are allowed"
        return Pause(reason="memory", message=message, at_once=True)
    if conditions.on_battery and not limits.on_battery:
        return Pause(reason="battery", message="the machine runs on its battery", at_once=True)
    if limits.hours is not None and conditions.minute not in limits.hours:
        return Pause(reason="hours", message=f"it works from {_clock(limits.hours.start)} on")
    if limits.max_load is not None:
        most = limits.max_load * (_RESUME_SHARE if paused_for == "load" else 1.0)
        if conditions.others_load > most:
            used = f"{conditions.others_load:.0%}"
            return Pause(reason="load", message=f"others use {used} of the machine")
    return None


def parse_hours(text: str) -> Hours:
    """A span of the day.

    >>> str(parse_hours("22-7")), str(parse_hours("8:30-17:00"))
    ('22:00-07:00', '08:30-17:00')
    """
    found = re.fullmatch(r"\s*(\d{1,2})(?::(\d\d))?\s*-\s*(\d{1,2})(?::(\d\d))?\s*", text, re.ASCII)
    if found:
        start, end = (int(found[i]) * 60 + int(found[i + 1] or 0) for i in (1, 3))
        minutes_good = all(int(found[i] or 0) < 60 for i in (2, 4))
        if minutes_good and start < DAY and end <= DAY and start != end:
            return Hours(start=start, end=end)
    raise UserError(f"'{text[:40]}' is not a span of hours", hint="write it as 22-7 or 8:30-17:00")


def parse_rate(text: str) -> float:
    """A speed, in bytes a second. Small b and 'bit' are bits, as links are sold.

    >>> parse_rate("10mbit"), parse_rate("500kbit/s"), parse_rate("2MB/s")
    (1250000.0, 62500.0, 2000000.0)
    """
    bits = re.fullmatch(_NUMBER + r"([kmgt]?)bit(?:/s)?", text.strip().lower(), re.ASCII)
    if bits and float(bits[1]) > 0:
        return float(bits[1]) * _SIZES[bits[2]] / 8
    sized = re.fullmatch(_NUMBER + r"([kKmMgGtT]?i?)B/s", text.strip(), re.ASCII)
    if sized and sized[2].lower() in _SIZES and float(sized[1]) > 0:
        return float(sized[1]) * _SIZES[sized[2].lower()]
    raise UserError(f"'{text[:40]}' is not a speed", hint="write it as 10mbit, 500kbit or 2MB/s")


def parse_size(text: str) -> int:
    """A number of bytes.

    >>> parse_size("4GB"), parse_size("1.5 GiB"), parse_size("512m")
    (4000000000, 1610612736, 512000000)
    """
    found = re.fullmatch(_NUMBER + r"([kmgt]?i?)b?", text.strip().lower(), re.ASCII)
    if found and found[2] in _SIZES and float(found[1]) > 0:
        return int(float(found[1]) * _SIZES[found[2]])
    raise UserError(f"'{text[:40]}' is not a size", hint="write it as 4GB, 512MB or 1.5GiB")


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
