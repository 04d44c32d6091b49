"""Judged score: a judge model rates an answer from 1 to 10 with MT-Bench's prompts (Zheng et al. 2023, section 3.1),
or says which of two answers is better, asked in both orders because judges favour a place (section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from commonweal.evals.instance import Instance
from commonweal.evals.metrics.judge_prompts import (
    PERSUASION,
    SINGLE,
    SINGLE_MATH,
    SINGLE_MATH_TURNS,
    SINGLE_TURNS,
    JudgePrompt,
)
from commonweal.evals.metrics.judging import (
    NO_JUDGE,
    Judge,
    Reasons,
    judge_of,
    not_understood,
    rating,
    verdict,
)
from commonweal.evals.metrics.metric import Definition, Family, Tools
from commonweal.evals.sample import Sample


class JudgeAnnotator:
    """Has each turn of a sample rated. Its findings: ``ratings`` (None where the judge gave none), ``said``,
    ``judge``, and ``missing`` where no turn could be rated."""

    name = "judge"

    def __init__(self, judge: Judge | None) -> None:
        self._judge = judge

    async def annotate(self, sample: Sample) -> Mapping[str, Any]:
        if self._judge is None:
            return {"missing": NO_JUDGE}
        ratings: list[float | None] = []
        said: list[str] = []
        for prompt, values in _questions(sample.instance, answers_of(sample)):
            answer = await self._judge.ask(prompt, **values)
            ratings.append(rating(answer.text))
            said.append(answer.problem or answer.text)
        made: dict[str, Any] = {"ratings": ratings, "said": said, "judge": self._judge.model}
        if all(one is None for one in ratings):
            made["missing"] = not_understood(said[0], "rating") if said else "no answer to rate"
        return made


def answers_of(sample: Sample) -> list[str]:
    """The model's answer to each turn."""
    if sample.instance.turns:
        return [answer.completion.text for answer in sample.answers]
    return [sample.output]


def _questions(instance: Instance, answers: Sequence[str]) -> list[tuple[JudgePrompt, dict[str, str]]]:
    """What the judge is asked about each turn: as FastChat, with reference answers where there are any."""
    known = instance.correct
    made = []
    for turn, answer in enumerate(answers):
        if turn == 0:
            values = {"question": instance.input, "answer": answer}
        else:
            values = {
                "question_1": instance.input,
                "answer_1": answers[0],
                "question_2": instance.turns[turn - 1],
                "answer_2": answer,
            }
        graded = len(known) > turn
        if graded:
            values.update({f"ref_answer_{n}": text for n, text in enumerate(known[: turn + 1], 1)})
        plain, with_reference = (SINGLE, SINGLE_MATH) if turn == 0 else (SINGLE_TURNS, SINGLE_MATH_TURNS)
        made.append((with_reference if graded else plain, values))
    return made[:2]  # MT-Bench has prompts for two turns


class JudgeScore(Reasons):
    """``judge_score``: the mean rating of the turns that were rated; ``judge_score_turn_<n>``: of each."""

    def score(self, sample: Sample) -> dict[str, float]:
        ratings: Sequence[float | None] = self.found(sample.annotations.get("judge")).get("ratings", ())
        given = {turn: value for turn, value in enumerate(ratings, 1) if value is not None}
        if not given:
            return {}
        made = {"judge_score": sum(given.values()) / len(given)}
        if len(ratings) > 1:
            made.update({f"judge_score_turn_{turn}": value for turn, value in given.items()})
        return made


class PairwiseAnnotator:
    """Has an answer compared with the correct reference, in both orders. Its findings: ``verdicts`` ("win", "loss",
    "tie" of the model, None where the judge gave none), ``said``, ``judge``."""

    name = "pairwise_judge"

    def __init__(self, judge: Judge | None) -> None:
        self._judge = judge

    async def annotate(self, sample: Sample) -> Mapping[str, Any]:
        if self._judge is None:
            return {"missing": NO_JUDGE}
        if not sample.instance.correct:
            return {"missing": "the instance has nothing to compare with"}
        mine, other = sample.output, sample.instance.correct[0]
        question = str(sample.instance.extra.get("question", sample.instance.input))
        verdicts: list[str | None] = []
        said: list[str] = []
        for first, second, winner in ((mine, other, "A"), (other, mine, "B")):
            answer = await self._judge.ask(PERSUASION, question=question, answer_a=first, answer_b=second)
            verdicts.append(_outcome(verdict(answer.text), winner))
            said.append(answer.problem or answer.text)
        made: dict[str, Any] = {"verdicts": verdicts, "said": said, "judge": self._judge.model}
        if None in verdicts:
            made["missing"] = not_understood(said[verdicts.index(None)], "verdict")
        return made


def _outcome(given: str | None, winner: str) -> str | None:
    if given is None:
        return None
    return "tie" if given == "C" else "win" if given == winner else "loss"


class PairwiseScore(Reasons):
    """``pairwise_win_rate``: 1 for a win in both orders, 0 for a loss in both, 1/2 for ties and for verdicts that
    change with the order; ``pairwise_consistency``: whether they do not."""

    def score(self, sample: Sample) -> dict[str, float]:
        verdicts: Sequence[str] = self.found(sample.annotations.get("pairwise_judge")).get("verdicts", ())
        if len(verdicts) != 2:
            return {}
        same = verdicts[0] == verdicts[1]
        won = {"win": 1.0, "loss": 0.0, "tie": 0.5}[verdicts[0]] if same else 0.5
        return {"pairwise_win_rate": won, "pairwise_consistency": float(same)}


def _annotator(tools: Tools) -> JudgeAnnotator:
    return JudgeAnnotator(judge_of(tools))


def _pairwise(tools: Tools) -> PairwiseAnnotator:
    return PairwiseAnnotator(judge_of(tools))


_SOURCE = "Zheng et al. 2023, arXiv 2306.05685; prompts: FastChat"
JUDGE = Family(
    name="judge",
    make=JudgeScore,
    annotator=_annotator,
    needs=("judge",),
    definitions=(
        Definition(
            name="judge_score",
            title="Judged score",
            aspect="accuracy",
            description="Rating of the answer by a judge model from 1 to 10, mean over the turns of a conversation.",
            source=_SOURCE,
            unit="1 to 10",
        ),
        *(
            Definition(
                name=f"judge_score_turn_{turn}",
                title=f"Judged score, turn {turn}",
                aspect="accuracy",
                description=f"Rating of the answer to turn {turn} by a judge model from 1 to 10.",
                source=_SOURCE,
                unit="1 to 10",
            )
            for turn in (1, 2)
        ),
    ),
)
PAIRWISE_JUDGE = Family(
    name="pairwise_judge",
    make=PairwiseScore,
    annotator=_pairwise,
    needs=("judge",),
    definitions=(
        Definition(
            name="pairwise_win_rate",
            title="Wins against the reference",
            aspect="accuracy",
            description="How often a judge model, asked in both orders, prefers the answer to the reference; a tie, "
            "and a verdict that changes with the order, count one half.",
            source="Zheng et al. 2023, arXiv 2306.05685, section 3.4 (swapping positions)",
        ),
        Definition(
            name="pairwise_consistency",
            title="Consistent verdicts",
            aspect="general",
            description="Share of pairs of which the judge says the same in both orders.",
            source="Zheng et al. 2023, arXiv 2306.05685, section 3.3",
        ),
    ),
)
