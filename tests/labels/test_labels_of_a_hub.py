"""A model that the pool trained: what its hub, its folder and the command say of it; each fact can be proved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from label_world import Trained, assert_clear, run, trained_hub

from commonweal.core.blobs import open_blobs
from commonweal.core.database import Database, connect
from commonweal.labels.card import metadata
from commonweal.labels.folder import read_training
from commonweal.labels.json_form import from_json, read_label, schema
from commonweal.labels.records import records_of
from commonweal.labels.trainings import Trainings

pytestmark = pytest.mark.slow


def state_of(hub: Trained) -> dict[str, Any]:
    """The job as the hub's own route tells of it."""
    return dict(get(hub, f"/pool/v1/jobs/{hub.job}").json())


@pytest.fixture(scope="module")
def database_of_module(postgres_url: str, migrated: str) -> Iterator[Database]:
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database labels_of_a_hub template {migrated}")
    database = connect(
        postgres_url.replace("/postgres?", "/labels_of_a_hub?").replace("@/postgres", "@/labels_of_a_hub")
    )
    yield database
    database.close()


@pytest.fixture(scope="module")
def hub(database_of_module: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp("hub")
    with trained_hub(database_of_module, open_blobs(str(folder / "store")), folder) as made:
        yield made


@pytest.fixture(scope="module")
def folder(hub: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``jobs export`` makes."""
    out = tmp_path_factory.mktemp("exported") / "model"
    done = run("jobs", "export", hub.job, "--out", str(out), "--hub", hub.url, "--key", hub.key)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def published(hub: Trained, folder: Path) -> str:
    (folder / "label.toml").write_text(
        'by = "the operator"\n[model]\nlicence = "CC0-1.0"\n[use]\nintended = "to test labels"\n'
        '[data]\nsize = "a statement cannot replace a record"\n'
    )
    done = run("models", "publish", str(folder), "org/tales", "--hub", hub.url, "--key", hub.key)
    assert done.returncode == 0, done.stderr
    return "org/tales"


def label(hub: Trained, *words: str) -> Any:
    return run("label", *words, "--hub", hub.url, "--key", hub.key)


def get(hub: Trained, path: str) -> httpx.Response:
    return httpx.get(hub.url + path, headers={"Authorization": f"Bearer {hub.key}"})


def test_the_facts_are_those_of_the_records(hub: Trained, published: str) -> None:
    reply = get(hub, f"/v1/models/{published}/label")
    assert reply.status_code == 200, reply.text
    told = reply.json()
    jsonschema.validate(told, schema())
    facts = {fact["key"]: fact for fact in told["facts"]}
    job, rounds = state_of(hub), get(hub, f"/pool/v1/jobs/{hub.job}/rounds").json()
    worked = sum(member["seconds"] for one in rounds for member in one["record"]["members"])
    assert facts["compute.tokens"]["value"] == job["state"]["totals"]["tokens"] > 1000
    assert facts["compute.members"]["value"] == 2
    assert facts["compute.hours"]["value"] == pytest.approx(worked / 3600, abs=1e-6)
    assert worked > 60
    assert facts["compute.energy"]["value"]["kwh"] == pytest.approx(facts["compute.hours"]["value"] / 10)
    assert "estimated" in facts["compute.energy"]["method"]
    assert facts["compute.hardware"]["text"] == "2 x x86_64 Linux, 2 cores"
    assert facts["compute.paid"]["value"] == job["spent"] == job["state"]["totals"]["tokens"]
    assert facts["data.licences"]["text"] == "CC0-1.0"
    there = "/".join(hub.texts.parts[-2:])
    assert facts["data.sources"]["value"] == [{"kind": "files", "location": there}], "not the way to it"
    assert facts["data.size"]["value"]["documents"] == 60 - facts["data.held_out"]["value"]["documents"]
    assert facts["model.licence"]["text"] == "CC0-1.0"
    assert facts["model.licence"]["records"][0]["kind"] == "word"
    assert facts["use.intended"]["text"] == "to test labels"
    assert "statement" not in facts["data.size"]["text"], "a record comes first"
    assert facts["alignment.feedback"]["status"] == "not_applicable"
    assert facts["data.creators"]["status"] == "not_disclosed"
    assert told["counts"]["not_disclosed"] == sum(f["status"] == "not_disclosed" for f in told["facts"]) > 10
    assert told["score"]["disclosed"] < told["score"]["asked"]


def test_no_label_says_what_members_are_scored_on(hub: Trained, published: str, folder: Path) -> None:
    with hub.database.transaction() as connection:
        training = records_of(connection, published, "operator", Trainings().of).training
    assert training is not None
    secret = training.spec.provenance["held_out"]["shards"]
    assert secret
    text = get(hub, f"/v1/models/{published}/label").text + (folder / "label.json").read_text()
    assert not any(shard in text for shard in secret)


def test_every_fact_that_has_a_record_holds(hub: Trained, published: str) -> None:
    done = label(hub, published, "--check", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = {one["key"]: one for one in json.loads(done.stdout)["facts"]}
    assert not [one for one in verdicts.values() if one["outcome"] == "wrong"]
    unknown = {key for key, one in verdicts.items() if one["outcome"] == "unknown"}
    assert unknown == {"model.licence", "use.intended"}, "only words cannot be checked"
    assert verdicts["compute.paid"]["outcome"] == "holds"
    assert verdicts["model.weights"]["outcome"] == "holds"
    told = label(hub, published, "--check")
    assert max(map(len, told.stdout.splitlines())) <= 80
    assert "WRONG" not in told.stdout


def test_a_folder_holds_its_label(hub: Trained, folder: Path) -> None:
    names = {file.name for file in folder.iterdir()}
    assert {"label.json", "training.json", "README.md", "model.safetensors"} <= names
    stored = read_label(folder / "label.json")
    assert stored.fact("compute.tokens").value == state_of(hub)["state"]["totals"]["tokens"]
    assert metadata(stored)["license"] == "unknown"
    alone = run("label", str(folder), "--check", "--json")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    verdicts = {one["key"]: one["outcome"] for one in json.loads(alone.stdout)["facts"]}
    assert verdicts["model.weights"] == verdicts["compute.tokens"] == verdicts["data.sources"] == "holds"
    assert "wrong" not in verdicts.values()
    assert label(hub, str(folder), "--check").returncode == 0


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_other_weights_are_found_out(folder: Path, tmp_path: Path) -> None:
    mine = copied(folder, tmp_path / "mine")
    data = bytearray((mine / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (mine / "model.safetensors").write_bytes(data)
    done = run("label", str(mine), "--check")
    assert done.returncode == 1
    assert "does not hold" in done.stderr
    assert "weights are not the state that the rounds led to" in " ".join(done.stdout.split())


def test_a_label_that_was_painted_over_is_found_out(folder: Path, tmp_path: Path) -> None:
    mine = copied(folder, tmp_path / "mine")
    told = json.loads((mine / "label.json").read_text())
    for fact in told["facts"]:
        if fact["key"] == "compute.energy":
            fact["text"], fact["value"] = "almost nothing", {"kwh": 0.0}
    (mine / "label.json").write_text(json.dumps(told))
    done = run("label", str(mine), "--check", "--json")
    assert done.returncode == 1
    wrong = [one["key"] for one in json.loads(done.stdout)["facts"] if one["outcome"] == "wrong"]
    assert wrong == ["compute.energy"]


def test_records_that_were_changed_are_found_out(folder: Path, tmp_path: Path) -> None:
    mine = copied(folder, tmp_path / "mine")
    records = json.loads((mine / "training.json").read_text())
    records["rounds"][0]["record"]["members"][0]["tokens"] += 1
    (mine / "training.json").write_text(json.dumps(records))
    assert_clear(run("label", str(mine)), 2, "was changed since it was saved")
    assert read_training(folder / "training.json").training.job.startswith("job_")


def test_records_that_do_not_add_up_are_found_out(hub: Trained, folder: Path, tmp_path: Path) -> None:
    """Who makes the hash of a changed file anew still has rounds that do not add up; and the hub knows others."""
    from commonweal.core.hashing import record_hash

    mine = copied(folder, tmp_path / "mine")
    records = json.loads((mine / "training.json").read_text())
    records["rounds"][0]["record"]["members"][0]["tokens"] += 1
    del records["hash"]
    (mine / "training.json").write_text(json.dumps({**records, "hash": record_hash(records)}))
    (mine / "label.json").unlink()
    done = run("label", str(mine), "--check")
    assert done.returncode == 1
    assert "handed in" in done.stdout
    assert "the rounds of" in " ".join(label(hub, str(mine), "--check").stdout.split())


def test_a_claim_of_a_state_that_the_job_never_had_is_no_record(
    hub: Trained, folder: Path, tmp_path: Path
) -> None:
    mine = copied(folder, tmp_path / "mine")
    for name in ("training.json", "label.json", "label.toml"):
        (mine / name).unlink(missing_ok=True)
    note = json.loads((mine / "commonweal.json").read_text())
    (mine / "commonweal.json").write_text(json.dumps({**note, "state": "0" * 64}))
    assert run("models", "publish", str(mine), "liar", "--hub", hub.url, "--key", hub.key).returncode == 0
    facts = {fact["key"]: fact for fact in get(hub, "/v1/models/liar/label").json()["facts"]}
    assert facts["compute.tokens"]["status"] == facts["data.sources"]["status"] == "not_disclosed"


def test_a_claim_about_other_weights_is_found_out_by_the_check(
    hub: Trained, folder: Path, tmp_path: Path
) -> None:
    mine = copied(folder, tmp_path / "mine")
    data = bytearray((mine / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (mine / "model.safetensors").write_bytes(data)
    assert run("models", "publish", str(mine), "other", "--hub", hub.url, "--key", hub.key).returncode == 0
    assert get(hub, "/v1/models/other/label").json()["facts"], "its publisher's word is shown"
    done = label(hub, "other", "--check", "--json")
    assert done.returncode == 1
    wrong = {one["key"] for one in json.loads(done.stdout)["facts"] if one["outcome"] == "wrong"}
    assert "compute.tokens" in wrong
    assert "model.size" not in wrong, "that is of its files"


def test_models_that_are_not_there_have_no_label(hub: Trained) -> None:
    reply = get(hub, "/v1/models/nobody/label")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
    assert httpx.get(hub.url + "/v1/models/nobody/label").status_code == 401
    assert_clear(label(hub, "nobody"), 3, "nobody")


def test_the_forms(hub: Trained, published: str, tmp_path: Path) -> None:
    text = label(hub, published).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "not disclosed" in text
    shown = json.loads(label(hub, published, "--format", "json").stdout)
    assert from_json(shown, where="x").model == published
    assert json.loads(label(hub, published, "--json").stdout) == shown
    for form in ("card", "html", "json"):
        out = tmp_path / "forms" / form
        done = label(hub, published, "--format", form, "--out", str(out))
        assert (done.returncode, done.stdout.startswith("wrote ")) == (0, True), done.stderr
        assert published in out.read_text()
    (tmp_path / "file").write_text("")
    assert_clear(
        label(hub, published, "--out", str(tmp_path / "file" / "x")), 2, "--out", "cannot be written"
    )


def test_openapi_describes_the_route(hub: Trained) -> None:
    told = httpx.get(hub.url + "/openapi.json").json()
    route = told["paths"]["/v1/models/{model}/label"]["get"]
    body = route["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
    assert set(told["components"]["schemas"][body]["properties"]) == set(schema()["properties"])
