"""The specification of a training job: what its submitter made, saved with the job and never changed.

The hub reads :class:`JobSpec` (no torch needed); a member reads the ``worker`` blob that it names, which has
what is needed to compute and nothing else. Both are plain JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from commonweal.core.errors import ConfigError
from commonweal.core.hashing import BlobHash
from commonweal.core.work import Json
from commonweal.train.config import TrainSettings

VERSION = 1
KIND = "train"
UNIT_KIND = "train_round"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """``parameters`` is the length of the trained vector, ``theta`` its first state, ``fragments`` its
    divisions into parts ``(start, stop)``. ``worker`` is the blob that members read. ``memory_bytes`` is what
    a member needs. ``held_out`` are the shards that losses are measured on, which members are not told of.
    """

    version: int = VERSION
    settings: Json
    parameters: int
    theta: BlobHash
    fragments: tuple[tuple[tuple[int, int], ...], ...]
    worker: BlobHash
    memory_bytes: int
    model: Json
    held_out: Json
    provenance: Json

    def to_json(self) -> Json:
        """Plain JSON that :meth:`from_json` reads back."""
        return {**asdict(self), "fragments": [[list(part) for part in parts] for parts in self.fragments]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> JobSpec:
        """Raises ConfigError when ``value`` is not a specification of a version that is known."""
        if value.get("version") != VERSION:
            raise ConfigError(
                f"specification: version {value.get('version')!r}, this release reads {VERSION}",
                hint="submit the job with the release that the hub runs",
            )
        try:
            fragments = tuple(
                tuple((int(start), int(stop)) for start, stop in parts) for parts in value["fragments"]
            )
            spec = cls(**{**value, "fragments": fragments})
        except (TypeError, KeyError, ValueError) as error:
            raise ConfigError(f"specification: not one of a training job: {error}") from None
        spec._check()
        return spec

    def train_settings(self) -> TrainSettings:
        """The settings, checked again."""
        return TrainSettings.from_json(self.settings)

    def parts(self) -> dict[int, tuple[tuple[int, int], ...]]:
        """The divisions by their number of parts; one whole is always among them."""
        return {1: ((0, self.parameters),), **{len(parts): parts for parts in self.fragments}}

    def _check(self) -> None:
        for parts in self.parts().values():
            ends = [0, *(stop for _, stop in parts)]
            if [start for start, _ in parts] != ends[:-1] or ends[-1] != self.parameters:
                raise ConfigError("specification: its fragments do not make up its parameters")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """What a member needs. ``files`` are the model's configuration and frozen weights by file name, ``lora``
    the adapters' settings, ``layout`` the trained parameters, ``shards`` the token shards, ``train`` the
    inner loop."""

    files: Mapping[str, BlobHash]
    lora: Json | None
    layout: list[list[Any]]
    tokenizer: Mapping[str, BlobHash]
    shards: Json
    train: Json

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WorkerSpec:
        try:
            return cls(**value)
        except TypeError as error:
            raise ConfigError(f"specification: not one for a member: {error}") from None
