"""``POST /v1/answers``: a question about a SQLite database that the caller uploaded, answered by a query on it.

OpenAI's API has nothing like it; the chat tool ``sql`` is the other way to the same. Here the model writes the query
and no more: the answer is worded from the rows by the hub.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from commonweal.core.completion import Request as ModelRequest
from commonweal.core.errors import NotFound, UserError
from commonweal.core.hashing import BlobHash
from commonweal.core.streaming import Usage
from commonweal.serve.api.asking import AskBody, AskRoute, Strict
from commonweal.serve.api.asks import usage_json
from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.context import Caller
from commonweal.serve.api.errors import documented
from commonweal.serve.api.storable import Text
from commonweal.serve.api.turn import Turn, turn_of
from commonweal.serve.tools.questions import (
    MOST_TOKENS,
    Answered,
    Example,
    Question,
    Unanswerable,
    answered,
)
from commonweal.serve.tools.tables import LONGEST_SCHEMA, SHOWN_ROWS, schema_text
from commonweal.serve.tools.wording import worded
from commonweal.serve.tools.workbench import CHARACTERS_A_TOKEN, Workbench

router = APIRouter(route_class=AskRoute, tags=["answers"])


class AnswerExample(Strict):
    """A question of which the query is known."""

    question: str = Field(min_length=1, max_length=2000)
    sql: str = Field(min_length=1, max_length=4000)


class AnswersBody(AskBody):
    """A question about a database."""

    question: str = Field(min_length=1, max_length=4000)
    file_id: Text = Field(min_length=1, max_length=100, description="An uploaded SQLite file.")
    examples: list[AnswerExample] = Field(default=[], max_length=20)
    form: Literal["chat", "completion"] = Field(
        default="chat", description="completion for a base model, which knows no chat."
    )


@router.post("/v1/answers", responses=documented(400, 401, 404, 413, 422, 429, 503))
async def answers(request: Request, body: AnswersBody, caller: Caller) -> Response:
    """Answer a question from a database: the model writes SQL, the hub runs it and words the result."""
    turn = await turn_of(request, body, caller)
    bench = turn.serve.workbench
    if bench is None:
        raise ApiError("This hub runs no tools.", code="unsupported")
    blob, schema = await asyncio.to_thread(_looked_up, bench, caller.name, body.file_id, turn.model.window)
    question = Question(
        model=turn.model.name,
        text=body.question,
        schema=schema,
        examples=tuple(Example(question=one.question, sql=one.sql) for one in body.examples),
        form=body.form,
        most_tokens=max(1, min(MOST_TOKENS, turn.model.window // 4)),
    )
    ask = turn.ask(ModelRequest(model=turn.model.name, prompt=""))
    try:
        found = await answered(turn.serve.desk, ask, question, partial(bench.databases.query, blob))
    except Unanswerable as error:
        turn.charge(_usage(error))
        raise
    turn.charge(_usage(found))
    return turn.json(_answer_json(turn, found))


def _looked_up(bench: Workbench, account: str, file_id: str, window: int) -> tuple[BlobHash, str]:
    """The database, and its tables as far as they fit the model's window. Blocks."""
    try:
        file = bench.library.file(account, file_id)
        most = min(LONGEST_SCHEMA, window * CHARACTERS_A_TOKEN)
        return file.blob, schema_text(bench.databases.tables(file.blob), most)
    except NotFound as error:
        raise ApiError(
            error.message, status=404, param="file_id", code="not_found", hint=error.hint
        ) from None
    except UserError as error:
        raise ApiError(error.message, param="file_id", code="invalid_file", hint=error.hint) from None


def _answer_json(turn: Turn, found: Answered) -> dict[str, Any]:
    rows = found.found.rows
    return {
        **turn.head(turn.named("answer-"), "answer"),
        "answer": worded(found.found),
        "sql": found.attempts[-1].sql,
        "columns": list(found.found.columns),
        "rows": [list(row) for row in rows[:SHOWN_ROWS]],
        "more_rows": found.found.cut or len(rows) > SHOWN_ROWS,
        "attempts": [{"sql": attempt.sql, "error": attempt.error} for attempt in found.attempts],
        "usage": usage_json(_usage(found)),
        "commonweal": turn.read_by(),
    }


def _usage(of: Answered | Unanswerable) -> Usage:
    return Usage(prompt_tokens=of.prompt_tokens, completion_tokens=of.completion_tokens)
