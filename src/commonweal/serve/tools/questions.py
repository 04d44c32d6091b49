"""A question about a database, answered from the database: the model writes a query, the hub runs it.

What the model sees is the question, the tables and examples, and after a query that failed its error, once. What it
writes is held to ``{"sql": ...}`` where its engine can do that. The rows are never shown to it: the answer is worded
from them by the hub.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from commonweal.core.completion import Completion, CompletionFailed, Message, Request
from commonweal.core.errors import Refused
from commonweal.core.streaming import collected
from commonweal.serve.desk import Ask, Desk
from commonweal.serve.tools.databases import Found

Form = Literal["chat", "completion"]

MOST_TOKENS = 400
"""Of a query."""

MOST_ATTEMPTS = 2
_SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"sql": {"type": "string"}},
        "required": ["sql"],
        "additionalProperties": False,
    }
)
_FENCE = re.compile(r"```[ \t]*\w*[ \t]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_BEGIN = "SELECT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A question of which the query is known."""

    question: str
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """``schema`` is the text of the tables. ``form`` is completion for a base model, which knows no chat.
    ``most_tokens``: of the query."""

    model: str
    text: str
    schema: str
    examples: tuple[Example, ...] = ()
    form: Form = "chat"
    most_tokens: int = MOST_TOKENS


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A query that the model wrote, and why it gave nothing; ``error`` None for the one that did."""

    sql: str
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """``attempts`` end with the query that gave ``found``. Tokens are those of all attempts."""

    found: Found
    attempts: tuple[Attempt, ...]
    prompt_tokens: int
    completion_tokens: int


class Unanswerable(Refused):
    """No query of the model's could be run; the message has them all. Tokens are those that it took."""

    code = "unanswerable"
    status = 422

    def __init__(self, attempts: Sequence[Attempt], *, prompt_tokens: int, completion_tokens: int) -> None:
        tries = "; ".join(f"{attempt.sql[:300] or '(no query)'} -> {attempt.error}" for attempt in attempts)
        super().__init__(
            f"the model wrote no query that answers this: {tries}",
            hint="ask in the words of the tables, give examples, or take another model",
        )
        self.attempts = tuple(attempts)
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens


async def answered(desk: Desk, ask: Ask, question: Question, run: Callable[[str], Found]) -> Answered:
    """Have the query written and run it, at most :data:`MOST_ATTEMPTS` times. ``ask`` says for whom; ``run`` blocks.
    Raises Unanswerable, and what the desk raises."""
    attempts: list[Attempt] = []
    said: list[str] = []
    prompt_tokens = completion_tokens = 0
    for number in range(MOST_ATTEMPTS):
        asked = replace(ask, id=f"{ask.id}-sql{number}", request=request_of(question, said, attempts))
        completion = await _completed(desk, asked)
        prompt_tokens += completion.prompt_tokens or 0
        completion_tokens += completion.completion_tokens or 0
        said.append(completion.text)
        sql = sql_of(completion.text, question.form)
        found = await asyncio.to_thread(run, sql) if sql else Found(status="error", message="no query")
        if found.status == "ok":
            attempts.append(Attempt(sql=sql))
            return Answered(
                found=found,
                attempts=tuple(attempts),
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
            )
        attempts.append(Attempt(sql=sql, error=found.message))
    raise Unanswerable(attempts, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)


async def _completed(desk: Desk, ask: Ask) -> Completion:
    """The whole answer; without a grammar where the model's engine has none."""
    try:
        async with aclosing(cast(Any, desk.stream(ask))) as events:
            return await collected(events)
    except CompletionFailed as error:
        if error.kind != "unsupported" or ask.request.schema is None:
            raise
    plain = replace(ask, id=f"{ask.id}-plain", request=replace(ask.request, schema=None))
    async with aclosing(cast(Any, desk.stream(plain))) as events:
        return await collected(events)


def request_of(question: Question, said: Sequence[str], attempts: Sequence[Attempt]) -> Request:
    """What the model is asked, after these attempts."""
    if question.form == "completion":
        return Request(
            model=question.model,
            prompt=_prompt(question, attempts),
            max_tokens=question.most_tokens,
            stop=(";", "\n\n", "\n--"),
        )
    return Request(
        model=question.model,
        messages=_messages(question, said, attempts),
        schema=_SCHEMA,
        max_tokens=question.most_tokens,
    )


def _messages(question: Question, said: Sequence[str], attempts: Sequence[Attempt]) -> tuple[Message, ...]:
    made = [
        Message(
            role="system",
            content="You answer questions about a SQLite database by writing one SELECT query. "
            'Answer with JSON: {"sql": "SELECT ..."}. If the tables cannot tell the answer, give an empty text.\n\n'
            f"The database has:\n{question.schema}",
        )
    ]
    for example in question.examples:
        made.append(Message(role="user", content=example.question))
        made.append(Message(role="assistant", content=json.dumps({"sql": example.sql}, ensure_ascii=False)))
    made.append(Message(role="user", content=question.text))
    for text, attempt in zip(said, attempts, strict=True):
        made.append(Message(role="assistant", content=text))
        made.append(
            Message(role="user", content=f"That did not work: {attempt.error}. Write a query that does.")
        )
    return tuple(made)


def _prompt(question: Question, attempts: Sequence[Attempt]) -> str:
    lines = ["The tables of a SQLite database:", question.schema, ""]
    for example in question.examples:
        lines += [f"-- {_one_line(example.question)}", example.sql.strip().rstrip(";") + ";", ""]
    for attempt in attempts:
        lines += [f"-- {_one_line(question.text)}", f"{attempt.sql};", f"-- error: {attempt.error}", ""]
    return "\n".join([*lines, f"-- {_one_line(question.text)}", _BEGIN])


def sql_of(text: str, form: Form) -> str:
    """The query in what a model wrote; empty where there is none.

    >>> sql_of('{"sql": "SELECT 1;"}', "chat"), sql_of("Sure:\\n```sql\\nSELECT 2\\n```", "chat")
    ('SELECT 1', 'SELECT 2')
    """
    if form == "completion":
        continued = text.split(";", 1)[0].strip()
        return f"{_BEGIN} {continued}" if continued else ""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        blocks = [block for block in _FENCE.findall(text) if block.strip()]
        plain = blocks[-1] if blocks else text
        return plain.strip().rstrip(";").strip() if blocks or plain.lstrip()[:6].upper() == _BEGIN else ""
    sql = found.get("sql") if isinstance(found, dict) else None
    if not isinstance(sql, str):
        return ""
    return sql.encode("utf-8", "replace").decode().strip().rstrip(";").strip()


def _one_line(text: str) -> str:
    return " ".join(text.split())
