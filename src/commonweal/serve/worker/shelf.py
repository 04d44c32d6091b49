"""The models that a member has loaded: what they take, when they were last asked, and whether another fits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from commonweal.core.errors import Refused
from commonweal.serve.gateway.frames import Held, ModelSpec, Speed, State

_WEIGHT = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A loaded model. ``asks`` are being answered by it; ``used`` is when the last one ended."""

    name: str
    identity: str
    size: int
    used: float
    asks: int = 0
    base: str | None = None
    speed: Speed | None = None


class Shelf:
    """``memory`` is what all models together may take, in bytes."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self._kept: dict[str, Kept] = {}
        self._loading: dict[str, int] = {}

    def begin(self, spec: ModelSpec, size: int) -> None:
        """Set memory aside for a model that is about to be loaded. Raises Refused if it does not fit."""
        if size > self.free():
            raise Refused(f"'{spec.name}' needs {size} bytes, and {self.free()} are free")
        self._loading[spec.identity] = size

    def put(self, spec: ModelSpec, size: int, now: float) -> None:
        base = None if spec.base is None else spec.base.identity
        self._loading.pop(spec.identity, None)
        self._kept[spec.identity] = Kept(
            name=spec.name, identity=spec.identity, size=size, used=now, base=base
        )

    def failed(self, identity: str) -> None:
        self._loading.pop(identity, None)

    def take(self, identity: str) -> None:
        """It is unloaded. Raises Refused while it answers, or while an adapter needs it."""
        kept = self._kept.get(identity)
        if kept is None:
            return
        if kept.asks or any(each.base == identity for each in self._kept.values()):
            raise Refused(f"'{kept.name}' is in use")
        del self._kept[identity]

    def has(self, identity: str) -> bool:
        return identity in self._kept

    def busy(self, identity: str) -> bool:
        return identity in self._loading

    def asked(self, identity: str) -> None:
        self._change(identity, asks=self._kept[identity].asks + 1)

    def answered(self, identity: str, now: float, speed: Speed | None) -> None:
        """An ask ended; ``speed`` is what was measured, if it was answered."""
        if identity not in self._kept:
            return
        kept = self._kept[identity]
        self._change(
            identity,
            asks=max(0, kept.asks - 1),
            used=now,
            speed=_mean(kept.speed, speed) if speed else kept.speed,
        )

    def free(self) -> int:
        taken = sum(kept.size for kept in self._kept.values()) + sum(self._loading.values())
        return max(0, self.memory - taken)

    def least_used(self) -> str | None:
        """The model that one can best do without, or None if all are in use."""
        bases = {kept.base for kept in self._kept.values()}
        idle = [kept for kept in self._kept.values() if not kept.asks and kept.identity not in bases]
        return min(idle, key=lambda kept: kept.used).identity if idle else None

    def state(self, now: float) -> State:
        kept = self._kept.values()
        return State(
            models={each.name: each.identity for each in kept},
            held={each.identity: _held(each, now) for each in kept},
            loading=tuple(self._loading),
            running=sum(each.asks for each in kept),
            free=self.free(),
            speeds={each.identity: each.speed for each in kept if each.speed is not None},
        )

    def models(self) -> tuple[str, ...]:
        """Identities, in the order in which they were loaded."""
        return tuple(self._kept)

    def _change(self, identity: str, **values: object) -> None:
        self._kept[identity] = replace(self._kept[identity], **values)  # type: ignore[arg-type]


def _held(kept: Kept, now: float) -> Held:
    return Held(size=kept.size, idle=0.0 if kept.asks else max(0.0, now - kept.used))


def _mean(before: Speed | None, seen: Speed) -> Speed:
    if before is None:
        return seen
    return Speed(
        tokens=before.tokens + _WEIGHT * (seen.tokens - before.tokens),
        first=before.first + _WEIGHT * (seen.first - before.first),
    )
