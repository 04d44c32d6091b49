"""``POST /v1/embeddings``: one vector for each input, as numbers or (the openai client's default) as base64."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from commonweal.core.completion import Request as ModelRequest
from commonweal.serve.api.asking import AskBody, AskRoute
from commonweal.serve.api.asks import answers, total
from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.context import Caller
from commonweal.serve.api.errors import documented
from commonweal.serve.api.prompts import Prompt, Prompts, prompts_of
from commonweal.serve.api.turn import Turn, turn_of
from commonweal.serve.catalogue import ServedModel

router = APIRouter(route_class=AskRoute, tags=["embeddings"])


class EmbeddingBody(AskBody):
    """A request for vectors."""

    input: Prompts
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(
        default=None, ge=1, le=65_536, description="Only the number that the model's vectors have anyway."
    )


@router.post("/v1/embeddings", responses=documented(400, 401, 404, 413, 429, 503))
async def embeddings(request: Request, body: EmbeddingBody, caller: Caller) -> Response:
    """A vector for each input, in the order of the inputs."""
    turn = await turn_of(request, body, caller)
    return turn.json(await embedding_answer(turn, embedding_requests(body, turn.model), body))


def embedding_requests(body: EmbeddingBody, model: ServedModel) -> list[ModelRequest]:
    """What is asked, one request an input. Raises ApiError."""
    inputs = prompts_of(body.input, "input")
    if any(not text for text in inputs):
        raise ApiError("Invalid 'input': an input cannot be an empty string.", param="input")
    return [_request(model.name, text) for text in inputs]


def _request(model: str, prompt: Prompt) -> ModelRequest:
    if isinstance(prompt, str):
        return ModelRequest(model=model, kind="embed", prompt=prompt, max_tokens=0)
    return ModelRequest(model=model, kind="embed", prompt="", ids=prompt, max_tokens=0)


async def embedding_answer(
    turn: Turn, requests: Sequence[ModelRequest], body: EmbeddingBody
) -> dict[str, Any]:
    """The vectors in OpenAI's shape. Raises ApiError for ``dimensions`` that the model does not have."""
    found = await answers(turn.serve.desk, turn.asks(requests))
    usage = total([answer.usage for answer in found])
    turn.charge(usage)
    for answer in found:
        _check(len(answer.vector), body.dimensions)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": encoded(answer.vector, body.encoding_format)}
            for index, answer in enumerate(found)
        ],
        "model": turn.model.name,
        "usage": {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens},
        "commonweal": turn.read_by(),
    }


def _check(size: int, wanted: int | None) -> None:
    if wanted is not None and wanted != size:
        raise ApiError(
            f"This model's vectors have {size} dimensions and cannot be shortened to {wanted}.",
            param="dimensions",
            code="unsupported",
        )


def encoded(vector: Sequence[float], form: str | None) -> list[float] | str:
    """Numbers, or the base64 of them as float32 in little-endian order.

    >>> encoded((1.0, -2.0), "base64")
    'AACAPwAAAMA='
    """
    if form != "base64":
        return list(vector)
    values = array("f", vector)
    if sys.byteorder == "big":
        values.byteswap()
    return base64.b64encode(values.tobytes()).decode()
