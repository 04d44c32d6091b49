"""``/v1/fine_tuning``: jobs that train a served model further, in OpenAI's words; and what they would cost."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from pydantic import Field

from commonweal.core.errors import NotFound, Unavailable
from commonweal.serve import catalogue
from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.context import Account, Caller, Serve, ServeDep
from commonweal.serve.api.errors import documented
from commonweal.serve.api.once import OnceRoute
from commonweal.serve.api.storable import After, Id, Metadata, Sent, Text, listed, storable
from commonweal.serve.catalogue import ServedModel
from commonweal.serve.files import shelf
from commonweal.serve.files.shelf import StoredFile
from commonweal.serve.tuning import jobs
from commonweal.serve.tuning.jobs import TuningJob
from commonweal.serve.tuning.recipe import Method, Recipe, checked_suffix
from commonweal.serve.tuning.trainer import Trainer, Work

router = APIRouter(prefix="/v1/fine_tuning", tags=["fine-tuning"], route_class=OnceRoute)

MICRO = 1_000_000
_FILTER = re.compile(r"metadata\[(.{1,64})\]")

Limit = Annotated[int, Query(ge=1, le=100)]
_Epochs = Annotated[int, Field(ge=1, le=50)]
_BatchSize = Annotated[int, Field(ge=1, le=256)]
_Multiplier = Annotated[float, Field(ge=1e-3, le=100, allow_inf_nan=False)]
_Beta = Annotated[float, Field(ge=1e-3, le=10, allow_inf_nan=False)]
_Auto = Literal["auto"]


class Hyperparameters(Sent):
    """What is 'auto' is chosen by the size of the data."""

    n_epochs: _Auto | _Epochs | None = None
    batch_size: _Auto | _BatchSize | None = None
    learning_rate_multiplier: _Auto | _Multiplier | None = None
    beta: _Auto | _Beta | None = Field(default=None, description="Of dpo and kto: the tie to the base model.")


class MethodSettings(Sent):
    hyperparameters: Hyperparameters | None = None


class MethodBody(Sent):
    """How to learn. ``kto`` is Commonweal's: single answers labelled good or bad."""

    type: Literal["supervised", "dpo", "kto"]
    supervised: MethodSettings | None = None
    dpo: MethodSettings | None = None
    kto: MethodSettings | None = None


class TuningExtension(Sent):
    """Commonweal's own: adapters (``lora``, the default) or all weights, the adapters' ``rank``, and the most that the
    job may cost (``budget``, in credits)."""

    lora: bool = True
    rank: int | None = Field(default=None, ge=1, le=256)
    budget: float | None = Field(default=None, gt=0, le=1e9, allow_inf_nan=False)


class NewTuningJob(Sent):
    """A fine-tuning job that is asked for."""

    model: Text = Field(min_length=1, max_length=256)
    training_file: Text = Field(min_length=1, max_length=100)
    validation_file: Text | None = Field(default=None, max_length=100)
    method: MethodBody | None = None
    hyperparameters: Hyperparameters | None = Field(default=None, description="The old place of method's.")
    suffix: Text | None = Field(default=None, max_length=64)
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)
    metadata: Metadata | None = None
    integrations: list[Any] | None = None
    commonweal: TuningExtension | None = None


@router.post("/jobs", responses=documented(400, 401, 404, 429))
def create(body: NewTuningJob, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Train a model further. The job's budget is set aside once its files are checked; unspent credits come back."""
    trainer_of(serve)
    with serve.database.transaction() as connection:
        recipe, _ = _recipe(connection, serve, caller, body)
        job = jobs.enter(connection, recipe, caller.name, body.metadata or {}, serve.clock.now())
    serve.tuning_happened()
    return job_json(job)


@router.post("/estimate", responses=documented(400, 401, 404, 503))
def estimate(body: NewTuningJob, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """What such a job would take: tokens, steps, credits and seconds. Nothing is trained, nothing paid."""
    checked = trainer_of(serve).check(_work(serve, caller, body)).to_json()
    credits = {name: checked.pop(name) / MICRO for name in ("microcredits", "budget")}
    return {
        "object": "fine_tuning.estimate",
        **checked,
        "credits": credits["microcredits"],
        "budget": credits["budget"],
    }


@router.post("/preview", responses=documented(400, 401, 404, 503))
def preview(body: NewTuningJob, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """What the training file comes to: counts of tokens, what is wrong with it, and which parts of the first examples
    are learned."""
    return {"object": "fine_tuning.preview", **trainer_of(serve).preview(_work(serve, caller, body))}


@router.get("/jobs", responses=documented(400, 401, 404))
def every(
    request: Request, serve: ServeDep, caller: Caller, after: After = None, limit: Limit = 20
) -> dict[str, Any]:
    """A page of the caller's jobs, the newest first; with ``metadata[KEY]=VALUE``, those that have it."""
    wanted = _filter(request.query_params.multi_items())
    with serve.database.transaction() as connection:
        found = jobs.every(connection, caller.name, metadata=wanted, after=after, limit=limit)
    return listed([job_json(job) for job in found.rows], more=found.more)


@router.get("/jobs/{job}", responses=documented(400, 401, 404))
def one(job: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """One job."""
    with serve.database.transaction() as connection:
        return job_json(jobs.find(connection, job, caller.name))


@router.post("/jobs/{job}/cancel", responses=documented(400, 401, 404, 409))
def cancel(job: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Stop a job for good. What was trained until then is paid, the rest of its budget comes back."""
    with serve.database.transaction() as connection:
        found = jobs.cancel(connection, job, caller.name, serve.clock.now())
    serve.tuning_happened()
    return job_json(found)


@router.post("/jobs/{job}/pause", responses=documented(400, 401, 404, 409))
def pause(job: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Do no more of a job until it is resumed."""
    with serve.database.transaction() as connection:
        found = jobs.pause(connection, job, caller.name, serve.clock.now())
    serve.tuning_happened()
    return job_json(found)


@router.post("/jobs/{job}/resume", responses=documented(400, 401, 404, 409))
def resume(job: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Go on with a paused job."""
    with serve.database.transaction() as connection:
        found = jobs.resume(connection, job, caller.name, serve.clock.now())
    serve.tuning_happened()
    return job_json(found)


@router.get("/jobs/{job}/events", responses=documented(400, 401, 404))
def events(
    job: Id, serve: ServeDep, caller: Caller, after: After = None, limit: Limit = 20
) -> dict[str, Any]:
    """What happened to a job, the latest first."""
    with serve.database.transaction() as connection:
        found = jobs.events(connection, job, caller.name, after=after, limit=limit)
    return listed([_event_json(row) for row in found.rows], more=found.more)


@router.get("/jobs/{job}/checkpoints", responses=documented(400, 401, 404))
def checkpoints(
    job: Id, serve: ServeDep, caller: Caller, after: After = None, limit: Limit = 10
) -> dict[str, Any]:
    """The states of a job that are served as models, the latest first."""
    with serve.database.transaction() as connection:
        found = jobs.checkpoints(connection, job, caller.name, after=after, limit=limit)
    return listed([_checkpoint_json(row) for row in found.rows], more=found.more)


def job_json(job: TuningJob) -> dict[str, Any]:
    """A job in OpenAI's words, and under ``commonweal`` in ours."""
    recipe = job.recipe
    hyperparameters = {
        "n_epochs": recipe.epochs or "auto",
        "batch_size": recipe.batch_size or "auto",
        "learning_rate_multiplier": recipe.learning_rate_multiplier or "auto",
    }
    of_method = dict(hyperparameters)
    if recipe.method != "supervised":
        of_method["beta"] = recipe.beta or "auto"
    over = job.status in ("succeeded", "failed", "cancelled")
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": int(job.created),
        "finished_at": None if job.finished is None else int(job.finished),
        "model": recipe.model,
        "fine_tuned_model": job.model,
        "organization_id": job.owner,
        "status": job.status,
        "hyperparameters": hyperparameters,
        "method": {"type": recipe.method, recipe.method: {"hyperparameters": of_method}},
        "training_file": recipe.training_file,
        "validation_file": recipe.validation_file,
        "result_files": [job.result_file] if job.result_file else [],
        "trained_tokens": job.trained_tokens if over else None,
        "error": job.error,
        "seed": recipe.seed,
        "estimated_finish": None if job.estimated_finish is None else int(job.estimated_finish),
        "integrations": [],
        "metadata": dict(job.metadata),
        "user_provided_suffix": recipe.suffix or None,
        "commonweal": {
            "lora": recipe.lora,
            "rank": recipe.rank,
            "budget": None if recipe.budget is None else recipe.budget / MICRO,
            "spent": job.spent / MICRO,
            "steps": job.steps,
        },
    }


def _event_json(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "fine_tuning.job.event",
        "created_at": int(row.created),
        "level": row.level,
        "message": row.message,
        "type": row.type,
        "data": row.data,
    }


def _checkpoint_json(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "fine_tuning.job.checkpoint",
        "created_at": int(row.created),
        "fine_tuned_model_checkpoint": row.model,
        "fine_tuning_job_id": row.job,
        "metrics": row.metrics,
        "step_number": row.step,
    }


def trainer_of(serve: Serve) -> Trainer:
    """Who fine-tunes. Raises Unavailable where nobody does."""
    if serve.trainer is None:
        raise Unavailable(
            "this hub trains nothing",
            hint="its operator installs what that takes: pip install commonweal[torch]",
        )
    return serve.trainer


def _work(serve: Serve, caller: Account, body: NewTuningJob) -> Work:
    """A job that will not be entered."""
    trainer_of(serve)
    with serve.database.transaction() as connection:
        recipe, base = _recipe(connection, serve, caller, body)
    return Work(id="estimate", owner=caller.name, base=base, recipe=recipe)


def _recipe(
    connection: sa.Connection, serve: Serve, caller: Account, body: NewTuningJob
) -> tuple[Recipe, ServedModel]:
    """What is asked for, with the files and the model found. Raises NotFound, and ApiError for what cannot be done."""
    if body.integrations:
        raise ApiError("integrations: this hub has none; leave it out.", param="integrations")
    base = trainable(connection, caller, body.model)
    files = {
        name: _file(connection, serve, caller, name, file)
        for name, file in (("training_file", body.training_file), ("validation_file", body.validation_file))
        if file is not None
    }
    validation = files.get("validation_file")
    method, chosen = _method(body)
    extension = body.commonweal or TuningExtension()
    if extension.rank is not None and not extension.lora:
        raise ApiError("commonweal.rank: only adapters have one.", param="commonweal.rank")
    recipe = Recipe(
        model=base.name,
        training_file=files["training_file"].id,
        training=files["training_file"].blob,
        validation_file=None if validation is None else validation.id,
        validation=None if validation is None else validation.blob,
        method=method,
        epochs=_given(chosen.n_epochs),
        batch_size=_given(chosen.batch_size),
        learning_rate_multiplier=_given(chosen.learning_rate_multiplier),
        beta=_given(chosen.beta),
        suffix=checked_suffix(body.suffix or ""),
        seed=secrets.randbelow(2**31) if body.seed is None else body.seed,
        lora=extension.lora,
        rank=extension.rank,
        budget=None if extension.budget is None else round(extension.budget * MICRO),
    )
    return recipe, base


def trainable(connection: sa.Connection, caller: Account, name: str) -> ServedModel:
    """A model that may be trained further. Raises ApiError."""
    try:
        base = catalogue.find(connection, name, caller.name)
    except NotFound as error:
        raise ApiError(
            error.message, status=404, param="model", code="model_not_found", hint=error.hint
        ) from None
    if base.kind == "fronted":
        raise ApiError(
            f"'{base.name}' is served by a member's own server: its weights are not here.",
            param="model",
            code="model_not_trainable",
        )
    return base


def _file(connection: sa.Connection, serve: Serve, caller: Account, param: str, file: str) -> StoredFile:
    try:
        found = shelf.find(connection, file, caller.name, serve.clock.now())
    except NotFound as error:
        raise ApiError(
            error.message, status=404, param=param, code="file_not_found", hint=error.hint
        ) from None
    if found.purpose != "fine-tune":
        raise ApiError(
            f"The file '{found.id}' was uploaded with the purpose '{found.purpose}', not 'fine-tune'.",
            param=param,
            code="invalid_file_purpose",
        )
    return found


def _method(body: NewTuningJob) -> tuple[Method, Hyperparameters]:
    """The method, and its settings from either place. Raises ApiError where they contradict each other."""
    if body.method is None:
        return "supervised", body.hyperparameters or Hyperparameters()
    kind = body.method.type
    for other in ("supervised", "dpo", "kto"):
        if other != kind and getattr(body.method, other) is not None:
            raise ApiError(f"method.{other}: the method's type is '{kind}'.", param=f"method.{other}")
    settings: MethodSettings | None = getattr(body.method, kind)
    chosen = settings.hyperparameters if settings else None
    if chosen is not None and body.hyperparameters is not None:
        raise ApiError(
            "hyperparameters: they are also in 'method'; give them there only.", param="hyperparameters"
        )
    chosen = chosen or body.hyperparameters or Hyperparameters()
    if kind == "supervised" and chosen.beta is not None:
        raise ApiError(
            "beta: the method 'supervised' has none.", param="method.supervised.hyperparameters.beta"
        )
    return kind, chosen


def _given(value: Any) -> Any:
    return None if value == "auto" else value


def _filter(query: list[tuple[str, str]]) -> Mapping[str, str] | None:
    """The metadata that jobs must have."""
    found: dict[str, str] = {}
    for name, value in query:
        match = _FILTER.fullmatch(name)
        if match is None:
            continue
        try:
            found[storable(match[1])] = storable(value)
        except ValueError as error:
            raise ApiError(f"metadata: {error}.", param="metadata") from None
    return found or None
