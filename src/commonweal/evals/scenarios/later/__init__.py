"""Scenarios that HELM's core and targeted lists do not have: what later needs asked for."""

from __future__ import annotations

from commonweal.evals.scenario import Scenario
from commonweal.evals.scenarios.later.big_bench_hard import BIG_BENCH_HARD
from commonweal.evals.scenarios.later.injection import INJECTION
from commonweal.evals.scenarios.later.instructions import INSTRUCTIONS
from commonweal.evals.scenarios.later.jailbreak import JAILBREAK
from commonweal.evals.scenarios.later.medicine import MEDICINE
from commonweal.evals.scenarios.later.persuasion import PERSUASION
from commonweal.evals.scenarios.later.pictures import PICTURES
from commonweal.evals.scenarios.later.programs import PROGRAMS
from commonweal.evals.scenarios.later.safety import SAFETY
from commonweal.evals.scenarios.later.text_to_sql import TEXT_TO_SQL
from commonweal.evals.scenarios.later.tool_use import TOOL_USE

LATER: tuple[Scenario, ...] = (
    *MEDICINE,
    *PROGRAMS,
    *BIG_BENCH_HARD,
    *INSTRUCTIONS,
    *TEXT_TO_SQL,
    *SAFETY,
    *INJECTION,
    *JAILBREAK,
    *PERSUASION,
    *PICTURES,
    *TOOL_USE,
)
