"""What the owner of a machine decides about it, and how the agent paces itself."""

from __future__ import annotations

from dataclasses import dataclass

from commonweal.pool.wire import Role
from commonweal.pool.worker.limits import Hours, Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """``memory`` and ``cache_bytes`` are bytes, ``upload_limit`` bytes a second; None is no limit of its own.
    ``max_load`` is the share of the cores (0 to 1) that others may use before the member gives way.
    ``max_units`` ends the agent after so many units, done or not."""

    threads: int | None = None
    memory: int | None = None
    hours: Hours | None = None
    upload_limit: float | None = None
    roles: tuple[Role, ...] = ("train",)
    device: str = "auto"
    max_load: float | None = 0.75
    on_battery: bool = False
    cache_bytes: int = 20 * 10**9
    max_units: int | None = None

    @property
    def limits(self) -> Limits:
        return Limits(
            memory=self.memory, hours=self.hours, on_battery=self.on_battery, max_load=self.max_load
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """Seconds. ``tick``: how soon ctrl-c is heard. ``grace``: how long an executor may take to stop on the way
    out. ``stuck``: how long it may take after its lease was lost, or memory may stay full of nothing, before the
    process is better started anew. ``rest``: how often a pausing agent looks up, and how long a full disk or a
    failure keeps it away from work at first."""

    tick: float = 0.1
    grace: float = 10.0
    stuck: float = 120.0
    rest: float = 10.0
    longest_rest: float = 300.0
