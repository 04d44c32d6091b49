"""The shape of a response: the object itself, the items of its output, and its usage. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from commonweal.core.completion import LOGPROB_FLOOR, Finish, Request, Token, ToolCall
from commonweal.core.streaming import Usage
from commonweal.serve.api.responses_body import NamedFunction, ResponseBody
from commonweal.serve.api.turn import Turn

_INCOMPLETE: Mapping[Finish, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What all states of one response share."""

    turn: Turn
    body: ResponseBody
    request: Request

    def response(
        self,
        status: str,
        output: Sequence[Mapping[str, Any]] = (),
        *,
        usage: Usage | None = None,
        finish: Finish = "stop",
        error: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The response as it stands. One that is complete but for its length is incomplete."""
        why = _INCOMPLETE.get(finish) if status == "completed" else None
        body, turn = self.body, self.turn
        return {
            "id": turn.named("resp_"),
            "object": "response",
            "created_at": turn.created,
            "status": "incomplete" if why else status,
            "error": error,
            "incomplete_details": {"reason": why} if why else None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "metadata": body.metadata or {},
            "model": turn.model.name,
            "output": list(output),
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": None,
            "store": False,
            "temperature": 1.0 if body.temperature is None else body.temperature,
            "top_p": 1.0 if body.top_p is None else body.top_p,
            "text": {"format": _form(body)},
            "tool_choice": _choice(body),
            "tools": [_tool(tool.model_dump()) for tool in body.tools or ()],
            "truncation": "disabled",
            "usage": None if usage is None else _usage(usage),
            "commonweal": turn.read_by() | {"identity": turn.model.identity},
        }

    def message(self, status: str, parts: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        return {
            "id": self.turn.named("msg_"),
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": list(parts),
        }

    def part(self, text: str, tokens: Sequence[Token]) -> dict[str, Any]:
        told = output_logprobs(tokens) if self.body.wants_logprobs else []
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": told}

    def call(self, number: int, call: ToolCall, status: str = "completed") -> dict[str, Any]:
        """A call; one that is not complete has no arguments yet."""
        return {
            "id": f"{self.turn.named('fc_')}{number}",
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments if status == "completed" else "",
            "status": status,
        }

    def allowed(self, calls: Sequence[ToolCall]) -> Sequence[ToolCall]:
        return calls[:1] if self.body.parallel_tool_calls is False else calls


def output_logprobs(tokens: Sequence[Token]) -> list[dict[str, Any]]:
    return [
        _logprob(token.text, token.logprob)
        | {
            "top_logprobs": [
                _logprob(text, logprob) for text, logprob in sorted(token.top.items(), key=lambda t: -t[1])
            ]
        }
        for token in tokens
    ]


def _logprob(text: str, logprob: float | None) -> dict[str, Any]:
    value = LOGPROB_FLOOR if logprob is None else max(logprob, LOGPROB_FLOOR)
    return {"token": text, "logprob": value, "bytes": list(text.encode())}


def _form(body: ResponseBody) -> dict[str, Any]:
    form = body.text and body.text.format
    return {"type": "text"} if form is None else form.model_dump(by_alias=True)


def _choice(body: ResponseBody) -> Any:
    choice = body.tool_choice or "auto"
    return choice.model_dump() if isinstance(choice, NamedFunction) else choice


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    return tool | {"parameters": tool["parameters"] or {}, "strict": tool["strict"] is not False}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
