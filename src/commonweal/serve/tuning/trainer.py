"""Who trains: a protocol, because data, training and the pool are none of this package's business.

A job of the pool is named by the fine-tuning job that it is for, so every call can be repeated: submitting twice is
submitting once, and what was submitted is found again after a crash without a note of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from commonweal.core.errors import DataError
from commonweal.core.hashing import BlobHash
from commonweal.serve.catalogue import ServedModel
from commonweal.serve.tuning.recipe import Recipe

Steering = Literal["pause", "resume", "cancel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One job: its id, whose it is, the model to begin from, and what was asked for."""

    id: str
    owner: str
    base: ServedModel
    recipe: Recipe


class BadExamples(DataError):
    """A file that cannot be trained on. ``code`` names the kind of mistake, ``param`` the file at fault, ``details``
    are more mistakes of it, one a line."""

    def __init__(
        self, message: str, *, code: str, param: str, hint: str | None = None, details: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.param = param
        self.details = details


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the files come to. ``tokens`` are those of all examples once; ``trained_tokens`` those that are paid for
    over all epochs; ``microcredits`` what that costs and ``budget`` what is set aside for it; ``seconds`` None where
    nobody has been measured yet. ``warnings`` are for people."""

    examples: int
    tokens: int
    trained_tokens: int
    epochs: int
    batch_size: int
    learning_rate_multiplier: float
    beta: float | None = None
    steps: int
    microcredits: int
    budget: int
    seconds: float | None = None
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of training. ``number`` counts from 0; losses are nats per trained token."""

    number: int
    at: float
    step: int
    tokens: int
    loss: float | None = None
    valid_loss: float | None = None
    members: int = 0
    moved_bytes: int = 0
    paid: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Weights that the pool keeps."""

    step: int
    weights: BlobHash


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the pool is. ``rounds`` are those after the one that was asked for, at most a page of them: ``more`` says
    that others follow. ``tokens`` were accepted and ``spent`` micro-credits paid for them."""

    status: Literal["running", "paused", "done", "failed", "cancelled"]
    message: str = ""
    rounds: tuple[Round, ...] = ()
    more: bool = False
    snapshots: tuple[Snapshot, ...] = ()
    tokens: int = 0
    spent: int = 0


class Trainer(Protocol):
    """Trains. Sync, and slow: never called on an event loop."""

    def check(self, work: Work) -> Checked:
        """Read the files and say what training on them takes. Raises BadExamples, and UserError for a model that
        cannot be trained so."""
        ...

    def preview(self, work: Work) -> Mapping[str, Any]:
        """What the training file comes to, as plain JSON, for a person to look at before anything is paid."""
        ...

    def submit(self, work: Work) -> None:
        """Prepare the job and enter it in the pool. Raises InsufficientCredits."""
        ...

    def look(self, job: str, owner: str, *, after: int) -> Progress | None:
        """How far a job is, with the rounds above number ``after``; None for one that was never submitted."""
        ...

    def steer(self, job: str, owner: str, to: Steering) -> None:
        """Pause, resume or cancel a job in the pool; nothing happens to one that is not there or is over."""
        ...

    def export(self, work: Work, snapshot: Snapshot) -> Mapping[str, BlobHash]:
        """Store the model with these weights: its files by name. An adapter is one for the base's own base, where the
        base is an adapter itself."""
        ...
