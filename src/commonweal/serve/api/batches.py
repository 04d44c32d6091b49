"""``/v1/batches``: many requests in a file, answered in a file within a day."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from commonweal.core.errors import NotFound
from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.context import Caller, ServeDep
from commonweal.serve.api.errors import documented
from commonweal.serve.api.once import OnceRoute
from commonweal.serve.api.storable import After, ExpiresAfter, Id, Metadata, Sent, Text, listed
from commonweal.serve.batches import orders
from commonweal.serve.batches.orders import Batch
from commonweal.serve.files import shelf

router = APIRouter(prefix="/v1/batches", tags=["batches"], route_class=OnceRoute)


class NewBatch(Sent):
    """A batch that is asked for."""

    input_file_id: Text = Field(min_length=1, max_length=100)
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None


@router.post("", responses=documented(400, 401, 404, 429))
def create(body: NewBatch, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Ask every line of a file that was uploaded with the purpose 'batch'."""
    now = serve.clock.now()
    kept = body.output_expires_after
    with serve.database.transaction() as connection:
        try:
            file = shelf.find(connection, body.input_file_id, caller.name, now)
        except NotFound as error:
            raise ApiError(
                error.message, status=404, param="input_file_id", code="file_not_found", hint=error.hint
            ) from None
        if file.purpose != "batch":
            raise ApiError(
                f"The file '{file.id}' was uploaded with the purpose '{file.purpose}', not 'batch'.",
                param="input_file_id",
                code="invalid_file_purpose",
            )
        batch = orders.enter(
            connection,
            file,
            endpoint=body.endpoint,
            metadata=body.metadata,
            keep_seconds=None if kept is None else float(kept.seconds),
            now=now,
        )
    return batch_json(batch)


@router.get("", responses=documented(400, 401, 404))
def every(
    serve: ServeDep, caller: Caller, after: After = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> dict[str, Any]:
    """A page of the caller's batches, the newest first."""
    with serve.database.transaction() as connection:
        found = orders.every(connection, caller.name, after=after, limit=limit)
    return listed([batch_json(batch) for batch in found.found], more=found.more)


@router.get("/{batch}", responses=documented(400, 401, 404))
def one(batch: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """One batch."""
    with serve.database.transaction() as connection:
        return batch_json(orders.find(connection, batch, caller.name))


@router.post("/{batch}/cancel", responses=documented(400, 401, 404, 409))
def cancel(batch: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Ask no more of a batch. What was answered until then is in its output file."""
    with serve.database.transaction() as connection:
        return batch_json(orders.cancel(connection, batch, caller.name, serve.clock.now()))


def batch_json(batch: Batch) -> dict[str, Any]:
    """A batch in OpenAI's words."""
    counts = batch.counted

    def at(status: str) -> int | None:
        reached = batch.times.get(status)
        return None if reached is None else int(reached)

    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model,
        "errors": None if batch.errors is None else {"object": "list", "data": list(batch.errors)},
        "input_file_id": batch.input_file,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": batch.output_file,
        "error_file_id": batch.error_file,
        "created_at": int(batch.created),
        "in_progress_at": at("in_progress"),
        "expires_at": int(batch.expires),
        "finalizing_at": at("finalizing"),
        "completed_at": at("completed"),
        "failed_at": at("failed"),
        "expired_at": at("expired"),
        "cancelling_at": at("cancelling"),
        "cancelled_at": at("cancelled"),
        "request_counts": {"total": batch.total, "completed": counts.completed, "failed": counts.failed},
        "usage": {
            "input_tokens": counts.prompt_tokens,
            "input_tokens_details": {"cached_tokens": counts.cached_tokens},
            "output_tokens": counts.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": counts.prompt_tokens + counts.completion_tokens,
        },
        "metadata": batch.metadata,
    }
