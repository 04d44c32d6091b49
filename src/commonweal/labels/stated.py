"""What somebody states of a model, as facts: a publisher of its own model, anybody of a stranger's in a TOML file.

A statement is a table of answers by question. An answer is a text, a number or a list, or a table: ``value``, and where
it can be read (``address``), or in which file with which hash (``file``, ``sha256``), ``method``, ``missing``. Every
fact made here says whose word it is. Pure.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from commonweal.core.errors import ConfigError
from commonweal.core.hashing import is_content_hash, record_hash
from commonweal.labels.facts import Fact, Record, not_applicable, told
from commonweal.labels.questions import BY_KEY, SECTIONS
from commonweal.labels.wording import rounded

MEASURED = "evaluation."
"""Questions that runs answer, and nobody's word."""

_LONGEST = 4000
_PARTS = ("value", "address", "file", "sha256", "method", "missing", "not_applicable")


def stated_facts(answers: Mapping[str, Any], *, by: str) -> Iterator[Fact]:
    """Facts of answers by key ("data.sources"), as they were checked before; what cannot be read is left out: they may
    have come over the network."""
    for key, answer in answers.items():
        try:
            yield answered(str(key), answer, by=by, where="stated")
        except ConfigError:
            continue


def answers_of(table: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """The answers in the sections of a TOML file, by key. Raises ConfigError with the nearest known name."""
    found: dict[str, Any] = {}
    for section, rows in table.items():
        if section not in SECTIONS:
            raise ConfigError(f"{where}: unknown table '{section}'", hint=_nearest(section, list(SECTIONS)))
        if not isinstance(rows, Mapping):
            raise ConfigError(f"{where}: {section}: expected a table", hint=f"write [{section}]")
        for name, answer in rows.items():
            key = f"{section}.{name}"
            if key not in BY_KEY:
                known = [k.partition(".")[2] for k in BY_KEY if k.startswith(f"{section}.")]
                raise ConfigError(
                    f"{where}: {section}: unknown question '{name}'", hint=_nearest(name, known)
                )
            answered(key, answer, by="", where=where)
            found[key] = answer
    return found


def answered(key: str, answer: Any, *, by: str, where: str) -> Fact:
    """One answer as a fact. Raises ConfigError."""
    if key not in BY_KEY:
        raise ConfigError(f"{where}: unknown question '{key[:80]}'")
    if key.startswith(MEASURED):
        raise ConfigError(f"{where}: {key}: is measured and not stated", hint="give runs with --runs")
    parts = answer if isinstance(answer, Mapping) else {"value": answer}
    for name, part in parts.items():
        if name not in _PARTS:
            raise ConfigError(f"{where}: {key}: unknown key '{name}'", hint=_nearest(str(name), list(_PARTS)))
        if name not in ("value", "not_applicable") and not isinstance(part, str):
            raise ConfigError(f"{where}: {key}: {name}: expected a text")
    record = _record(key, parts, by, where)
    if parts.get("not_applicable") is not None:
        return not_applicable(key, _text(parts["not_applicable"], key, where), record)
    if "value" not in parts:
        raise ConfigError(f"{where}: {key}: has no value", hint='write value = "..."')
    return told(
        key,
        _text(parts["value"], key, where),
        record,
        value=parts["value"],
        method=_short(parts.get("method", ""), key, where),
        missing=_short(parts.get("missing", ""), key, where),
    )


def _record(key: str, parts: Mapping[str, Any], by: str, where: str) -> Record:
    sha = str(parts.get("sha256", ""))
    if sha and not is_content_hash(sha):
        raise ConfigError(f"{where}: {key}: sha256: 64 figures of 0-9 and a-f, not '{sha[:20]}'")
    if parts.get("file"):
        if not sha:
            raise ConfigError(f"{where}: {key}: file: needs its sha256", hint="sha256sum FILE says it")
        return Record(kind="file", id=str(parts["file"]), hash=sha, address=str(parts["file"]))
    if address := str(parts.get("address", "")):
        if not address.startswith(("https://", "http://")):
            raise ConfigError(f"{where}: {key}: address: '{address[:60]}' is no web address")
        return Record(kind="address", id=by or "its page", hash=sha, address=address)
    return Record(kind="word", id=by, hash=record_hash({key: parts.get("value")}))


def _text(value: Any, key: str, where: str) -> str:
    if isinstance(value, bool) or value is None:
        raise ConfigError(f"{where}: {key}: expected a text, a number or a list", hint="say it in words")
    if isinstance(value, int | float):
        return rounded(value) if abs(value) >= 1e6 else f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(one, key, where) for one in value)
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{where}: {key}: expected a text, a number or a list")
    return _short(value, key, where)


def _short(text: Any, key: str, where: str) -> str:
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise ConfigError(f"{where}: {key}: a text of at most {_LONGEST:,} characters")
    return text.strip()


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else "known: " + ", ".join(known)
