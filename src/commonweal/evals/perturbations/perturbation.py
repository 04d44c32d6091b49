"""What a perturbation is: a pure function of an instance and a random stream."""

from __future__ import annotations

import random
from typing import Literal, Protocol

from commonweal.evals.instance import Instance

Kind = Literal["robustness", "fairness"]


class Perturbation(Protocol):
    """``kind`` says which aspect the worst case over it belongs to; ``version`` and ``source`` are those of its word
    lists."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> Kind: ...

    @property
    def version(self) -> str: ...

    @property
    def source(self) -> str: ...

    def apply(self, instance: Instance, random: random.Random) -> Instance | None:
        """The changed instance, with the same id and ``perturbation=name``; None where nothing would change."""
        ...
