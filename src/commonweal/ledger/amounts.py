"""Money: whole micro-credits, never floats. One credit is 1,000,000 micro-credits."""

from __future__ import annotations

from commonweal.core.errors import UserError

MICRO = 1_000_000
LARGEST = 10**17  # 100 billion credits a posting: dozens of these still fit a BIGINT balance


def checked(microcredits: int) -> int:
    """``microcredits`` if it is a sum that can be moved. Raises UserError."""
    if isinstance(microcredits, bool) or not isinstance(microcredits, int):
        raise UserError(f"an amount is a whole number of micro-credits, not {microcredits!r}")
    if not 0 < microcredits <= LARGEST:
        raise UserError(
            f"cannot move {microcredits} micro-credits",
            hint=f"an amount is between 1 and {LARGEST} micro-credits",
        )
    return microcredits


def shown(microcredits: int) -> str:
    """Credits for people to read, exactly.

    >>> shown(1_500_000), shown(-1), shown(12_000_000)
    ('1.5', '-0.000001', '12')
    """
    whole, rest = divmod(abs(microcredits), MICRO)
    decimals = f".{rest:06}".rstrip("0") if rest else ""
    return f"{'-' if microcredits < 0 else ''}{whole:,}{decimals}"
