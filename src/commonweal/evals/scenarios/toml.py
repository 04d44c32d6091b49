"""A user's own scenario, from a TOML file. Knows the common shapes; what they lack takes a few lines of Python.

The least that works, over ``capitals.jsonl`` beside it (rows with ``question``, ``choices`` and ``answer``):

    name = "capitals"
    shape = "multiple_choice"
    file = "capitals.jsonl"

Shapes: ``multiple_choice`` (choices and the one that is right), ``question_answering`` (answers that are all right),
``classification`` (a label), ``generation`` (free text, with or without a reference). ``columns`` says where a row has
its parts, ``prompt`` how it is asked; ``[hub]`` in place of ``file`` reads a Hugging Face data set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from commonweal.core.config import load_toml
from commonweal.core.errors import ConfigError
from commonweal.evals.adaptation import Adaptation, Ask, Method
from commonweal.evals.instance import Instance, Reference, Split
from commonweal.evals.loading.fields import bad
from commonweal.evals.loading.fields import field as read_field
from commonweal.evals.metrics import registry as metrics
from commonweal.evals.scenario import Args, Hub, Loader, Local, Origin, Row, Scenario
from commonweal.evals.scenarios.choices import question
from commonweal.evals.scenarios.helm_adaptations import ANSWER, CHOICE, LABEL, METHODS, SUMMARY, by_method
from commonweal.evals.scenarios.prompting import completion, generation, joint

Shape = Literal["multiple_choice", "question_answering", "classification", "generation"]

_HOLE = re.compile(r"\{([^{}]+)\}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Where a row has its parts. ``input`` is a column, or a template with columns in braces, ``"{title}: {body}"``.
    ``choices`` is a column with a list, or the columns of the single choices. ``answer`` is the right choice (its
    place, its letter or its text), an answer or a list of answers, or a label; "" where there is none. ``id`` and
    ``subset`` are optional."""

    input: str = ""
    choices: str | list[str] = "choices"
    answer: str = "answer"
    id: str = ""
    subset: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubData:
    """A Hugging Face data set in place of a file; ``train`` is the split of the examples."""

    path: str
    revision: str = "main"
    split: str = "test"
    train: str = ""
    config: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is to differ from the shape's own prompt: fields of an :class:`~commonweal.evals.adaptation.Adaptation`.
    ``instructions`` ends with its own newline."""

    method: Method | None = None
    instructions: str | None = None
    input_prefix: str | None = None
    input_suffix: str | None = None
    reference_prefix: str | None = None
    reference_suffix: str | None = None
    output_prefix: str | None = None
    output_suffix: str | None = None
    instance_prefix: str | None = None
    system: str | None = None
    ask: Ask | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    outputs: int | None = None
    trials: int | None = None
    stop: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The keys of the file. ``file`` and ``train`` are paths from the file's own folder. ``shots`` is 5 where there is
    a train split, else 0. ``first`` is the place of the first choice where an answer is a place. ``labels`` are the
    label's words by its number, or the allowed labels."""

    name: str
    shape: Shape
    file: str = ""
    train: str = ""
    hub: HubData | None = None
    columns: Columns = field(default_factory=Columns)
    prompt: Prompt = field(default_factory=Prompt)
    shots: int | None = None
    first: int = 0
    labels: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    main_metric: str = ""
    title: str = ""
    description: str = ""
    source: str = ""
    licence: str = "unknown"
    tags: tuple[str, ...] = ()
    version: int = 1

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ValueError(f"name: {self.name!r} may have letters, digits, '_', '-' and '.' alone")
        if bool(self.file) == (self.hub is not None):
            raise ValueError('file: give either file = "..." or a [hub] table')
        if self.shots and not (self.train or (self.hub and self.hub.train)):
            raise ValueError("shots: there are no examples to show; give train (a file, or hub.train)")
        if (self.file and self.file == self.train) or (self.hub and self.hub.split == self.hub.train):
            raise ValueError("train: these are the instances that are asked; examples must be other ones")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A shape: how it is asked and judged unless the file says otherwise, and how its references are read."""

    adaptation: Adaptation
    metrics: tuple[str, ...]
    main_metric: str
    input: str


_KINDS: Mapping[Shape, _Kind] = {
    "multiple_choice": _Kind(
        adaptation=joint(
            instructions="The following are multiple choice questions (with answers).", input_noun="Question"
        ),
        metrics=CHOICE,
        main_metric="exact_match",
        input="question",
    ),
    "question_answering": _Kind(
        adaptation=generation(input_noun="Question", output_noun="Answer", max_tokens=100),
        metrics=ANSWER,
        main_metric="f1_score",
        input="question",
    ),
    "classification": _Kind(
        adaptation=generation(input_noun="Passage", output_noun="Label", max_tokens=30),
        metrics=LABEL,
        main_metric="quasi_exact_match",
        input="text",
    ),
    "generation": _Kind(
        adaptation=completion(max_tokens=512),
        metrics=SUMMARY,
        main_metric="rouge_l",
        input="input",
    ),
}


def load_scenario(path: Path) -> tuple[Scenario, Args]:
    """The scenario that ``path`` describes, and its arguments (none: their defaults). Raises ConfigError naming the
    file and the key."""
    settings = load_toml(path, Settings)
    kind = _KINDS[settings.shape]
    measured = settings.metrics or kind.metrics
    main_metric = settings.main_metric or kind.main_metric
    _check_metrics(path, measured, main_metric)
    chooses = settings.shape == "multiple_choice"
    scenario = Scenario(
        name=settings.name,
        title=settings.title or settings.name,
        description=settings.description,
        source=settings.source or settings.file or (settings.hub.path if settings.hub else ""),
        licence=settings.licence,
        read=partial(_read, settings, path.resolve().parent),
        adaptation=_adaptation(path, settings, kind),
        main_metric=main_metric,
        metrics=measured,
        tags=settings.tags,
        args={"method": METHODS} if chooses else {},
        version=settings.version,
        vary=by_method if chooses else None,
    )
    return scenario, {}


def _check_metrics(path: Path, names: tuple[str, ...], main_metric: str) -> None:
    try:
        given = {d.name for family in metrics.families(names) for d in family.definitions}
        metrics.definition(main_metric)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint) from None
    if main_metric not in given:
        raise ConfigError(
            f"{path}: main_metric: none of the metrics gives '{main_metric}'",
            hint=f"they give: {', '.join(sorted(given))}",
        )


def _adaptation(path: Path, settings: Settings, kind: _Kind) -> Adaptation:
    changes: dict[str, Any] = {
        key: value for key, value in asdict(settings.prompt).items() if value is not None
    }
    has_examples = bool(settings.train or (settings.hub and settings.hub.train))
    shots = settings.shots if settings.shots is not None else 5 if has_examples else 0
    try:
        return replace(kind.adaptation, **changes, shots=shots)
    except ValueError as error:
        raise ConfigError(f"{path}: prompt: {error}") from None


def _read(settings: Settings, folder: Path, loader: Loader, args: Args) -> Iterator[Instance]:
    for split, origin in _origins(settings, folder):
        for number, row in enumerate(loader.rows(origin)):
            yield _instance(settings, row, number, split)


def _origins(settings: Settings, folder: Path) -> Iterator[tuple[Split, Origin]]:
    hub = settings.hub
    if settings.train:
        yield "train", Local(path=str(folder / settings.train))
    if hub is not None:
        for split in (hub.train, hub.split):
            if split:
                told: Split = "train" if split == hub.train else "test"
                yield told, Hub(path=hub.path, revision=hub.revision, split=split, config=hub.config)
    else:
        yield "test", Local(path=str(folder / settings.file))


def _instance(settings: Settings, row: Row, number: int, split: Split) -> Instance:
    columns = settings.columns
    id = str(row[columns.id]) if columns.id and columns.id in row else f"{split}-{number}"
    subset = str(row.get(columns.subset, "")) if columns.subset else ""
    text = _filled(columns.input or _KINDS[settings.shape].input, row)
    if settings.shape == "multiple_choice":
        choices = _choices(columns.choices, row)
        return question(row, text, choices, _place(settings, row, choices), id=id, split=split, subset=subset)
    return Instance(id=id, input=text, references=_references(settings, row), split=split, subset=subset)


def _filled(template: str, row: Row) -> str:
    """A column's text, or the template with its columns filled in."""
    if "{" not in template:
        return _word(row, template)
    return _HOLE.sub(lambda hole: _word(row, hole[1]), template)


def _word(row: Row, name: str) -> str:
    value = row.get(name)
    return str(value) if isinstance(value, (int, float)) else read_field(row, name)


def _choices(columns: str | list[str], row: Row) -> list[str]:
    if isinstance(columns, list):
        return [_word(row, name) for name in columns]
    return [str(choice) for choice in read_field(row, columns, list)]


def _place(settings: Settings, row: Row, choices: list[str]) -> int:
    """Which choice is right: the answer is its text, its letter, or its place (counted from ``first``)."""
    answer = row.get(settings.columns.answer)
    if isinstance(answer, str):
        if answer in choices:
            return choices.index(answer)
        letter = ord(answer.strip().upper()) - ord("A") if len(answer.strip()) == 1 else -1
        if 0 <= letter < len(choices):
            return letter
    place = read_field(row, settings.columns.answer, int) - settings.first
    if not 0 <= place < len(choices):
        raise bad(
            row,
            f"field '{settings.columns.answer}' should name one of {len(choices)} choices, but is {answer!r}",
        )
    return place


def _references(settings: Settings, row: Row) -> tuple[Reference, ...]:
    name = settings.columns.answer
    if not name or (settings.shape == "generation" and name not in row):
        return ()
    given = row.get(name)
    texts = [str(text) for text in given] if isinstance(given, list) else [_word(row, name)]
    return tuple(Reference(text=_label(settings, row, text), correct=True) for text in texts)


def _label(settings: Settings, row: Row, text: str) -> str:
    labels = settings.labels
    if not labels or text in labels:
        return text
    if text.isdigit() and settings.first <= int(text) < settings.first + len(labels):
        return labels[int(text) - settings.first]
    raise bad(row, f"field '{settings.columns.answer}' should be one of {', '.join(labels)}, but is {text!r}")
