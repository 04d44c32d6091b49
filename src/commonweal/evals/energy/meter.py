"""What a meter is, and what is said of the energy of a run: by which method it was measured, or why it was not.

Knows no machine; the meters there are stand beside this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Meter(Protocol):
    """Counts the energy that a part of the machine takes, whoever makes it work."""

    @property
    def method(self) -> str: ...

    def joules(self) -> float:
        """Joules since the meter was made. Raises OSError where it cannot be read any more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """How the energy of a model's answers is measured (``method``), or ``reason``: why it is not."""

    method: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return self.method or f"not measured: {self.reason}"


ELSEWHERE = Energy(reason="no energy is told: the model runs elsewhere, and servers do not tell it")


class Together:
    """Several meters of different parts of one machine, as one."""

    def __init__(self, meters: Sequence[Meter]) -> None:
        self._meters = tuple(meters)

    @property
    def method(self) -> str:
        return " + ".join(meter.method for meter in self._meters)

    def joules(self) -> float:
        return sum(meter.joules() for meter in self._meters)
