"""Fifty instances of a run in full: the exact prompts, what the model wrote, what was made of it, and every number.

What all of a page have in common is said once: what their prompts begin with, and what was sent with every request.
The forms of an instance (itself, and each perturbation) stand side by side. A text of more than ``LONGEST`` characters,
or of less where the page would be too large, is shown in part, with a link to all of it as a file of plain text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.placeless import placeless
from commonweal.evals.summary.runs import SavedRun
from commonweal.web.site import addresses
from commonweal.web.site.listing import OUTCOMES, anchor, pager, way
from commonweal.web.site.page import File, Link, Page
from commonweal.web.site.pictures import Picture, Pictures
from commonweal.web.site.requests import Asked, asked_of, facts_of, parsed
from commonweal.web.site.samples import SHARD, Brief, Detail, Outcome
from commonweal.web.site.state import Site
from commonweal.web.site.texts import Text, Texts


@dataclass(
    slots=True, kw_only=True
)  # not frozen, as a site has millions of them: that takes three times as long
class Form:
    """An instance as it was asked once: original or perturbed, in one trial. ``input`` is None where it stands in the
    one prompt of the instance, ``output`` where it is what the model wrote, but for white space around it."""

    name: str
    outcome: Outcome
    word: str
    input: Text | None
    images: Sequence[Picture]
    output: Text | None
    outputs: Sequence[Text]
    probabilities: Sequence[tuple[str, float]]
    annotations: Sequence[tuple[str, Text]]
    failure: str
    asked: Sequence[Asked]


@dataclass(
    slots=True, kw_only=True
)  # not frozen, as a site has millions of them: that takes three times as long
class Instance:
    """``references`` are each a text, whether it is correct, and its grade. ``numbers`` are those of the metrics, in
    their order, of each form (None: it has none). ``inside`` is the input where it stands in the prompt."""

    id: str
    anchor: str
    split: str
    subset: str
    references: Sequence[tuple[str, bool, int]]
    forms: Sequence[Form]
    metrics: tuple[str, ...]
    numbers: Sequence[Sequence[float | None]]
    inside: str
    next_wrong: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstancesPage(Page):
    """``beginnings`` are what prompts begin with, which texts name by their numbers from 1; ``common`` is what was sent
    with every request; ``metrics`` are the names of the numbers with what they are."""

    template: ClassVar[str] = "instances.html"

    run: Link
    metric: str
    number: int
    first: int
    total: int
    beginnings: Sequence[str]
    common: Sequence[tuple[str, str]]
    instances: Sequence[Instance]
    metrics: Sequence[tuple[str, str]]
    pager: Sequence[Link]


def pages(site: Site, run: SavedRun) -> Iterator[InstancesPage | File]:
    pictures: set[str] = set()
    for number, details in site.samples(run).shards():
        made = _Shard(site, run, number, details)
        yield made.page()
        yield from made.texts.files
        yield from made.pictures.files(pictures)


def page(site: Site, run: SavedRun, number: int) -> InstancesPage | None:
    made = _found(site, run, number)
    return made.page() if made else None


def text_file(site: Site, run: SavedRun, number: int, name: str) -> File | None:
    """One of the long texts of a shard."""
    made = _found(site, run, number)
    if made is None:
        return None
    made.page()
    path = addresses.text(run.model, run.name, number, name)
    return next((file for file in made.texts.files if file.path == path), None)


def _found(site: Site, run: SavedRun, number: int) -> _Shard | None:
    samples = site.samples(run)
    return _Shard(site, run, number, samples.shard(number)) if 1 <= number <= samples.digest.shards else None


class _Shard:
    """A page in the making. ``texts`` are the long ones and ``pictures`` those on it, when it is made."""

    def __init__(self, site: Site, run: SavedRun, number: int, details: Sequence[Detail]) -> None:
        self._run, self._number, self._details = run, number, details
        self._samples = site.samples(run)
        self._folder = addresses.folder(run.model, run.name)
        rows = [row for one in details for row in one.requests]
        self._common, facts = facts_of(rows)
        self._facts = {id(row): told for row, told in zip(rows, facts, strict=True)}
        self.texts = Texts(run, number, details)
        self.pictures = Pictures(run)

    def page(self) -> InstancesPage:
        run, number, details = self._run, self._number, self._details
        digest = self._samples.digest
        first = (number - 1) * SHARD
        briefs: dict[str, list[Brief]] = {one.id: [] for one in details}
        for brief in self._samples.by_shard[number]:
            briefs[brief.id].append(brief)
        instances = [self._instance(place, one, briefs[one.id]) for place, one in enumerate(details, 1)]
        names = dict.fromkeys(
            name for metrics in {one.metrics: None for one in instances} for name in metrics
        )
        return InstancesPage(
            path=addresses.shard(run.model, run.name, number),
            title=f"{run.name}, {run.model}: instances {first + 1} to {first + len(details)}",
            trail=(*way(run), Link(text="Run", path=addresses.run(run.model, run.name))),
            run=Link(text=run.name, path=addresses.run(run.model, run.name)),
            metric=run.main_metric,
            number=number,
            first=first + 1,
            total=len(digest.ids),
            beginnings=self.texts.beginnings,
            common=self._common,
            instances=instances,
            metrics=[(name, about(name)) for name in names],
            pager=pager(number, digest.shards, lambda n: addresses.shard(run.model, run.name, n)),
        )

    def _instance(self, place: int, detail: Detail, briefs: Sequence[Brief]) -> Instance:
        original = detail.instances[0]
        wrong = self._samples.next_wrong.get(detail.id)
        alone = len(briefs) == 1 and len(detail.requests) == 1
        inside = ""
        if alone:
            prompt = detail.requests[0]["prompt"]
            text = original["input"]
            if prompt and text and self.texts.shows(prompt, text):
                inside = text
        metrics, numbers = _scores(self._run.main_metric, detail, briefs)
        return Instance(
            id=detail.id,
            anchor=anchor(detail.id),
            split=original["split"] or "",
            subset=original["subset"] or "",
            references=original["references"] or (),
            forms=[
                self._form(f"{place}-{n}", detail, brief, alone=alone, inside=bool(inside))
                for n, brief in enumerate(briefs, 1)
            ],
            metrics=metrics,
            numbers=numbers,
            inside=inside,
            next_wrong=f"{self._folder}/instances-{wrong.shard}.html#{anchor(wrong.id)}" if wrong else "",
        )

    def _form(self, name: str, detail: Detail, brief: Brief, *, alone: bool, inside: bool) -> Form:
        if alone:
            instance, sample, requests = detail.instances[0], detail.samples[0], detail.requests
        else:
            instance = next(
                (row for row in detail.instances if row["perturbation"] == brief.perturbation),
                detail.instances[0],
            )
            sample = next(row for row in detail.samples if _same(row, brief))
            requests = [row for row in detail.requests if _same(row, brief)]
        output = sample["output"] or ""
        shown = self.texts.shown
        texts = [reference[0] for reference in instance["references"] or ()]
        outputs = sample["outputs"] or ()
        title = brief.perturbation or "as it is"
        return Form(
            name=f"{title}, trial {brief.trial + 1}" if brief.trial else title,
            outcome=brief.outcome,
            word=OUTCOMES[brief.outcome],
            input=None if inside else shown(instance["input"] or "", f"{name}-input"),
            images=[self.pictures.shown(image) for image in instance["images"]] if instance["images"] else (),
            output=None
            if alone and output and output == (requests[0]["completion"] or "").strip()
            else shown(output, f"{name}-output"),
            outputs=[shown(text or "", f"{name}-output-{n}") for n, text in enumerate(outputs, 1)],
            probabilities=list(zip(texts, sample["probabilities"] or (), strict=False)),
            annotations=[
                (key, shown(text, f"{name}-annotation-{n}"))
                for n, (key, text) in enumerate(parsed(sample["annotations"]), 1)
            ]
            if sample["annotations"]
            else (),
            failure=placeless(f"{sample['failure']}: {sample['message'] or ''}".rstrip(": "))
            if sample["failure"]
            else "",
            asked=asked_of(
                self.texts,
                self.pictures,
                name,
                [(row, self._facts[id(row)]) for row in requests],
                first=not brief.perturbation and not brief.trial,
            ),
        )


def _same(row: Mapping[str, Any], brief: Brief) -> bool:
    return bool(row["perturbation"] == brief.perturbation and row["trial"] == brief.trial)


def _scores(
    main: str, detail: Detail, briefs: Sequence[Brief]
) -> tuple[tuple[str, ...], Sequence[Sequence[float | None]]]:
    """The names, the main metric first, and the numbers of each form."""
    if len(briefs) == 1 and len(detail.scores) == 1:
        [found] = detail.scores
        if found.names[0] == main or main not in found.names:
            return found.names, [found.values]
    by_form = {
        (one.perturbation, one.trial): dict(zip(one.names, one.values, strict=True)) for one in detail.scores
    }
    names = dict.fromkeys(name for one in detail.scores for name in one.names)
    ordered = tuple(sorted(names, key=lambda name: name != main))
    told = [by_form.get((brief.perturbation, brief.trial), {}) for brief in briefs]
    return ordered, [[numbers.get(name) for name in ordered] for numbers in told]


def about(name: str) -> str:
    """What a metric is, "" for one that is not ours."""
    definition = DEFINITIONS.get(name) or DEFINITIONS.get(name.partition("@")[0])
    return definition.description if definition else ""
