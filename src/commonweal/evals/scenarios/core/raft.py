"""RAFT: eleven real tasks of labelling texts, with few labels (Alex et al. 2021).

The test labels are not public; HELM, and so we, draw 10 examples and 40 test instances from the 50 labelled texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Split
from commonweal.evals.loading import field
from commonweal.evals.loading.fields import bad
from commonweal.evals.scenario import Args, Hub, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import answer
from commonweal.evals.scenarios.core.raft_prompts import FIELDS, INSTRUCTIONS
from commonweal.evals.scenarios.helm_adaptations import LABEL
from commonweal.evals.scenarios.prompting import generation

ARGS = {"subset": tuple(FIELDS)}

_SEED = 42  # HELM's
_TEST_SHARE = 0.8
_LABELS = re.compile(r"^\d+\. (.*)$", re.MULTILINE)


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    """The labelled texts in the order in which ``datasets.train_test_split`` (seed 42) draws them, as in HELM."""
    subset = chosen(args, ARGS, "subset")
    rows = list(
        loader.rows(
            Local(path=f"raft/{subset}/train.csv"),
            Hub(
                path="ought/raft",
                revision="9ee50172ea9afda2f1033c6f1b986e568b862fb3",
                file=f"data/{subset}/train.csv",
            ),
        )
    )
    labels = _LABELS.findall(INSTRUCTIONS[subset].rpartition("Possible labels:\n")[2])
    test, train = drawn(len(rows))
    splits: tuple[tuple[Split, Sequence[int]], ...] = (("train", train), ("test", test))
    for split, places in splits:
        for place in places:
            row = rows[place]
            text = "\n".join(f"{name}: {field(row, name)}" for name in FIELDS[subset])
            id = str(row.get("ID") or place)
            yield Instance(
                id=id, input=text, references=answer(_label(row, labels)), split=split, subset=subset
            )


def drawn(rows: int) -> tuple[list[int], list[int]]:
    """The places of the test and of the train instances: the shares of a permutation, test first."""
    import numpy as np  # heavy: not for those who only list scenarios

    order = [int(place) for place in np.random.default_rng(_SEED).permutation(rows)]
    tests = ceil(_TEST_SHARE * rows)
    return order[:tests], order[tests:]


def _label(row: Row, labels: Sequence[str]) -> str:
    """The label as text; a number counts the labels from 1, as the data set's own table does."""
    label = field(row, "Label")
    if label.isdigit() and 1 <= int(label) <= len(labels):
        return labels[int(label) - 1]
    if label not in labels:
        raise bad(row, f"field 'Label' should be one of {', '.join(labels[:4])} ..., but is {label!r}")
    return label


def _vary(adaptation: Adaptation, args: Args) -> Adaptation:
    return replace(adaptation, instructions=INSTRUCTIONS[chosen(args, ARGS, "subset")] + "\n")


RAFT = Scenario(
    name="raft",
    title="RAFT",
    description="Eleven tasks of labelling texts that people really had, from terms of service to drug effects.",
    source="Alex et al. 2021, https://arxiv.org/abs/2109.14076",
    licence="by subset, see https://huggingface.co/datasets/ought/raft",
    read=read,
    adaptation=generation(input_noun=None, output_noun="Label", max_tokens=30),
    main_metric="quasi_exact_match",
    metrics=LABEL,
    tags=("core", "classification"),
    args=ARGS,
    vary=_vary,
)
