"""What a hub has written down of a few models: one trained by the pool, fine-tuned, improved twice; one of nobody knows
whence. The rows are made by the code that makes them on a hub, but for those of a pool's job and of a data set."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import sqlalchemy as sa

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.core.ids import MemberId
from commonweal.data.sources import Source
from commonweal.models.settings import ModelSettings
from commonweal.pool.schema import jobs as pool_jobs
from commonweal.pool.schema import rounds
from commonweal.serve import catalogue, publishing
from commonweal.serve.catalogue import ServedModel
from commonweal.serve.community import improvements
from commonweal.serve.community.improvements import Options
from commonweal.serve.community.schema import datasets
from commonweal.serve.tuning import jobs as tuning
from commonweal.serve.tuning.recipe import Recipe, model_name
from commonweal.train.config import InnerSettings, TrainSettings
from commonweal.train.record import MemberRecord, RoundRecord
from commonweal.train.spec import KIND, JobSpec
from commonweal.train.state import Checkpoint, Losses, Totals, TrainState

JOB, DATASET, OPERATOR = "job_0123456789abcdef", "ds_0123456789abcdef", "operator"
BASE, ADAPTER, FRONTED, PRIVATE = "stdlib-1m", "stdlib-1m-poems", "big-server", "secret"
SETTINGS = TrainSettings(
    name="stdlib-1m",
    data=Source(kind="stdlib", licence="PSF-2.0"),
    model=ModelSettings(config={"hidden_size": 128}),
    train=InnerSettings(steps=120),
)
CARD = """---
license: apache-2.0
language:
- en
- ar
datasets: [stdlib]
---
# A small model of Python

It goes on with code. <script>window.hacked = 1</script> مرحبا \u202eturned
"""
WHEN = 1_790_000_000.0
STATES = tuple(BlobHash(content_hash(f"state {number}".encode())) for number in range(3))


def fill(database: Database, blobs: Blobs) -> str:
    """Write it all down. Gives the name of the version that was promoted."""
    with database.transaction() as connection:
        _training(connection)
        _dataset(connection)
        base = _published(blobs, BASE, lineage={"job": JOB, "state": STATES[2], "step": 120})
        catalogue.publish(connection, base)
        catalogue.publish(connection, _published(blobs, PRIVATE, public=False, seed=1))
        adapter = _published(blobs, ADAPTER, seed=2, base=base, card="")
        catalogue.publish(connection, adapter)
        fronted = publishing.fronted(
            FRONTED,
            owner="user:ada",
            public=True,
            parameters=7 * 10**9,
            window=8192,
            quantization="q4_k_m",
            now=WHEN,
        )
        catalogue.publish(connection, fronted)
        _improved(connection, blobs, base, better=False)
        return _improved(connection, blobs, base, better=True)


def _published(
    blobs: Blobs,
    name: str,
    *,
    public: bool = True,
    seed: int = 0,
    base: ServedModel | None = None,
    card: str = CARD,
    lineage: dict[str, object] | None = None,
) -> ServedModel:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    weights = struct.pack("<Q", len(header)) + header + bytes([seed] * 8)
    files = {"README.md": blobs.put(card.encode())} if card else {}
    if base is None:
        files |= {"config.json": blobs.put(b'{"max_position_embeddings": 256}')}
        files |= {"model.safetensors": blobs.put(weights)}
    else:
        files |= {"adapter_config.json": blobs.put(b"{}"), "adapter_model.safetensors": blobs.put(weights)}
    return publishing.examined(
        blobs,
        name=name,
        owner=OPERATOR,
        files=files,
        base=None if base is None else base.name,
        find_base=lambda _: _there(base),
        now=WHEN,
        public=public,
        lineage=lineage,
    )


def _there(base: ServedModel | None) -> ServedModel:
    assert base is not None
    return base


def _training(connection: sa.Connection) -> None:
    points = tuple(
        Checkpoint(round=n + 1, step=40 * (n + 1), theta=theta, tokens=4096 * (n + 1))
        for n, theta in enumerate(STATES)
    )
    state = TrainState(
        round=3,
        step=120,
        theta=STATES[2],
        checkpoints=points,
        totals=Totals(tokens=12_288, up_bytes=2_000_000, down_bytes=1_000_000, seconds=1800.0),
        losses=Losses(first=5.5, last=2.5, bits_before=6.0, bits_now=2.25),
    )
    spec = JobSpec(
        settings=SETTINGS.to_json(),
        parameters=8,
        theta=STATES[0],
        fragments=(),
        worker=STATES[0],
        memory_bytes=1,
        model={},
        held_out={"secret": "what it is scored on"},
        provenance={
            "kind": "stdlib",
            "location": "",
            "licence": "PSF-2.0",
            "content": content_hash(b"text"),
            "train": {"documents": 700, "text_bytes": 8_000_000, "tokens": 2_500_000},
            "hash": content_hash(b"record"),
        },
    )
    connection.execute(
        sa.insert(pool_jobs).values(
            id=JOB,
            kind=KIND,
            name="stdlib-1m",
            owner=OPERATOR,
            status="done",
            spec=spec.to_json(),
            state=state.to_json(),
            keeps=[],
            spec_blobs=[],
            rounds=3,
            spent=4_500_000,
            created=WHEN - 7200,
            updated=WHEN - 3600,
            request_id="operator:first",
        )
    )
    for number in range(3):
        connection.execute(
            sa.insert(rounds).values(
                job=JOB, number=number, at=WHEN - 7000 + number, record=_round(number).to_json()
            )
        )


def _round(number: int) -> RoundRecord:
    names = ("mem_ada", "mem_ben", "mem_cleo")
    verdicts = ("ok", "ok", "ok" if number else "late")
    members = tuple(
        MemberRecord(member=MemberId(name), asked=40, steps=40, tokens=1365, loss=4.0 - number, verdict=told)
        for name, told in zip(names, verdicts, strict=True)
    )
    return RoundRecord(
        round=number,
        attempt=0,
        outcome="folded",
        step=40 * (number + 1),
        inner_steps=40,
        tokens=4096 * (number + 1),
        members=members,
        loss=4.0 - number,
        bits_per_byte=5.0 - number,
        up_bytes=700_000,
        down_bytes=300_000,
        seconds=600.0,
        paid=1_500_000,
        state=STATES[number],
    )


def _dataset(connection: sa.Connection) -> None:
    manifest = {
        "files": {"dpo.train.jsonl": {"sha256": content_hash(b"pairs"), "bytes": 5, "examples": 60}},
        "feedback": [f"fb_{number}" for number in range(80)],
        "accounts": 7,
        "licences": {"CC-BY-4.0": 50, "CC0-1.0": 30},
        "options": {"consent": "improve"},
    }
    connection.execute(
        sa.insert(datasets).values(
            id=DATASET, built_by=OPERATOR, created=WHEN + 10, manifest=manifest, files={}
        )
    )


def _improved(connection: sa.Connection, blobs: Blobs, base: ServedModel, *, better: bool) -> str:
    """An improvement with its fine-tuning job, promoted if it is better. Gives its candidate's name."""
    now = WHEN + (2000 if better else 1000)
    begun = improvements.begin(
        connection, account=OPERATOR, model=base.name, current=base.name, options=Options(), now=now
    )
    recipe = Recipe(
        model=base.name,
        training_file="file_0",
        training=BlobHash(content_hash(b"pairs")),
        method="dpo",
        suffix="improved",
    )
    job = tuning.enter(connection, recipe, OPERATOR, {"improvement": begun.id, "dataset": DATASET}, now=now)
    name = model_name(base.name, "improved", job.id)
    lineage = {
        "job": job.id,
        "parent": base.name,
        "parent_identity": base.identity,
        "method": "dpo",
        "step": 8,
    }
    made = _published(blobs, name, public=False, seed=3 + better, base=base, card="", lineage=lineage)
    catalogue.publish(connection, made)
    tuning.changed(
        connection, job, stage="over", status="succeeded", finished=now + 60, model=name, round=3, spent=1000
    )
    reason = "promoted: pairs: right 0.1 -> 0.9" if better else "refused: worse beyond noise on boolq"
    improvements.moved(
        connection,
        replace(begun, stages=begun.stages),
        "promoted" if better else "refused",
        now + 90,
        dataset=DATASET,
        feedback=80,
        job=job.id,
        candidate=name,
        decision={"verdict": "promote" if better else "refuse", "reason": reason, "measures": []},
    )
    if better:
        catalogue.open_to_all(connection, name, OPERATOR)
        catalogue.promote(connection, base.name, name, OPERATOR, {"improvement": begun.id}, now + 90)
    return name
