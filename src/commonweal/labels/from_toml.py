"""The label of a model that no hub knows, from a TOML file that somebody wrote: their word, with addresses.

    name = "NAME"                     as its runs name it
    by = "who wrote this file"
    [data]
    size = "300 billion tokens"
    [data.licences]
    value = "not stated by its makers"
    address = "https://..."

Pure but for the reading of the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commonweal.core.errors import ConfigError
from commonweal.labels.facts import Base, Facts, Label
from commonweal.labels.questions import SECTIONS
from commonweal.labels.stated import answered, answers_of

HEAD = ("name", "by", "base")
_LARGEST = 2**20


def read_toml(file: Path) -> Label:
    """Raises ConfigError with the field or the line at fault."""
    return from_toml(read_table(file), where=str(file))


def read_table(file: Path) -> dict[str, Any]:
    """A TOML file as a table. Raises ConfigError."""
    try:
        if file.stat().st_size > _LARGEST:
            raise ConfigError(f"{file}: is larger than {_LARGEST:,} bytes", hint="a label needs no more")
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 (byte {error.start})", hint="save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None


def from_toml(table: Mapping[str, Any], *, where: str) -> Label:
    """The label that a table states. Raises ConfigError."""
    head = {name: table[name] for name in HEAD if name in table}
    for name, value in head.items():
        if not isinstance(value, str) or not value.strip() or len(value) > 400:
            raise ConfigError(f"{where}: {name}: expected a text")
    if "name" not in head:
        raise ConfigError(f"{where}: missing key 'name'", hint='add name = "MODEL" to it')
    for name, value in table.items():
        if name not in (*HEAD, *SECTIONS) and not isinstance(value, Mapping):
            raise ConfigError(f"{where}: unknown key '{name}'", hint="known keys: " + ", ".join(HEAD))
    answers = answers_of({name: value for name, value in table.items() if name not in HEAD}, where=where)
    facts = Facts()
    by = head.get("by", "who wrote this label")
    facts.add(*(answered(key, answer, by=by, where=where) for key, answer in answers.items()))
    base = Base(name=head["base"]) if "base" in head else None
    if base is not None:
        facts.add(answered("model.base", base.name, by=by, where=where))
    return Label(model=head["name"], source="word", facts=facts.all(), base=base)


def named(model: str) -> Label:
    """The label of a model of which nothing is known but its name."""
    return Label(model=model, source="runs", facts=Facts().all())
