"""Contrast sets: a minimally changed input with another right answer, written by people (Gardner et al. 2020,
arXiv:2004.02709; HELM, ``contrast_sets_perturbation.py``)."""

from __future__ import annotations

import random as rng
from dataclasses import dataclass, replace

from commonweal.evals.instance import Instance
from commonweal.evals.perturbations.perturbation import Kind
from commonweal.evals.perturbations.text import below


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastSets:
    """One of the instance's contrasts at random; None where it has none."""

    name: str = "contrast_sets"
    kind: Kind = "robustness"
    version: str = "1"
    source: str = "Gardner et al. 2020, arXiv:2004.02709: the data's own"

    def apply(self, instance: Instance, random: rng.Random) -> Instance | None:
        contrasts = instance.contrasts
        if not contrasts:
            return None
        taken = contrasts[below(len(contrasts), random)]
        return replace(instance, input=taken.input, references=taken.references, perturbation=self.name)
