from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from commonweal.evals.completers.batching import Budget, Load, next_batch
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
    taken = [loads[i] for i in next_batch(loads, Budget(tokens=tokens, rows=rows, scores=scores))]
    assert {load.kind for load in taken} == {loads[0].kind}
    if len(taken) > 1:
        many = sum(load.rows for load in taken)
        widest = max(load.new for load in taken)
        assert many <= rows
        assert many * (max(load.prompt for load in taken) + widest) <= tokens
        assert taken[0].kind != "score" or many * widest <= scores


@given(LOADS)
def test_every_request_is_taken_in_the_end(loads: list[Load]) -> None:
    left, rounds = list(enumerate(loads)), 0
    while left:
        taken = set(next_batch([load for _, load in left], Budget(tokens=500, rows=8, scores=100)))
        left = [one for i, one in enumerate(left) if i not in taken]
        rounds += 1
    assert rounds <= len(loads)


def test_longest_first_and_equal_prompts_together() -> None:
    def load(group: int, prompt: int) -> Load:
        return Load(kind="score", group=group, prompt=prompt, new=1)

    loads = [load(0, 5), load(1, 9), load(2, 9), load(1, 9), load(0, 5)]
    assert next_batch(loads, Budget(tokens=100, rows=9, scores=99)) == [1, 3, 2, 0, 4]


@given(st.lists(st.lists(st.integers(0, 2), max_size=6), min_size=1, max_size=5))
def test_a_common_prefix_is_common_and_longest(rows: list[list[int]]) -> None:
    length = common_prefix(rows)
    assert all(row[:length] == rows[0][:length] for row in rows)
    longer = {tuple(row[: length + 1]) for row in rows}
    assert len(longer) > 1 or any(len(row) == length for row in rows)
