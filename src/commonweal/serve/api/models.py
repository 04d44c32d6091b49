"""``/v1/models``: which models an account may use, and the end of one that is its own."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel

from commonweal.core.errors import NotFound
from commonweal.serve.api.asking import as_model_error
from commonweal.serve.api.context import Caller, ServeDep
from commonweal.serve.api.errors import OpenAIRoute, documented
from commonweal.serve.catalogue import NAME, ServedModel, every, find, retire

router = APIRouter(route_class=OpenAIRoute, tags=["models"])

Name = Annotated[str, Path(max_length=256, description="A model's name, which may have slashes.")]


class ModelExtension(BaseModel):
    """What OpenAI's shape has no place for. Prices are micro-credits per 1,000 tokens; equal ``identity`` means equal
    answers."""

    kind: Literal["full", "adapter", "fronted"]
    base: str | None
    identity: str
    parameters: int
    window: int
    quantization: str
    price_in: int
    price_out: int


class ModelObject(BaseModel):
    """A model in OpenAI's shape."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    commonweal: ModelExtension


class ModelList(BaseModel):
    """Models by name."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


class ModelDeleted(BaseModel):
    """A model that is served no more."""

    id: str
    object: Literal["model"] = "model"
    deleted: bool = True


def model_object(model: ServedModel) -> ModelObject:
    return ModelObject(
        id=model.name,
        created=int(model.created),
        owned_by=model.owner,
        commonweal=ModelExtension(
            kind=model.kind,
            base=model.base,
            identity=model.identity,
            parameters=model.parameters,
            window=model.window,
            quantization=model.quantization,
            price_in=model.price_in,
            price_out=model.price_out,
        ),
    )


@router.get("/v1/models", responses=documented(401, 429))
def list_models(serve: ServeDep, caller: Caller) -> ModelList:
    """The models that this account may use, by name."""
    with serve.database.transaction() as connection:
        return ModelList(data=[model_object(model) for model in every(connection, caller.name)])


@router.get("/v1/models/{model:path}", responses=documented(401, 404, 429))
def get_model(model: Name, serve: ServeDep, caller: Caller) -> ModelObject:
    """One model."""
    with serve.database.transaction() as connection:
        try:
            return model_object(find(connection, _name(model), caller.name))
        except NotFound as error:
            raise as_model_error(error) from error


@router.delete("/v1/models/{model:path}", responses=documented(401, 404, 429))
def delete_model(model: Name, serve: ServeDep, caller: Caller) -> ModelDeleted:
    """Serve a model of one's own no more. Its name stays taken, so that what it said can be traced."""
    with serve.database.transaction() as connection:
        try:
            retired = retire(connection, _name(model), caller.name, serve.clock.now())
        except NotFound as error:
            raise as_model_error(error) from error
    serve.models.forget((caller.name, model))
    return ModelDeleted(id=retired.name)


def _name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise NotFound(f"the model '{name[:120]}' does not exist", hint="GET /v1/models lists them")
    return name
