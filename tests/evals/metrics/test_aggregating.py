"""The table: what a stat is of, its interval, worst cases, coverage, reasons."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_samples import chosen, generated

from commonweal.evals.metrics.aggregate import WORST, Table
from commonweal.evals.metrics.metric import Column, Definition, Family
from commonweal.evals.metrics.registry import FAMILIES
from commonweal.evals.sample import Failure, Sample, Stat

FAILED = Failure(kind="timeout", message="60 s")


def defined(name: str, better: bool = True, aspect: str = "accuracy") -> Definition:
    return Definition(name=name, title=name, aspect=aspect, description="", higher_is_better=better)  # type: ignore[arg-type]


class Length:
    """A number that a test can choose: the length of the output."""

    def score(self, sample: Sample) -> dict[str, float]:
        size = len(sample.output)
        return {"up": float(size), "down": float(size), "count": float(size)} if sample.output else {}

    def reason(self, name: str, columns: Mapping[str, Column]) -> str:
        return "empty outputs"


class Spread:
    """A set metric: the standard deviation of the lengths."""

    def features(self, sample: Sample) -> dict[str, float]:
        return {"size": float(len(sample.output))}

    def value(self, columns: Mapping[str, Column]) -> dict[str, float]:
        return {"spread": float(np.std(columns["size"]))} if len(columns["size"]) > 1 else {}


class Share:
    """An additive set metric: a ratio of sums."""

    additive = True

    def features(self, sample: Sample) -> dict[str, float]:
        return {"a": float(sample.output.count("a")), "all": float(len(sample.output))}

    def value(self, columns: Mapping[str, Column]) -> dict[str, float]:
        total = float(np.nansum(columns["all"]))
        return {"share": float(np.nansum(columns["a"])) / total} if total else {}


class DenseShare(Share):
    additive = False


LENGTH = Family(
    name="length",
    make=Length,
    definitions=(defined("up"), defined("down", better=False), defined("count", aspect="general")),
)
SPREAD = Family(name="spread", make=Spread, definitions=(defined("spread"),))
SHARE = Family(name="share", make=Share, definitions=(defined("share"),))
DENSE_SHARE = Family(name="share", make=DenseShare, definitions=(defined("share"),))


def filled(samples: list[Sample], *families: Family, **more: object) -> Table:
    table = Table(families, **more)  # type: ignore[arg-type]
    for sample in samples:
        table.add(sample)
    return table


def one(stats: list[Stat], name: str, perturbation: str = "", subset: str = "", split: str = "test") -> Stat:
    (found,) = [
        stat
        for stat in stats
        if (stat.name, stat.perturbation, stat.subset, stat.split) == (name, perturbation, subset, split)
    ]
    return found


def sized(size: int, id: str, **more: object) -> Sample:
    return generated("a" * size, id=id, **more)  # type: ignore[arg-type]


def test_a_failed_sample_counts_as_failed_and_in_no_mean() -> None:
    table = Table([LENGTH])
    assert table.add(sized(4, "a")) == {"up": 4.0, "down": 4.0, "count": 4.0}
    assert table.add(generated("", id="b", failure=FAILED)) == {}
    stats = table.stats()
    assert (table.scored, table.failed) == (1, 1)
    assert one(stats, "up") == Stat(name="up", mean=4.0, n=1)


class Fragile:
    """A set metric that cannot take some samples, or has no number for them."""

    def __init__(self, additive: bool) -> None:
        self.additive = additive

    def features(self, sample: Sample) -> dict[str, float]:
        if sample.output == "raises":
            raise ValueError("a defect")
        return {"first": 1.0, "size": float("nan") if not sample.output else _size(sample)}

    def value(self, columns: Mapping[str, Column]) -> dict[str, float]:
        return {"fragile": float(np.nansum(columns["size"]))}


def _size(sample: Sample) -> float:
    return "no number" if sample.output == "text" else float(len(sample.output))  # type: ignore[return-value]


@pytest.mark.parametrize("additive", [False, True])
@pytest.mark.parametrize("bad", ["raises", "text"])
def test_nothing_is_kept_of_a_sample_that_a_metric_cannot_take(bad: str, additive: bool) -> None:
    """Columns of later samples would stand a row off."""
    fragile = Family(name="fragile", make=lambda: Fragile(additive), definitions=(defined("fragile"),))
    good = [generated(text, id=text or "none") for text in ("a", "bbb", "", "cc")]
    table, without = Table((LENGTH, fragile, SPREAD)), filled(good, LENGTH, fragile, SPREAD)
    for sample in good:
        with pytest.raises((ValueError, TypeError)):
            table.add(generated(bad, id=f"bad{sample.output}"))
        table.add(sample)
    assert table.scored == len(good)
    assert table.stats() == without.stats()


def test_nothing_answered() -> None:
    table = filled([generated("", failure=FAILED)], LENGTH)
    assert {stat.reason for stat in table.stats()} == {"no sample was answered"}
    assert {stat.name for stat in table.stats()} == {"up", "down", "count"}
    assert {stat.reason for stat in Table([LENGTH]).stats()} == {"no samples"}


def test_what_no_sample_gave_has_a_reason() -> None:
    stats = filled([generated("", id="a"), generated("", id="b")], LENGTH, SPREAD).stats()
    assert one(stats, "up") == Stat(name="up", mean=None, n=0, reason="empty outputs")
    assert one(stats, "spread").mean == 0.0


def test_splits_subsets_and_perturbations_are_apart() -> None:
    samples = [
        sized(1, "a", subset="x"),
        sized(3, "b", subset="y"),
        sized(9, "a", subset="x", perturbation="typos"),
        sized(5, "c", split="valid"),
    ]
    stats = filled(samples, LENGTH).stats()
    assert one(stats, "up").mean == 2.0
    assert one(stats, "up", subset="x").mean == 1.0
    assert one(stats, "up", subset="y").mean == 3.0
    assert one(stats, "up", perturbation="typos").mean == 9.0
    assert one(stats, "up", split="valid").mean == 5.0
    assert stats == sorted(stats, key=lambda s: (s.split, s.perturbation, s.subset, s.name))


def test_the_worst_case_is_in_the_metrics_own_direction() -> None:
    samples = [
        sized(4, "a"),
        sized(2, "a", perturbation="typos"),
        sized(7, "a", perturbation="dialect"),
        sized(5, "b"),
        sized(6, "b", perturbation="typos"),
        sized(3, "c"),
    ]
    groups = {"robustness": frozenset({"typos", "other"}), "fairness": frozenset({"dialect"})}
    stats = filled(samples, LENGTH, groups=groups).stats()
    assert one(stats, "up", WORST).mean == pytest.approx((2 + 5 + 3) / 3)
    assert one(stats, "down", WORST).mean == pytest.approx((7 + 6 + 3) / 3)
    assert one(stats, "up", "robustness").mean == pytest.approx((2 + 5 + 3) / 3)
    assert one(stats, "up", "fairness").mean == pytest.approx((4 + 5 + 3) / 3)
    assert one(stats, "down", "fairness").mean == pytest.approx((7 + 5 + 3) / 3)
    assert one(stats, "up", WORST).n == 3
    assert not [stat for stat in stats if stat.name == "count" and stat.perturbation == WORST]


def test_without_perturbations_there_is_no_worst_case() -> None:
    stats = filled([sized(1, "a")], LENGTH, groups={"robustness": frozenset({"typos"})}).stats()
    assert {stat.perturbation for stat in stats} == {""}


def test_a_mean_is_of_each_trial_then_of_the_trials() -> None:
    samples = [sized(2, "a"), sized(4, "b"), sized(9, "a", trial=1)]
    found = one(filled(samples, LENGTH).stats(), "up")
    assert found.mean == 6.0
    assert found.n == 3


def test_worst_case_is_of_one_trial() -> None:
    samples = [
        sized(8, "a"),
        sized(5, "a", perturbation="typos"),
        sized(4, "a", trial=1),
        sized(6, "a", trial=1, perturbation="typos"),
    ]
    found = one(filled(samples, LENGTH).stats(), "up", WORST)
    assert (found.mean, found.n) == (4.5, 2)


def test_intervals_are_drawn_by_instance() -> None:
    sizes = [random.Random(n).randrange(1, 9) for n in range(60)]
    once = [sized(size, f"i{n}") for n, size in enumerate(sizes)]
    thrice = [replace(sample, trial=trial) for sample in once for trial in range(3)]
    few, many = (one(filled(samples, LENGTH).stats(), "up") for samples in (once, thrice))
    assert (many.mean, many.low, many.high) == pytest.approx((few.mean, few.low, few.high))
    assert few.low is not None
    assert few.high is not None
    assert few.low < np.mean(sizes) < few.high
    expected = 2 * 1.96 * np.std(sizes) / np.sqrt(60)
    assert few.high - few.low == pytest.approx(expected, rel=0.2)


def test_one_instance_has_no_interval() -> None:
    found = one(filled([sized(3, "a"), sized(4, "a", trial=1)], LENGTH, SPREAD).stats(), "up")
    assert (found.low, found.high) == (None, None)


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter(shuffle: random.Random) -> None:
    samples = [
        generated(
            "ab" * (n % 7) + "a", id=f"i{n % 15}", trial=n // 30, perturbation="typos" if n % 30 >= 15 else ""
        )
        for n in range(60)
    ]
    mixed = list(samples)
    shuffle.shuffle(mixed)
    families = (LENGTH, SPREAD, SHARE)
    assert filled(mixed, *families).stats() == filled(samples, *families).stats()


def test_a_set_metric_is_drawn_by_instance_too() -> None:
    sizes = [random.Random(n).randrange(1, 9) for n in range(80)]
    found = one(filled([sized(size, f"i{n}") for n, size in enumerate(sizes)], SPREAD).stats(), "spread")
    assert found.mean == pytest.approx(np.std(sizes))
    assert found.n == 80
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.mean < found.high


def test_sums_give_what_columns_give() -> None:
    samples = [
        generated("a" * (n % 5) + "b" * (n % 3), id=f"i{n % 20}", trial=n // 20, subset="x" if n % 2 else "y")
        for n in range(40)
    ]
    summed, dense = (filled(samples, family).stats() for family in (SHARE, DENSE_SHARE))
    for ours, theirs in zip(summed, dense, strict=True):
        assert (ours.name, ours.subset, ours.n) == (theirs.name, theirs.subset, theirs.n)
        assert (ours.mean, ours.low, ours.high) == pytest.approx((theirs.mean, theirs.low, theirs.high))


def test_a_made_metric_takes_the_place_of_the_familys() -> None:
    class Louder(Length):
        def score(self, sample: Sample) -> dict[str, float]:
            return {"up": 100.0}

    stats = filled([sized(1, "a")], LENGTH, made={"length": Louder()}).stats()
    assert one(stats, "up").mean == 100.0


def test_multiple_choice_run_has_calibration_or_says_why() -> None:
    samples = [chosen("ABCD", "A", n % 4, id=f"i{n}") for n in range(20)]
    stats = filled(samples, FAMILIES["exact_match"], FAMILIES["calibration"]).stats()
    assert one(stats, "exact_match").mean == 0.25
    assert one(stats, "ece_10_bin").reason == "no log-probabilities"
    sure = [replace(chosen("ABCD", "A", n % 4, id=f"i{n}", logprob=-0.5)) for n in range(9)]
    stats = filled(sure, FAMILIES["calibration"]).stats()
    assert one(stats, "ece_10_bin").reason == "fewer than 10 samples"
    assert one(stats, "max_prob").mean == pytest.approx(np.exp(-0.5))


def test_best_of_k_has_a_direction_and_is_defined() -> None:
    samples = [
        generated("x", ["a"], id="i1", outputs=["x", "a"]),
        generated("x", ["a"], id="i1", outputs=["x", "y"], perturbation="typos"),
    ]
    stats = filled(samples, FAMILIES["exact_match"]).stats()
    assert one(stats, "exact_match").mean == 0.0
    assert one(stats, "exact_match@2").mean == 1.0
    assert one(stats, "exact_match@2", WORST).mean == 0.0
