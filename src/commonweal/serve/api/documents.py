"""``/v1/vector_stores``: sets of documents to search, under the routes that OpenAI's clients know.

There are no vectors in them: a search is by words (see ``serve/retrieval/passages.py``), so its scores are no
similarities, but grow with them. A file is looked into when it is added; one that cannot be read is there as ``failed``
with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field, StringConstraints

from commonweal.core.errors import NotFound
from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.context import Account, Caller, Serve, ServeDep
from commonweal.serve.api.errors import OpenAIRoute, documented
from commonweal.serve.api.storable import After, Id, Metadata, Sent, Text, listed
from commonweal.serve.files.shelf import StoredFile
from commonweal.serve.retrieval import passages, stores
from commonweal.serve.retrieval.library import Library
from commonweal.serve.retrieval.stores import Store, StoreFile

router = APIRouter(prefix="/v1/vector_stores", tags=["vector_stores"], route_class=OpenAIRoute)

_Limit = Annotated[int, Query(ge=1, le=100)]
_Order = Literal["asc", "desc"]
_FileId = Annotated[Text, StringConstraints(min_length=1, max_length=100)]
_Key = Annotated[Text, StringConstraints(min_length=1, max_length=64)]
_Value = (
    Annotated[Text, StringConstraints(max_length=512)] | bool | Annotated[float, Field(allow_inf_nan=False)]
)
_Attributes = Annotated[dict[_Key, _Value], Field(max_length=16)]


class StoreExpires(Sent):
    """How long a store is kept after it was last used."""

    anchor: Literal["last_active_at"]
    days: int = Field(ge=1, le=365)


class AutoChunking(Sent):
    """Passages of about 200 words: the only way here."""

    type: Literal["auto"]


class NewStore(Sent):
    """A vector store, with its first files."""

    name: Text = Field(default="", max_length=256)
    description: Text | None = Field(default=None, max_length=512, description="Accepted and not kept.")
    file_ids: list[_FileId] = Field(default=[], max_length=100)
    metadata: Metadata | None = None
    expires_after: StoreExpires | None = None
    chunking_strategy: AutoChunking | None = None


class StoreChanges(Sent):
    """What is left out stays; null takes away."""

    name: Text | None = Field(default=None, max_length=256)
    metadata: Metadata | None = None
    expires_after: StoreExpires | None = None


class NewStoreFile(Sent):
    """A file to be added."""

    file_id: _FileId
    attributes: _Attributes | None = None
    chunking_strategy: AutoChunking | None = None


class FileChanges(Sent):
    """A file's attributes, all of them."""

    attributes: _Attributes | None


class Ranking(Sent):
    """``score_threshold``: hits below are left out."""

    ranker: Literal["none", "auto", "default-2024-11-15"] | None = None
    score_threshold: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)


_Query = Annotated[Text, StringConstraints(min_length=1, max_length=4000)]


class Search(Sent):
    """What to look for. ``filters`` by attributes are not known here, and refused."""

    query: _Query | Annotated[list[_Query], Field(min_length=1, max_length=10)]
    max_num_results: int = Field(default=10, ge=1, le=50)
    ranking_options: Ranking | None = None
    rewrite_query: bool | None = Field(default=None, description="Accepted; without effect.")


def store_json(store: Store) -> dict[str, Any]:
    expires_after = None if store.keep_days is None else {"anchor": "last_active_at", "days": store.keep_days}
    return {
        "id": store.id,
        "object": "vector_store",
        "created_at": int(store.created),
        "name": store.name,
        "usage_bytes": store.size,
        "file_counts": {
            "in_progress": 0,
            "completed": store.completed,
            "failed": store.failed,
            "cancelled": 0,
            "total": store.completed + store.failed,
        },
        "status": "completed",
        "expires_after": expires_after,
        "expires_at": None if store.expires is None else int(store.expires),
        "last_active_at": int(store.active),
        "metadata": dict(store.metadata),
    }


def file_json(file: StoreFile) -> dict[str, Any]:
    error = None if file.error is None else {"code": "unsupported_file", "message": file.error}
    return {
        "id": file.id,
        "object": "vector_store.file",
        "created_at": int(file.created),
        "vector_store_id": file.store,
        "status": "completed" if error is None else "failed",
        "last_error": error,
        "usage_bytes": file.size,
        "attributes": dict(file.attributes),
        "chunking_strategy": {"type": "other"},
    }


@router.post("", responses=documented(400, 401, 404))
def create(body: NewStore, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Make a vector store. Its files are read before the answer."""
    library = _library(serve)
    files = [_file(library, caller, file) for file in body.file_ids]
    keep_days = None if body.expires_after is None else body.expires_after.days
    with serve.database.transaction() as connection:
        store = stores.create(
            connection,
            caller.name,
            body.name,
            serve.clock.now(),
            metadata=body.metadata,
            keep_days=keep_days,
        )
    for file in files:
        library.add(caller.name, store.id, file, {})
    return _store_json(serve, caller, store.id)


@router.get("", responses=documented(400, 401, 404))
def every(
    serve: ServeDep, caller: Caller, after: After = None, limit: _Limit = 20, order: _Order = "desc"
) -> dict[str, Any]:
    """A page of the caller's vector stores."""
    with serve.database.transaction() as connection:
        found, more = stores.every(
            connection,
            caller.name,
            serve.clock.now(),
            after=after,
            limit=limit,
            newest_first=order == "desc",
        )
    return listed([store_json(store) for store in found], more=more)


@router.get("/{store}", responses=documented(400, 401, 404))
def one(store: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """One vector store."""
    return _store_json(serve, caller, store)


@router.post("/{store}", responses=documented(400, 401, 404))
def change(store: Id, body: StoreChanges, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Change a vector store's name, metadata or expiry."""
    changes: dict[str, Any] = {}
    if "name" in body.model_fields_set:
        changes["name"] = body.name or ""
    if "metadata" in body.model_fields_set:
        changes["metadata"] = body.metadata or {}
    if "expires_after" in body.model_fields_set:
        changes["keep_days"] = None if body.expires_after is None else body.expires_after.days
    with serve.database.transaction() as connection:
        return store_json(stores.change(connection, store, caller.name, serve.clock.now(), changes))


@router.delete("/{store}", responses=documented(400, 401, 404))
def delete(store: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Delete a vector store. Its files stay."""
    with serve.database.transaction() as connection:
        stores.remove(connection, store, caller.name, serve.clock.now())
    return {"id": store, "object": "vector_store.deleted", "deleted": True}


@router.post("/{store}/search", responses=documented(400, 401, 404))
def search(store: Id, body: Search, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """The passages that fit a query best."""
    queries = [body.query] if isinstance(body.query, str) else body.query
    found = _library(serve).search(caller.name, store, queries, body.max_num_results)
    with serve.database.transaction() as connection:
        files, _ = stores.files_of(connection, store, caller.name, serve.clock.now())
    attributes = {file.id: dict(file.attributes) for file in files}
    least = (body.ranking_options.score_threshold if body.ranking_options else None) or 0.0
    data = [
        {
            "file_id": passage.file,
            "filename": passage.filename,
            "score": score,
            "attributes": attributes.get(passage.file, {}),
            "content": [{"type": "text", "text": passage.text}],
        }
        for passage in found
        if (score := squashed(passage.score)) >= least
    ]
    return {
        "object": "vector_store.search_results.page",
        "search_query": queries,
        "data": data,
        "has_more": False,
        "next_page": None,
    }


def squashed(score: float) -> float:
    """A rank from 0 to 1, as clients expect: half of the top at a BM25 of 5.

    >>> squashed(0.0), squashed(5.0)
    (0.0, 0.5)
    """
    return round(score / (score + 5.0), 6)


@router.post("/{store}/files", responses=documented(400, 401, 404))
def add_file(store: Id, body: NewStoreFile, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Add a file. It is read before the answer."""
    library = _library(serve)
    with serve.database.transaction() as connection:
        stores.find(connection, store, caller.name, serve.clock.now())
    library.add(caller.name, store, _file(library, caller, body.file_id), body.attributes or {})
    return one_file(store, body.file_id, serve, caller)


@router.get("/{store}/files", responses=documented(400, 401, 404))
def every_file(
    store: Id,
    serve: ServeDep,
    caller: Caller,
    after: After = None,
    limit: _Limit = 20,
    order: _Order = "desc",
    filter: Literal["in_progress", "completed", "failed", "cancelled"] | None = None,
) -> dict[str, Any]:
    """A page of a vector store's files."""
    with serve.database.transaction() as connection:
        found, more = stores.files_of(
            connection,
            store,
            caller.name,
            serve.clock.now(),
            after=after,
            limit=limit,
            newest_first=order == "desc",
            failed=None if filter is None else filter == "failed",
        )
    if filter in ("in_progress", "cancelled"):  # nothing is ever
        found, more = (), False
    return listed([file_json(file) for file in found], more=more)


@router.get("/{store}/files/{file}", responses=documented(400, 401, 404))
def one_file(store: Id, file: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """One file of a vector store."""
    with serve.database.transaction() as connection:
        return file_json(stores.find_file(connection, store, caller.name, file, serve.clock.now()))


@router.post("/{store}/files/{file}", responses=documented(400, 401, 404))
def change_file(store: Id, file: Id, body: FileChanges, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Set a file's attributes."""
    with serve.database.transaction() as connection:
        return file_json(
            stores.change_file(connection, store, caller.name, file, body.attributes or {}, serve.clock.now())
        )


@router.delete("/{store}/files/{file}", responses=documented(400, 401, 404))
def delete_file(store: Id, file: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Take a file out of a vector store. The file stays."""
    with serve.database.transaction() as connection:
        stores.remove_file(connection, store, caller.name, file, serve.clock.now())
    return {"id": file, "object": "vector_store.file.deleted", "deleted": True}


@router.get("/{store}/files/{file}/content", responses=documented(400, 401, 404))
def content(store: Id, file: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """A file's passages, in order. They overlap."""
    with serve.database.transaction() as connection:
        stores.find_file(connection, store, caller.name, file, serve.clock.now())
        found: Sequence[passages.Passage] = passages.whole(connection, file)
    return {
        "object": "vector_store.file_content.page",
        "data": [{"type": "text", "text": passage.text} for passage in found],
        "has_more": False,
        "next_page": None,
    }


def _library(serve: Serve) -> Library:
    if serve.workbench is None:
        raise ApiError("This hub runs no tools.", code="unsupported")
    return serve.workbench.library


def _file(library: Library, caller: Account, file: str) -> StoredFile:
    try:
        return library.file(caller.name, file)
    except NotFound as error:
        raise ApiError(
            error.message, status=404, param="file_id", code="not_found", hint=error.hint
        ) from None


def _store_json(serve: Serve, caller: Account, store: str) -> dict[str, Any]:
    with serve.database.transaction() as connection:
        return store_json(stores.find(connection, store, caller.name, serve.clock.now()))
