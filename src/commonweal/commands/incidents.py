"""The two bad moments of the demo, and the proof that they happened.

One member is killed in mid-round: it is stopped, its own log shows that it was computing, and only then it is
killed. Another joins late. When depends on the job's progress, not on the clock, so that both happen on a machine
of any speed; where the late one needs longer to start than the job has left, the job is paused for it. What is
claimed in the end is read from the round records.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from commonweal import console
from commonweal.commands.following import paused
from commonweal.commands.stage import DemoFailed, Stage
from commonweal.pool import wire
from commonweal.pool.client import PoolClient
from commonweal.train.headway import share_done

KILL_AT, JOIN_AT, WAIT_AT = 0.3, 0.45, 0.65
"""Shares of the job: when one member is killed, when another is started, and when it is waited for."""

KILL_AFTER = 0.3
"""The share of its unit that the victim has done by then."""

WAIT_SECONDS = 300.0
_LOOK_SECONDS = 0.01


@dataclass(slots=True)
class Incidents:
    """Told of every round; acts when it is time. ``steps_done`` of ``steps_asked`` is where the victim was."""

    stage: Stage
    client: PoolClient
    job: wire.JobView
    victim: str
    late: str
    killed: bool = False
    joined: bool = False
    waited: bool = False
    steps_done: int = 0
    steps_asked: int = 0
    round_killed: int | None = None

    def after(self, round_: wire.RoundView) -> None:
        share = share_done(self.job.spec["settings"], round_.record)
        if share >= KILL_AT and not self.killed:
            self._kill()
        if share >= JOIN_AT and not self.joined:
            self.stage.start_member(self.late)
            self.joined = True
            console.out.print(f"      [yellow]{self.late} joins late[/]: a fourth machine starts now")
        if share >= WAIT_AT and not self.waited:
            self.waited = True
            self._wait_for_late()

    def _kill(self) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not self._caught():
            self.stage.check()
            if time.monotonic() > deadline:
                raise DemoFailed(
                    f"{self.victim} was given no work", hint=f"read {self.stage.log(self.victim)}"
                )
            time.sleep(_LOOK_SECONDS)
        self.round_killed = self.client.job(self.job.id).rounds
        self.stage.kill_member(self.victim)
        self.killed = True
        console.out.print(
            f"      [yellow]{self.victim} was killed in mid-round[/], after {self.steps_done} of "
            f"{self.steps_asked} steps; the others go on"
        )

    def _caught(self) -> bool:
        """Stop the victim; if it is computing at that moment it stays so, else it goes on."""
        last = self.stage.last_event(self.victim)
        if last.get("event") != "progressed" or last["amount_done"] < KILL_AFTER * last["amount"]:
            return False
        process = self.stage.members[self.victim]
        process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        last = self.stage.last_event(self.victim)
        if os.WIFSTOPPED(status) and last.get("event") == "progressed":
            self.steps_done, self.steps_asked = last["amount_done"], last["amount"]
            return True
        process.send_signal(signal.SIGCONT)
        return False

    def _wait_for_late(self) -> None:
        """On a slow machine a new process needs longer to start than the rest of the job."""
        if self._is_here():
            return
        console.out.print(f"      {self.late} is still starting: the job is paused until then")
        deadline = time.monotonic() + WAIT_SECONDS
        with paused(self.client, self.job.id):
            while not self._is_here():
                self.stage.check()
                if time.monotonic() > deadline:
                    raise DemoFailed(f"{self.late} did not join", hint=f"read {self.stage.log(self.late)}")
                time.sleep(0.2)

    def _is_here(self) -> bool:
        return any(
            row.name == self.late and row.state in ("idle", "working") for row in self.client.members()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one member did, summed over the records."""

    name: str
    rounds: tuple[int, ...]
    steps: int
    tokens: int
    up_bytes: int
    down_bytes: int
    first_down_bytes: int
    microcredits: int


def parts(rounds: Sequence[wire.RoundView], members: Sequence[wire.MemberRow]) -> list[Part]:
    """By name. Only what was accepted counts."""
    found = []
    for row in sorted(members, key=lambda member: member.joined):
        mine = [
            (view.number, one)
            for view in rounds
            for one in view.record["members"]
            if one["member"] == row.id and one["verdict"] == "ok"
        ]
        found.append(
            Part(
                name=row.name,
                rounds=tuple(number for number, _ in mine),
                steps=sum(one["steps"] for _, one in mine),
                tokens=sum(one["tokens"] for _, one in mine),
                up_bytes=sum(one["up_bytes"] for _, one in mine),
                down_bytes=sum(one["down_bytes"] for _, one in mine),
                first_down_bytes=mine[0][1]["down_bytes"] if mine else 0,
                microcredits=row.earned,
            )
        )
    return found


def missed_by(rounds: Sequence[wire.RoundView], number: int | None, part: Part) -> bool:
    """Whether, in round ``number``, someone who was given a unit handed nothing in, and it was this member."""
    found = next((view for view in rounds if view.number == number), None)
    return found is not None and found.record["stragglers"] > 0 and number not in part.rounds
