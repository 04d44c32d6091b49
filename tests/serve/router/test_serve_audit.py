"""Audits: the statistics on invented numbers, the sampling, and the whole way with a worker that cheats."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from serving_hub import RICH, Hub, credit, exact, lender, member, prepare, rows, running_hub, served

from commonweal.core.completion import Request, Token
from commonweal.core.database import Database
from commonweal.core.errors import Unavailable
from commonweal.core.streaming import Ended, Piece
from commonweal.serve.audit.auditor import AuditOptions
from commonweal.serve.audit.evidence import Answer, scoring
from commonweal.serve.audit.sampling import AuditRates, rate
from commonweal.serve.audit.schema import audits
from commonweal.serve.audit.verdict import NOTHING, UNREPORTED, Comparison, Limits, compare, judge
from commonweal.serve.gateway.frames import ModelSpec
from commonweal.serve.worker.engine import MockEngine

LIMITS = Limits()
SAMPLED = Request(model="m", prompt="x", temperature=1.0)
GREEDY = replace(SAMPLED, temperature=0.0)


def column(logprobs: list[float], *, ahead: float = 0.0) -> list[Token]:
    """Tokens of these log-probabilities; the likeliest alternative is ``ahead`` of each."""
    return [
        Token(text="t", id=i, logprob=logprob, top={"best": logprob + ahead})
        for i, logprob in enumerate(logprobs)
    ]


def noisy(random: Random, count: int, noise: float) -> tuple[list[Token], list[Token]]:
    true = [random.uniform(-4, 0) for _ in range(count)]
    return column([min(0.0, value + random.gauss(0, noise)) for value in true]), column(true)


def verdict(reported: list[Token], found: list[Token], request: Request = SAMPLED) -> str:
    return judge(compare(reported, found, request, LIMITS), [], LIMITS)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        (1e-5, "match"),  # float32 on another machine
        (0.01, "match"),  # bfloat16
        (0.3, "mismatch"),  # a model with worse weights
        (1.0, "mismatch"),  # another model
    ],
)
def test_rounding_passes_and_another_model_does_not(noise: float, expected: str, seed: int) -> None:
    assert verdict(*noisy(Random(seed), 60, noise)) == expected


def test_one_odd_token_is_no_crime() -> None:
    reported, found = noisy(Random(1), 100, 1e-4)
    reported[50] = replace(reported[50], logprob=-1.5 + (found[50].logprob or 0.0))
    assert verdict(reported, found) != "mismatch"


def test_a_cheap_model_that_reports_the_dear_ones_numbers_is_strange() -> None:
    reported = column([-3.0] * 50)
    assert verdict(reported, column([-3.0] * 50, ahead=2.5), GREEDY) == "mismatch"
    assert verdict(reported, column([-3.0] * 50, ahead=0.01), GREEDY) == "match"
    unlikely = column([-15.0] * 50)
    assert verdict(unlikely, unlikely) == "mismatch"
    constrained = replace(SAMPLED, schema="{}")
    assert verdict(unlikely, unlikely, constrained) == "match", "the schema chose, not the model"


def test_few_tokens_say_less() -> None:
    assert verdict(column([-1.1] * 4), column([-1.0] * 4)) == "unclear"
    assert verdict(column([-1.1] * 40), column([-1.0] * 40)) == "mismatch"
    assert verdict(column([-3.0] * 4), column([-1.0] * 4)) == "mismatch"
    assert judge(NOTHING, [], LIMITS) == "unclear"


def test_who_does_not_say_what_it_chose_is_not_believed() -> None:
    silent = [Token(text="a", id=1)]
    assert compare(silent, column([-1.0]), SAMPLED, LIMITS) == UNREPORTED
    assert judge(UNREPORTED, [], LIMITS) == "mismatch"
    with pytest.raises(ValueError, match="were to be scored"):
        compare(silent, [], SAMPLED, LIMITS)


def test_many_unclear_answers_are_clear_together() -> None:
    unclear = Comparison(tokens=60, mean=0.04, worst=0.2, apart=0.0, strange=0.0)
    assert judge(unclear, [], LIMITS) == "unclear"
    assert judge(unclear, [unclear] * 9, LIMITS) == "mismatch"
    good = replace(unclear, mean=0.001)
    assert judge(unclear, [good] * 9, LIMITS) == "unclear"


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=50), st.floats(0, 2))
def test_equal_columns_match_whatever_they_are(logprobs: list[float], temperature: float) -> None:
    found = column(logprobs)
    comparison = compare(found, found, replace(SAMPLED, temperature=temperature), LIMITS)
    assert (comparison.mean, comparison.worst, comparison.apart) == (0.0, 0.0, 0.0)
    assert math.isfinite(comparison.strange)


def test_the_rate_falls_with_what_was_found_good_and_never_to_nothing() -> None:
    rates = AuditRates()
    known = [rate(lender("m", accepted=count), rates) for count in (0, 20, 100, 10_000)]
    assert known == sorted(known, reverse=True)
    assert (known[0], known[-1]) == (rates.first, rates.least)
    assert rate(lender("m", reputation=0.1, accepted=10_000), rates) == rates.low
    assert rate(lender("m", trusted=True), rates) == 0.0


def test_what_is_scored_is_what_was_chosen() -> None:
    request = Request(model="m", prompt="x", temperature=0.7, max_tokens=9, n=2, stop=("a",), logprobs=0)
    events = (
        Piece(text="a", tokens=(Token(text="a", id=3, logprob=-1.0),)),
        Piece(index=1, text="b", tokens=(Token(text="b", id=4, logprob=-1.0),)),
        Piece(text="c", tokens=(Token(text="c", id=5, logprob=-1.0),)),
        Ended(),
    )
    spec = ModelSpec(
        name="m", identity="i", kind="full", files={}, quantization="none", parameters=1, window=1
    )
    answer = Answer(ask="a", lender=lender("m"), model=spec, request=request, events=events, at=0.0)
    asked = scoring(answer, answer.chosen())
    assert (asked.kind, asked.ids, asked.prompt, asked.temperature) == ("score", (3, 5), "x", 0.7)
    assert (asked.n, asked.stop) == (1, ())


class Told:
    """A reputation that remembers."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def good(self, connection: sa.Connection, member: str) -> None:
        self.said.append((member, "good"))

    def bad(self, connection: sa.Connection, member: str, *, ban: bool) -> None:
        self.said.append((member, "banned" if ban else "bad"))


ALWAYS = AuditOptions(rates=AuditRates(first=1.0, least=1.0, low=1.0), strikes=2)


def test_an_honest_worker_is_paid_when_its_answer_was_scored(database: Database, tmp_path: Path) -> None:
    prepare(database)
    told = Told()

    async def main() -> None:
        async with (
            running_hub(database, audits=ALWAYS, reputation=told) as hub,
            member(hub, tmp_path, served(), name="mem_good") as good,
            member(hub, tmp_path, served(), name="mem_judge", trusted=True, slots=1) as judge,
        ):
            await busy(hub, judge.engine)
            for _ in range(3):
                await hub.events(hub.ask("one two"))
            judge.engine.gate("wait:judge").set()
            await hub.serving.counter.drain()
            assert [each.kind for each in judge.engine.asked].count("score") == 3
            assert all(each.logprobs == 0 for each in good.engine.asked)

    asyncio.run(main())
    exact(database, start={"alice": RICH})
    assert [each for each in told.said if each[0] == "mem_good"] == [("mem_good", "good")] * 3
    assert credit(database, "member:mem_good") > 0
    with database.transaction() as connection:
        found = connection.execute(sa.select(audits)).all()
    assert {(row.member, row.auditor, row.verdict, row.tokens) for row in found} == {
        ("mem_good", "mem_judge", "match", 16)
    }


async def busy(hub: Hub, engine: MockEngine) -> None:
    """Keep the judge's only slot taken, so that the others answer; its asks wait."""
    task = asyncio.create_task(hub.text(hub.ask("wait:judge", trusted=True)))
    hub.tasks.append(task)
    await hub.until(lambda: bool(engine.asked))


def test_a_cheat_is_not_paid_and_banned_after_the_second_time(database: Database, tmp_path: Path) -> None:
    prepare(database)
    told = Told()

    async def main() -> None:
        async with running_hub(database, audits=ALWAYS, reputation=told) as hub:
            cheat = MockEngine(tilt=-0.8)
            async with (
                member(hub, tmp_path, served(), name="mem_cheat", engine=cheat),
                member(hub, tmp_path, served(), name="mem_judge", trusted=True, slots=1) as judge,
            ):
                await busy(hub, judge.engine)
                for _ in range(2):
                    await hub.events(hub.ask("one two"))
                judge.engine.gate("wait:judge").set()
                await hub.serving.counter.drain()
                banned = [
                    each
                    for each in hub.serving.dispatcher.workers.values()
                    if each.lender.member == "mem_cheat"
                ]
                assert banned == []

    asyncio.run(main())
    exact(database, start={"alice": RICH})
    cheats = [row for row in rows(database) if row.member == "mem_cheat"]
    assert [(row.outcome, row.microcredits) for row in cheats] == [("refused", 0)] * 2
    assert [each for each in told.said if each[0] == "mem_cheat"] == [
        ("mem_cheat", "bad"),
        ("mem_cheat", "banned"),
    ]


def test_where_nobody_can_judge_nobody_waits(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def main() -> None:
        async with (
            running_hub(database, audits=ALWAYS, reputation=Told()) as hub,
            member(hub, tmp_path, served(), name="mem_a"),
        ):
            await hub.events(hub.ask())

    asyncio.run(main())
    assert [row.outcome for row in rows(database)] == ["done"]
    exact(database, start={"alice": RICH})
    assert credit(database, "member:mem_a") > 0


@pytest.mark.parametrize(("tilt", "outcome"), [(0.0, "done"), (-0.8, "refused")])
def test_the_hubs_own_engine_can_judge(database: Database, tmp_path: Path, tilt: float, outcome: str) -> None:
    prepare(database)

    async def main() -> None:
        own = MockEngine()
        async with (
            running_hub(database, audits=ALWAYS, reputation=Told(), engine=Own(own)) as hub,
            member(hub, tmp_path, served(), name="mem_a", engine=MockEngine(tilt=tilt)),
        ):
            await hub.events(hub.ask())
            await hub.serving.counter.drain()
            assert len(own.asked) == 1

    asyncio.run(main())
    assert [row.outcome for row in rows(database)] == [outcome]
    exact(database, start={"alice": RICH})


def test_a_judge_loads_what_was_answered_and_answers_nothing(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def main() -> None:
        async with (
            running_hub(database, audits=ALWAYS, reputation=Told()) as hub,
            member(hub, tmp_path, served(), name="mem_a", slots=1) as answers,
            member(hub, tmp_path, name="mem_judge", trusted=True, judges=True) as judge,
        ):
            await asyncio.gather(*(hub.events(hub.ask(f"one {n}")) for n in range(4)))
            await hub.serving.counter.drain()
            assert {each.kind for each in judge.engine.asked} == {"score"}
            assert [each.kind for each in answers.engine.asked] == ["generate"] * 4
            with pytest.raises(Unavailable, match="no trusted worker"):
                await hub.events(hub.ask(trusted=True))

    asyncio.run(main())
    with database.transaction() as connection:
        found = connection.execute(sa.select(audits)).all()
    assert [(row.auditor, row.verdict) for row in found] == [("mem_judge", "match")] * 4
    exact(database, start={"alice": RICH})


class Own:
    """A Streamer of the hub's own, by the model's identity."""

    def __init__(self, engine: MockEngine) -> None:
        self._engine = engine

    def stream(self, request: Request):  # type: ignore[no-untyped-def]
        return self._engine.stream(request)

    async def close(self) -> None:
        pass
