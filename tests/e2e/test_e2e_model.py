"""The way of a model: trained by the command, saved, loaded by transformers, adapted by a second job."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from e2e_pool import HubProcess, as_toml, assert_books_are_exact, commonweal, job_table, records, verdicts
from e2e_wire_member import WireMember, Working
from transformers import AutoModelForCausalLM, AutoTokenizer

from commonweal.core.hashing import BlobHash
from commonweal.data.shards import ShardSet, parse_shard
from commonweal.data.windows import held_out_batches
from commonweal.models.loss import evaluate_loss
from commonweal.models.parameters import layout_of, read
from commonweal.pool.client import PoolClient
from commonweal.train.chain import state_hash
from commonweal.train.state import TrainState


@pytest.fixture(scope="module")
def workers(hub: HubProcess) -> Iterator[None]:
    members = [WireMember(hub, name) for name in ("eve", "frank")]
    with Working(members):
        yield
    for member in members:
        member.close()


@pytest.fixture(scope="module")
def trained(
    hub: HubProcess, workers: None, texts: Path, work: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A job run to its end by ``commonweal train``, and the folder of its model."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "job.toml").write_text(as_toml(job_table(texts)))
    told = _train(hub, folder / "job.toml", work, folder / "model")
    return str(told[0]["job"]), folder / "model"


def _train(hub: HubProcess, job: Path, work: Path, out: Path) -> list[dict[str, Any]]:
    done = commonweal("train", str(job), "--work", str(work), "--out", str(out), "--json", hub=hub)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told[-1]["status"] == "done"
    return told


def test_the_saved_model_is_the_jobs(client: PoolClient, trained: tuple[str, Path]) -> None:
    job, folder = trained
    view = client.job(job)
    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    assert tokenizer.decode(tokenizer.encode("a cat sees", add_special_tokens=False)) == "a cat sees"
    assert state_hash(read(model, layout_of(model))) == view.state["theta"], "to the last bit"
    shards = ShardSet.from_json(view.spec["held_out"])
    sample = held_out_batches(
        shards,
        lambda name: parse_shard(client.get(name), vocab_size=shards.vocab_size),
        seq_len=32,
        batch_size=4,
        limit=64,
    )
    loss = evaluate_loss(model.eval(), list(sample)).nats_per_token
    assert math.isclose(loss, records(client, job)[-1]["held_out_loss"], rel_tol=1e-4)
    assert view.state["losses"]["bits_now"] < 0.7 * view.state["losses"]["bits_before"]


def test_all_members_had_the_same_bits_in_every_round(client: PoolClient, trained: tuple[str, Path]) -> None:
    """Every contribution is refused whose sender did not name the hash of the round's weights."""
    job, _ = trained
    found = records(client, job)
    assert all(set(verdicts(record).values()) == {"ok"} for record in found)
    assert any(len(record["members"]) == 2 for record in found)
    links = TrainState.from_json(client.job(job).state).chain
    states = {record["round"]: record["state"] for record in found}
    states[-1] = client.job(job).spec["theta"]
    assert len({*states.values()}) == len(found) + 1
    for link in links:
        assert link.after == states[link.round]
        assert link.before == states[link.round - 1]


def test_adapters_for_a_saved_model_are_a_job_too(
    hub: HubProcess, client: PoolClient, trained: tuple[str, Path], texts: Path, work: Path, tmp_path: Path
) -> None:
    before, base = trained
    table = job_table(
        texts,
        model={"checkpoint": str(base), "lora": {"rank": 4}},
        train={"steps": 32, "seed": 9, "lr": 0.003},
    )
    del table["tokenizer"]
    (tmp_path / "lora.toml").write_text(as_toml(table))
    told = _train(hub, tmp_path / "lora.toml", work, tmp_path / "adapters")
    view = client.job(str(told[0]["job"]))
    assert view.spec["parameters"] < 0.5 * client.job(before).spec["parameters"]
    start = client.job(before).state["losses"]["bits_now"]
    assert math.isclose(view.state["losses"]["bits_before"], start, rel_tol=1e-3), (
        "it begins where that one ended"
    )
    assert view.state["losses"]["bits_now"] < start
    assert (tmp_path / "adapters" / "adapter_model.safetensors").is_file()
    assert view.state["theta"] != BlobHash(client.job(before).state["theta"])
    merged = commonweal(
        "jobs", "export", view.id, "--out", str(tmp_path / "merged"), "--merge", "--json", hub=hub
    )
    assert merged.returncode == 0, merged.stderr
    assert json.loads(merged.stdout)["theta"] == view.state["theta"]
    model = AutoModelForCausalLM.from_pretrained(str(tmp_path / "merged"), dtype=torch.float32)
    assert not any("lora" in name for name, _ in model.named_parameters())
    assert_books_are_exact(hub, client, [before, view.id])
