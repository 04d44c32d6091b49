"""The facts that follow from the provenance of prepared texts, as a job's specification has it. Pure.

A provenance is what the submitter of the job sent: its hash says that it was not changed since, not that it is true.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from commonweal.labels.facts import Fact, Record, as_far_as_told, told
from commonweal.labels.wording import counted, data_size, short

TEXTS = ("stdlib", "files", "dataset")


def is_text(told_of: Mapping[str, Any]) -> bool:
    """Whether a provenance is of texts, and not of examples."""
    return told_of.get("kind") in TEXTS


def data_facts(told_of: Mapping[str, Any], record: Record) -> Iterator[Fact]:
    """Of texts: sources, sizes, licences and hashes. (Examples are told of by the fine-tuning job.)"""
    if not is_text(told_of):
        return
    yield from as_far_as_told(
        _sources(told_of, record),
        _sizes("data.size", told_of.get("train"), record),
        _hashes(told_of, record),
        _tokenizer(told_of, record),
        _sizes("data.held_out", told_of.get("held_out"), record),
        _treated(record),
    )


def _sources(told_of: Mapping[str, Any], record: Record) -> Iterator[Fact]:
    yield told("data.sources", _source(told_of), record, value=_source_value(told_of))
    if told_of.get("licence"):
        how = "" if told_of["kind"] == "stdlib" else "the word of who submitted the job"
        yield told("data.licences", short(told_of["licence"]), record, method=how)
    if access := _access(told_of):
        yield told("data.access", access, record)


def _sizes(key: str, counts: Any, record: Record) -> Iterator[Fact]:
    numbers = {name: int(counts[name]) for name in ("tokens", "documents", "text_bytes")}
    yield told(
        key,
        f"{numbers['tokens']:,} tokens: {counted(numbers['documents'], 'document')}, "
        f"{data_size(numbers['text_bytes'])} of text",
        record,
        value=numbers,
    )


def _treated(record: Record) -> Iterator[Fact]:
    """What preparing does to text, which is little; of what was done before there is no record."""
    before = "what was done to the texts before they came here"
    yield told(
        "data.curation",
        "here nothing was taken out or changed: texts were cut into tokens",
        record,
        missing=before,
        method="all that preparing does to text",
    )
    yield told("data.harmful", "no filter was run here", record, missing=before)
    yield told("data.privacy", "nothing was done here", record, missing=before)


def _place(location: Any) -> str:
    """Where a source lies, as it was named; of an absolute path only the end: the rest is its submitter's machine."""
    path = PurePosixPath(str(location))
    return short("/".join(path.parts[-2:]) if path.is_absolute() else location)


def _source(told_of: Mapping[str, Any]) -> str:
    kind, place = told_of["kind"], _place(told_of.get("location", ""))
    if kind == "stdlib":
        return "the standard library of Python, without its tests"
    if kind == "files":
        return f"files: {place}"
    parts = [place, *(short(told_of[name]) for name in ("config", "split", "revision") if told_of.get(name))]
    return "data set: " + ", ".join(parts)


def _source_value(told_of: Mapping[str, Any]) -> list[dict[str, str]]:
    names = ("kind", "config", "split", "revision") if told_of["kind"] == "dataset" else ("kind",)
    found = {name: short(told_of[name]) for name in names if told_of.get(name)}
    return [found | ({"location": _place(told_of["location"])} if told_of.get("location") else {})]


def _hashes(told_of: Mapping[str, Any], record: Record) -> Iterator[Fact]:
    shards = [str(shard) for shard in told_of["train"].get("shards", ())]
    found = {
        "provenance": str(told_of["hash"]),
        "content": str(told_of.get("content") or ""),
        "tokenizer": str(told_of.get("tokenizer_hash") or ""),
        "shards": shards,
    }
    where, named = ("the source's files", found["content"]) if found["content"] else ("the tokens", shards[0])
    more = f"; {counted(len(shards), 'shard')} of tokens" if shards else ""
    yield told("data.hashes", f"{where}: {str(named)[:16]}...{more}", record, value=found)


def _access(told_of: Mapping[str, Any]) -> str:
    if told_of["kind"] == "stdlib":
        return "it comes with every Python; the hash says which"
    if told_of["kind"] == "dataset" and not told_of.get("content"):
        return short(f"https://huggingface.co/datasets/{told_of['location']}")
    return ""


def _tokenizer(told_of: Mapping[str, Any], record: Record) -> Iterator[Fact]:
    kinds = {"train": "trained on the same texts", "bytes": "bytes"}
    kind, entries = str(told_of["tokenizer_kind"]), int(told_of["vocab_size"])
    named = kinds.get(kind) or short(told_of.get("tokenizer_name", ""))
    yield told(
        "data.tokenizer",
        f"{named}, {entries:,} entries",
        record,
        value={"kind": kind, "entries": entries},
    )
