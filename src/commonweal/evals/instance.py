"""What a scenario is made of: instances with their references. Plain data, hashable by content.

The words are HELM's (Liang et al. 2022, section 2): an instance is one input with its references, of which some are
correct. A perturbed instance keeps the id of the one that it was made from and names its perturbation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from commonweal.core.completion import Image

Split = Literal["train", "valid", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One possible output. Several may be correct. ``grade`` is the relevance of a ranked passage (0: none)."""

    text: str
    correct: bool = False
    grade: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A minimally changed input with its own references (Gardner et al. 2020)."""

    input: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One input and its references.

    ``subset`` is a part of the scenario that is reported by itself (HELM's sub-split: a subject, a category).
    ``turns`` are what the user says after the first answer.
    ``perturbation`` is the name of what changed this instance, "" for the original.
    """

    id: str
    input: str
    references: tuple[Reference, ...] = ()
    split: Split = "test"
    subset: str = ""
    images: tuple[Image, ...] = ()
    turns: tuple[str, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    perturbation: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def correct(self) -> tuple[str, ...]:
        """The texts of the correct references."""
        return tuple(reference.text for reference in self.references if reference.correct)

    @property
    def is_train(self) -> bool:
        return self.split == "train"
