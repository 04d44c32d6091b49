"""Decisions of the router, with an invented clock: who answers, who is next, where a model goes, who is refused."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.serve.gateway.frames import Held, ModelSpec, Speed
from commonweal.serve.router import forecast
from commonweal.serve.router.choosing import choose, place, serving
from commonweal.serve.router.queue import Queue
from commonweal.serve.router.worker import Lender, RouterOptions, Wanted, Worker, size_of

OPTIONS = RouterOptions()
NOW = 1_000_000.0
_numbers = itertools.count()


def spec(name: str = "m", **changes: Any) -> ModelSpec:
    made = ModelSpec(
        name=name,
        identity=f"id-{name}",
        kind="full",
        files={},
        quantization="none",
        parameters=1000,
        window=100,
    )
    return replace(made, **changes)


def worker(name: str, *models: str, **changes: Any) -> Worker:
    about = {key: changes.pop(key) for key in ("owner", "trusted", "account") if key in changes}
    whose = Lender(
        **({"member": name, "account": f"member:{name}", "owner": f"member:{name}"} | about)  # type: ignore[arg-type]
    )
    made = Worker(id=name, lender=whose, slots=2, heard=NOW, memory=10**6, free=10**6)
    made.models = frozenset(f"id-{model}" for model in models)
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def wanted(account: str = "alice", **changes: Any) -> Wanted:
    made = Wanted(id=f"ask-{next(_numbers):06}", account=account, model=spec(), since=NOW)
    return replace(made, **changes)


def name(found: Worker | None) -> str | None:
    return None if found is None else found.id


def test_the_fastest_free_worker_that_has_the_model_answers() -> None:
    slow = worker("slow", "m", speeds={"id-m": Speed(tokens=10, first=0.5)})
    fast = worker("fast", "m", speeds={"id-m": Speed(tokens=100, first=0.5)})
    other = worker("other", "n", speeds={"id-m": Speed(tokens=1000, first=0.1)})
    workers = [slow, fast, other]
    assert name(choose(workers, wanted(), NOW, OPTIONS)) == "fast"
    fast.running = 2
    assert name(choose(workers, wanted(), NOW, OPTIONS)) == "slow"
    slow.running = 2
    assert choose(workers, wanted(), NOW, OPTIONS) is None
    assert [each.id for each in serving(workers, wanted(), NOW, OPTIONS)] == ["slow", "fast"]


def test_what_the_hub_measured_counts_more_than_what_a_worker_claims() -> None:
    boaster = worker("boaster", "m", speeds={"id-m": Speed(tokens=1e6, first=0.0)})
    honest = worker("honest", "m", speeds={"id-m": Speed(tokens=50, first=0.2)})
    assert name(choose([boaster, honest], wanted(), NOW, OPTIONS)) == "boaster"
    boaster.measured["id-m"] = Speed(tokens=2, first=3.0)
    assert name(choose([boaster, honest], wanted(), NOW, OPTIONS)) == "honest"


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"leaving": True}, {}),
        ({"heard": NOW - 60}, {}),
        ({}, {"tried": frozenset({"w"})}),
        ({}, {"excludes": frozenset({"w"})}),
        ({}, {"trusted": True}),
        ({}, {"own": True}),
        ({"hub": "another"}, {"here": True}),
        ({"running": 2}, {}),
        ({"judges": True}, {}),
        ({"judges": True}, {"trusted": True}),
    ],
)
def test_who_may_not_answer_is_not_chosen(changes: dict[str, Any], asked: dict[str, Any]) -> None:
    assert name(choose([worker("w", "m")], wanted(), NOW, OPTIONS)) == "w"
    assert choose([worker("w", "m", **changes)], wanted(**asked), NOW, OPTIONS) is None


def test_a_judge_comes_first_for_an_audit_and_loads_what_it_needs() -> None:
    judge = worker("judge", trusted=True, judges=True, speeds={"id-m": Speed(tokens=1, first=5)})
    helper = worker("helper", "m", trusted=True, speeds={"id-m": Speed(tokens=100, first=0.1)})
    audit = wanted(trusted=True, audit=True)
    assert name(choose([helper, judge], audit, NOW, OPTIONS)) == "helper", "the judge has not loaded it"
    judge.models = frozenset({"id-m"})
    assert name(choose([helper, judge], audit, NOW, OPTIONS)) == "judge"
    other = wanted(trusted=True, audit=True, model=spec("n"))
    chosen = place([helper, judge], other, NOW, OPTIONS)
    assert chosen is not None
    assert chosen.worker.id == "judge"
    chosen = place([helper, judge], wanted(model=spec("n")), NOW, OPTIONS)
    assert chosen is not None
    assert chosen.worker.id == "helper", "others' asks load nothing on a judge"


def test_ones_own_worker_comes_first_however_slow_and_is_trusted() -> None:
    mine = worker("mine", "m", owner="alice", speeds={"id-m": Speed(tokens=1, first=5)})
    fast = worker("fast", "m", trusted=True, speeds={"id-m": Speed(tokens=100, first=0.1)})
    for asked in (wanted(), wanted(trusted=True), wanted(own=True)):
        assert name(choose([fast, mine], asked, NOW, OPTIONS)) == "mine"
    assert name(choose([fast, mine], wanted("bob"), NOW, OPTIONS)) == "fast"


def test_of_two_alike_the_nearer_answers() -> None:
    assert name(choose([worker("a", "m", hub="far"), worker("b", "m")], wanted(), NOW, OPTIONS)) == "b"


def test_a_model_goes_where_it_fits() -> None:
    size = size_of(spec())
    tight = worker("tight", free=size - 1)
    roomy = worker("roomy", free=size)
    busy = worker("busy", free=10 * size, loading=frozenset({"id-x"}))
    front = worker("front", free=10 * size, loads=False)
    failed = worker("failed", free=10 * size, failed=frozenset({"id-m"}))
    found = place([tight, busy, front, failed, roomy], wanted(), NOW, OPTIONS)
    assert found is not None
    assert (found.worker.id, found.evict) == ("roomy", ())
    assert place([tight, busy, front, failed], wanted(), NOW, OPTIONS) is None
    assert place([roomy], wanted(model=spec(kind="fronted")), NOW, OPTIONS) is None


def test_idle_models_make_room_the_longest_unused_first() -> None:
    size = size_of(spec())
    held = {
        "id-a": Held(size=size, idle=100.0),
        "id-b": Held(size=size, idle=900.0),
        "id-c": Held(size=size, idle=1.0),
    }
    full = worker("full", "a", "b", "c", free=0, held=held)
    found = place([full], wanted(), NOW, OPTIONS)
    assert found is not None
    assert found.evict == ("id-b",)
    big = place([full], wanted(model=spec(parameters=2000)), NOW, OPTIONS)
    assert big is not None
    assert set(big.evict) == {"id-a", "id-b"}
    assert place([full], wanted(model=spec(parameters=3000)), NOW, OPTIONS) is None, (
        "c was asked for just now"
    )


def test_an_adapter_goes_to_its_base_and_never_in_its_place() -> None:
    base = spec("base")
    adapter = spec("tuned", kind="adapter", base=base, parameters=10)
    without = worker("without", free=10**6)
    has = worker("has", "base", free=size_of(adapter), held={"id-base": Held(size=size_of(base), idle=999.0)})
    found = place([without, has], wanted(model=adapter), NOW, OPTIONS)
    assert found is not None
    assert (found.worker.id, found.evict) == ("has", ())
    has.free = 0
    assert place([has], wanted(model=adapter), NOW, OPTIONS) is None
    small = worker("small", free=size_of(adapter) + size_of(base) - 1)
    assert place([small], wanted(model=adapter), NOW, OPTIONS) is None


def always(_: Wanted) -> bool:
    return True


def served_order(queue: Queue, count: int, seconds: float = 1.0) -> Iterator[Wanted]:
    for _ in range(count):
        found = queue.next(["id-m"], always)
        if found is None:
            return
        queue.remove(found)
        queue.served(found.account, seconds)
        yield found


def test_accounts_take_turns_whoever_has_more() -> None:
    queue = Queue(OPTIONS)
    for number in range(100):
        queue.add(wanted("many", since=NOW + number / 1000))
    for number in range(3):
        queue.add(wanted("few", since=NOW + 0.5 + number / 1000))
    first = [each.account for each in served_order(queue, 8)]
    assert first.count("few") == 3
    assert len(queue) == 95


def test_a_late_comer_waits_for_one_answer_not_for_all() -> None:
    queue = Queue(OPTIONS)
    for _ in range(50):
        queue.add(wanted("many"))
    list(served_order(queue, 20))
    queue.add(wanted("late", since=NOW + 20))
    assert "late" in [each.account for each in served_order(queue, 6)]


def test_priority_goes_first_and_waiting_raises_it() -> None:
    queue = Queue(OPTIONS)
    low, high = wanted(priority=-2), wanted(priority=0, since=NOW + 5)
    queue.add(low)
    queue.add(high)
    assert queue.next(["id-m"], always) == high
    queue.remove(high)
    queue.add(late := wanted(priority=0, since=NOW + 2 * OPTIONS.aging + 1))
    assert queue.next(["id-m"], always) == low, "after two steps of aging it is as urgent"
    queue.remove(low)
    assert queue.next(["id-m"], always) == late


def test_a_batch_is_passed_by_for_a_bounded_time_only() -> None:
    """One slot, answers of a second, and each second a new ask of a new account."""
    queue = Queue(OPTIONS)
    batch = wanted("batch", priority=-1)
    queue.add(batch)
    for second in range(100):
        queue.add(wanted(f"user-{second}", since=NOW + second))
        (found,) = served_order(queue, 1)
        if found == batch:
            break
    else:
        pytest.fail("the batch starved")
    assert second <= 3 * OPTIONS.aging


def test_the_queue_finds_what_fits_behind_what_does_not() -> None:
    queue = Queue(OPTIONS)
    queue.add(wanted(trusted=True))
    queue.add(plain := wanted(since=NOW + 1))
    queue.add(wanted("bob", model=spec("other")))
    assert queue.next(["id-m"], lambda each: not each.trusted) == plain
    assert queue.next(["id-none"], always) is None
    assert len(queue) == 3


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(-2, 2), st.floats(0, 100), st.booleans()), max_size=40
    )
)
def test_whatever_is_added_is_served_once(asks: list[tuple[str, int, float, bool]]) -> None:
    queue, expected = Queue(OPTIONS), Counter[str]()
    for account, priority, since, taken_back in asks:
        each = wanted(account, priority=priority, since=NOW + since)
        queue.add(each)
        if taken_back:
            assert queue.remove(each)
            assert not queue.remove(each)
        else:
            expected[each.id] += 1
    assert len(queue) == sum(expected.values())
    assert Counter(each.id for each in served_order(queue, 100)) == expected
    assert len(queue) == 0
    assert queue.models() == ()


def test_who_floods_the_queue_is_the_one_who_is_refused() -> None:
    queue = Queue(OPTIONS)
    for _ in range(100):
        queue.add(wanted("many"))
    assert queue.ahead(wanted("many")) == 100
    assert queue.ahead(wanted("few")) == 1
    assert forecast.wait(queue.ahead(wanted("many")), 2, 1.0) > OPTIONS.patience
    assert forecast.wait(queue.ahead(wanted("few")), 2, 1.0) < OPTIONS.patience
    assert 1.0 <= forecast.retry_after(1e9, OPTIONS) <= 60.0


@dataclass(slots=True)
class Pool:
    """A simulated pool: asks come, wait, are refused or answered; time is invented."""

    workers: list[Worker]
    seconds: Callable[[Worker], float]
    options: RouterOptions = OPTIONS
    now: float = NOW
    waits: list[float] = field(default_factory=list)
    refused: int = 0
    answered: Counter[str] = field(default_factory=Counter)

    def run(self, arrivals: list[Wanted]) -> None:
        queue = Queue(self.options)
        events: list[tuple[float, int, Wanted | Worker]] = [
            (each.since, next(_numbers), each) for each in arrivals
        ]
        heapq.heapify(events)
        while events:
            self.now, _, what = heapq.heappop(events)
            for each in self.workers:
                each.heard = self.now
            if isinstance(what, Worker):
                what.running -= 1
            else:
                self._arrive(queue, what)
            while (found := self._begin(queue)) is not None:
                heapq.heappush(events, (self.now + self.seconds(found), next(_numbers), found))

    def _arrive(self, queue: Queue, ask: Wanted) -> None:
        if choose(self.workers, ask, self.now, self.options) is None:
            seconds = forecast.duration(ask, None, self.workers, self.options)
            slots = sum(each.slots for each in self.workers)
            if forecast.wait(queue.ahead(ask), slots, seconds) > self.options.patience:
                self.refused += 1
                return
        queue.add(ask)

    def _begin(self, queue: Queue) -> Worker | None:
        ask = queue.next(
            ["id-m"], lambda each: choose(self.workers, each, self.now, self.options) is not None
        )
        if ask is None:
            return None
        found = choose(self.workers, ask, self.now, self.options)
        assert found is not None
        queue.remove(ask)
        queue.served(ask.account, self.seconds(found) / found.slots)
        found.running += 1
        self.waits.append(self.now - ask.since)
        self.answered[ask.account] += 1
        return found


def pool() -> Pool:
    fast = worker("fast", "m", slots=4, speeds={"id-m": Speed(tokens=100, first=0.0)})
    slow = worker("slow", "m", slots=4, speeds={"id-m": Speed(tokens=25, first=0.0)})
    return Pool([fast, slow], lambda each: 1.0 if each is fast else 4.0)


def arrivals(rate: float, seconds: float, random: Random, accounts: str = "abcd") -> list[Wanted]:
    made, at = [], NOW
    while (at := at + random.expovariate(rate)) < NOW + seconds:
        made.append(wanted(random.choice(accounts), since=at))
    return made


def test_below_its_capacity_the_pool_refuses_nobody_and_waits_are_short() -> None:
    """Capacity: 4 a second and 1 a second."""
    simulated = pool()
    simulated.run(arrivals(3.0, 600, Random(1)))
    assert simulated.refused == 0
    assert sorted(simulated.waits)[int(0.99 * len(simulated.waits))] < 5.0


def test_overload_is_refused_and_those_who_are_accepted_do_not_wait_longer_than_promised() -> None:
    simulated = pool()
    simulated.run(arrivals(20.0, 300, Random(2)))
    assert simulated.refused > 2000
    done = sum(simulated.answered.values())
    assert done > 0.9 * 5.0 * 300, "the pool works at its capacity all the time"
    assert max(simulated.waits) < 3 * OPTIONS.patience


def test_under_overload_accounts_get_equal_shares_whatever_they_ask() -> None:
    simulated = pool()
    random = Random(3)
    simulated.run(
        sorted(
            arrivals(40.0, 300, random, "g")
            + arrivals(4.0, 300, random, "m")
            + arrivals(1.0, 300, random, "s"),
            key=lambda each: each.since,
        )
    )
    answered = simulated.answered
    assert answered["s"] > 0.9 * 300, "who asks for less than a share gets all of it"
    assert 0.8 < answered["g"] / answered["m"] < 1.25
