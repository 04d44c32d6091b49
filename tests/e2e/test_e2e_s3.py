"""Two hubs on one database and one S3-compatible store, and members at either: one pool that trains a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from e2e_pool import HubProcess, MemberProcess, ended, job_table, records, submit, verdicts
from moto.server import ThreadedMotoServer

BUCKET = "pool"


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    httpx.put(f"http://{host}:{port}/{BUCKET}").raise_for_status()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def two_hubs(database_url: str, endpoint: str, tmp_path: Path) -> Iterator[tuple[HubProcess, HubProcess]]:
    flags = ("--database", database_url, "--store", f"s3://{BUCKET}/prefix")
    store = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    first, second = (HubProcess(tmp_path / name, flags=flags, surroundings=store) for name in ("one", "two"))
    try:
        first.start()
        second.keys = first.keys
        second.start()
        yield first, second
    finally:
        for hub in (first, second):
            if hub.process is not None:
                hub.kill()


@pytest.mark.slow
def test_members_at_two_hubs_on_one_store_train_a_model_together(
    two_hubs: tuple[HubProcess, HubProcess], endpoint: str, tmp_path: Path, texts: Path, work: Path
) -> None:
    members = [MemberProcess(hub, name, tmp_path) for hub, name in zip(two_hubs, ("ada", "ben"), strict=True)]
    first, second = (hub.client() for hub in two_hubs)
    try:
        for member in members:
            member.start()
        ids = {member.id for member in members}
        table = job_table(texts, train={"steps": 64}, checks={"score": False}, rounds={"codec_up": "int8"})
        job = submit(first, table, work).id
        assert ended(second, job).status == "done"
        folded = [record for record in records(second, job) if record["outcome"] == "folded"]
        assert [record["round"] for record in folded] == list(range(len(folded)))
        assert all(set(verdicts(record).values()) == {"ok"} for record in folded)
        assert {member for record in folded for member in verdicts(record)} == ids
        assert folded[-1]["loss"] < 0.8 * folded[0]["loss"]
        assert len({record["state"] for record in folded}) == len(folded)
        rows = {row.id: row for row in first.members()}
        assert all(rows[member].earned > 0 for member in ids)
        for member in ids:  # measured though no byte of them passed a hub
            assert rows[member].upload is not None
            assert rows[member].download is not None
    finally:
        first.close()
        second.close()
        for member in members:
            member.stop()
    for name in ("one", "two"):
        assert not list((tmp_path / name / "hub").glob("**/blobs/*")), "nothing went through the hubs' disks"
