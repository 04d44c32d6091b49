from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from commonweal.evals.completers.batching import Budget, Load, fitting, place
from commonweal.models.encoded import common_prefix

LOADS = st.lists(
    st.builds(
        Load,
        kind=st.sampled_from(["score", "generate"]),
        group=st.integers(0, 5),
        prompt=st.integers(1, 100),
        new=st.integers(0, 50),
        rows=st.integers(1, 3),
    ),
    min_size=1,
    max_size=40,
)


@given(LOADS, st.integers(1, 2000), st.integers(1, 20), st.integers(1, 200))
def test_a_batch_is_of_one_kind_within_its_budget_and_never_empty(
    loads: list[Load], tokens: int, rows: int, scores: int
) -> None:
    left = sorted(loads, key=place)
    while left:
        count = fitting(left, Budget(tokens=tokens, rows=rows, scores=scores))
        taken, left = left[:count], left[count:]
        assert {load.kind for load in taken} == {taken[0].kind}
        if len(taken) > 1:
            many = sum(load.rows for load in taken)
            widest = max(load.new for load in taken)
            assert many <= rows
            assert many * (max(load.prompt for load in taken) + widest) <= tokens
            assert taken[0].kind != "score" or many * widest <= scores


def test_a_batch_is_as_large_as_its_budget_lets_it_be() -> None:
    loads = [Load(kind="score", group=i, prompt=10, new=2) for i in range(9)]
    assert fitting(loads, Budget(tokens=1000, rows=100, scores=100)) == 9
    assert fitting(loads, Budget(tokens=1000, rows=4, scores=100)) == 4
    assert fitting(loads, Budget(tokens=60, rows=100, scores=100)) == 5
    assert fitting(loads, Budget(tokens=1000, rows=100, scores=6)) == 3


def test_longest_first_and_equal_prompts_together() -> None:
    def load(group: int, prompt: int) -> Load:
        return Load(kind="score", group=group, prompt=prompt, new=1)

    loads = [load(0, 5), load(1, 9), load(2, 9), load(1, 9), load(0, 5)]
    assert [(one.group, one.prompt) for one in sorted(loads, key=place)] == [
        (1, 9),
        (1, 9),
        (2, 9),
        (0, 5),
        (0, 5),
    ]


@given(st.lists(st.lists(st.integers(0, 2), max_size=6), min_size=1, max_size=5))
def test_a_common_prefix_is_common_and_longest(rows: list[list[int]]) -> None:
    length = common_prefix(rows)
    assert all(row[:length] == rows[0][:length] for row in rows)
    longer = {tuple(row[: length + 1]) for row in rows}
    assert len(longer) > 1 or any(len(row) == length for row in rows)
