"""The typed events of a streamed response, numbered, in the order that OpenAI's clients put them together in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from commonweal.core.completion import Finish, Token, ToolCall
from commonweal.core.streaming import Ended, Piece, Usage
from commonweal.serve.api.asks import checked, events_of
from commonweal.serve.api.complaints import Complaint
from commonweal.serve.api.responses_answer import Shape, output_logprobs
from commonweal.serve.api.streams import named_frame

_CODES = frozenset({"server_error", "rate_limit_exceeded"})


class ResponseEvents:
    """One response as it is made: what has been said of it, and the frames that say so."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._number = 0
        self._text = ""
        self._tokens: list[Token] = []
        self._speaking = False
        self._output: list[dict[str, Any]] = []
        self._finish: Finish = "stop"
        self._usage = Usage(prompt_tokens=0, completion_tokens=0)

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """The whole stream. Nothing is said before the model's first event."""
        turn = self._shape.turn
        async with aclosing(events_of(turn.serve.desk, [turn.ask(self._shape.request)])) as events:
            async for _, event in events:
                if not self._number:
                    yield self._state("response.created", "in_progress")
                    yield self._state("response.in_progress", "in_progress")
                match event:
                    case Piece():
                        for frame in self._says(event):
                            yield frame
                    case Ended():
                        for frame in self._ends(checked(event)):
                            yield frame
                    case Usage():
                        self._usage = event
        turn.charge(self._usage)
        done = self._shape.response("completed", self._output, usage=self._usage, finish=self._finish)
        yield self._frame(f"response.{done['status']}", response=done)

    def last_words(self, told: Complaint) -> bytes:
        """How the stream ends where it fails: an error event, then the failed response."""
        code = told.code if told.code in _CODES else "server_error"
        failed = self._shape.response(
            "failed", self._output, error={"code": code, "message": told.message, "type": told.type}
        )
        error = {"code": told.code, "message": told.message, "param": told.param}
        return self._frame("error", **error) + self._frame("response.failed", response=failed)

    def _frame(self, name: str, /, **fields: Any) -> bytes:
        number, self._number = self._number, self._number + 1
        return named_frame(name, {"type": name, "sequence_number": number, **fields})

    def _state(self, name: str, status: str) -> bytes:
        return self._frame(name, response=self._shape.response(status))

    def _says(self, piece: Piece) -> Iterator[bytes]:
        if not (piece.text or piece.tokens):
            return
        yield from self._begins()
        self._text += piece.text
        self._tokens.extend(piece.tokens)
        told = output_logprobs(piece.tokens) if self._shape.body.wants_logprobs else []
        yield self._in_message("response.output_text.delta", content_index=0, delta=piece.text, logprobs=told)

    def _begins(self) -> Iterator[bytes]:
        if not self._speaking:
            self._speaking = True
            yield self._frame(
                "response.output_item.added", output_index=0, item=self._shape.message("in_progress")
            )
            part = self._shape.part("", ())
            yield self._in_message("response.content_part.added", content_index=0, part=part)

    def _ends(self, ended: Ended) -> Iterator[bytes]:
        self._finish = ended.finish
        calls = self._shape.allowed(ended.tool_calls)
        if self._speaking or not calls:
            yield from self._begins()
            yield from self._message_is_done()
        for number, call in enumerate(calls):
            yield from self._calls(number, call)

    def _message_is_done(self) -> Iterator[bytes]:
        part = self._shape.part(self._text, self._tokens)
        status = "incomplete" if self._finish == "length" else "completed"
        message = self._shape.message(status, [part])
        self._output.append(message)
        yield self._in_message(
            "response.output_text.done", content_index=0, text=self._text, logprobs=part["logprobs"]
        )
        yield self._in_message("response.content_part.done", content_index=0, part=part)
        yield self._frame("response.output_item.done", output_index=0, item=message)

    def _calls(self, number: int, call: ToolCall) -> Iterator[bytes]:
        done = self._shape.call(number, call)
        place = {"output_index": len(self._output), "item_id": done["id"]}
        begun = self._shape.call(number, call, "in_progress")
        yield self._frame("response.output_item.added", output_index=place["output_index"], item=begun)
        yield self._frame("response.function_call_arguments.delta", **place, delta=call.arguments)
        yield self._frame(
            "response.function_call_arguments.done", **place, arguments=call.arguments, name=call.name
        )
        yield self._frame("response.output_item.done", output_index=place["output_index"], item=done)
        self._output.append(done)

    def _in_message(self, name: str, /, **fields: Any) -> bytes:
        return self._frame(name, output_index=0, item_id=self._shape.turn.named("msg_"), **fields)
