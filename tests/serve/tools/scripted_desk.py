"""A desk that answers what the test wrote down, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from commonweal.core.completion import Completion, ToolCall
from commonweal.core.streaming import Ended, Event, Piece, Usage
from commonweal.serve.desk import Ask

Answer = str | Sequence[ToolCall] | Exception


def call(name: str, arguments: str, id: str = "call_1") -> ToolCall:
    return ToolCall(id=id, name=name, arguments=arguments)


class ScriptedDesk:
    """Each answer is a text, calls of tools, or an error. Every answer is 10 tokens after 100."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.asks: list[Ask] = []
        self.closed = 0

    async def stream(self, ask: Ask) -> AsyncIterator[Event]:
        self.asks.append(ask)
        answer = self._answers.pop(0)
        try:
            if isinstance(answer, Exception):
                raise answer
            for index in range(ask.request.n):
                if isinstance(answer, str):
                    for word in answer.split(" "):
                        yield Piece(index=index, text=word + " ")
                    yield Ended(index=index)
                else:
                    yield Ended(index=index, finish="tool_calls", tool_calls=tuple(answer))
            yield Usage(prompt_tokens=100, completion_tokens=10)
        finally:
            self.closed += 1


def texts(completion: Completion) -> list[str]:
    return [choice.text for choice in completion.choices]
