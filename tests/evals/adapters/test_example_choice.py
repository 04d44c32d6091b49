from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.shots import choose_examples
from commonweal.evals.instance import Instance, Reference


def example(number: int, label: str | None) -> Instance:
    references = () if label is None else (Reference(text="other"), Reference(text=label, correct=True))
    return Instance(id=f"id{number}", input=f"say {label}", references=references, split="train")


def pool(labels: Sequence[str | None]) -> list[Instance]:
    return [example(number, label) for number, label in enumerate(labels)]


def labels_of(examples: tuple[Instance, ...]) -> list[str]:
    return [correct for instance in examples for correct in instance.correct]


def test_helms_example_the_frequent_class_first() -> None:
    chosen = choose_examples(pool(["no", "yes", "yes"]), Adaptation(shots=2), trial=0)

    assert labels_of(chosen) == ["yes", "no"]


def test_classes_take_turns() -> None:
    chosen = choose_examples(pool(["a"] * 5 + ["b"] * 3 + ["c"]), Adaptation(shots=6), trial=3)

    assert labels_of(chosen) == ["a", "b", "c", "a", "b", "a"]


def test_instances_without_a_correct_reference_come_last() -> None:
    """HELM never ends here: it looks for more of a class for ever."""
    chosen = choose_examples(pool(["a", None, None, "b"]), Adaptation(shots=4), trial=0)

    assert sorted(labels_of(chosen)) == ["a", "b"]
    assert [instance.references for instance in chosen[2:]] == [(), ()]


def test_without_sampling_trials_follow_one_another() -> None:
    train = pool(["a"] * 7)
    adaptation = Adaptation(shots=3, sample_train=False)

    trials = [choose_examples(train, adaptation, trial) for trial in range(3)]

    assert [[instance.id for instance in trial] for trial in trials] == [
        ["id0", "id1", "id2"],
        ["id3", "id4", "id5"],
        ["id6"],
    ]


def test_a_plain_draw_is_the_standard_librarys() -> None:
    """One class: the n-th example is drawn from those left, as HELM's ``pop(randrange(len))`` does after its seed."""
    train = pool(["a"] * 20)
    drawn = random.Random(4)
    drawn.shuffle(["a"])
    left = list(train)
    expected = [left.pop(drawn.randrange(len(left))) for _ in range(5)]

    assert list(choose_examples(train, Adaptation(shots=5), trial=4)) == expected


@given(
    labels=st.lists(st.sampled_from(["a", "b", "c", "", None]), max_size=20),
    shots=st.integers(0, 8),
    trial=st.integers(0, 3),
    seed=st.integers(0, 2),
)
def test_as_many_as_asked_for_each_once_and_always_the_same(
    labels: list[str | None], shots: int, trial: int, seed: int
) -> None:
    train = pool(labels)
    adaptation = Adaptation(shots=shots)

    chosen = choose_examples(train, adaptation, trial, seed)

    assert len(chosen) == min(shots, len(train))
    assert len({instance.id for instance in chosen}) == len(chosen)
    assert chosen == choose_examples(train, adaptation, trial, seed)
    counts = Counter(label for label in labels if label is not None)
    if counts and shots:
        assert labels_of(chosen)[0] in {label for label in counts if counts[label] == max(counts.values())}


def test_another_trial_or_seed_draws_others() -> None:
    train = pool(["a"] * 1000)

    drawn = {
        tuple(instance.id for instance in choose_examples(train, Adaptation(), trial, seed))
        for trial in range(3)
        for seed in range(3)
    }

    assert len(drawn) == 9
