"""What members, users and hubs say to each other: every body of the HTTP protocol, checked on arrival.

docs/protocol.md tells the conversation; this module is its vocabulary. Unknown fields are ignored, so that a
newer client can talk to an older hub; what is too large or out of range is refused here, before any code.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from commonweal.core.hashing import BlobHash

PREFIX = "/pool/v1"
OLDEST_CLIENT = "0.1.0"

Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=PRINTABLE)]
Token = Annotated[str, StringConstraints(min_length=8, max_length=80, pattern=r"^[A-Za-z0-9_.:-]+$")]
Role = Literal["train", "serve", "score", "generate", "evaluate"]
Count = Annotated[int, Field(ge=0, le=2**53)]
Seconds = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, le=1e13, allow_inf_nan=False)]


class Body(BaseModel):
    """Base of every body. Refuses what JSON allows and the database does not: NaN, infinities, NUL characters
    and lone surrogates, at any depth."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        if isinstance(value, dict):
            _check_storable(value, depth=0)
        return value


def _check_storable(value: Any, depth: int) -> None:
    if depth > 32:
        raise ValueError("nested more than 32 deep")
    if isinstance(value, str) and ("\0" in value or (not value.isascii() and _has_surrogate(value))):
        raise ValueError("text has a NUL character or half of a surrogate pair")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    if isinstance(value, int) and not -(2**64) < value < 2**64:
        raise ValueError("a number has more than 64 bits")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_storable(key, depth + 1)
            _check_storable(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_storable(item, depth + 1)


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


class Hello(Body):
    """What the hub says of itself, to anyone."""

    service: Literal["commonweal"] = "commonweal"
    version: str
    oldest_client: str = OLDEST_CLIENT
    time: float
    heartbeat_seconds: float
    lease_seconds: float


class Register(Body):
    """A machine joins. ``request_id`` makes a repeated call the same call."""

    name: Name
    client_version: Annotated[str, StringConstraints(max_length=40)]
    roles: Annotated[list[Role], Field(min_length=1, max_length=8)]
    platform: Annotated[dict[str, Any], Field(max_length=32)] = {}
    request_id: Token


class Registered(Body):
    member: str
    key: str


class Transfers(Body):
    """Bytes and seconds of a member's transfers since it last said so, as the member measured them. Used only where
    the hub cannot time a transfer itself, and within what it saw of it (:mod:`~commonweal.pool.links`)."""

    up_bytes: Count = 0
    up_seconds: Seconds = 0
    down_bytes: Count = 0
    down_seconds: Seconds = 0


class LeaseRequest(Body):
    """Ask for work, waiting up to ``wait`` seconds. The same ``request_id`` gets the same lease again."""

    roles: Annotated[list[Role], Field(min_length=1, max_length=8)]
    kinds: Annotated[list[Annotated[str, StringConstraints(max_length=40)]], Field(max_length=32)]
    wait: Annotated[float, Field(ge=0, le=25, allow_inf_nan=False)] = 25
    free_memory: Count
    request_id: Token


class Lease(Body):
    """A unit lent to one member. ``seconds`` is the time after which what is done should be handed in,
    ``ttl`` the time after the last heartbeat at which the lease is lost."""

    unit: str
    fence: int
    job: str
    unit_key: str
    kind: str
    payload: dict[str, Any]
    amount: int
    seconds: float
    ttl: float


class Progress(Body):
    unit: Annotated[str, StringConstraints(max_length=40)]
    fence: Count
    amount_done: Count = 0


class Heartbeat(Body):
    """I am here, and this is how far I am. ``state`` is for people to read."""

    state: Literal["idle", "working", "paused"]
    leases: Annotated[list[Progress], Field(max_length=16)] = []
    transfers: Transfers = Transfers()


class LeaseState(Body):
    unit: str
    valid: bool


class HeartbeatReply(Body):
    """A lease that is not ``valid`` is lost: stop working on it."""

    leases: list[LeaseState]


class Submit(Body):
    """Hand in a unit. Its blobs were uploaded before."""

    fence: Count
    amount_done: Count
    seconds: Seconds
    report: Annotated[dict[str, Any], Field(max_length=64)]
    blobs: Annotated[dict[Annotated[str, StringConstraints(max_length=40)], Hash], Field(max_length=16)] = {}
    transfers: Transfers = Transfers()


class Submitted(Body):
    """``duplicate`` if the same unit was handed in before under this lease: nothing changed."""

    duplicate: bool = False


class Release(Body):
    """Hand a lease back undone. ``failure`` says why it could not be done; '' if the member just leaves."""

    fence: Count
    failure: Literal["", "out_of_memory", "error", "unsupported", "disk_full"] = ""
    message: Annotated[str, StringConstraints(max_length=500)] = ""


class UploadRequest(Body):
    """``parts``: whoever asks can upload in parts."""

    hash: Hash
    size: Annotated[int, Field(ge=0, le=2**40)]
    parts: bool = False


class UploadPart(Body):
    """Bytes ``start`` to ``start + size`` of an upload: PUT them to ``url``."""

    start: Annotated[int, Field(ge=0)]
    size: Annotated[int, Field(ge=1)]
    url: str


class Upload(Body):
    """How to upload: nothing (``complete``); PUT each of ``parts`` and ask again, or, where none is left,
    ``.../complete``; PUT to ``url`` and then ``.../complete``; or PATCH from ``offset`` on."""

    complete: bool
    offset: int = 0
    url: str | None = None
    parts: list[UploadPart] | None = None


class NewJob(Body):
    """``blobs`` are what the specification refers to; they must have been uploaded."""

    kind: Annotated[str, StringConstraints(max_length=40)]
    name: Name
    spec: dict[str, Any]
    blobs: Annotated[list[Hash], Field(max_length=100_000)] = []
    budget: Annotated[int, Field(ge=0, le=2**62)] = 0
    request_id: Token


JobStatus = Literal["running", "paused", "done", "failed", "cancelled"]


class JobView(Body):
    id: str
    kind: str
    name: str
    owner: str
    status: JobStatus
    message: str
    created: float
    updated: float
    rounds: int
    spent: int
    budget: int
    spec: dict[str, Any]
    state: dict[str, Any]


class Resume(Body):
    """Go on with a paused job, with ``budget`` micro-credits more to spend. The same ``request_id`` adds them once."""

    budget: Annotated[int, Field(ge=0, le=2**60)] = 0
    request_id: Token | None = None


class RoundView(Body):
    number: int
    at: float
    record: dict[str, Any]


class MemberRow(Body):
    id: str
    name: str
    state: Literal["idle", "working", "paused", "away", "left", "banned"]
    client_version: str
    roles: list[str]
    platform: dict[str, Any]
    joined: float
    last_seen: float
    reputation: float
    accepted: int
    refused: int
    owner: str = ""
    trusted: bool = False
    upload: float | None
    download: float | None
    free_memory: int
    earned: int


class Status(Body):
    version: str
    members: dict[str, int]
    jobs: dict[str, int]
    units: dict[str, int]
    blobs_bytes: int | None = None


class NewKey(Body):
    """The same ``request_id`` makes one key: asked for again, it is given another secret."""

    role: Literal["join", "user", "admin"]
    label: Name
    request_id: Token | None = None


class Key(Body):
    key: str
    role: str
    account: str


class Revoke(Body):
    """The same ``request_id`` revokes what was valid the first time, and nothing that was made since."""

    account: Annotated[str, StringConstraints(max_length=200, pattern=PRINTABLE)]
    request_id: Token | None = None


class Grant(Body):
    account: Name
    microcredits: Annotated[int, Field(gt=0, le=2**60)]
    memo: Annotated[str, StringConstraints(max_length=200)] = ""
    request_id: Token


class Balance(Body):
    """Micro-credits of one account."""

    account: str
    kind: str
    available: int
    held: int
    escrow: int


class Audit(Body):
    """The outcome of replaying the books, begun ``at``. ``head`` and ``position`` name the end of the chain then:
    write them down to prove later that the past was not rewritten."""

    ok: bool
    journals: int
    unsealed: int
    accounts: int
    issued: int
    head: str
    position: int
    at: float = 0
    problems: list[str]


class ErrorBody(Body):
    """Every error, in the shape that OpenAI-compatible clients know."""

    class Detail(Body):
        message: str
        type: str
        code: str
        param: str | None = None
        hint: str | None = None

    error: Detail


def as_hash(text: str) -> BlobHash:
    """A string that pydantic already checked."""
    return BlobHash(text)
