"""Improvements over HTTP: a model's next version, made of what its users said. For the operator alone."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from commonweal.core.errors import Conflict
from commonweal.serve import catalogue
from commonweal.serve.api.community_bodies import NewImprovement, improvement_view
from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.context import Caller, ServeDep, operator
from commonweal.serve.api.errors import OpenAIRoute, documented
from commonweal.serve.api.fine_tuning import trainable, trainer_of
from commonweal.serve.api.storable import After, Id, Text, listed
from commonweal.serve.community import improvements
from commonweal.serve.community.improvements import OPEN, Options
from commonweal.serve.tuning import jobs

router = APIRouter(route_class=OpenAIRoute)

_Model = Annotated[Text | None, Query(max_length=130)]


@router.get("/guards", responses=documented(401))
def guards(serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """The scenarios that an improvement can be guarded by, first those that need no data of others."""
    operator(caller)
    data = [{"id": known.name, "object": "guard"} | asdict(known) for known in serve.community.guards.known()]
    return listed(data, more=False)


@router.post("/improvements", status_code=201, responses=documented(400, 401, 404, 409, 503))
def begin(body: NewImprovement, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Train a model's next version on the feedback that may be used now, measure both, and promote it if it is better.
    One of a model at a time."""
    operator(caller)
    trainer_of(serve)
    guards = serve.community.guards.named(body.guards)
    name = body.model.removesuffix(catalogue.LATEST)
    with serve.database.transaction() as connection:
        model = trainable(connection, caller, name)
        if model.owner != caller.name:
            raise ApiError(
                f"the model '{name}' is not yours", status=404, param="model", code="model_not_found"
            )
        made = improvements.begin(
            connection,
            account=caller.name,
            model=model.name,
            current=catalogue.find(connection, model.name + catalogue.LATEST, caller.name).name,
            options=Options(guards=guards, instances=body.instances, epochs=body.epochs, fewest=body.fewest),
            now=serve.clock.now(),
        )
    return improvement_view(made)


@router.get("/improvements", responses=documented(400, 401, 404))
def every(
    serve: ServeDep,
    caller: Caller,
    model: _Model = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: After = None,
) -> dict[str, Any]:
    """All improvements, the newest first, or those of one model."""
    operator(caller)
    with serve.database.transaction() as connection:
        found, more = improvements.every(connection, model=model, after=after, limit=limit)
    return listed([improvement_view(one) for one in found], more=more)


@router.get("/improvements/{improvement}", responses=documented(401, 404))
def one(improvement: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """How far one is, what was said, and what was decided."""
    operator(caller)
    with serve.database.transaction() as connection:
        return improvement_view(improvements.find(connection, improvement))


@router.post("/improvements/{improvement}/cancel", responses=documented(401, 404, 409))
def cancel(improvement: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Stop one for good, and its fine-tuning job with it. What was trained until then is paid."""
    operator(caller)
    now = serve.clock.now()
    with serve.database.transaction() as connection:
        found = improvements.locked(connection, improvement)
        if found.state != "cancelled":
            if found.state not in OPEN:
                raise Conflict(
                    f"{found.id} has ended: it is {found.state}", hint="only an open one is cancelled"
                )
            if found.state == "training" and found.job is not None:
                with contextlib.suppress(Conflict):  # it has just ended: its model stays under its own name
                    jobs.cancel(connection, found.job, found.account, now)
            improvements.moved(connection, found, "cancelled", now, f"cancelled by {caller.name}")
        after = improvements.find(connection, improvement)
    serve.tuning_happened()
    return improvement_view(after)
