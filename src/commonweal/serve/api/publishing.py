"""Models are entered in the catalogue, and taken out of it, by their owners."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from commonweal.core.errors import NotAuthorized
from commonweal.core.hashing import BlobHash
from commonweal.serve import catalogue, publishing
from commonweal.serve.api.context import Caller, ServeDep, secret_in
from commonweal.serve.api.errors import OpenAIRoute
from commonweal.serve.api.storable import Json, Text
from commonweal.serve.catalogue import ServedModel

router = APIRouter(prefix="/serve/v1/models", tags=["models"], route_class=OpenAIRoute)
promotions = APIRouter(prefix="/serve/v1/promotions", tags=["models"], route_class=OpenAIRoute)

_Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Name = Annotated[Text, Field(min_length=1, max_length=120)]


class NewModel(BaseModel):
    """Files that were uploaded as blobs, and what to call the model that they are."""

    model_config = ConfigDict(extra="forbid")

    name: _Name
    files: dict[Text, _Hash] = Field(min_length=1, max_length=1000)
    base: _Name | None = None
    public: bool = True
    quantization: Literal["none", "int8"] = "none"
    lineage: Json = Field(default_factory=dict)


class ModelView(BaseModel):
    """A served model. Prices are micro-credits per 1,000 tokens."""

    name: str
    kind: str
    owner: str
    public: bool
    base: str | None
    files: dict[str, str]
    identity: str
    quantization: str
    parameters: int
    window: int
    price_in: int
    price_out: int
    lineage: dict[str, Any]
    created: float


def view(model: ServedModel) -> ModelView:
    return ModelView(**{name: getattr(model, name) for name in ModelView.model_fields})


@router.post("", status_code=201)
def publish(body: NewModel, serve: ServeDep, caller: Caller) -> ModelView:
    """Publish a model. The same files under the same name again change nothing."""

    def find_base(name: str) -> ServedModel:
        with serve.database.transaction() as connection:
            return catalogue.find(connection, name, caller.name)

    model = publishing.examined(
        serve.blobs,
        name=body.name,
        owner=caller.name,
        files={name: BlobHash(blob) for name, blob in body.files.items()},
        base=body.base,
        public=body.public,
        quantization=body.quantization,
        lineage=body.lineage,
        find_base=find_base,
        now=serve.clock.now(),
    )
    with serve.database.transaction() as connection:
        return view(catalogue.publish(connection, model))


class FrontedModel(BaseModel):
    """A model behind a server that a member fronts. ``parameters`` sets its price."""

    model_config = ConfigDict(extra="forbid")

    name: _Name
    parameters: int = Field(default=1_000_000_000, ge=1, le=10**14)
    window: int = Field(default=4096, ge=1, le=2**31 - 1)
    quantization: str = Field(default="unknown", pattern="^[A-Za-z0-9._-]{1,40}$")


@router.post("/fronted", status_code=201)
def front(body: FrontedModel, serve: ServeDep, request: Request, caller: Caller) -> ModelView:
    """Publish what the calling member's own server answers as. A machine of the operator's (or one that the operator
    trusts) publishes it for everybody, under its plain name; any other for its owner alone, as OWNER/NAME."""
    if caller.role != "member":
        raise NotAuthorized("only a member fronts a server", hint="commonweal join URL --engine SERVER")
    lender = request.app.state.gateway.identify(secret_in(request.headers))
    name = body.name if lender.trusted else f"{lender.owner.partition(':')[2] or lender.member}/{body.name}"
    model = publishing.fronted(
        name,
        owner=lender.owner or lender.account,
        public=lender.trusted,
        parameters=body.parameters,
        window=body.window,
        quantization=body.quantization,
        now=serve.clock.now(),
    )
    with serve.database.transaction() as connection:
        return view(catalogue.publish(connection, model))


class NewPromotion(BaseModel):
    """``model`` becomes ``name``:latest; ``record`` says why."""

    model_config = ConfigDict(extra="forbid")

    name: _Name
    model: _Name
    record: Json = Field(default_factory=dict)


@promotions.post("", status_code=201)
def promote(body: NewPromotion, serve: ServeDep, caller: Caller) -> ModelView:
    """Let NAME:latest be another of one's models, which whoever may use NAME may use from now on."""
    with serve.database.transaction() as connection:
        before = catalogue.find(connection, body.name, caller.name)
        if before.public:
            catalogue.open_to_all(connection, body.model, caller.name)
        catalogue.promote(connection, body.name, body.model, caller.name, body.record, serve.clock.now())
        return view(catalogue.find(connection, body.model, caller.name))


@promotions.get("/{name:path}")
def versions(
    name: Annotated[Text, Path(max_length=120)], serve: ServeDep, caller: Caller
) -> list[dict[str, Any]]:
    """What NAME:latest was, the newest first, and why."""
    with serve.database.transaction() as connection:
        catalogue.find(connection, name, caller.name)
        return [asdict(version) for version in catalogue.versions(connection, name)]


@router.get("")
def every(serve: ServeDep, caller: Caller) -> list[ModelView]:
    """The models that the caller may use."""
    with serve.database.transaction() as connection:
        return [view(model) for model in catalogue.every(connection, caller.name)]


@router.delete("/{name:path}")
def retire(name: Annotated[Text, Path(max_length=120)], serve: ServeDep, caller: Caller) -> ModelView:
    """Serve a model no more. Only its owner may."""
    with serve.database.transaction() as connection:
        return view(catalogue.retire(connection, name, caller.name, serve.clock.now()))
