"""A data set from feedback: which counts, what is made of it, what is left out and why, and which part is held out.

Pure: the same evidence in any order gives the same bytes, so the version is their hash. In this order:

1. only what its user allows, that was accepted, of which nothing is withheld, and that the model said by itself (of an
   answer that rests on tools or passages, a model would learn to make them up);
2. of each account the newest ``per_account`` pieces (the newest speak of the newest model);
3. the side, by conversation: a hash of its id decides, so a conversation never stands on both sides, in this version or
   another with the same ``salt``;
4. examples, scrubbed; of those that are equal or nearly, within a format, one (a held-out one first, else the oldest);
5. of the training side, none that asks nearly what a held-out example asks, in whatever format.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from commonweal.core.errors import UserError
from commonweal.core.hashing import content_hash, record_hash
from commonweal.serve.community.evidence import Evidence
from commonweal.serve.community.examples import FORMATS, Example, examples
from commonweal.serve.community.near_duplicates import Seen
from commonweal.serve.community.scrubbing import Scrubber
from commonweal.serve.community.terms import LICENCES

Side = Literal["train", "heldout"]
SIDES: tuple[Side, ...] = ("train", "heldout")
BUILDER = 1
"""The version of these rules: another gives other data sets of the same feedback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """``consent``: the least that users must allow (``publish`` for a data set that is handed on). ``model``: only
    feedback on answers of this model, by identity. ``since`` and ``until`` are seconds since the epoch. Raises
    UserError."""

    consent: Literal["improve", "publish"] = "improve"
    held_out: float = 0.2
    per_account: int = 200
    near: float = 0.85
    salt: str = ""
    model: str | None = None
    since: float | None = None
    until: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise UserError("held_out: the share is from 0 to below 1", hint="0.2 is usual")
        if not 0 < self.near <= 1:
            raise UserError("near: the similarity is above 0 and at most 1", hint="0.85 is usual")
        if self.per_account < 1:
            raise UserError("per_account: at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """That a line of a file comes from this feedback. ``line`` is the SHA-256 of its text."""

    file: str
    line: str
    feedback: str
    conversation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """``version`` is the hash of all that the manifest says, and so of the files' bytes."""

    version: str
    manifest: Mapping[str, Any]
    files: Mapping[str, bytes]
    items: tuple[Item, ...]


def side_of(conversation: str, held_out: float, salt: str = "") -> Side:
    """On which side all of a conversation stands."""
    digest = hashlib.sha256(f"{salt}\0{conversation}".encode()).digest()
    return "heldout" if int.from_bytes(digest[:8], "big") < held_out * 2**64 else "train"


def build(evidence: Iterable[Evidence], options: BuildOptions, scrubber: Scrubber, *, code: str) -> Built:
    """``code`` is the version of the program, for the manifest. Raises UserError where nothing remains."""
    left_out: Counter[str] = Counter()
    found = sorted(evidence, key=lambda e: (e.created, e.feedback))
    found = [e for e in found if not _left_out(_unusable(e, options), left_out)]
    found = _capped(found, options.per_account, left_out)
    made: list[Example] = []
    scrubbed: Counter[str] = Counter()
    for one in found:
        result = examples(one, scrubber)
        made += result.examples
        scrubbed.update(result.scrubbed)
        _left_out(result.nothing, left_out)
    sides = {e.conversation: side_of(e.conversation, options.held_out, options.salt) for e in found}
    kept = _unlike(made, sides, options.near, left_out)
    if not any(kept.values()):
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        raise UserError(
            "no feedback can be used yet" + (f": {why}" if why else ""),
            hint="feedback needs its user's consent and a place among what was accepted",
        )
    return _written(kept, options, code, scrubbed, left_out)


def _left_out(reason: str, counts: Counter[str]) -> bool:
    if reason:
        counts[reason] += 1
    return bool(reason)


def _unusable(one: Evidence, options: BuildOptions) -> str:
    """Why this may not be used, or nothing."""
    allowed = ("publish",) if options.consent == "publish" else ("improve", "publish")
    if one.terms.consent not in allowed:
        return "without consent"
    if one.status != "accepted":
        return one.status
    if not one.clean:
        return "withheld or cut off"
    if one.aided:
        return "answered with tools or passages"
    if options.model is not None and options.model not in one.models:
        return "of another model"
    if (options.since is not None and one.created < options.since) or (
        options.until is not None and one.created >= options.until
    ):
        return "of another time"
    return ""


def _capped(found: Sequence[Evidence], most: int, left_out: Counter[str]) -> list[Evidence]:
    """The newest ``most`` of each account, in their old order. ``found`` is in order of time."""
    counts: Counter[str] = Counter()
    kept = []
    for one in reversed(found):
        counts[one.account] += 1
        if counts[one.account] <= most:
            kept.append(one)
        else:
            left_out["beyond an account's cap"] += 1
    return kept[::-1]


def _unlike(
    made: Sequence[Example], sides: Mapping[str, Side], near: float, left_out: Counter[str]
) -> dict[str, list[Example]]:
    """The examples of each file, without duplicates, and without what the held-out side asks in the training side."""
    kept: dict[str, list[Example]] = {file_name(f, s): [] for f in FORMATS for s in SIDES}
    seen = {format: Seen(near) for format in FORMATS}
    lines: set[str] = set()
    asked = Seen(near)
    for side in ("heldout", "train"):
        for example in made:
            if sides[example.evidence.conversation] != side:
                continue
            if example.line in lines:
                left_out["duplicate"] += 1
            elif side == "train" and asked.like(example.prompt) is not None:
                left_out["asks what a held-out example asks"] += 1
            elif seen[example.format].like(example.text) is not None:
                left_out["near duplicate"] += 1
            else:
                name = content_hash(example.line.encode())
                lines.add(example.line)
                seen[example.format].add(name, example.text)
                if side == "heldout":
                    asked.add(name, example.prompt)
                kept[file_name(example.format, side)].append(example)
    return kept


def file_name(format: str, side: Side) -> str:
    return f"{format}.{side}.jsonl"


def _written(
    kept: Mapping[str, Sequence[Example]],
    options: BuildOptions,
    code: str,
    scrubbed: Counter[str],
    left_out: Counter[str],
) -> Built:
    files = {name: _lines(found) for name, found in kept.items() if found}
    used = {e.evidence.feedback: e.evidence for found in kept.values() for e in found}
    manifest = {
        "builder": BUILDER,
        "code": code,
        "options": asdict(options),
        "files": {
            name: {"sha256": content_hash(data), "bytes": len(data), "examples": len(kept[name])}
            for name, data in files.items()
        },
        "feedback": sorted(used),
        "by_kind": dict(sorted(Counter(e.kind for e in used.values()).items())),
        "conversations": len({e.conversation for e in used.values()}),
        "accounts": len({e.account for e in used.values()}),
        "licences": dict(sorted(Counter(e.terms.licence or "" for e in used.values()).items())),
        "consents": {c: n for c in LICENCES if (n := sum(e.terms.consent == c for e in used.values()))},
        "models": dict(sorted(Counter(m for e in used.values() for m in e.models).items())),
        "left_out": dict(sorted(left_out.items())),
        "scrubbed": dict(sorted(scrubbed.items())),
    }
    items = tuple(
        Item(
            file=name,
            line=content_hash(example.line.encode()),
            feedback=example.evidence.feedback,
            conversation=example.evidence.conversation,
        )
        for name, found in kept.items()
        for example in found
    )
    return Built(version=record_hash(manifest), manifest=manifest, files=files, items=items)


def _lines(found: Sequence[Example]) -> bytes:
    return b"".join(example.line.encode() + b"\n" for example in found)


def without(data: bytes, lines: frozenset[str]) -> bytes:
    """A file without the lines of these hashes."""
    kept = [line for line in data.split(b"\n") if line and content_hash(line) not in lines]
    return b"".join(line + b"\n" for line in kept)
