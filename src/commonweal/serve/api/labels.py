"""``/v1/models/{model}/label``: what went into a model and what is known of it, from the hub's records."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from commonweal.core.errors import NotFound
from commonweal.serve.api.asking import as_model_error
from commonweal.serve.api.context import Caller
from commonweal.serve.api.errors import OpenAIRoute, documented
from commonweal.serve.catalogue import NAME
from commonweal.serve.labelling import Labeler

router = APIRouter(route_class=OpenAIRoute, tags=["models"])


class LabelObject(BaseModel):
    """A label; ``label.schema.json`` describes every field. ``facts`` has an answer to each question, with the records
    that it is from, also where that is 'not_disclosed'."""

    schema_at: str = Field(alias="$schema", description="Where the JSON Schema of labels is.")
    format: str = Field(description="commonweal-label-1")
    model: str
    source: str
    base: dict[str, Any] | None = Field(description="The model that it was made of, and where its label is.")
    facts: list[dict[str, Any]]
    evaluations: list[dict[str, Any]] = Field(description="Of the runs that this hub shows.")
    gaps: dict[str, Any] = Field(description="Scenarios without a run, aspects without a number.")
    counts: dict[str, int] = Field(description="Of all facts, by status.")
    score: dict[str, Any] = Field(
        description="Disclosed indicators of the Foundation Model Transparency Index."
    )


Name = Annotated[str, Path(max_length=256, description="A model's name, which may have slashes.")]


@router.get("/v1/models/{model:path}/label", responses=documented(401, 404, 429))
def get_label(model: Name, request: Request, caller: Caller) -> LabelObject:
    """The label of a model: data, feedback, compute, method, use, evaluation, gaps, and who answers for it."""
    labels: Labeler | None = getattr(request.app.state, "labels", None)
    try:
        if labels is None or not NAME.fullmatch(model):
            raise NotFound(f"the model '{model[:120]}' has no label here", hint="GET /v1/models lists models")
        return LabelObject(**labels.label_json(model, caller.name))
    except NotFound as error:
        raise as_model_error(error) from error
