"""A hub whose users have said enough: feedback on both sides, a trainer that trains nothing, a desk that prefers."""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from community_hub import CommunityHub, Step, publish, running, said
from test_community_asking import answer, begin

from commonweal.core.blobs import Blobs
from commonweal.core.clock import ManualClock
from commonweal.core.completion import Completion, Request, Token
from commonweal.core.database import Database
from commonweal.core.errors import UserError
from commonweal.core.streaming import Ended, Piece, Usage
from commonweal.serve.community.building import side_of
from commonweal.serve.community.gate import Scenario, paired
from commonweal.serve.community.guarding import AskModel, Guarding, Known
from commonweal.serve.community.loop import Improver, ImprovingOptions
from commonweal.serve.community.parts import Community
from commonweal.serve.community.patience import Patience
from commonweal.serve.desk import Ask
from commonweal.serve.tuning.loop import Tuner
from tuning_fakes import FakeTrainer

OPTIONS = ImprovingOptions(tick_seconds=0.01, patience=Patience(seconds=0.2, pause=0.01))
PATH = "/v1/community/improvements"
IDEAL = "Ideally: "


def words(seed: int, count: int = 12) -> str:
    """Words that nobody else says, so that no two examples are near duplicates."""
    draw = random.Random(seed)
    return " ".join("".join(draw.choices(string.ascii_lowercase, k=7)) for _ in range(count))


@dataclass(slots=True)
class FakeGuards:
    """Knows two scenarios. ``gain`` is how much better the candidate is at each; ``fails`` are raised, one a call."""

    gain: float = 0.0
    fails: list[Exception] = field(default_factory=list)
    asked: list[Guarding] = field(default_factory=list)
    inside: Callable[[], None] = lambda: None

    def known(self) -> Sequence[Known]:
        return [
            Known(name="addition", title="Addition", about="Sums.", metric="exact_match", offline=True),
            Known(name="boolq", title="BoolQ", about="Yes or no.", metric="exact_match", offline=False),
        ]

    def named(self, names: Sequence[str]) -> tuple[str, ...]:
        for name in names:
            if name not in ("addition", "boolq"):
                raise UserError(f"unknown scenario '{name}'", hint="did you mean 'boolq'?")
        return tuple(names)

    async def compare(
        self, guarding: Guarding, ask: AskModel, say: Callable[[str], None]
    ) -> Sequence[Scenario]:
        self.asked.append(guarding)
        if self.fails:
            raise self.fails.pop(0)
        found: Completion = await ask(Request(model=guarding.candidate, prompt="1 + 1 =", max_tokens=4))
        assert found.choices
        self.inside()
        say("addition was easy")
        keys = [str(number) for number in range(guarding.instances)]
        return [
            paired(
                name,
                "exact_match",
                dict.fromkeys(keys, 0.5),
                {key: 0.5 + self.gain + 0.001 * (i % 2) for i, key in enumerate(keys)},
            )
            for name in guarding.names
        ]


@dataclass(frozen=True, slots=True)
class World:
    hub: CommunityHub
    trainer: FakeTrainer
    guards: FakeGuards
    clock: ManualClock

    def operator(self) -> httpx.Client:
        return self.hub.client("cw-op")

    def improver(self, database: Database | None = None, desk: Any = None) -> Improver:
        serve = self.hub.serve
        return Improver(
            database or serve.database,
            serve.blobs,
            desk or serve.desk,
            self.clock,
            serve.community,
            OPTIONS,
        )

    def drive(self, improvement: str) -> None:
        """As a process would that has nothing else to do. In a thread: a browser's test has an event loop."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            pool.submit(lambda: asyncio.run(self.improver().drive(improvement))).result()

    def train(self) -> None:
        """The fine-tuning jobs that are there, to their end."""
        tuner = Tuner(self.hub.serve.database, self.hub.serve.blobs, self.trainer, self.clock)
        for _ in range(12):
            for job in tuner.waiting():
                tuner.drive(job)
            self.trainer.fold()
            self.clock.sleep(1)

    def begin(self, **wishes: Any) -> dict[str, Any]:
        with self.operator() as operator:
            response = operator.post(PATH, json={"model": "small", **wishes})
        assert response.status_code == 201, response.text
        return dict(response.json())

    def look(self, improvement: str) -> dict[str, Any]:
        with self.operator() as operator:
            response = operator.get(f"{PATH}/{improvement}")
        assert response.status_code == 200, response.text
        return dict(response.json())

    def finish(self, improvement: str) -> dict[str, Any]:
        """Take it to its end, without accidents."""
        for _ in range(3):
            self.drive(improvement)
            self.train()
        return self.look(improvement)

    def give_feedback(self, *, train: int = 8, heldout: int = 12) -> None:
        """Edits, accepted, so many conversations on each side."""
        left = {"train": train, "heldout": heldout}
        number = 0
        with self.hub.client() as ann, self.operator() as operator:
            while any(left.values()):
                conversation = begin(ann, consent="improve")
                side = side_of(conversation, 0.2)
                if not left[side]:
                    continue
                left[side] -= 1
                number += 1
                message = answer(ann, conversation, f"{words(number)}?")["id"]
                sent = {"content": IDEAL + words(1000 + number)}
                given = ann.put(f"/v1/community/messages/{message}/ideal", json=sent)
                assert given.status_code == 200, given.text
                for review in operator.get("/v1/community/reviews").json()["data"]:
                    operator.post(f"/v1/community/reviews/{review['id']}", json={"status": "accepted"})


def preferring(gain: float) -> Callable[[Ask], Sequence[Step]]:
    """A desk whose candidates find ideal answers likelier by ``gain`` nats a token."""

    def script(ask: Ask) -> Sequence[Step]:
        if ask.request.kind != "score":
            return said(f"Surely {words(len(ask.id), 6)}.")
        ideal = ask.request.continuation.startswith(IDEAL)
        better = gain if ideal and ask.request.model.startswith("ft:") else 0.0
        noise = random.Random(ask.request.continuation).uniform(0, 0.1)
        tokens = (Token(text="x", logprob=-2.0 + better - noise - (0.5 if ideal else 0.0)),)
        return [Piece(tokens=tokens), Ended(), Usage(prompt_tokens=3, completion_tokens=0)]

    return script


@contextmanager
def improving_world(
    database: Database, blobs: Blobs, *, gain: float = 1.0, feedback: bool = True, pages: Sequence[Any] = ()
) -> Iterator[World]:
    publish(database, "small")
    trainer, guards, clock = FakeTrainer(blobs), FakeGuards(), ManualClock(1.79e9)
    with running(
        database, blobs, clock=clock, parts=Community(guards=guards), trainer=trainer, pages=pages
    ) as hub:
        hub.desk.script = preferring(gain)
        world = World(hub, trainer, guards, clock)
        if feedback:
            world.give_feedback()
        yield world
