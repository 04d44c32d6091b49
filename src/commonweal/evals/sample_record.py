"""One finished sample as one line of JSON: what ``samples.jsonl`` keeps and the tables are made of.

Owns the form, and nothing of how it is stored. A record holds everything that is known of the sample: its place, the
instance, each request with its completion, the parsed output, the numbers of the metrics, or the failure. Requests
stand in it in their canonical form, so that the prompt is kept byte for byte and its hash can be checked.

orjson writes and reads a line in a tenth of the time that json takes. What it cannot say as json does (numbers that are
not finite, half a surrogate pair, a number of numpy's) json writes, so a record says the same either way.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from commonweal.core.completion import Completion, Image, Message, Request, Tool, ToolCall
from commonweal.core.hashing import content_hash
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.records import completion_json, completion_of
from commonweal.evals.sample import Answer, Ask, Failure, Sample

Key = tuple[str, str, int]


def _plain(value: Any) -> Any:
    """What a scenario may keep beside an instance and JSON has no word for."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    return content_hash(value) if isinstance(value, bytes) else str(value)


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that was sent, with what came of it."""

    ask: Ask
    completion: Completion | None = None
    failure: Failure | None = None


def sample_line(sample: Sample, asked: Sequence[Asked], numbers: Mapping[str, Any]) -> bytes:
    """The record of ``sample`` as one line, ended. ``numbers`` are what the metrics gave (or need)."""
    requests = [one.ask.request.canonical().encode("utf-8", "surrogatepass") for one in asked]
    record = _record(sample, numbers)
    record["requests"] = [_asked_json(one, request) for one, request in zip(asked, requests, strict=True)]
    try:
        if math.isfinite(_total(sample, asked, numbers)):
            return _fast_line(record, requests)
    except TypeError:
        pass
    for one, request in zip(record["requests"], requests, strict=True):
        one["request"] = json.loads(request.decode("utf-8", "surrogatepass"))
    return f"{_encode(record)}\n".encode("utf-8", "surrogatepass")


def _fast_line(record: Mapping[str, Any], requests: Sequence[bytes]) -> bytes:
    """Raises TypeError for what is not plain. Annotations may hold anything: json writes them."""
    asked = [
        {**one, "request": orjson.Fragment(request)}
        for one, request in zip(record["requests"], requests, strict=True)
    ]
    told = record["annotations"]
    annotations = orjson.Fragment(_encode(told).encode("utf-8", "surrogatepass")) if told else told
    return orjson.dumps(
        {**record, "annotations": annotations, "requests": asked}, option=orjson.OPT_APPEND_NEWLINE
    )


def _record(sample: Sample, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """All but the requests."""
    instance = sample.instance
    return {
        "id": instance.id,
        "perturbation": instance.perturbation,
        "trial": sample.trial,
        "split": instance.split,
        "subset": instance.subset,
        "instance": instance_json(instance),
        "output": sample.output,
        "outputs": sample.outputs,
        "chosen": sample.chosen,
        "probabilities": sample.probabilities,
        "annotations": sample.annotations,
        "scores": numbers,
        "failure": _failure_json(sample.failure),
    }


def instance_json(instance: Instance) -> dict[str, Any]:
    """What the scenario says of an instance, beside its place. ``extra`` is JSON text; a picture is its hash."""
    return {
        "input": instance.input,
        "references": [
            {"text": reference.text, "correct": reference.correct, "grade": reference.grade}
            for reference in instance.references
        ],
        "turns": instance.turns,
        "images": [_image_name(image) for image in instance.images],
        "extra": _encode(instance.extra) if instance.extra else None,
    }


def record_of(line: bytes) -> dict[str, Any]:
    """Read a line back. Raises ValueError for a torn one."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:  # torn, or what only json reads
        record = json.loads(line.decode("utf-8", "surrogatepass"))
    if not isinstance(record, dict) or "requests" not in record:
        raise ValueError("not a sample record")
    return record


def key_of(record: Mapping[str, Any]) -> Key:
    return (record["id"], record["perturbation"], record["trial"])


def sample_of(record: Mapping[str, Any], adaptation: Adaptation) -> Sample:
    """The sample of a record, to be scored again. Pictures are not in it, nor contrast sets. Raises DataError for a
    completion that is not in its form."""
    told, failure = record["instance"], record["failure"]
    answers = tuple([_answer_of(asked) for asked in record["requests"] if asked["completion"]])
    instance = Instance(
        id=record["id"],
        input=told["input"],
        references=tuple([Reference(**reference) for reference in told["references"]]),
        split=record["split"],
        subset=record["subset"],
        turns=tuple(told["turns"]),
        perturbation=record["perturbation"],
        extra=json.loads(told["extra"]) if told["extra"] else {},
    )
    return Sample(
        instance=instance,
        adaptation=adaptation,
        trial=record["trial"],
        answers=tuple([answer for answer in answers if not answer.ask.beside]),
        beside=tuple([answer for answer in answers if answer.ask.beside]),
        output=record["output"],
        outputs=tuple(record["outputs"]),
        chosen=record["chosen"],
        probabilities=tuple(record["probabilities"]),
        annotations=record["annotations"],
        failure=Failure(**failure) if failure else None,
    )


def _answer_of(asked: Mapping[str, Any]) -> Answer:
    ask = Ask(
        role=asked["role"],
        request=_request_of(asked["request"]),
        index=asked["index"],
        shots=asked["shots"],
        truncated=asked.get("truncated", False),
    )
    return Answer(ask=ask, completion=completion_of(asked["completion"]))


def _request_of(value: Mapping[str, Any]) -> Request:
    """A request from its canonical form, without its pictures."""
    known = dict(value)
    known["stop"] = tuple(known["stop"])
    if "messages" in known:
        known["messages"] = tuple([_message_of(message) for message in known["messages"]])
    if "tools" in known:
        known["tools"] = tuple(
            [Tool(name=name, description=text, parameters=schema) for name, text, schema in known["tools"]]
        )
    return Request(**known)


def _message_of(value: Mapping[str, Any]) -> Message:
    calls = value.get("tool_calls", ())
    return Message(
        role=value["role"],
        content=value["content"],
        tool_calls=tuple([ToolCall(id=c[0], name=c[1], arguments=c[2]) for c in calls]),
        tool_call_id=value.get("tool_call_id"),
    )


def _asked_json(asked: Asked, request: bytes) -> dict[str, Any]:
    """All but the request itself, whose canonical form is ``request``."""
    return {
        "role": asked.ask.role,
        "index": asked.ask.index,
        "shots": asked.ask.shots,
        "truncated": asked.ask.truncated,
        "hash": hashlib.sha256(request).hexdigest(),
        "completion": completion_json(asked.completion) if asked.completion else None,
        "failure": _failure_json(asked.failure),
    }


def _total(sample: Sample, asked: Sequence[Asked], numbers: Mapping[str, Any]) -> float:
    """A sum of all numbers that may be infinite or none, which it then is as well. Raises TypeError for others."""
    total: float = sum(numbers.values()) + sum(sample.probabilities)
    for one in asked:
        if one.completion is None:
            continue
        timing = one.completion.timing
        total += timing.queued + timing.total + (timing.first_token or 0.0) + (one.completion.joules or 0.0)
        for choice in one.completion.choices:
            total += choice.logprob or 0.0
            for token in choice.tokens:
                total += (token.logprob or 0.0) + sum(token.top.values())
    return total


def _failure_json(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {"kind": failure.kind, "message": failure.message, "attempts": failure.attempts}


def _image_name(image: Image) -> str:
    return f"{image.media_type} {content_hash(image.data)}"
