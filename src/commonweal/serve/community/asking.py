"""What a user asks in a conversation, made ready for the desk: the branch, the question, the model and the request.

The question is written down first: an answer that fails can be asked for again. A question that moderation flags is
kept, withheld and put up for review, and no model sees it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from commonweal.core.completion import Message, Request
from commonweal.core.errors import Conflict, Refused, UserError
from commonweal.core.ids import new_id
from commonweal.serve import catalogue
from commonweal.serve.catalogue import ServedModel
from commonweal.serve.community import conversations, reviews
from commonweal.serve.community.moderation import Moderator
from commonweal.serve.community.records import Conversation, Source, Turn, path
from commonweal.serve.community.review import opened
from commonweal.serve.community.schema import comparisons

_UNTITLED = ""


class Flagged(Refused):
    """Moderation does not let a text pass before a person has looked."""

    code = "content_filter"
    status = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """How to answer. Without a seed one is drawn, so that every answer has one that is known."""

    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    seed: int | None = None
    system: str | None = None

    def sampling(self) -> dict[str, Any]:
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "stop": list(self.stop),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """``user`` is the message that is answered, ``new`` says that it was just written. One request for each model."""

    conversation: Conversation
    user: Turn
    new: bool
    models: tuple[ServedModel, ...]
    requests: tuple[Request, ...]
    parameters: Parameters

    def answer(self, index: int, *, id: str, created: float, **told: Any) -> Turn:
        """The answer of one of the models, as it is written down."""
        model, request = self.models[index], self.requests[index]
        return Turn(
            id=id,
            conversation=self.conversation.id,
            parent=self.user.id,
            role="assistant",
            terms=self.conversation.terms,
            created=created,
            source=source_of(model),
            system=self.parameters.system,
            sampling=self.parameters.sampling(),
            seed=request.seed,
            **told,
        )


def source_of(model: ServedModel) -> Source:
    adapter = model.name if model.kind == "adapter" else None
    return Source(model=model.name, identity=model.identity, adapter=adapter, base=model.base)


def ask(
    connection: sa.Connection,
    conversation: str,
    account: str,
    *,
    content: str | None,
    parent: str | None,
    models: Sequence[str],
    parameters: Parameters,
    moderator: Moderator,
    now: float,
) -> Question | Flagged:
    """Write the question down and make it ready. With ``content`` a new message after ``parent`` (an answer, or none at
    the beginning); without it the user's message ``parent`` is answered once more.

    Returns Flagged, not raises: what was written must be committed. Raises NotFound for a conversation, a message or a
    model, Conflict where a blind comparison waits for its choice, and UserError for a parent of the wrong kind.
    """
    served = tuple(catalogue.find(connection, name, account) for name in models)
    found = conversations.find(connection, conversation, account)
    turns = {turn.id: turn for turn in conversations.turns(connection, found.id)}
    before = path(turns, parent)
    _may_follow(before, content)
    _decided(connection, before)
    user = before[-1] if content is None else _said(found, parent, content, moderator, now)
    if content is not None:
        conversations.say(connection, [user], now)
        if found.title == _UNTITLED:
            found = conversations.change(connection, found, title=content, terms=None, now=now)
        if user.flags:
            flag(connection, found, user, now)
            return _flagged(user.flags)
        before = (*before, user)
    messages = _messages(parameters.system, before)
    return Question(
        conversation=found,
        user=user,
        new=content is not None,
        models=served,
        requests=tuple(_request(model, messages, parameters, i) for i, model in enumerate(served)),
        parameters=parameters,
    )


def flag(connection: sa.Connection, conversation: Conversation, turn: Turn, now: float) -> None:
    """Put a message up for review."""
    why = tuple(f"flagged: {kind}" for kind in turn.flags)
    review = opened(
        id=new_id("rev"),
        conversation=conversation.id,
        account=conversation.account,
        message=turn.id,
        because=why,
        now=now,
    )
    reviews.submit(connection, review)


def _may_follow(before: tuple[Turn, ...], content: str | None) -> None:
    last = before[-1].role if before else "assistant"
    if content is None and last != "user":
        raise UserError("parent: only a user's message can be answered again", hint="name the question")
    if content is not None and last != "assistant":
        raise UserError("parent: a new message follows an answer", hint="name the answer, or nothing")
    if any(turn.withheld for turn in before):
        raise Flagged(
            "a message before this one is withheld until a person has looked at it",
            hint="begin a new conversation, or go on from before it",
        )


def _decided(connection: sa.Connection, before: tuple[Turn, ...]) -> None:
    drafts = {turn.drafts for turn in before if turn.drafts is not None}
    open_ones = sa.select(comparisons.c.id).where(
        comparisons.c.id.in_(drafts), comparisons.c.choice.is_(None)
    )
    if drafts and connection.execute(open_ones).first() is not None:
        raise Conflict("two drafts wait for your choice", hint="say which is better, or that they are alike")


def _said(found: Conversation, parent: str | None, content: str, moderator: Moderator, now: float) -> Turn:
    flags = moderator.flags(content, "prompt")
    return Turn(
        id=new_id("msg"),
        conversation=found.id,
        parent=parent,
        role="user",
        content=content,
        terms=found.terms,
        created=now,
        flags=flags,
        withheld=bool(flags),
    )


def _flagged(flags: tuple[str, ...]) -> Flagged:
    return Flagged(
        f"your message was not sent to a model: it was flagged ({', '.join(flags)})",
        hint="a person will look at it; if that is a mistake, say it in other words",
    )


def _messages(system: str | None, before: tuple[Turn, ...]) -> tuple[Message, ...]:
    first = (Message(role="system", content=system),) if system else ()
    said = (Message(role=turn.role, content=turn.content, tool_calls=turn.tool_calls) for turn in before)
    return (*first, *said)


def _request(model: ServedModel, messages: tuple[Message, ...], how: Parameters, index: int) -> Request:
    seed = secrets.randbits(31) if how.seed is None else how.seed + index
    return Request(
        model=model.name,
        messages=messages,
        max_tokens=how.max_tokens,
        temperature=how.temperature,
        top_p=how.top_p,
        stop=how.stop,
        seed=seed,
    )
