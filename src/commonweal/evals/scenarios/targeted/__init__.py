"""HELM's targeted evaluations that need data, and two of their kind (WikiText-2, CrowS-Pairs).

The generated ones of HELM's 26 (synthetic reasoning, Dyck, synthetic efficiency) are in
:mod:`commonweal.evals.scenarios.generated`.
"""

from __future__ import annotations

from commonweal.evals.scenario import Scenario
from commonweal.evals.scenarios.targeted.babi import BABI
from commonweal.evals.scenarios.targeted.bbq import BBQ
from commonweal.evals.scenarios.targeted.blimp import BLIMP
from commonweal.evals.scenarios.targeted.code import APPS, HUMANEVAL
from commonweal.evals.scenarios.targeted.corpora import THE_PILE, TWITTER_AAE, WIKITEXT2
from commonweal.evals.scenarios.targeted.crows_pairs import CROWS_PAIRS
from commonweal.evals.scenarios.targeted.disinformation import REITERATION, WEDGING
from commonweal.evals.scenarios.targeted.entities import DATA_IMPUTATION, ENTITY_MATCHING
from commonweal.evals.scenarios.targeted.ice import ICE
from commonweal.evals.scenarios.targeted.law import LEGAL_SUPPORT, LSAT
from commonweal.evals.scenarios.targeted.mathematics import GSM8K, MATH, MATH_CHAIN_OF_THOUGHT
from commonweal.evals.scenarios.targeted.memorization import COPYRIGHT_CODE, COPYRIGHT_TEXT
from commonweal.evals.scenarios.targeted.open_ended import BOLD, REAL_TOXICITY_PROMPTS
from commonweal.evals.scenarios.targeted.wikifact import WIKIFACT

TARGETED: tuple[Scenario, ...] = (
    BLIMP,
    THE_PILE,
    ICE,
    TWITTER_AAE,
    WIKITEXT2,
    WIKIFACT,
    BABI,
    GSM8K,
    MATH,
    MATH_CHAIN_OF_THOUGHT,
    HUMANEVAL,
    APPS,
    LSAT,
    LEGAL_SUPPORT,
    DATA_IMPUTATION,
    ENTITY_MATCHING,
    COPYRIGHT_TEXT,
    COPYRIGHT_CODE,
    REITERATION,
    WEDGING,
    BBQ,
    BOLD,
    REAL_TOXICITY_PROMPTS,
    CROWS_PAIRS,
)
