"""HELM's core scenarios, and beside them those that HELM Lite adds, SQuAD and ARC. The one list of the family."""

from __future__ import annotations

from commonweal.evals.scenario import Scenario
from commonweal.evals.scenarios.core.boolq import BOOLQ
from commonweal.evals.scenarios.core.civil_comments import CIVIL_COMMENTS
from commonweal.evals.scenarios.core.commonsense import ARC, HELLASWAG, OPENBOOKQA
from commonweal.evals.scenarios.core.imdb import IMDB
from commonweal.evals.scenarios.core.legalbench import LEGALBENCH
from commonweal.evals.scenarios.core.mmlu import MMLU
from commonweal.evals.scenarios.core.msmarco import MSMARCO_REGULAR, MSMARCO_TREC
from commonweal.evals.scenarios.core.narrative_qa import NARRATIVE_QA
from commonweal.evals.scenarios.core.natural_qa import NATURAL_QA
from commonweal.evals.scenarios.core.quac import QUAC
from commonweal.evals.scenarios.core.raft import RAFT
from commonweal.evals.scenarios.core.squad import SQUAD
from commonweal.evals.scenarios.core.summarization import CNN_DM, XSUM
from commonweal.evals.scenarios.core.truthful_qa import TRUTHFUL_QA
from commonweal.evals.scenarios.core.wmt14 import WMT14

CORE: tuple[Scenario, ...] = (
    MMLU,
    BOOLQ,
    NARRATIVE_QA,
    NATURAL_QA,
    QUAC,
    HELLASWAG,
    OPENBOOKQA,
    TRUTHFUL_QA,
    MSMARCO_REGULAR,
    MSMARCO_TREC,
    CNN_DM,
    XSUM,
    IMDB,
    CIVIL_COMMENTS,
    RAFT,
    LEGALBENCH,
    WMT14,
    SQUAD,
    ARC,
)
