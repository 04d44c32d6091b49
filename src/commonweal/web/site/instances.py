"""Fifty instances of a run in full: the exact prompts, what the model wrote, what was made of it, and every number.

The forms of an instance (itself, and each perturbation) stand side by side. A text of more than ``LONGEST`` characters
is shown in part, with a link to all of it as a file of plain text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.summary.runs import SavedRun
from commonweal.web.site import addresses
from commonweal.web.site.listing import MARKS, OUTCOMES, anchor, pager, way
from commonweal.web.site.page import File, Link, Page
from commonweal.web.site.samples import SHARD, Brief, Detail, Outcome
from commonweal.web.site.state import Site

LONGEST = 20_000
_BEGINNING, _END = 12_000, 2_000
_OPEN = 6_000
_TOKENS = 400

_TEXTS = ("prompt", "messages", "continuation", "completion")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text, or where it is long its beginning and end; ``left_out`` characters are between, and all of it is at
    ``path``."""

    beginning: str
    end: str = ""
    left_out: int = 0
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A message of a chat. ``images`` are the hashes of pictures, which a run does not keep."""

    role: str
    text: Text
    images: Sequence[str] = ()
    calls: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenShown:
    """``sure`` is 0 to 4: how probable it was, in steps of a fifth."""

    text: str
    logprob: float | None
    sure: int
    others: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request. ``same`` is the role of an earlier one of this form that had the same prompt, which is then not
    shown again."""

    role: str
    prompt: Text | None
    turns: Sequence[Turn]
    same: str
    open: bool
    continuation: Text | None
    completion: Text | None
    others: Sequence[Text]
    calls: Sequence[tuple[str, str]]
    tokens: Sequence[TokenShown]
    tokens_left: int
    facts: Sequence[tuple[str, str]]
    failure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """An instance as it was asked once: original or perturbed, in one trial."""

    name: str
    outcome: Outcome
    mark: str
    word: str
    input: Text
    output: Text
    outputs: Sequence[Text]
    probabilities: Sequence[tuple[str, float]]
    annotations: Sequence[tuple[str, Text]]
    failure: str
    asked: Sequence[Asked]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """``scores`` are the numbers by name, one a form (None: it has none)."""

    id: str
    anchor: str
    split: str
    subset: str
    references: Sequence[Mapping[str, Any]]
    images: Sequence[str]
    forms: Sequence[Form]
    scores: Sequence[tuple[str, str, Sequence[float | None]]]
    next_wrong: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstancesPage(Page):
    template: ClassVar[str] = "instances.html"

    run: Link
    metric: str
    number: int
    first: int
    total: int
    instances: Sequence[Instance]
    pager: Sequence[Link]


def pages(site: Site, run: SavedRun) -> Iterator[InstancesPage | File]:
    for number in range(1, site.samples(run).digest.shards + 1):
        details = _details(site, run, number)
        yield _page(site, run, number, details)
        yield from _long_texts(run, number, details)


def page(site: Site, run: SavedRun, number: int) -> InstancesPage | None:
    digest = site.samples(run).digest
    if not 1 <= number <= digest.shards:
        return None
    return _page(site, run, number, _details(site, run, number))


def text_file(site: Site, run: SavedRun, number: int, name: str) -> File | None:
    """One of the long texts of a shard."""
    if not 1 <= number <= site.samples(run).digest.shards:
        return None
    path = _text_path(run, number, name)
    return next(
        (file for file in _long_texts(run, number, _details(site, run, number)) if file.path == path), None
    )


def _details(site: Site, run: SavedRun, number: int) -> list[Detail]:
    samples = site.samples(run)
    return samples.details(samples.digest.ids[(number - 1) * SHARD : number * SHARD])


def _page(site: Site, run: SavedRun, number: int, details: Sequence[Detail]) -> InstancesPage:
    samples = site.samples(run)
    digest = samples.digest
    first = (number - 1) * SHARD
    briefs: dict[str, list[Brief]] = {one.id: [] for one in details}
    for brief in samples.by_shard[number]:
        briefs[brief.id].append(brief)
    return InstancesPage(
        path=addresses.shard(run.model, run.name, number),
        title=f"{run.name}, {run.model}: instances {first + 1} to {first + len(details)}",
        trail=(*way(run), Link(text="Run", path=addresses.run(run.model, run.name))),
        run=Link(text=run.name, path=addresses.run(run.model, run.name)),
        metric=run.main_metric,
        number=number,
        first=first + 1,
        total=len(digest.ids),
        instances=[
            _instance(run, number, place, one, briefs[one.id], samples.next_wrong.get(one.id))
            for place, one in enumerate(details)
        ],
        pager=pager(number, digest.shards, lambda n: addresses.shard(run.model, run.name, n)),
    )


def _instance(
    run: SavedRun, number: int, place: int, detail: Detail, briefs: Sequence[Brief], wrong: Brief | None
) -> Instance:
    original = detail.instances[0]
    forms = [_form(run, number, place, detail, brief) for brief in briefs]
    names = dict.fromkeys(row["name"] for row in detail.scores)
    values = {(row["name"], row["perturbation"], row["trial"]): row["value"] for row in detail.scores}
    ordered = sorted(names, key=lambda name: name != run.main_metric)
    return Instance(
        id=detail.id,
        anchor=anchor(detail.id),
        split=original["split"] or "",
        subset=original["subset"] or "",
        references=original["references"] or (),
        images=original["images"] or (),
        forms=forms,
        scores=[
            (name, _about(name), [values.get((name, brief.perturbation, brief.trial)) for brief in briefs])
            for name in ordered
        ],
        next_wrong=f"{addresses.shard(run.model, run.name, wrong.shard)}#{anchor(wrong.id)}" if wrong else "",
    )


def _about(name: str) -> str:
    definition = DEFINITIONS.get(name) or DEFINITIONS.get(name.partition("@")[0])
    return definition.description if definition else ""


def _form(run: SavedRun, number: int, place: int, detail: Detail, brief: Brief) -> Form:
    instance = next(
        (row for row in detail.instances if row["perturbation"] == brief.perturbation), detail.instances[0]
    )
    sample = next(row for row in detail.samples if _same(row, brief))
    texts = [reference["text"] for reference in instance["references"] or ()]
    named = [(i, row) for i, row in enumerate(detail.requests) if _same(row, brief)]
    name = brief.perturbation or "as it is"
    return Form(
        name=f"{name}, trial {brief.trial + 1}" if brief.trial else name,
        outcome=brief.outcome,
        mark=MARKS[brief.outcome],
        word=OUTCOMES[brief.outcome],
        input=_shown(instance["input"] or "", ""),
        output=_shown(sample["output"] or "", ""),
        outputs=[_shown(text or "", "") for text in sample["outputs"] or ()],
        probabilities=list(zip(texts, sample["probabilities"] or (), strict=False)),
        annotations=_annotations(sample["annotations"]),
        failure=_failure(sample),
        asked=_all_asked(run, number, place, named, first=not brief.perturbation and not brief.trial),
    )


def _same(row: Mapping[str, Any], brief: Brief) -> bool:
    return bool(row["perturbation"] == brief.perturbation and row["trial"] == brief.trial)


def _failure(row: Mapping[str, Any]) -> str:
    return f"{row['failure']}: {row['message'] or ''}".rstrip(": ") if row["failure"] else ""


def _annotations(text: str | None) -> list[tuple[str, Text]]:
    told = _json(text)
    if not isinstance(told, dict):
        return []
    return [
        (name, _shown(json.dumps(value, ensure_ascii=False, indent=1), "")) for name, value in told.items()
    ]


def _json(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def _all_asked(
    run: SavedRun, number: int, place: int, named: Sequence[tuple[int, Mapping[str, Any]]], *, first: bool
) -> list[Asked]:
    seen: dict[tuple[Any, Any], str] = {}
    made = []
    for index, row in named:
        key = (row["prompt"], row["messages"])
        made.append(
            _asked(run, number, f"{place + 1}-{index + 1}", row, seen.get(key, ""), first and not seen)
        )
        seen.setdefault(key, row["role"])
    return made


def _asked(run: SavedRun, number: int, name: str, row: Mapping[str, Any], same: str, first: bool) -> Asked:
    def text(field: str) -> Text | None:
        told = row[field]
        return _shown(told, _text_path(run, number, f"{name}-{field}")) if told else None

    size = len(row["prompt"] or row["messages"] or "")
    tokens = row["tokens"] or ()
    return Asked(
        role=row["role"],
        prompt=text("prompt") if not same else None,
        turns=_turns(row["messages"], _text_path(run, number, f"{name}-messages")) if not same else (),
        same=same,
        open=first and size <= _OPEN,
        continuation=text("continuation"),
        completion=None
        if row["completion"] is None
        else _shown(row["completion"], _text_path(run, number, f"{name}-completion")),
        others=[_shown(str(one.get("text", "")), "") for one in _json(row["others"]) or ()],
        calls=[(str(call[1]), str(call[2])) for call in _json(row["tool_calls"]) or ()],
        tokens=[_token(token) for token in tokens[:_TOKENS]],
        tokens_left=max(0, len(tokens) - _TOKENS),
        facts=list(_facts(row)),
        failure=_failure(row),
    )


def _turns(messages: str | None, path: str) -> list[Turn]:
    told = _json(messages)
    if not isinstance(told, list):
        return []
    return [
        Turn(
            role=str(one.get("role", "")),
            text=_shown(str(one.get("content", "")), path),
            images=[_image(image) for image in one.get("images", ())],
            calls=[_call(call) for call in one.get("tool_calls", ())],
        )
        for one in told
        if isinstance(one, dict)
    ]


def _image(image: Any) -> str:
    """A picture in a message is its media type and the hash of its bytes."""
    return ", ".join(map(str, image)) if isinstance(image, list) else str(image)


def _call(call: Any) -> tuple[str, str]:
    if isinstance(call, dict):
        return str(call.get("name", "")), str(call.get("arguments", ""))
    return (str(call[1]), str(call[2])) if isinstance(call, list) and len(call) > 2 else ("", str(call))


def _token(token: Mapping[str, Any]) -> TokenShown:
    logprob = token["logprob"]
    likely = 0.0 if logprob is None else math.exp(min(0.0, logprob))
    top = token["top"] or ()
    pairs = top.items() if isinstance(top, dict) else top
    others = ", ".join(f"{text!r} {number:.2f}" for text, number in pairs)
    return TokenShown(text=token["text"], logprob=logprob, sure=min(4, int(likely * 5)), others=others)


def _facts(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was sent beside the prompt, and what is known of the answer."""
    for name, value in (_json(row["parameters"]) or {}).items():
        if value not in (None, [], "") and not (name == "sample" and value == 0):
            yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    for name in ("shots", "finish", "greedy", "prompt_tokens", "completion_tokens", "attempts"):
        if row[name] is not None and not (name == "attempts" and row[name] == 1):
            yield name.replace("_", " "), str(row[name]).lower() if name == "greedy" else str(row[name])
    for name in ("logprob", "queued", "first_token", "total", "joules"):
        if row[name] is not None:
            yield {"total": "seconds", "first_token": "first token"}.get(name, name), f"{row[name]:.4g}"
    if row["truncated"]:
        yield "truncated", "the end of the prompt was cut off to fit"
    if row["cached"]:
        yield "cached", "answered from the cache"
    if row["hash"]:
        yield "request", row["hash"]


def _shown(text: str, path: str) -> Text:
    if len(text) <= LONGEST:
        return Text(beginning=text)
    return Text(
        beginning=text[:_BEGINNING],
        end=text[-_END:],
        left_out=len(text) - _BEGINNING - _END,
        path=path,
    )


def _text_path(run: SavedRun, number: int, name: str) -> str:
    folder = addresses.run(run.model, run.name).rpartition("/")[0]
    return f"{folder}/text-{number}/{name}.txt"


def _long_texts(run: SavedRun, number: int, details: Sequence[Detail]) -> Iterator[File]:
    for place, detail in enumerate(details):
        for index, row in enumerate(detail.requests):
            for field in _TEXTS:
                text = row[field]
                if text and len(text) > LONGEST:
                    yield File(
                        path=_text_path(run, number, f"{place + 1}-{index + 1}-{field}"),
                        data=text.encode("utf-8", "replace"),
                        media_type="text/plain; charset=utf-8",
                    )
