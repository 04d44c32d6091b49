"""The adapters, by method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from commonweal.core.completion import Abilities
from commonweal.evals.adaptation import Adaptation, Method
from commonweal.evals.adapters.adapter import Adapter
from commonweal.evals.adapters.asking import Asking
from commonweal.evals.adapters.confidence import ConfidenceAdapter
from commonweal.evals.adapters.generation import GenerationAdapter
from commonweal.evals.adapters.joint import JointAdapter
from commonweal.evals.adapters.language_modeling import LanguageModelingAdapter
from commonweal.evals.adapters.ranking_binary import RankingAdapter
from commonweal.evals.adapters.separate import SeparateAdapter
from commonweal.evals.adapters.tokens import Estimate, TokenCounter


def _tools_adapter(asking: Asking, data_root: Path | None, *, by_text: bool = False) -> Adapter:
    from commonweal.evals.adapters.tools import ToolsAdapter

    return ToolsAdapter(asking, data_root=data_root, by_text=by_text)


ADAPTERS: Mapping[Method, Callable[[Asking, Path | None], Adapter]] = {
    "generation": lambda asking, _: GenerationAdapter(asking),
    "multiple_choice_joint": lambda asking, _: JointAdapter(asking),
    "multiple_choice_separate": lambda asking, _: SeparateAdapter(asking),
    "multiple_choice_separate_calibrated": lambda asking, _: SeparateAdapter(asking, calibrated=True),
    "language_modeling": lambda asking, _: LanguageModelingAdapter(asking),
    "ranking_binary": lambda asking, _: RankingAdapter(asking),
    "tools": _tools_adapter,
    "tools_by_text": partial(_tools_adapter, by_text=True),
}


def make_adapter(
    adaptation: Adaptation,
    *,
    model: str,
    abilities: Abilities,
    tokens: TokenCounter | None = None,
    data_root: Path | None = None,
) -> Adapter:
    """The adapter that carries out ``adaptation`` (after :func:`commonweal.evals.adapters.resolve.resolve`) for a
    model. Without the model's own ``tokens`` prompts are fitted by a conservative estimate; the databases that tools
    query lie below ``data_root``."""
    asking = Asking(adaptation, model=model, abilities=abilities, tokens=tokens or Estimate())
    adapter = ADAPTERS[adaptation.method](asking, data_root)
    return ConfidenceAdapter(adapter, asking) if adaptation.confidence else adapter
