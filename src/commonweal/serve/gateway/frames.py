"""What hub and member say to each other over the one connection that the member opened.

A frame is one JSON object; ``t`` says which. The member begins with its hello, which has the version of this
protocol; a hub that does not know it says goodbye with the reason. Both sides treat what they read as a stranger's:
sizes are bounded, types are checked, and what cannot be read ends the connection (InvalidContribution).

    member -> hub   hello, events, ping (once a second, with its state), loaded, unloaded, leave
    hub -> member   welcome, ask, cancel, load, unload, goodbye

An ask has a number, given by the hub and never used again on that connection. Events of several asks share a frame;
of each ask, the last is ``done`` or a failure. A failure ``handed_back`` says: not begun, ask somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import orjson

from commonweal.core.completion import FailureKind, Request
from commonweal.core.errors import InvalidContribution
from commonweal.core.hashing import BlobHash, is_content_hash
from commonweal.core.streaming import Event
from commonweal.serve.catalogue import FILE_NAME, NAME
from commonweal.serve.gateway.plain import (
    bad,
    event_json,
    number,
    read_event,
    read_request,
    request_json,
    text,
    whole,
)

VERSION = 1
LARGEST = 1 << 20
"""Bytes of a frame from a member."""
LARGEST_ASK = 48 << 20
"""Bytes of a frame to a member: a prompt may have pictures."""
MOST_MODELS = 256
MOST_SLOTS = 4096

HANDED_BACK = "handed_back"
_FAILURES: frozenset[str] = frozenset((*get_args(FailureKind), HANDED_BACK))


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Measured: tokens a second of one stream, and seconds to the first token."""

    tokens: float
    first: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What a member must know of a model to load it. ``identity`` stands for all of it; an adapter comes with the
    spec of its base."""

    name: str
    identity: str
    kind: str
    files: Mapping[str, BlobHash]
    quantization: str
    parameters: int
    window: int
    base: ModelSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A loaded model: the bytes that it takes, and the seconds since it was last asked (0: it is answering)."""

    size: int
    idle: float


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a member serves right now. ``models`` are loaded: name to identity; ``held`` is by identity. ``free`` is
    in bytes."""

    models: Mapping[str, str]
    held: Mapping[str, Held] = field(default_factory=dict)
    loading: tuple[str, ...] = ()
    running: int = 0
    free: int = 0
    speeds: Mapping[str, Speed] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """``memory`` is what models may take in all, in bytes; ``loads`` says whether it can load models that it is sent
    (who fronts another server cannot). ``judges``: it scores the answers of others, and answers nothing else."""

    engine: str
    slots: int
    memory: int
    loads: bool
    state: State
    judges: bool = False
    version: int = VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The ask was not answered."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The ask was answered, and everything was said."""


Said = Event | Done | Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """``asks`` in the order in which things were said."""

    asks: Sequence[tuple[int, Sequence[Said]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """``problem`` is '' if the model can be asked from now on."""

    identity: str
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloaded:
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """The member wants no more asks, and goes when it has answered those that it began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    version: int = VERSION
    hub: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskFrame:
    number: int
    identity: str
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    model: ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Unload:
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodbye:
    """The hub ends the connection. ``final``: coming back as the same will not help."""

    reason: str
    final: bool = False


FromMember = Hello | Events | Ping | Loaded | Unloaded | Leave
FromHub = Welcome | AskFrame | Cancel | Load | Unload | Goodbye
Frame = FromMember | FromHub

Kind = Literal["member", "hub"]


def encode(frame: Frame) -> bytes:
    """A frame as it is sent."""
    return orjson.dumps(_plain(frame))


def decode_member(data: bytes | str) -> FromMember:
    """A frame that a member wrote. Raises InvalidContribution."""
    raw = _object(data, LARGEST)
    match raw.get("t"):
        case "ev":
            return Events(asks=[(whole(n), [read_said(each) for each in said]) for n, said in _pairs(raw)])
        case "ping":
            return Ping(state=read_state(raw))
        case "hello":
            return _hello(raw)
        case "loaded":
            return Loaded(identity=_hash(raw.get("i")), problem=text(raw.get("p", ""), longest=2000))
        case "unloaded":
            return Unloaded(identity=_hash(raw.get("i")))
        case "leave":
            return Leave()
        case _:
            raise bad("its kind")


def decode_hub(data: bytes | str) -> FromHub:
    """A frame that a hub wrote. Raises InvalidContribution."""
    raw = _object(data, LARGEST_ASK)
    match raw.get("t"):
        case "ask":
            identity = _hash(raw.get("m"))
            request = read_request(raw.get("r"), text(raw.get("name", ""), longest=200))
            return AskFrame(number=whole(raw.get("n")), identity=identity, request=request)
        case "cancel":
            return Cancel(number=whole(raw.get("n")))
        case "load":
            return Load(model=read_spec(raw.get("m")))
        case "unload":
            return Unload(identity=_hash(raw.get("i")))
        case "welcome":
            return Welcome(version=whole(raw.get("v")), hub=text(raw.get("hub", ""), longest=200))
        case "bye":
            return Goodbye(reason=text(raw.get("r", ""), longest=2000), final=raw.get("f") is True)
        case _:
            raise bad("its kind")


def said_json(said: Said) -> list[Any]:
    """One thing that is said about an ask."""
    if isinstance(said, Done):
        return ["d"]
    if isinstance(said, Failure):
        return ["f", said.kind, said.message[:2000]]
    return event_json(said)


def read_said(raw: Any) -> Said:
    """What :func:`said_json` wrote. Raises InvalidContribution."""
    if type(raw) is not list or not raw:
        raise bad("event")
    if raw[0] == "d":
        return Done()
    if raw[0] != "f":
        return read_event(raw)
    if len(raw) != 3 or raw[1] not in _FAILURES:
        raise bad("failure")
    return Failure(kind=raw[1], message=text(raw[2], longest=2000))


def spec_json(spec: ModelSpec) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": spec.name,
        "identity": spec.identity,
        "kind": spec.kind,
        "files": dict(spec.files),
        "quantization": spec.quantization,
        "parameters": spec.parameters,
        "window": spec.window,
    }
    if spec.base is not None:
        made["base"] = spec_json(spec.base)
    return made


def read_spec(raw: Any, *, depth: int = 0) -> ModelSpec:
    """A model's spec. File names are plain names, so they can be used in a folder. Raises InvalidContribution."""
    if not isinstance(raw, dict) or depth > 4 or not isinstance(raw.get("files"), dict):
        raise bad("model")
    files = {text(name, longest=120): BlobHash(_hash(blob)) for name, blob in raw["files"].items()}
    if any(not FILE_NAME.fullmatch(name) for name in files):
        raise bad("the name of a model's file")
    base = raw.get("base")
    return ModelSpec(
        name=_name(raw.get("name")),
        identity=_hash(raw.get("identity")),
        kind=text(raw.get("kind"), longest=20),
        files=files,
        quantization=text(raw.get("quantization"), longest=40),
        parameters=whole(raw.get("parameters")),
        window=whole(raw.get("window")),
        base=None if base is None else read_spec(base, depth=depth + 1),
    )


def _plain(frame: Frame) -> dict[str, Any]:
    match frame:
        case Events(asks=asks):
            return {"t": "ev", "a": [[n, [said_json(each) for each in said]] for n, said in asks]}
        case AskFrame(number=n, identity=identity, request=request):
            return {"t": "ask", "n": n, "m": identity, "name": request.model, "r": request_json(request)}
        case Cancel(number=n):
            return {"t": "cancel", "n": n}
        case Ping(state=state):
            return {"t": "ping", **state_json(state)}
        case Hello():
            return {
                "t": "hello",
                "v": frame.version,
                "engine": frame.engine,
                "slots": frame.slots,
                "memory": frame.memory,
                "loads": frame.loads,
                "judges": frame.judges,
                **state_json(frame.state),
            }
        case Loaded(identity=identity, problem=problem):
            return {"t": "loaded", "i": identity, "p": problem[:2000]}
        case Unloaded(identity=identity):
            return {"t": "unloaded", "i": identity}
        case Leave():
            return {"t": "leave"}
        case Welcome(version=version, hub=hub):
            return {"t": "welcome", "v": version, "hub": hub}
        case Load(model=model):
            return {"t": "load", "m": spec_json(model)}
        case Unload(identity=identity):
            return {"t": "unload", "i": identity}
        case Goodbye(reason=reason, final=final):
            return {"t": "bye", "r": reason[:2000], "f": final}


def _object(data: bytes | str, largest: int) -> dict[str, Any]:
    if len(data) > largest:
        raise bad(f"it has more than {largest} bytes")
    try:
        raw = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise bad("it is not JSON") from None
    if not isinstance(raw, dict):
        raise bad("it is no object")
    return raw


def _pairs(raw: dict[str, Any]) -> list[tuple[Any, Any]]:
    pairs = raw.get("a")
    if type(pairs) is not list or any(
        type(p) is not list or len(p) != 2 or type(p[1]) is not list for p in pairs
    ):
        raise bad("events")
    return [(n, said) for n, said in pairs]


def _hello(raw: dict[str, Any]) -> Hello:
    version = whole(raw.get("v"))
    if version != VERSION:
        raise InvalidContribution(
            f"this hub speaks version {VERSION} of the serving protocol, and the member {version}",
            hint="upgrade the older one: pip install --upgrade commonweal",
        )
    return Hello(
        version=version,
        engine=text(raw.get("engine"), longest=100),
        slots=whole(raw.get("slots"), least=1, most=MOST_SLOTS),
        memory=whole(raw.get("memory")),
        loads=raw.get("loads") is True,
        judges=raw.get("judges") is True,
        state=read_state(raw),
    )


def state_json(state: State) -> dict[str, Any]:
    return {
        "models": dict(state.models),
        "loading": list(state.loading),
        "running": state.running,
        "free": state.free,
        "held": {identity: [held.size, held.idle] for identity, held in state.held.items()},
        "speeds": {identity: [speed.tokens, speed.first] for identity, speed in state.speeds.items()},
    }


def read_state(raw: dict[str, Any]) -> State:
    models, speeds, loading = raw.get("models"), raw.get("speeds", {}), raw.get("loading", [])
    held = raw.get("held", {})
    if not isinstance(models, dict) or not isinstance(held, dict):
        raise bad("models")
    if not isinstance(speeds, dict) or not isinstance(loading, list):
        raise bad("models")
    if max(len(models), len(speeds), len(loading), len(held)) > MOST_MODELS:
        raise bad("too many models")
    return State(
        models={_name(name): _hash(identity) for name, identity in models.items()},
        held={_hash(identity): _held(pair) for identity, pair in held.items()},
        loading=tuple(_hash(identity) for identity in loading),
        running=whole(raw.get("running", 0)),
        free=whole(raw.get("free", 0)),
        speeds={_hash(identity): _speed(pair) for identity, pair in speeds.items()},
    )


def _held(raw: Any) -> Held:
    if type(raw) is not list or len(raw) != 2:
        raise bad("held")
    return Held(size=whole(raw[0]), idle=number(raw[1], least=0.0))


def _speed(raw: Any) -> Speed:
    if type(raw) is not list or len(raw) != 2:
        raise bad("speed")
    return Speed(tokens=number(raw[0], least=0.0), first=number(raw[1], least=0.0))


def _hash(value: Any) -> str:
    if type(value) is not str or not is_content_hash(value):
        raise bad("the identity of a model")
    return value


def _name(value: Any) -> str:
    name = text(value, longest=120)
    if not NAME.fullmatch(name):
        raise bad("the name of a model")
    return name
