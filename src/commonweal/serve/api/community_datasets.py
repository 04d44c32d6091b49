"""Data sets of feedback over HTTP. The operator builds them; what their users allow to be published anybody with a key
may read, the rest only the operator."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import Response

from commonweal.serve.api.community_bodies import NewDataSet, dataset_view
from commonweal.serve.api.context import Account, Caller, ServeDep, operator
from commonweal.serve.api.errors import OpenAIRoute, documented
from commonweal.serve.api.storable import Id, listed
from commonweal.serve.community import datasets
from commonweal.serve.community.datasets import DataSet

router = APIRouter(route_class=OpenAIRoute)


@router.get("/datasets", responses=documented(401))
def every(serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """The data sets that the caller may read, the newest first."""
    with serve.database.transaction() as connection:
        found = datasets.every(connection)
    return listed([dataset_view(one) for one in found if _may_read(one, caller)], more=False)


@router.post("/datasets", status_code=201, responses=documented(400, 401))
def build(body: NewDataSet, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Build a data set of all feedback that may be used now. The same feedback gives the same data set."""
    operator(caller)
    made = datasets.make(
        serve.database,
        serve.blobs,
        body.options(),
        serve.community.scrubber,
        by=caller.name,
        now=serve.clock.now(),
    )
    return dataset_view(made)


@router.get("/datasets/{dataset}", responses=documented(401, 404))
def one(dataset: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """A data set: its manifest, its files, and what was withdrawn from it."""
    with serve.database.transaction() as connection:
        return dataset_view(_readable(datasets.find(connection, dataset), caller))


@router.get("/datasets/{dataset}/files/{file}", response_class=Response, responses=documented(401, 404))
def download(
    dataset: Id, file: Annotated[str, Path(max_length=100)], serve: ServeDep, caller: Caller
) -> Response:
    """A file of a data set, one JSON object a line, without what was withdrawn."""
    with serve.database.transaction() as connection:
        found = _readable(datasets.find(connection, dataset), caller)
    return Response(datasets.read(serve.blobs, found, file), media_type="application/x-ndjson")


def _may_read(dataset: DataSet, caller: Account) -> bool:
    return caller.role == "admin" or dataset.manifest["options"]["consent"] == "publish"


def _readable(dataset: DataSet, caller: Account) -> DataSet:
    if not _may_read(dataset, caller):
        operator(caller)
    return dataset
