"""The tables of a run: from sample records to Parquet, in row groups, with memory that does not grow.

Owns the columns. A *sample record* is one line of ``samples.jsonl`` (:mod:`commonweal.evals.sample_record` makes it);
here it is spread over the tables. Knows no model, no metric and no running; an importer of somebody else's results
calls :func:`write_tables` too.

    instances.parquet   one row an instance and perturbation: what the scenario says
    requests.parquet    one row a request: the exact prompt, its hash, the completion, the tokens, the timing
    samples.parquet     one row a sample (instance, perturbation, trial): the parsed output, or the failure
    scores.parquet      one row a number of a sample: name, value
    stats.parquet       one row a stat, with its interval, or the reason why there is none

Each table is written beside its place and moved there when it is whole, so what stands in a folder can be read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonweal.core.errors import DataError
from commonweal.evals.columns import column
from commonweal.evals.sample import Stat

if TYPE_CHECKING:
    import pyarrow as pa

Record = Mapping[str, Any]
Row = dict[str, Any]

TABLES = ("instances", "requests", "samples", "scores", "stats")

GROUP = 2048
HEAVY = 32_000_000
"""Rows of a row group, and the characters of prompts at which one is written before it has so many."""

_KEY = {"id": "string", "perturbation": "string"}
_REFERENCES = "list<struct<text: string, correct: bool, grade: int32>>"
_TOKENS = "list<struct<text: string, logprob: double, top: map<string, double>>>"

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "instances": {
        **_KEY,
        "split": "string",
        "subset": "string",
        "input": "string",
        "references": _REFERENCES,
        "turns": "list<string>",
        "images": "list<string>",
        "extra": "string",
    },
    "requests": {
        **_KEY,
        "trial": "int32",
        "role": "string",
        "index": "int32",
        "shots": "int32",
        "truncated": "bool",
        "hash": "string",
        "kind": "string",
        "prompt": "string",
        "messages": "string",
        "continuation": "string",
        "parameters": "string",
        "completion": "string",
        "finish": "string",
        "logprob": "double",
        "greedy": "bool",
        "tokens": _TOKENS,
        "tool_calls": "string",
        "others": "string",
        "model": "string",
        "prompt_tokens": "int64",
        "completion_tokens": "int64",
        "queued": "double",
        "first_token": "double",
        "total": "double",
        "joules": "double",
        "attempts": "int32",
        "cached": "bool",
        "failure": "string",
        "message": "string",
    },
    "samples": {
        **_KEY,
        "trial": "int32",
        "split": "string",
        "subset": "string",
        "output": "string",
        "outputs": "list<string>",
        "chosen": "int32",
        "probabilities": "list<double>",
        "annotations": "string",
        "failure": "string",
        "message": "string",
    },
    "scores": {
        **_KEY,
        "trial": "int32",
        "split": "string",
        "subset": "string",
        "name": "string",
        "value": "double",
    },
    "stats": {
        "name": "string",
        "split": "string",
        "perturbation": "string",
        "subset": "string",
        "mean": "double",
        "n": "int64",
        "low": "double",
        "high": "double",
        "reason": "string",
    },
}
"""Name and type of each column. ``messages``, ``parameters``, ``tool_calls``, ``others`` (the second and further
choices of a request), ``extra`` and ``annotations`` are JSON texts. A logprob is in nats, a time in seconds."""

_PARAMETERS = (
    "model",
    "max_tokens",
    "temperature",
    "top_p",
    "n",
    "stop",
    "seed",
    "logprobs",
    "sample",
    "tools",
)
_SIMPLE = tuple(name for name in _PARAMETERS if name not in ("stop", "tools"))
_LEFT_OUT = object()

_PLACE = ("id", "perturbation", "trial", "split", "subset")


@dataclass(slots=True, kw_only=True)
class _Sink:
    """Rows of one table, gathered until they make a row group. A row is its values in the order of the columns."""

    schema: pa.Schema
    writer: Any
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    weight: int = 0

    def add(self, row: tuple[Any, ...], weight: int = 0) -> None:
        """Add a row of about ``weight`` characters."""
        self.weight += weight
        self.rows.append(row)
        if len(self.rows) >= GROUP or self.weight >= HEAVY:
            self.flush()

    def extend(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self.rows.extend(rows)
        if len(self.rows) >= GROUP:
            self.flush()

    def flush(self) -> None:
        import pyarrow as pa

        if self.rows:
            values = zip(*self.rows, strict=True)
            columns = [column(one, kind) for one, kind in zip(values, self.schema.types, strict=True)]
            self.writer.write_batch(pa.record_batch(columns, schema=self.schema))
            self.rows.clear()
            self.weight = 0


def write_tables(folder: Path, records: Iterable[Record], *, trials: int = 1) -> None:
    """Write all tables but the stats of ``records`` into ``folder``. ``trials`` is how often an instance may come."""
    seen: set[int] = set()
    with ExitStack() as stack:
        instances, requests, samples, scores = (
            stack.enter_context(_sink(folder, name))
            for name in ("instances", "requests", "samples", "scores")
        )
        for record in records:
            key = hash((record["id"], record["perturbation"])) if trials > 1 else 0
            if trials == 1 or key not in seen:
                instances.add(_instance_row(record), len(record["instance"]["input"]))
                if trials > 1:
                    seen.add(key)
            samples.add(_sample_row(record))
            for request in record["requests"]:
                requests.add(_request_row(record, request), _size(request["request"]))
            place = tuple([record[name] for name in _PLACE])
            scores.extend([(*place, name, value) for name, value in record["scores"].items()])


def write_stats(folder: Path, stats: Iterable[Stat]) -> None:
    with _sink(folder, "stats") as sink:
        for stat in stats:
            sink.add(tuple([getattr(stat, name) for name in COLUMNS["stats"]]))


def read_stats(folder: Path) -> list[Stat]:
    """The stats of a run. Raises DataError where the file is missing or is none of ours."""
    return [Stat(**row) for row in read_rows(folder, "stats")]


def read_rows(folder: Path, table: str) -> Iterator[Row]:
    """The rows of a table, a row group at a time. Raises DataError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / f"{table}.parquet"
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=GROUP):
                yield from batch.to_pylist()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", hint="the run is not finished: resume it") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a table that can be read: {error}") from None


@contextmanager
def _sink(folder: Path, name: str) -> Iterator[_Sink]:
    """A table that appears whole, or not at all."""
    import pyarrow.parquet as pq

    schema, new = _schema(name), folder / f".{name}.parquet.new"
    try:
        with pq.ParquetWriter(new, schema, compression="zstd") as writer:
            sink = _Sink(schema=schema, writer=writer)
            yield sink
            sink.flush()
        new.replace(folder / f"{name}.parquet")
    finally:
        new.unlink(missing_ok=True)


def _schema(name: str) -> pa.Schema:
    import pyarrow as pa

    logprobs = pa.map_(pa.string(), pa.float64())
    types: dict[str, Callable[[], pa.DataType]] = {
        "string": pa.string,
        "bool": pa.bool_,
        "int32": pa.int32,
        "int64": pa.int64,
        "double": pa.float64,
        "list<string>": lambda: pa.list_(pa.string()),
        "list<double>": lambda: pa.list_(pa.float64()),
        _REFERENCES: lambda: pa.list_(
            pa.struct([("text", pa.string()), ("correct", pa.bool_()), ("grade", pa.int32())])
        ),
        _TOKENS: lambda: pa.list_(
            pa.struct([("text", pa.string()), ("logprob", pa.float64()), ("top", logprobs)])
        ),
    }
    return pa.schema([(title, types[kind]()) for title, kind in COLUMNS[name].items()])


# Rows: the values in the order of COLUMNS. A run of 100,000 samples makes half a million of them.


def _instance_row(record: Record) -> tuple[Any, ...]:
    told = record["instance"]
    return (
        record["id"],
        record["perturbation"],
        record["split"],
        record["subset"],
        told["input"],
        told["references"],
        told["turns"],
        told["images"],
        told["extra"],
    )


def _request_row(record: Record, asked: Record) -> tuple[Any, ...]:
    request, failure, completion = asked["request"], asked.get("failure"), asked.get("completion")
    return (
        record["id"],
        record["perturbation"],
        record["trial"],
        asked["role"],
        asked["index"],
        asked["shots"],
        asked.get("truncated", False),
        asked["hash"],
        request["kind"],
        request.get("prompt"),
        _text(request.get("messages")),
        request.get("continuation"),
        _parameters(request),
        *(_completion_columns(completion) if completion else _NO_COMPLETION),
        failure["kind"] if failure else None,
        failure["message"] if failure else None,
    )


def _size(request: Record) -> int:
    """About the characters of a request."""
    messages = request.get("messages")
    if messages is None:
        return len(request.get("prompt") or "")
    return sum(len(message["content"]) for message in messages)


def _parameters(request: Record) -> str | None:
    """The parameters as JSON text: made once for all requests that have the same, but for a sample's own number."""
    if "tools" in request:
        return _text({name: request[name] for name in _PARAMETERS if name in request})
    return _parameters_text(tuple(request["stop"]), *[request.get(name, _LEFT_OUT) for name in _SIMPLE])


@lru_cache(maxsize=256, typed=True)
def _parameters_text(stop: tuple[str, ...], *values: Any) -> str | None:
    told = {**dict(zip(_SIMPLE, values, strict=True)), "stop": stop}
    return _text({name: told[name] for name in _PARAMETERS if told.get(name, _LEFT_OUT) is not _LEFT_OUT})


_NO_COMPLETION = (None,) * 16


def _completion_columns(completion: Record) -> tuple[Any, ...]:
    """The form of :func:`commonweal.evals.records.completion_json` as columns, from "completion" to "cached"."""
    first, *others = completion["choices"]
    queued, first_token, total = completion.get("timing") or (None, None, None)
    return (
        first["text"],
        first.get("finish", "stop"),
        first.get("logprob"),
        first.get("greedy"),
        [_token(token) for token in first.get("tokens", ())] or None,
        _text(first.get("tool_calls")),
        _text(others),
        completion.get("model"),
        completion.get("prompt_tokens"),
        completion.get("completion_tokens"),
        queued,
        first_token,
        total,
        completion.get("joules"),
        completion.get("attempts", 1),
        completion.get("cached", False),
    )


def _token(token: list[Any]) -> Row:
    return {"text": token[0], "logprob": token[1], "top": list(token[2].items()) if len(token) > 2 else None}


def _sample_row(record: Record) -> tuple[Any, ...]:
    failure = record["failure"]
    return (
        record["id"],
        record["perturbation"],
        record["trial"],
        record["split"],
        record["subset"],
        record["output"],
        record["outputs"],
        record["chosen"],
        record["probabilities"],
        _text(record["annotations"]),
        failure["kind"] if failure else None,
        failure["message"] if failure else None,
    )


_encode = json.JSONEncoder(ensure_ascii=False).encode


def _text(value: Any) -> str | None:
    return _encode(value) if value else None
