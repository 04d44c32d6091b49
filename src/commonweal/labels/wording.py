"""Numbers and moments as a label says them: in figures that a person reads, and the same on every machine."""

from __future__ import annotations

from datetime import UTC, datetime

JOULES_IN_KWH = 3.6e6


def rounded(number: float) -> str:
    """Three figures, with a word for the size.

    >>> rounded(937), rounded(937088), rounded(3_021_943), rounded(7.2e9), rounded(1.5e13)
    ('937', '937 thousand', '3.02 million', '7.2 billion', '15 trillion')
    """
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if abs(number) >= size:
            return f"{number / size:.3g} {word}"
    return f"{number:.3g}"


def data_size(size: float) -> str:
    """
    >>> data_size(512), data_size(7_809_224), data_size(2.5e9)
    ('512 bytes', '7.81 MB', '2.5 GB')
    """
    for unit, word in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {word}"
    return f"{size:.0f} bytes"


def power_of_ten(number: float) -> str:
    """
    >>> power_of_ten(5.31e13), power_of_ten(0)
    ('5.3 x 10^13', '0')
    """
    if not number:
        return "0"
    digits, _, exponent = f"{number:.1e}".partition("e")
    return f"{digits} x 10^{int(exponent)}"


def hours(number: float) -> str:
    """
    >>> hours(0.004), hours(0.31), hours(12.345), hours(40_000)
    ('0.004 hours', '0.31 hours', '12.3 hours', '40,000 hours')
    """
    return f"{number:,.0f} hours" if number >= 100 else f"{number:.3g} hours"


def lasted(seconds: float) -> str:
    """
    >>> lasted(42), lasted(95), lasted(7300), lasted(200_000)
    ('42 seconds', '1.6 minutes', '2 hours', '2.3 days')
    """
    for size, word in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size * 1.5 or (word == "hours" and seconds >= 5400):
            return f"{seconds / size:.2g} {word}"
    return f"{seconds:.0f} seconds"


def energy(kwh: float) -> str:
    """
    >>> energy(0.0031), energy(0.42), energy(1200)
    ('3.1 Wh', '0.42 kWh', '1,200 kWh')
    """
    if kwh < 0.1:
        return f"{1000 * kwh:.2g} Wh"
    return f"{kwh:,.0f} kWh" if kwh >= 100 else f"{kwh:.2g} kWh"


def moment(seconds: float) -> str:
    """
    >>> moment(0)
    '1970-01-01'
    """
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def counted(number: int, one: str, many: str = "") -> str:
    """
    >>> counted(1, "machine"), counted(1200, "machine"), counted(2, "body", "bodies")
    ('1 machine', '1,200 machines', '2 bodies')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def short(text: object) -> str:
    """The beginning of whatever a stranger sent."""
    return str(text)[:400]
