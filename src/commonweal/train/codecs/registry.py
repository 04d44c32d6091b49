"""The names of the codecs, and their settings: ``topk:density=0.03,chunk=4096,bits=2``."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from commonweal.core.errors import ConfigError
from commonweal.train.codecs.dense import Blockwise, Float32
from commonweal.train.codecs.sparse import Cocktail, TopK
from commonweal.train.codecs.wire import Codec

Settings = Mapping[str, float]


def _blockwise(bits: int, block: int) -> tuple[Callable[[str, Settings], Codec], dict[str, float]]:
    return (lambda name, given: Blockwise(name, bits, int(given["block"])), {"block": block})


_KINDS: dict[str, tuple[Callable[[str, Settings], Codec], dict[str, float]]] = {
    "fp32": (lambda name, given: Float32(), {}),
    "int8": _blockwise(8, 256),
    "int4": _blockwise(4, 256),
    "int2": _blockwise(2, 256),
    "int1": _blockwise(1, 256),
    "topk": (
        lambda name, given: TopK(name, given["density"], int(given["chunk"]), int(given["bits"])),
        {"density": 1 / 32, "chunk": 4096, "bits": 2},
    ),
    "cocktail": (
        lambda name, given: Cocktail(
            name, given["mask"], given["density"], int(given["chunk"]), int(given["bits"])
        ),
        {"mask": 0.1, "density": 0.2, "chunk": 4096, "bits": 4},
    ),
}

_ALLOWED: dict[str, Callable[[float], bool]] = {
    "block": lambda value: value in {2.0**n for n in range(5, 17)},
    "chunk": lambda value: value in {2.0**n for n in range(6, 21)},
    "density": lambda value: 0 < value <= 1,
    "mask": lambda value: 0 < value < 1,
    "bits": lambda value: value in (1, 2, 3, 4, 8),
}
_MEANING = {
    "block": "a power of two from 32 to 65536",
    "chunk": "a power of two from 64 to 1048576",
    "density": "above 0 and at most 1",
    "mask": "between 0 and 1",
    "bits": "1, 2, 3, 4 or 8",
}


def codec_names() -> tuple[str, ...]:
    return tuple(_KINDS)


def make_codec(name: str) -> Codec:
    """The codec of that name. Raises ConfigError that names the nearest known name or setting.

    >>> make_codec("int4").name
    'int4'
    """
    kind, _, text = name.partition(":")
    if kind not in _KINDS:
        raise ConfigError(f"unknown codec '{kind}'", hint=_nearest(kind, codec_names()))
    make, defaults = _KINDS[kind]
    return make(name, _settings(name, text, defaults))


def _settings(name: str, text: str, defaults: dict[str, float]) -> Settings:
    settings = dict(defaults)
    for item in filter(None, text.split(",")):
        key, _, value = item.partition("=")
        if key not in defaults:
            raise ConfigError(f"codec '{name}': unknown setting '{key}'", hint=_nearest(key, tuple(defaults)))
        settings[key] = _number(name, key, value)
    return settings


def _number(name: str, key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not _ALLOWED[key](value):
        raise ConfigError(f"codec '{name}': {key} must be {_MEANING[key]}, not '{text}'")
    return value


def _nearest(word: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known: " + ", ".join(known) if known else "it has no settings"
