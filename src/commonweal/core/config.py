"""Settings: TOML -> frozen dataclass, with errors that name the file, the field and the nearest known key.

A component owns its settings as a dataclass beside it; this module only reads one. Supported field types are
what TOML has: str, int, float, bool, lists of these, tables (nested dataclasses, or ``dict`` for free ones),
``Literal`` choices and ``X | None``. A dataclass checks its own values in ``__post_init__`` by raising
``ValueError("field: what is wrong")``.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from commonweal.core.errors import ConfigError

T = TypeVar("T")


def load_toml(path: Path, into: type[T]) -> T:
    """Read ``path`` as an ``into``. Raises ConfigError naming the file, and the field or line at fault."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", hint="give the path of a TOML job file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder", hint="give the path of a TOML job file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 (byte {error.start})", hint="save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    return from_table(table, into, where=str(path))


def from_table(table: dict[str, Any], into: type[T], *, where: str) -> T:
    """Build the dataclass ``into`` from a parsed table; ``where`` prefixes every message."""
    hints = typing.get_type_hints(into)
    fields = {f.name: f for f in dataclasses.fields(into)}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            raise ConfigError(f"{where}: unknown key '{key}'", hint=_nearest(key, list(fields)))
    values: dict[str, Any] = {}
    for name, f in fields.items():
        if name in table:
            values[name] = _convert(table[name], hints[name], f"{where}: {name}")
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}: missing key '{name}'", hint=f"add {name} = ... to it")
    try:
        return into(**values)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _nearest(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known keys: " + ", ".join(sorted(known))


def _convert(value: Any, hint: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, [a for a in args if a is not type(None)], where)
    if origin is typing.Literal:
        if value not in args:
            raise ConfigError(f"{where}: {value!r} is not one of {', '.join(map(repr, args))}")
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a table, got {_shown(value)}")
        return from_table(value, hint, where=where)
    if origin in (list, tuple):
        if not isinstance(value, list):
            raise ConfigError(f"{where}: expected a list, got {_shown(value)}")
        items = [_convert(item, args[0], f"{where}[{i}]") for i, item in enumerate(value)]
        return tuple(items) if origin is tuple else items
    if origin in (dict, Mapping) or hint is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a table, got {_shown(value)}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where}: expected {hint.__name__}, got {_shown(value)}")
    return value


def _convert_union(value: Any, choices: list[Any], where: str) -> Any:
    for choice in choices[:-1]:
        try:
            return _convert(value, choice, where)
        except ConfigError:
            continue
    return _convert(value, choices[-1], where)


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"
