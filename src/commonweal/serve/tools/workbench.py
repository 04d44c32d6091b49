"""A desk with tools on it: what a request asks for is looked up, offered to the model, run, and written down.

:class:`Workbench` is one a hub process. :meth:`Workbench.equipped` gives a :class:`~commonweal.serve.desk.Desk` for
one request, so that a route that asks a desk needs no other way for tools. Beside the events it keeps what the caller
may see: each call with its query and result, the passages that were put before the question, and what the answer
cites of them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from commonweal.core.blobs import Blobs
from commonweal.core.clock import Clock
from commonweal.core.completion import Message
from commonweal.core.database import Database
from commonweal.core.errors import NotFound, Refused, UserError
from commonweal.core.sandbox import find_sandbox
from commonweal.core.streaming import Ended, Event, Piece
from commonweal.serve.desk import Ask, Desk
from commonweal.serve.retrieval.citing import Citation, citations, fitting, passage_json, with_passages
from commonweal.serve.retrieval.library import Library
from commonweal.serve.retrieval.passages import Passage
from commonweal.serve.tools.arithmetic import Calculator
from commonweal.serve.tools.conversation import ToolRun, converse
from commonweal.serve.tools.databases import Databases
from commonweal.serve.tools.sql import sql_tool
from commonweal.serve.tools.tool import ServedTool
from commonweal.serve.tools.wanted import BadTools, WantsCalculator, WantsRetrieval, WantsSql

CHARACTERS_A_TOKEN = 2
"""Of a window, that tables or passages may fill: about half of it, as tokens have three to five."""

LONGEST_SCHEMA = 4000

Wants = WantsCalculator | WantsSql | WantsRetrieval


class NoSuchSource(Refused):
    """A file or vector store that a tool names and this account does not have. (Not NotFound: what a desk does not find
    is the model.)"""

    code = "not_found"
    status = 404

    def __init__(self, message: str, *, param: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.param = param


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """``room``: how many tools may run at once in this process, whoever wants them."""

    desk: Desk
    library: Library
    databases: Databases
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(max(2, os.cpu_count() or 1)))

    @classmethod
    def make(cls, desk: Desk, database: Database, blobs: Blobs, clock: Clock) -> Workbench:
        """With a jail for queries, where this machine has one."""
        library = Library(database=database, blobs=blobs, clock=clock)
        return cls(desk=desk, library=library, databases=Databases(blobs, find_sandbox))

    def equipped(self, wants: Sequence[Wants], window: int) -> Equipped:
        """``window``: of the model that will be asked, in tokens. What the tools put into its prompt leaves it room."""
        return Equipped(bench=self, wants=tuple(wants), window=window)


@dataclass(slots=True, kw_only=True)
class Equipped:
    """A desk for one request. ``runs``, ``passages`` and ``cited`` fill while it is asked."""

    bench: Workbench
    wants: tuple[Wants, ...]
    window: int
    runs: list[ToolRun] = field(default_factory=list)
    passages: tuple[Passage, ...] = ()
    cited: list[Citation] = field(default_factory=list)
    _fresh: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """Answer with the tools. After each run comes an empty piece, so that whoever passes events on can pass on the
        run at once. Raises NoSuchSource and UserError before the first event, and what the desk raises."""
        tools, self.passages = await asyncio.to_thread(self._looked_up, ask)
        if self.passages:
            self._fresh += [("passages", passage_json(passage)) for passage in self.passages]
            messages = with_passages(ask.request.messages or (), self.passages)
            ask = replace(ask, request=replace(ask.request, messages=messages))
        said: dict[int, str] = {}
        async with aclosing(converse(self.bench.desk, ask, tools, self.bench.room)) as events:
            async for event in events:
                match event:
                    case ToolRun():
                        self.runs.append(event)
                        self._fresh.append(("tool_runs", event.json()))
                        yield Piece()
                        continue
                    case Piece(index=index, text=text):
                        said[index] = said.get(index, "") + text
                    case Ended(index=index):
                        self._cite(said.get(index, ""), index)
                yield event

    def told(self) -> dict[str, Any]:
        """All that the caller may see beside the answer, for a body's ``commonweal``; what there is none of is left
        out."""
        made = {
            "tool_runs": [run.json() for run in self.runs],
            "passages": [passage_json(passage) for passage in self.passages],
            "annotations": [citation.json() for citation in self.cited],
        }
        return {name: value for name, value in made.items() if value}

    def fresh(self) -> dict[str, Any]:
        """What came to be since the last time, in the same form, for a stream."""
        made: dict[str, Any] = {}
        for name, value in self._fresh:
            made.setdefault(name, []).append(value)
        self._fresh.clear()
        return made

    def _cite(self, answer: str, index: int) -> None:
        found = citations(answer, self.passages, index)
        self.cited += found
        self._fresh += [("annotations", citation.json()) for citation in found]

    def _looked_up(self, ask: Ask) -> tuple[dict[str, ServedTool], tuple[Passage, ...]]:
        """The tools, and the passages for the question. Blocks."""
        tools: dict[str, ServedTool] = {}
        passages: tuple[Passage, ...] = ()
        for at, wants in enumerate(self.wants):
            param = f"commonweal.tools[{at}]"
            try:
                match wants:
                    case WantsCalculator():
                        tools["calculator"] = Calculator()
                    case WantsSql():
                        file = self.bench.library.file(ask.account, wants.file_id)
                        tools[wants.name] = sql_tool(
                            wants.name,
                            file.filename,
                            file.blob,
                            self.bench.databases,
                            longest_schema=min(LONGEST_SCHEMA, self.window * CHARACTERS_A_TOKEN),
                        )
                    case WantsRetrieval():
                        found = self.bench.library.passages(
                            ask.account,
                            question_of(ask.request.messages or ()),
                            files=wants.file_ids,
                            vector_stores=wants.vector_store_ids,
                            most=wants.max_passages,
                        )
                        passages = fitting(found, self.window * CHARACTERS_A_TOKEN)
            except NotFound as error:
                raise NoSuchSource(error.message, param=param, hint=error.hint) from None
            except UserError as error:
                raise BadTools(f"{param}: {error.message}", param=param, hint=error.hint) from None
        return tools, passages


def question_of(messages: Sequence[Message]) -> str:
    """What to look up: the user's last words."""
    return next((message.content for message in reversed(messages) if message.role == "user"), "")
