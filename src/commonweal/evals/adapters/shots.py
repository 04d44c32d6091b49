"""Which training instances are shown as examples: HELM's sampling, number for number.

A class is the text of the first correct reference. Classes are visited from the most to the least frequent, in turn,
and each gives one instance at random, so that few examples still show every frequent class (Liang et al. 2022, section
7.1; ``in_context_learning_adapter.py``). Instances without a correct reference come last.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance


def choose_examples(
    train: Sequence[Instance], adaptation: Adaptation, trial: int, seed: int = 0
) -> tuple[Instance, ...]:
    """The ``adaptation.shots`` examples (fewer where there are not so many) of one train trial.

    With seed 0 they are HELM's for the same instances in the same order. Without ``sample_train`` they are
    consecutive: those of trial 1 follow those of trial 0.
    """
    count = min(len(train), adaptation.shots)
    if not adaptation.sample_train:
        return tuple(train[count * trial : count * (trial + 1)])
    if not count:
        return ()
    draw = random.Random(f"{seed}:{trial}" if seed else trial)
    by_label: dict[str, list[Instance]] = defaultdict(list)
    unlabelled: list[Instance] = []
    for instance in train:
        label = next((reference.text for reference in instance.references if reference.correct), None)
        (unlabelled if label is None else by_label[label]).append(instance)
    chosen = _in_turn([by_label[label] for label in _by_frequency(by_label, draw)], count, draw)
    return (*chosen, *draw.sample(unlabelled, min(len(unlabelled), count - len(chosen))))


def _by_frequency(by_label: dict[str, list[Instance]], draw: random.Random) -> Iterable[str]:
    """The labels, the most frequent first; equally frequent ones in random order."""
    with_count: dict[int, list[str]] = defaultdict(list)
    for label in sorted(by_label):
        with_count[len(by_label[label])].append(label)
    for count in sorted(with_count, reverse=True):
        labels = with_count[count]
        draw.shuffle(labels)
        yield from labels


def _in_turn(classes: Sequence[list[Instance]], count: int, draw: random.Random) -> list[Instance]:
    """One random instance of each class in turn, without replacement; empties the lists."""
    chosen: list[Instance] = []
    while len(chosen) < count and any(classes):
        for members in classes:
            if members and len(chosen) < count:
                chosen.append(members.pop(draw.randrange(len(members))))
    return chosen
