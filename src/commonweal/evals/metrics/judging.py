"""Asking a judge: a model that reads a model's answer and gives a verdict. One question, one parsed answer.

What the judge said is kept with the verdict. A judge that answers nonsense gives no verdict, and a reason; never a
number that it did not say. A judge that cannot be reached fails the sample, which is then asked again when
the run is resumed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commonweal.core.completion import Completer, CompletionFailed, Message, Request
from commonweal.evals.metrics.judge_prompts import JudgePrompt
from commonweal.evals.metrics.metric import Column, Tools

NO_JUDGE = "no judge"
_ANSWERED = frozenset({"bad_request", "too_long", "refused", "unsupported"})
_RATING = re.compile(r"\[\[(\d+\.?\d*)\]\]")
_RATING_ONCE = re.compile(r"\[(\d+\.?\d*)\]")
_VERDICT = re.compile(r"\[\[([ABC])\]\]")
_SCORE = re.compile(r"<\s*score\s*>(.*?)</?\s*score\s*>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a judge said: its words, or why there are none."""

    text: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A judge model."""

    completer: Completer
    model: str
    max_tokens: int = 2048

    async def ask(self, prompt: JudgePrompt, **values: str) -> Said:
        """Fill in the prompt and ask it, at temperature 0. Raises CompletionFailed where asking again may help."""
        messages = [Message(role="user", content=prompt.fill(**values))]
        if prompt.system:
            messages.insert(0, Message(role="system", content=prompt.system))
        request = Request(model=self.model, messages=tuple(messages), max_tokens=self.max_tokens)
        try:
            completion = await self.completer.complete(request)
        except CompletionFailed as error:
            if error.kind in _ANSWERED:
                return Said(problem=f"the judge did not answer ({error.kind}): {error.message}")
            raise
        return Said(text=completion.text)


def judge_of(tools: Tools) -> Judge | None:
    """The judge that the user named, None where there is none."""
    return None if tools.judge is None else Judge(completer=tools.judge, model=tools.judge_model)


def rating(text: str, low: float = 1.0, high: float = 10.0) -> float | None:
    """The number in [[double]] brackets, else in [single] ones (FastChat, ``run_judge_single``); None where there is
    none between ``low`` and ``high``.

    >>> rating("Good. Rating: [[7]]"), rating("Rating: seven"), rating("[[70]]")
    (7.0, None, None)
    """
    found = _RATING.search(text) or _RATING_ONCE.search(text)
    if found is None:
        return None
    value = float(found.group(1))
    return value if low <= value <= high else None


def verdict(text: str) -> str | None:
    """A, B or C (a tie), if exactly one of them is given.

    >>> verdict("... [[B]]"), verdict("[[A]] or [[B]]")
    ('B', None)
    """
    found = set(_VERDICT.findall(text))
    return found.pop() if len(found) == 1 else None


def score(text: str) -> float | None:
    """The number from 0 to 1 within <score> tags (HELM, ``model_as_judge.py``), None where there is none."""
    found = _SCORE.search(text)
    try:
        value = float(found.group(1).strip()) if found else -1.0
    except ValueError:
        return None
    return value if 0.0 <= value <= 1.0 else None


def not_understood(text: str, wanted: str) -> str:
    """Why an answer gives no verdict."""
    return f"the judge's answer has no {wanted}: {text.strip()[-120:]!r}"


class Reasons:
    """Base of a metric over annotations that may be missing: remembers why, for the reader of an empty cell."""

    def __init__(self) -> None:
        self._reasons: Counter[str] = Counter()

    def found(self, annotation: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The annotation; {} where it says that it is missing, and why."""
        if annotation is None:
            return {}
        if why := annotation.get("missing"):
            self._reasons[str(why).split(":", 1)[0]] += 1
            return {}
        return annotation

    def reason(self, name: str, columns: Mapping[str, Column]) -> str:
        """Why nothing was measured: the commonest reason."""
        return self._reasons.most_common(1)[0][0] if self._reasons else ""
