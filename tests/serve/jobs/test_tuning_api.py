"""Fine-tuning over HTTP, by the openai client, with a trainer that only counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from job_api import Api, add_model, running_api

from commonweal.core.blobs import Blobs
from commonweal.core.clock import ManualClock
from commonweal.core.database import Database
from commonweal.core.errors import Unavailable
from commonweal.serve import catalogue
from commonweal.serve.tuning import jobs
from commonweal.serve.tuning.loop import MOST_SURPRISES, MOST_TROUBLE, Tuner
from tuning_fakes import FakeTrainer

LINES = b"one\ntwo\nthree\n"


@pytest.fixture
def trainer(blobs: Blobs) -> FakeTrainer:
    return FakeTrainer(blobs)


@pytest.fixture
def tuning(database: Database, blobs: Blobs, trainer: FakeTrainer) -> Iterator[Api]:
    add_model(database, blobs)
    with running_api(database, blobs, trainer=trainer) as running:
        yield running


@pytest.fixture
def tuner(tuning: Api, trainer: FakeTrainer) -> Tuner:
    return Tuner(tuning.serve.database, tuning.serve.blobs, trainer, tuning.serve.clock)


def upload(client: openai.OpenAI, content: bytes = LINES) -> str:
    return client.files.create(file=("train.jsonl", content), purpose="fine-tune").id


def move(tuner: Tuner) -> None:
    for job in tuner.waiting():
        tuner.drive(job)


def create(client: openai.OpenAI, content: bytes = LINES, **asked: Any) -> Any:
    return client.fine_tuning.jobs.create(model="tiny", training_file=upload(client, content), **asked)


def messages(client: openai.OpenAI, job: str) -> list[str]:
    return [event.message for event in client.fine_tuning.jobs.list_events(job, limit=2)][::-1]


def test_a_job_goes_from_a_file_to_a_served_model(
    tuning: Api, tuner: Tuner, trainer: FakeTrainer, database: Database
) -> None:
    client = tuning.client()
    job = create(client, suffix="sql", seed=7, metadata={"for": "test"})
    assert (job.object, job.status, job.model, job.seed) == ("fine_tuning.job", "validating_files", "tiny", 7)
    assert (job.hyperparameters.n_epochs, job.organization_id) == ("auto", "ann")
    assert (job.fine_tuned_model, job.finished_at, job.trained_tokens) == (None, None, None)
    move(tuner)
    job = client.fine_tuning.jobs.retrieve(job.id)
    assert (job.status, job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == ("queued", 3, 2)
    for _ in range(trainer.total):
        trainer.fold()
        move(tuner)
    job = client.fine_tuning.jobs.retrieve(job.id)
    assert (job.status, job.error) == ("succeeded", None)
    assert job.fine_tuned_model == f"ft:tiny:sql:{job.id[-8:]}"
    assert job.trained_tokens == 400
    assert job.finished_at
    told = messages(client, job.id)
    assert told[:5] == [
        f"Created fine-tuning job: {job.id}",
        f"Validating training file: {job.training_file}",
        "line 2: the same as line 1",
        "3 examples of 30 tokens, 3 epochs: 90 trained tokens in 4 steps, about 0.000 credits",
        "Files validated, moving job to queued state",
    ]
    assert told[-2:] == [
        f"New fine-tuned model created: {job.fine_tuned_model}",
        "The job has successfully completed",
    ]
    assert len([line for line in told if line.startswith("Step ")]) == 4
    metrics = [event for event in client.fine_tuning.jobs.list_events(job.id) if event.type == "metrics"]
    assert metrics[0].data["step"] == 4  # type: ignore[index]
    assert metrics[0].data["train_loss"] == 0.25  # type: ignore[index]
    points = list(client.fine_tuning.jobs.checkpoints.list(job.id))
    assert [(point.step_number, point.fine_tuned_model_checkpoint) for point in points] == [
        (4, job.fine_tuned_model),
        (2, f"{job.fine_tuned_model}:ckpt-step-2"),
    ]
    assert points[0].metrics.train_loss == 0.25
    table = client.files.content(job.result_files[0]).read().decode().splitlines()
    assert table[0].startswith("step,train_loss")
    assert len(table) == 5
    with database.transaction() as connection:
        model = catalogue.find(connection, str(job.fine_tuned_model), "ann")
        assert (model.kind, model.base, model.public, model.owner) == ("adapter", "tiny", False, "ann")
        assert model.lineage["job"] == job.id
        with pytest.raises(catalogue.NotFound):
            catalogue.find(connection, str(job.fine_tuned_model), "bob")


def test_a_bad_file_fails_the_job_with_its_line(tuning: Api, tuner: Tuner) -> None:
    client = tuning.client()
    job = create(client, b"one\nbad\n")
    move(tuner)
    job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "failed"
    assert (job.error.code, job.error.param) == ("not_json", "training_file")
    assert "line 2" in job.error.message
    events = list(client.fine_tuning.jobs.list_events(job.id))
    assert [event.level for event in events][:2] == ["error", "error"]
    assert events[0].message == "line 9: messages: is missing"


def test_who_cannot_pay_gets_no_job_in_the_pool(tuning: Api, tuner: Tuner, trainer: FakeTrainer) -> None:
    trainer.out_of_credits = True
    client = tuning.client()
    job = create(client)
    move(tuner)
    move(tuner)
    job = client.fine_tuning.jobs.retrieve(job.id)
    assert (job.status, job.error.code) == ("failed", "insufficient_quota")
    assert trainer.pool == {}
    with tuning.serve.database.transaction() as connection:
        assert jobs.under_way(connection, 1e12) == []


def test_pause_and_resume_reach_the_pool(tuning: Api, tuner: Tuner, trainer: FakeTrainer) -> None:
    client = tuning.client()
    job = create(client)
    assert client.fine_tuning.jobs.pause(job.id).status == "paused"
    move(tuner)
    assert trainer.calls == []
    assert client.fine_tuning.jobs.resume(job.id).status == "validating_files"
    move(tuner)
    trainer.fold()
    move(tuner)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "running"
    assert client.fine_tuning.jobs.pause(job.id).status == "paused"
    move(tuner)
    assert trainer.pool[job.id].status == "paused"
    trainer.fold()
    assert trainer.pool[job.id].rounds == 1
    assert client.fine_tuning.jobs.pause(job.id).status == "paused"
    assert client.fine_tuning.jobs.resume(job.id).status == "running"
    move(tuner)
    assert trainer.pool[job.id].status == "running"


def test_the_pools_own_word_counts(tuning: Api, tuner: Tuner, trainer: FakeTrainer) -> None:
    """Its budget is used up, or the operator paused it; then somebody resumes it in the pool."""
    client = tuning.client()
    job = create(client)
    move(tuner)
    there = trainer.pool[job.id]
    there.status, there.message = "paused", "budget used up"
    move(tuner)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "paused"
    latest = client.fine_tuning.jobs.list_events(job.id).data[0]
    assert (latest.level, latest.message) == ("warn", "The job waits: budget used up")
    move(tuner)
    there.status = "running"
    trainer.fold()
    move(tuner)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "running"
    there.status, there.message = "cancelled", "cancelled by operator"
    move(tuner)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "cancelled"


def test_a_job_that_fails_in_the_pool(tuning: Api, tuner: Tuner, trainer: FakeTrainer) -> None:
    client = tuning.client()
    job = create(client)
    move(tuner)
    trainer.pool[job.id].status, trainer.pool[job.id].message = "failed", "every contribution was refused"
    move(tuner)
    job = client.fine_tuning.jobs.retrieve(job.id)
    assert (job.status, job.error.code) == ("failed", "training_failed")
    assert "refused" in job.error.message


def test_cancelling_counts_what_was_done(tuning: Api, tuner: Tuner, trainer: FakeTrainer) -> None:
    client = tuning.client()
    job = create(client)
    move(tuner)
    trainer.fold()
    move(tuner)
    trainer.fold()
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    move(tuner)
    assert trainer.pool[job.id].status == "cancelled"
    job = client.fine_tuning.jobs.retrieve(job.id)
    assert (job.status, job.trained_tokens, job.fine_tuned_model) == ("cancelled", 200, None)
    assert len(client.files.content(job.result_files[0]).read().splitlines()) == 3
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    for call in (client.fine_tuning.jobs.pause, client.fine_tuning.jobs.resume):
        with pytest.raises(openai.ConflictError):
            call(job.id)
    assert tuner.waiting() == []


def test_a_job_that_is_cancelled_before_anything(tuning: Api, tuner: Tuner, trainer: FakeTrainer) -> None:
    client = tuning.client()
    job = create(client)
    client.fine_tuning.jobs.cancel(job.id)
    move(tuner)
    assert trainer.pool == {}
    job = client.fine_tuning.jobs.retrieve(job.id)
    assert (job.status, job.result_files, job.trained_tokens) == ("cancelled", [], None)


def test_lists_are_paged_and_filtered(tuning: Api) -> None:
    client = tuning.client()
    made = [create(client, metadata={"n": str(n), "odd": str(n % 2)}).id for n in range(5)]
    assert [job.id for job in client.fine_tuning.jobs.list(limit=2)] == made[::-1]
    odd = client.fine_tuning.jobs.list(metadata={"odd": "1"}, limit=1)
    assert [job.id for job in odd] == [made[3], made[1]]
    assert list(client.fine_tuning.jobs.list(metadata={"odd": "1", "n": "2"})) == []
    with pytest.raises(openai.BadRequestError):
        client.fine_tuning.jobs.list(limit=0)


def test_an_account_has_so_many_jobs_at_once(tuning: Api) -> None:
    client = tuning.client()
    file = upload(client)
    for _ in range(jobs.MOST_OPEN):
        client.fine_tuning.jobs.create(model="tiny", training_file=file)
    with pytest.raises(openai.RateLimitError):
        client.fine_tuning.jobs.create(model="tiny", training_file=file)


def test_another_accounts_jobs_files_and_models_are_not_there(
    tuning: Api, tuner: Tuner, trainer: FakeTrainer, database: Database, blobs: Blobs
) -> None:
    ann, bob = tuning.client("ann"), tuning.client("bob")
    job = create(ann)
    of_jobs = bob.fine_tuning.jobs
    for call in (of_jobs.retrieve, of_jobs.cancel, of_jobs.pause, of_jobs.resume, of_jobs.list_events):
        with pytest.raises(openai.NotFoundError):
            call(job.id)
    with pytest.raises(openai.NotFoundError):
        of_jobs.checkpoints.list(job.id)
    assert list(of_jobs.list()) == []
    with pytest.raises(openai.NotFoundError):
        of_jobs.list(after=job.id)
    with pytest.raises(openai.NotFoundError) as caught:
        of_jobs.create(model="tiny", training_file=job.training_file)
    assert caught.value.param == "training_file"
    with pytest.raises(openai.NotFoundError):
        bob.files.retrieve(job.training_file)
    add_model(database, blobs, "private", owner="ann", public=False)
    with pytest.raises(openai.NotFoundError) as caught:
        of_jobs.create(model="private", training_file=upload(bob))
    assert caught.value.code == "model_not_found"
    assert ann.fine_tuning.jobs.retrieve(job.id).status == "validating_files"
    for _ in range(trainer.total + 1):
        move(tuner)
        trainer.fold()
    result = ann.fine_tuning.jobs.retrieve(job.id).result_files[0]
    with pytest.raises(openai.NotFoundError):
        bob.files.content(result)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"suffix": "a b"}, None),
        ({"suffix": "../x"}, None),
        ({"suffix": "x" * 65}, "suffix"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**80}, "seed"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "integrations"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": "many"}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"unknown": 1}}, "hyperparameters.unknown"),
        ({"method": {"type": "reinforcement"}}, "method.type"),
        ({"method": {"type": "dpo", "supervised": {}}}, "method.supervised"),
        (
            {"method": {"type": "supervised", "supervised": {"hyperparameters": {"beta": 0.1}}}},
            "method.supervised.hyperparameters.beta",
        ),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"metadata": {"k": "x" * 513}}, "metadata.k"),
        ({"metadata": {"k": "a\0b"}}, "metadata.k"),
        ({"extra_body": {"commonweal": {"rank": 0}}}, "commonweal.rank"),
        ({"extra_body": {"commonweal": {"budget": -1}}}, "commonweal.budget"),
        ({"extra_body": {"nonsense": 1}}, "nonsense"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(tuning: Api, asked: dict[str, Any], param: str | None) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        create(tuning.client(), **asked)
    if param is not None:
        assert caught.value.param == param, caught.value.message


def test_files_of_another_purpose_and_fronted_models_are_refused(
    tuning: Api, database: Database, blobs: Blobs
) -> None:
    client = tuning.client()
    other = client.files.create(file=("a", b"x"), purpose="user_data").id
    with pytest.raises(openai.BadRequestError) as caught:
        client.fine_tuning.jobs.create(model="tiny", training_file=other)
    assert caught.value.code == "invalid_file_purpose"
    add_model(database, blobs, "theirs", kind="fronted")
    with pytest.raises(openai.BadRequestError) as caught:
        client.fine_tuning.jobs.create(model="theirs", training_file=upload(client))
    assert caught.value.code == "model_not_trainable"
    with pytest.raises(openai.NotFoundError, match=r"tiny") as missing:
        client.fine_tuning.jobs.create(model="tini", training_file=upload(client))
    assert missing.value.code == "model_not_found"


def test_methods_and_extensions_are_told_back(tuning: Api, tuner: Tuner) -> None:
    client = tuning.client()
    job = create(
        client,
        method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.3, "n_epochs": "auto"}}},
        extra_body={"commonweal": {"lora": False, "budget": 0.5}},
    )
    assert job.method.type == "dpo"
    assert job.method.dpo.hyperparameters.beta == 0.3
    assert job.commonweal["budget"] == 0.5
    assert job.commonweal["lora"] is False
    move(tuner)
    assert client.fine_tuning.jobs.retrieve(job.id).method.dpo.hyperparameters.n_epochs == 3  # type: ignore[union-attr]


def test_an_estimate_and_a_preview_cost_nothing(tuning: Api, trainer: FakeTrainer) -> None:
    client = tuning.client()
    body = {"model": "tiny", "training_file": upload(client)}
    found = client.post("/fine_tuning/estimate", cast_to=httpx.Response, body=body).json()
    assert (found["trained_tokens"], found["steps"], found["credits"]) == (90, 4, 0.0004)
    shown = client.post("/fine_tuning/preview", cast_to=httpx.Response, body=body).json()
    assert shown["examples"] == 1
    assert list(client.fine_tuning.jobs.list()) == []
    assert trainer.calls == ["check"]
    with pytest.raises(openai.BadRequestError) as caught:
        client.post(
            "/fine_tuning/estimate",
            cast_to=httpx.Response,
            body={"model": "tiny", "training_file": upload(client, b"bad\n")},
        )
    assert caught.value.code == "not_json"


def test_a_hub_that_trains_nothing_says_so(api: Api, database: Database, blobs: Blobs) -> None:
    add_model(database, blobs)
    with pytest.raises(openai.InternalServerError) as caught:
        create(api.client())
    assert caught.value.status_code == 503


def test_trouble_is_tried_again_and_not_for_ever(
    tuning: Api, trainer: FakeTrainer, database: Database
) -> None:
    client = tuning.client()
    clock = ManualClock(1e9)
    tuner = Tuner(database, tuning.serve.blobs, trainer, clock)
    job = create(client)
    trainer.trouble = [Unavailable("the store is away")] * 3
    for _ in range(6):
        move(tuner)
        clock.sleep(60)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "queued"
    for kind, most in ((Unavailable, MOST_TROUBLE), (ZeroDivisionError, MOST_SURPRISES)):
        job = create(client)
        for _ in range(most + 1):
            trainer.trouble = [kind("boom")]
            tuner.drive(job.id)
            clock.sleep(60)
        told = client.fine_tuning.jobs.retrieve(job.id)
        assert told.status == "failed"
        assert told.error is not None
        assert told.error.code == ("unavailable" if kind is Unavailable else "internal_error")
        assert ("boom" in told.error.message) == (kind is Unavailable)


def test_a_file_that_is_deleted_meanwhile_changes_nothing(
    tuning: Api, tuner: Tuner, database: Database
) -> None:
    client = tuning.client()
    job = create(client)
    client.files.delete(job.training_file)
    with database.transaction() as connection:
        assert jobs.named_blobs(connection)
    move(tuner)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "queued"
