"""The next token of each row of a step, all at once.

Log-probabilities are the model's own: at temperature 1, of all tokens, before penalties, biases and grammars. So they
can be computed anew by whoever has the model, which auditing does. Only what some row asks for is computed: a step
of rows that want the likeliest token is one argmax and one log-sum-exp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from commonweal.core.completion import LOGPROB_FLOOR, CompletionFailed
from commonweal.models.choosing import Top, sampled, tops
from commonweal.models.engine.grammar import Grammar


@dataclass(slots=True, kw_only=True)
class Rule:
    """How a row chooses. ``bias`` are logits to be added by token; ``penalties`` are OpenAI's frequency and presence
    penalty over the row's own tokens, counted in ``seen`` (V); ``limit`` is how many tokens it may have."""

    limit: int
    temperature: float = 0.0
    top_p: float = 1.0
    draw: Callable[[], float] = lambda: 0.0
    alternatives: int = 0
    penalties: tuple[float, float] = (0.0, 0.0)
    bias: tuple[tuple[int, float], ...] = ()
    grammar: Grammar | None = None
    seen: torch.Tensor | None = None
    made: int = field(default=0)

    @property
    def is_plain(self) -> bool:
        return self.grammar is None and not self.bias and not any(self.penalties)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """By row. ``tops`` are empty where no row asked; ``failed`` are rows that cannot go on, with the reason."""

    ids: list[int]
    logprobs: list[float]
    tops: list[Top]
    failed: dict[int, CompletionFailed]


class Chooser:
    """Chooses for the same ``rules`` step after step."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._special = [i for i, rule in enumerate(rules) if not rule.is_plain]
        self._drawn = [i for i, rule in enumerate(rules) if rule.temperature > 0.0]
        self._all_drawn = len(self._drawn) == len(rules)
        self._heats = [rules[i].temperature for i in self._drawn]
        self._top_ps = [rules[i].top_p for i in self._drawn]
        self._draws = [rules[i].draw for i in self._drawn]
        self._most = max((rule.alternatives for rule in rules), default=0)
        self._biases = {i: _bias(rules[i].bias) for i in self._special if rules[i].bias}

    def choose(self, logits_BV: torch.Tensor) -> Chosen:
        logits_BV = logits_BV.float()
        failed: dict[int, CompletionFailed] = {}
        steered_BV = self._steered(logits_BV, failed) if self._special else logits_BV
        if self._all_drawn and self._drawn:
            ids_B = self._sampled(steered_BV)
        else:
            ids_B = steered_BV.argmax(dim=-1)
            if self._drawn:
                ids_B[self._drawn] = self._sampled(steered_BV[self._drawn])
        norm_B = torch.logsumexp(logits_BV, dim=-1)
        logprobs_B = logits_BV.gather(1, ids_B[:, None])[:, 0] - norm_B
        likeliest = tops(logits_BV[:, None], norm_B[:, None], self._most) if self._most else []
        ids: list[int] = ids_B.tolist()
        logprobs: list[float] = logprobs_B.tolist()
        for i, number in enumerate(logprobs):
            if number != number:
                failed[i] = CompletionFailed("server_error", "the model's numbers are none (NaN)")
            elif number < LOGPROB_FLOOR:
                logprobs[i] = LOGPROB_FLOOR
        for i in self._special:
            seen = self._rules[i].seen
            if seen is not None:
                seen[ids[i]] += 1.0
        return Chosen(ids=ids, logprobs=logprobs, tops=[row[0] for row in likeliest], failed=failed)

    def _sampled(self, logits_DV: torch.Tensor) -> torch.Tensor:
        return sampled(logits_DV, self._heats, self._top_ps, self._draws)

    def _steered(self, logits_BV: torch.Tensor, failed: dict[int, CompletionFailed]) -> torch.Tensor:
        made_BV = logits_BV.clone()
        for i in self._special:
            rule = self._rules[i]
            if rule.seen is not None:
                frequency, presence = rule.penalties
                made_BV[i] -= frequency * rule.seen + presence * (rule.seen > 0)
            if i in self._biases:
                places, values = self._biases[i]
                made_BV[i, places.to(made_BV.device)] += values.to(made_BV.device)
            if rule.grammar is not None:
                try:
                    allowed = torch.from_numpy(rule.grammar.allowed(rule.limit - rule.made))
                except CompletionFailed as error:
                    failed[i] = error
                    continue
                made_BV[i].masked_fill_(~allowed.to(made_BV.device), -torch.inf)
        return made_BV


def _bias(bias: Sequence[tuple[int, float]]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([token for token, _ in bias]), torch.tensor([value for _, value in bias])
