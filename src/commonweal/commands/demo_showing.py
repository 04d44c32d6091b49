"""The last part of the demo: both models, as trained and as fine-tuned, are evaluated through the hub on exercises
that neither saw, and what came of it is written as a site that needs no server."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from commonweal.commands import labelling
from commonweal.commands.demo_serving import Exercise
from commonweal.commands.evaluating import EvalOptions, evaluated
from commonweal.commands.stage import RUNS
from commonweal.evals.budget import Spent
from commonweal.evals.plan import Wishes
from commonweal.evals.summary.runs import SavedRun, find_runs
from commonweal.labels.json_form import dumps
from commonweal.web.site import export, load
from commonweal.web.site.addresses import slug
from commonweal.web.site.label import read_labels

SCENARIO = """\
name = "arithmetic_in_words"
shape = "question_answering"
file = "exercises.jsonl"
title = "Arithmetic in words"
description = "Exercises in words, to be written in digits; the demo made them up."
source = "made by commonweal demo"
licence = "Apache-2.0"
main_metric = "exact_match"

[columns]
input = "said"
answer = "written"

[prompt]
ask = "chat"
instructions = ""
input_prefix = ""
input_suffix = ""
output_prefix = ""
output_suffix = ""
max_tokens = 12
temperature = 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The share of exercises that a model wrote exactly, with its 95% interval; None where that was not measured."""

    model: str
    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """``site`` is the first page of the site that was written."""

    scores: tuple[Score, ...]
    site: Path


def show(url: str, key: str, models: Sequence[str], kept: Sequence[Exercise], folder: Path) -> Shown:
    """Evaluate ``models`` of the hub at ``url`` on ``kept``, label them, and write the site, all below ``folder``."""
    file = _scenario(kept, folder / "exercises")
    runs, labels = folder / RUNS, folder / "labels"
    options = EvalOptions(
        home=folder, out=runs, key_of=lambda _: key, judge_key_of=lambda _: None, no_cache=True
    )
    for model in models:
        wishes = Wishes(
            model=f"{url}/v1#{model}",
            scenarios=(str(file),),
            perturbations=(),
            ask="chat",
            confidence="none",
        )
        evaluated(wishes, options, Spent(), time.monotonic())
    labels.mkdir(exist_ok=True)
    with labelling.asked(url, key) as hub:
        for model in models:
            label, _ = labelling.found(model, [runs], hub)
            (labels / f"{slug(model)}.json").write_text(dumps(label), encoding="utf-8")
    export(load([runs], labels=read_labels(labels)), folder / "site", processes=1)
    return Shown(
        scores=tuple(_score(run) for run in find_runs([runs])),
        site=(folder / "site" / "index.html").resolve(),
    )


def _score(run: SavedRun) -> Score:
    stat = run.stat(run.main_metric)
    if stat is None:
        return Score(model=run.model, mean=None, low=None, high=None)
    return Score(model=run.model, mean=stat.mean, low=stat.low, high=stat.high)


def _scenario(kept: Sequence[Exercise], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = (json.dumps({"said": one.said, "written": one.written}) for one in kept)
    (folder / "exercises.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    file = folder / "arithmetic_in_words.toml"
    file.write_text(SCENARIO, encoding="utf-8")
    return file
