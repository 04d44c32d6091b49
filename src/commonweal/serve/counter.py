"""Where what is asked is served: the :class:`~commonweal.serve.desk.Desk` of a hub process.

Ties the parts together and owns none of their decisions. For each ask: the model is found, the most that it may cost is
reserved, the router finds a worker and brings its events, the hub counts them, and the bill is what was counted. One's
own workers cost nothing, and serve also an account without credits. An answer that is picked for an audit is paid when
its verdict is there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol, cast

from commonweal.core.completion import Request
from commonweal.core.errors import CommonwealError, InsufficientCredits
from commonweal.core.streaming import Event, Usage
from commonweal.serve.audit.evidence import Answer
from commonweal.serve.billing.books import Books, Reservation
from commonweal.serve.billing.counting import Tally, most_completion, most_prompt
from commonweal.serve.billing.tab import Bill, Outcome
from commonweal.serve.catalogue import ServedModel
from commonweal.serve.desk import Ask
from commonweal.serve.gateway.frames import ModelSpec
from commonweal.serve.router.dispatcher import Dispatcher, Errand
from commonweal.serve.router.failures import WorkerLost
from commonweal.serve.router.models import Models
from commonweal.serve.router.worker import Lender, Wanted

CountPrompt = Callable[[ModelSpec, Request], Awaitable[int | None]]
"""Tokens of a request's prompt by a tokenizer of the hub's; None where it has none."""


class Audits(Protocol):
    """Picks answers to be scored anew, before anybody knows what they are, and judges them."""

    def pick(self, lender: Lender, model: ModelSpec, request: Request) -> bool: ...

    async def passes(self, answer: Answer) -> bool:
        """Whether the worker is to be paid."""
        ...


async def no_count(model: ModelSpec, request: Request) -> int | None:
    """No tokenizer here: the worker's word, bounded by the bytes of the prompt, counts."""
    return None


class Counter:
    """``open`` asks are under way."""

    def __init__(
        self,
        *,
        models: Models,
        books: Books,
        dispatcher: Dispatcher,
        now: Callable[[], float],
        audits: Audits | None = None,
        count_prompt: CountPrompt = no_count,
    ) -> None:
        self._models, self._books, self._dispatcher, self._now = models, books, dispatcher, now
        self._audits, self._count_prompt = audits, count_prompt
        self._judging: set[asyncio.Task[None]] = set()
        self.open = 0
        self.answered = 0

    async def stream(self, ask: Ask) -> AsyncIterator[Event]:
        """See :class:`~commonweal.serve.desk.Desk`."""
        model, spec = await self._models.find(ask.request.model, ask.account)
        model = model.when_idle() if ask.priority < 0 else model
        prompt = await self._count_prompt(spec, ask.request)
        most = _most(model, ask.request, prompt)
        wanted = Wanted(
            id=ask.id,
            account=ask.account,
            model=spec,
            since=self._now(),
            tokens=self._guess(spec.identity, ask.request),
            trusted=ask.trusted,
            priority=ask.priority,
        )
        reservation = await self._reserve(ask, most, spec.identity)
        if reservation is None:
            wanted = replace(wanted, own=True)
        errand = Errand(wanted=wanted, request=self._asked(ask.request))
        serving = _Serving(self, ask, model, errand, reservation, prompt)
        self.open += 1
        try:
            async with aclosing(cast(Any, self._dispatcher.run(errand))) as batches:
                async for events in batches:
                    for event in events:
                        yield serving.seen(event)
            serving.outcome = "done"
        except WorkerLost:
            serving.outcome = "lost"
            raise
        except CommonwealError:
            serving.outcome = "failed"
            raise
        finally:
            self.open -= 1
            self.answered += 1
            serving.close()

    async def drain(self, seconds: float = 10.0) -> None:
        """Wait for the verdicts that are still out; what has none by then is paid."""
        tasks = list(self._judging)
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in self._judging:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _reserve(self, ask: Ask, most: int, identity: str) -> Reservation | None:
        """None: the account cannot pay, and its own workers will do it for nothing."""
        try:
            return await self._books.reserve(ask.account, most)
        except InsufficientCredits:
            if self._dispatcher.own_workers(ask.account, identity):
                return None
            raise

    def _asked(self, request: Request) -> Request:
        """What the worker sees. Log-probabilities of what it chose are always wanted: so it cannot tell which answers
        are looked at, and reporting them costs it next to nothing."""
        if self._audits is None or request.kind != "generate" or request.logprobs is not None:
            return request
        return replace(request, logprobs=0)

    def _guess(self, identity: str, request: Request) -> float:
        known = self._dispatcher.durations.get(identity)
        return min(float(most_completion(request)), known.tokens if known else 100.0)

    def judge(self, answer: Answer, reservation: Reservation, bill: Bill) -> None:
        """Settle when the verdict is there."""
        self._books.shrink(reservation, bill.microcredits)
        task = asyncio.get_running_loop().create_task(self._judge(answer, reservation, bill))
        self._judging.add(task)
        task.add_done_callback(self._judging.discard)

    async def _judge(self, answer: Answer, reservation: Reservation, bill: Bill) -> None:
        passed = True
        try:
            assert self._audits is not None
            with contextlib.suppress(CommonwealError):  # nobody could look at it: it counts as good
                passed = await self._audits.passes(answer)
        finally:
            refused = replace(bill, microcredits=0, payee=None, outcome="refused")
            self._books.settle(reservation, bill if passed else refused)

    def settle(self, reservation: Reservation | None, bill: Bill) -> None:
        if reservation is None:
            self._books.record(bill)
        else:
            self._books.settle(reservation, bill)

    def audited(self, lender: Lender, model: ModelSpec, ask: Ask) -> bool:
        own = lender.owner == ask.account
        return self._audits is not None and not own and self._audits.pick(lender, model, ask.request)

    def now(self) -> float:
        return self._now()


class _Serving:
    """One ask as it is counted."""

    def __init__(
        self,
        counter: Counter,
        ask: Ask,
        model: ServedModel,
        errand: Errand,
        reservation: Reservation | None,
        prompt: int | None,
    ) -> None:
        self._counter, self._ask, self._model, self._errand = counter, ask, model, errand
        self._reservation, self._prompt = reservation, prompt
        self._tally = Tally(ask.request)
        self._picked: bool | None = None
        self._events: list[Event] = []
        self.outcome: Outcome = "cancelled"

    def seen(self, event: Event) -> Event:
        """Count an event; returns it as the caller gets it."""
        self._tally.add(event)
        self._errand.made = self._tally.tokens
        if self._picked is None and self._errand.lender is not None and self._reservation is not None:
            self._picked = self._counter.audited(self._errand.lender, self._errand.wanted.model, self._ask)
        if self._picked:
            self._events.append(event)
        if isinstance(event, Usage):
            return replace(
                event,
                prompt_tokens=self._tally.prompt(self._prompt),
                completion_tokens=self._tally.completion,
            )
        return event

    def close(self) -> None:
        bill = self._bill()
        if self._picked and self.outcome == "done" and self._reservation is not None:
            assert self._errand.lender is not None
            answer = Answer(
                ask=self._ask.id,
                lender=self._errand.lender,
                model=self._errand.wanted.model,
                request=self._errand.request,
                events=tuple(self._events),
                at=bill.at,
            )
            self._counter.judge(answer, self._reservation, bill)
        else:
            self._counter.settle(self._reservation, bill)

    def _bill(self) -> Bill:
        lender, began = self._errand.lender, self._errand.first is not None
        own = lender is not None and lender.owner == self._ask.account
        paid = self.outcome in ("done", "cancelled") and began and lender is not None
        prompt = self._tally.prompt(self._prompt) if began else 0
        completion = self._tally.completion
        cost = 0
        if paid and not own and self._reservation is not None:
            cost = min(self._model.cost(prompt, completion), self._reservation.most)
        return Bill(
            ask=self._ask.id,
            account=self._ask.account,
            model=self._model.name,
            member=None if lender is None else lender.member,
            payee=lender.account if lender is not None and cost else None,
            accepted=0 if lender is None else lender.accepted,
            prompt_tokens=prompt,
            completion_tokens=completion,
            microcredits=cost,
            outcome=self.outcome,
            own=own,
            at=self._counter.now(),
        )


def _most(model: ServedModel, request: Request, prompt: int | None) -> int:
    """The most that it may cost: a prompt and each answer fill the window at most."""
    prompt = min(most_prompt(request), model.window) if prompt is None else prompt
    completion = min(most_completion(request), model.window * request.n)
    return model.cost(prompt, completion)
