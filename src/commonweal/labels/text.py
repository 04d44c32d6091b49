"""A label for a terminal: 80 columns, a section after another. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from commonweal.labels.card import answer
from commonweal.labels.facts import Label
from commonweal.labels.questions import QUESTIONS, SECTIONS
from commonweal.labels.score import Part, score

WIDTH = 80
_NAME = 19


def lines(label: Label) -> Iterator[str]:
    """The lines of a label, none wider than 80 columns. Control characters are as they were given."""
    counted = score(label)
    yield from textwrap.wrap(f"Label of {label.model}", WIDTH)
    yield "=" * WIDTH
    yield from _rows(
        "Transparency", f"{len(counted.whole.told)} of {counted.whole.asked} indicators disclosed"
    )
    for part in counted.parts.values():
        yield from _rows(f"  {part.domain.lower()}", f"{len(part.told)} of {part.asked}{_apart(part)}")
    yield from _rows(
        "Facts",
        f"{counted.facts_told} disclosed, {counted.facts_untold} not disclosed, "
        f"{counted.facts_not_applicable} do not apply",
    )
    facts = label.by_key()
    for section, title in SECTIONS.items():
        yield ""
        yield title
        yield "-" * WIDTH
        for question in QUESTIONS:
            if question.section == section:
                yield from _rows(question.name, answer(facts[question.key]))
        if section == "evaluation":
            yield from _evaluation(label)
            yield ""
            yield "Known gaps"
            yield "-" * WIDTH
            yield from _gaps(label)


def _apart(part: Part) -> str:
    return f", {len(part.not_applicable)} do not apply" if part.not_applicable else ""


def _evaluation(label: Label) -> Iterator[str]:
    for one in label.evaluations:
        main = one.main
        if main.mean is None:
            said = f"{one.metric}: not measured: {main.reason}"
        else:
            between = "" if main.low is None or main.high is None else f" ({main.low:.3f} to {main.high:.3f})"
            said = f"{one.metric} {main.mean:.3f}{between}, n = {main.n:,}"
        yield from _rows(f"  {one.run}", said)


def _gaps(label: Label) -> Iterator[str]:
    if not label.evaluated:
        yield from _rows("Evaluation", "no runs were looked for (--runs)")
        return
    yield from _rows("Not run", f"{len(label.not_run)} scenarios: " + (", ".join(label.not_run) or "none"))
    reasons: dict[tuple[str, str], list[str]] = {}
    for gap in label.not_measured:
        reasons.setdefault((gap.run, gap.reason), []).append(gap.aspect)
    for (run, reason), aspects in reasons.items():
        yield from _rows(f"  {run}", f"no {', '.join(aspects)}: {reason or 'no reason was saved'}")


def _rows(name: str, text: str) -> Iterator[str]:
    """A name and its text beside it; a long name stands alone."""
    indent = " " * len(name[: len(name) - len(name.lstrip())])
    if len(name) >= _NAME:
        yield from textwrap.wrap(name, WIDTH, initial_indent="", subsequent_indent=indent + "  ")
        head = " " * _NAME
    else:
        head = name.ljust(_NAME)
    body = textwrap.wrap(text, WIDTH - _NAME) or [""]
    yield (head + body[0]).rstrip()
    yield from (" " * _NAME + line for line in body[1:])
