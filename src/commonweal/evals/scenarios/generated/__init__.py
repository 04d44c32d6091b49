"""Scenarios that are drawn from the loader's seed and need no data: the suite ``offline`` is made of them.

Together they touch accuracy and calibration (``kinds``), robustness and fairness (``people``), bias and toxicity
(``professions``) and efficiency (``synthetic_efficiency``).
"""

from __future__ import annotations

from commonweal.evals.scenario import Scenario
from commonweal.evals.scenarios.generated.arithmetic import ARITHMETIC, ARITHMETIC_CHAIN_OF_THOUGHT
from commonweal.evals.scenarios.generated.dyck import DYCK
from commonweal.evals.scenarios.generated.efficiency import SYNTHETIC_EFFICIENCY
from commonweal.evals.scenarios.generated.kinds import KINDS
from commonweal.evals.scenarios.generated.long_context import COPYING, NEEDLE
from commonweal.evals.scenarios.generated.people import PEOPLE
from commonweal.evals.scenarios.generated.professions import PROFESSIONS_OPEN_ENDED
from commonweal.evals.scenarios.generated.rules import SYNTHETIC_REASONING_NATURAL
from commonweal.evals.scenarios.generated.symbols import SYNTHETIC_REASONING

GENERATED: tuple[Scenario, ...] = (
    KINDS,
    PEOPLE,
    PROFESSIONS_OPEN_ENDED,
    SYNTHETIC_EFFICIENCY,
    ARITHMETIC,
    ARITHMETIC_CHAIN_OF_THOUGHT,
    SYNTHETIC_REASONING,
    SYNTHETIC_REASONING_NATURAL,
    DYCK,
    COPYING,
    NEEDLE,
)
