"""Reasons to stop: budgets, failures, a model that cannot be asked so."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import bench_of_one as b
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.completion import Completion, CompletionFailed, FailureKind, Request
from commonweal.core.errors import UserError
from commonweal.evals.budget import Limits, Prices, Spent, check_limits, listed_prices, prices_of, used_up
from commonweal.evals.completers.mock import MockCompleter
from commonweal.evals.run_folder import sample_records


class Failing(b.Counting):
    """Fails all that ``when`` says."""

    def __init__(self, kind: FailureKind, when: range) -> None:
        super().__init__(b.adds)
        self._kind, self._when = kind, when

    async def complete(self, request: Request) -> Completion:
        completion = await super().complete(request)
        if int((request.prompt or "").split()[0]) in self._when:
            raise CompletionFailed(self._kind, "told to fail")
        return completion


def test_too_many_failures_stop_a_run(tmp_path: Path) -> None:
    model = Failing("server_error", range(1000))
    done = b.run(b.planned(b.scenario(b.sums(1000))), tmp_path, b.bench(model, concurrency=8))
    assert done.run["status"] == "failed"
    assert done.run["reason"].startswith("20 of 20 samples failed (20 server_error)")
    assert len(model.prompts) <= 20 + 8
    assert len(list(sample_records(tmp_path))) == done.run["coverage"]["failed"], "kept, to be resumed"


def test_a_tenth_may_fail_and_the_rate_can_be_chosen(tmp_path: Path) -> None:
    tenth = Failing("server_error", range(0, 1000, 10))
    done = b.run(b.planned(b.scenario(b.sums(100))), tmp_path / "a", b.bench(tenth, concurrency=1))
    assert (done.run["status"], done.run["coverage"]["failed"]) == ("done", 10)
    strict = b.bench(Failing("server_error", range(0, 1000, 10)), concurrency=1, failure_rate=0.0)
    assert b.run(b.planned(b.scenario(b.sums(100))), tmp_path / "b", strict).run["status"] == "failed"


def test_one_failure_of_three_samples_is_no_failed_run(tmp_path: Path) -> None:
    done = b.run(b.planned(b.scenario(b.sums(3))), tmp_path, b.bench(Failing("timeout", range(1, 2))))
    assert done.run["status"] == "done"
    assert done.run["coverage"]["share"] == 2 / 3


def test_no_answer_at_all_is_a_failed_run(tmp_path: Path) -> None:
    done = b.run(b.planned(b.scenario(b.sums(3))), tmp_path, b.bench(Failing("timeout", range(9))))
    assert done.run["status"] == "failed"
    assert {s.reason for s in done.stats} == {"no sample was answered"}


def test_a_wrong_key_stops_at_once(tmp_path: Path) -> None:
    model = Failing("not_authorized", range(1000))
    done = b.run(b.planned(b.scenario(b.sums(1000))), tmp_path, b.bench(model, concurrency=2))
    assert (done.run["status"], done.run["reason"]) == ("failed", "told to fail")
    assert len(model.prompts) <= 4


def test_a_model_that_cannot_be_asked_so_is_not_measured(tmp_path: Path) -> None:
    done = b.run(b.planned(b.scenario(b.sums(50))), tmp_path, b.bench(Failing("unsupported", range(99))))
    assert (done.run["status"], done.run["reason"]) == ("not_measured", "told to fail")


def test_those_that_hang_do_not_hold_up_a_failed_run(tmp_path: Path) -> None:
    class Hanging(MockCompleter):
        async def complete(self, request: Request) -> Completion:
            if request.prompt == "0 + 0 = ":
                await asyncio.Event().wait()
            raise CompletionFailed("server_error", "no")

    done = b.run(b.planned(b.scenario(b.sums(100))), tmp_path, b.bench(Hanging(), concurrency=4))
    assert done.run["status"] == "failed"
    assert done.run["coverage"]["failed"] == 20


# ---- budgets --------------------------------------------------------------------------------------------------


def test_tokens_are_limited_and_the_rest_can_be_asked_later(tmp_path: Path) -> None:
    # A sum has 4 words and its result 1: 5 tokens a request, so the 20th reaches 100.
    limited = b.bench(b.Counting(b.adds), limits=Limits(tokens=100), concurrency=4)
    done = b.run(b.planned(b.scenario(b.sums(60))), tmp_path, limited)
    assert done.run["status"] == "budget"
    assert done.run["reason"] == "--max-tokens: the limit of 100 tokens"
    assert done.run["coverage"]["scored"] == 20
    assert done.run["coverage"]["share"] == pytest.approx(1 / 3)
    [stat] = [s for s in done.stats if s.name == "exact_match"]
    assert stat.n == 20
    model = b.Counting(b.adds)
    assert b.run(b.planned(b.scenario(b.sums(60))), tmp_path, b.bench(model)).run["status"] == "done"
    assert len(model.prompts) == 40


def test_money_is_limited(tmp_path: Path) -> None:
    prices = Prices(prompt=1_000_000, completion=6_000_000)  # 10 dollars a sum
    limited = b.bench(b.Counting(b.adds), prices=prices, limits=Limits(cost=100), concurrency=8)
    done = b.run(b.planned(b.scenario(b.sums(60))), tmp_path, limited)
    assert done.run["status"] == "budget"
    assert done.run["cost"]["dollars"] == 100.0
    assert done.run["reason"] == "--max-cost: the limit of 100 dollars"


def test_time_is_limited(tmp_path: Path) -> None:
    ticks = itertools.count()
    limited = b.bench(limits=Limits(seconds=50), clock=lambda: float(next(ticks)), began=0.0, concurrency=1)
    done = b.run(b.planned(b.scenario(b.sums(1000))), tmp_path, limited)
    assert (done.run["status"], done.run["reason"]) == ("budget", "--max-time: the limit of 50 s")
    assert 10 < done.run["coverage"]["scored"] < 60


@given(
    cost=st.floats(0.5, 1000),
    each=st.floats(0.01, 1.0),
    concurrency=st.integers(1, 32),
)
def test_equal_requests_never_cost_more_than_the_limit_and_the_first_round(
    cost: float, each: float, concurrency: int
) -> None:
    """Nothing is known of the price of a sample before the first one is finished."""
    limits, spent, flying = Limits(cost=cost), Spent(prices=Prices(prompt=1, completion=1)), 0
    for _ in range(5000):
        while flying < concurrency and not used_up(limits, spent, flying, 0.0):
            flying += 1
        if not flying:
            break
        flying -= 1
        spent.samples += 1
        spent.cost += each
    assert spent.cost <= max(cost + each, concurrency * each) * (1 + 1e-9)


def test_cached_answers_cost_nothing() -> None:
    from dataclasses import replace

    spent = Spent(prices=Prices(prompt=1e6, completion=1e6))
    completion = asyncio.run(MockCompleter().complete(Request(model="m", prompt="a b c")))
    spent.add(replace(completion, cached=True))
    assert (spent.requests, spent.cached, spent.tokens, spent.cost) == (1, 1, 0, 0.0)
    spent.add(completion)
    assert spent.cost == spent.tokens > 0


def test_a_limit_in_dollars_needs_prices() -> None:
    with pytest.raises(UserError, match="--price-in"):
        check_limits(Limits(cost=1.0), None)
    with pytest.raises(UserError, match="belong together"):
        prices_of(1.0, None)
    assert listed_prices("openai/gpt-4o-mini-2024-07-18") == Prices(prompt=0.15, completion=0.60)
    assert listed_prices("http://127.0.0.1/v1#x") is None
