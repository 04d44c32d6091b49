"""Jobs, keys and garbage: who may do what, and what is kept."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pool_hub import TestMember

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.hashing import BlobHash
from commonweal.pool import garbage
from commonweal.pool.access import identify, issue_key
from commonweal.pool.schema import jobs, keys, units


def balance(hub: Any, account: str = "operator") -> dict[str, Any]:
    return next(b for b in hub.admin.get("/credits").json() if b["account"] == account)


def new_user(hub: Any, label: str, credits: int) -> Any:
    made = hub.admin.post("/keys", json={"role": "user", "label": label}).json()
    if credits:
        grant = {"account": made["account"], "microcredits": credits, "request_id": f"grant-{label}"}
        assert hub.admin.post("/credits/grant", json=grant).status_code == 201
    return hub.client(made["key"])


def submit(client: Any, number: int = 0, budget: int = 0, **spec: Any) -> Any:
    body = {"kind": "count", "name": "n", "spec": spec, "budget": budget, "request_id": f"request-{number}"}
    return client.post("/jobs", json=body)


def test_the_same_request_is_the_same_job_and_one_budget(hub: Any) -> None:
    first, again = submit(hub.admin, budget=100, units=0), submit(hub.admin, budget=100, units=0)
    assert first.json()["id"] == again.json()["id"]
    assert balance(hub)["held"] == 100
    other = submit(new_user(hub, "someone", 50), units=0)
    assert other.json()["id"] != first.json()["id"], "a request is its caller's own"


def test_a_budget_that_is_not_there_is_402_and_nothing_is_kept(hub: Any) -> None:
    user = new_user(hub, "poor", 10)
    assert submit(user, budget=11, units=0).status_code == 402
    assert user.get("/jobs").json() == []
    assert submit(user, budget=10, units=0).status_code == 201
    assert balance(hub, "user:poor") | {"available": 0, "held": 10} == balance(hub, "user:poor")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"kind": "dream"}, "runs no 'dream' jobs"),
        ({"blobs": ["0" * 64]}, "was not uploaded"),
        ({"name": "a\nb"}, "name"),
        ({"budget": -1}, "budget"),
    ],
)
def test_a_job_that_cannot_be_is_explained(hub: Any, body: dict[str, Any], said: str) -> None:
    complete = {"kind": "count", "name": "n", "spec": {}, "request_id": "request-1"} | body
    reply = hub.admin.post("/jobs", json=complete)
    assert reply.status_code == 422
    assert said in reply.json()["error"]["message"]


def test_a_paused_job_lends_nothing_and_keeps_what_is_handed_in(hub: Any) -> None:
    member = hub.member()
    job = hub.submit_job(units=2, rounds=1, ungrouped=True, target=30)
    lease = member.lease()
    assert hub.admin.post(f"/jobs/{job}/pause").json()["status"] == "paused"
    assert hub.admin.post(f"/jobs/{job}/pause").status_code == 200, "pausing twice is pausing once"
    assert member.lease(wait=0) is None
    assert member.submit(lease, count=3).status_code == 200
    assert hub.admin.post(f"/jobs/{job}/resume", json={"budget": 0}).json()["status"] == "running"
    assert member.submit(member.lease(), count=4).status_code == 200
    assert hub.wait_for(job)["state"]["total"] == 7
    for action in ("pause", "resume"):
        assert hub.admin.post(f"/jobs/{job}/{action}", json={"budget": 1}).status_code == 409


def test_a_waiting_member_is_woken_by_a_resumed_job(hub: Any) -> None:
    member = hub.member()
    job = hub.submit_job(units=1, rounds=1, target=30, deadline=300)
    lease = member.lease()
    member.client.post(f"/units/{lease['unit']}/release", json={"fence": lease["fence"]})
    assert hub.admin.post(f"/jobs/{job}/pause").status_code == 200
    other = hub.member("other")
    started, got = time.monotonic(), []

    thread = threading.Thread(target=lambda: got.append(other.lease(wait=20)))
    thread.start()
    while not any(m["free_memory"] for m in hub.admin.get("/members").json() if m["id"] == other.id):
        time.sleep(0.02)
    assert hub.admin.post(f"/jobs/{job}/resume", json={"budget": 0}).status_code == 200
    thread.join(20)
    assert got[0] is not None
    assert time.monotonic() - started < 15


def test_a_cancelled_job_gives_back_its_budget_and_takes_back_its_leases(hub: Any) -> None:
    member = hub.member()
    job = hub.submit_job(units=1, rounds=1, budget=500)
    lease = member.lease()
    assert balance(hub)["held"] == 500
    for _ in range(2):
        assert hub.admin.post(f"/jobs/{job}/cancel").json()["status"] == "cancelled"
    assert balance(hub)["held"] == 0
    assert member.heartbeat(lease)["leases"][0]["valid"] is False
    assert member.submit(lease).status_code == 409
    assert member.lease(wait=0) is None


def test_only_the_owner_and_the_operator_may_stop_a_job(hub: Any) -> None:
    owner, other = new_user(hub, "owner", 0), new_user(hub, "other", 0)
    job = submit(owner, units=0).json()["id"]
    assert other.post(f"/jobs/{job}/cancel").status_code == 404
    assert other.get(f"/jobs/{job}").status_code == 200, "to look is free"
    assert owner.post(f"/jobs/{job}/pause").status_code == 200
    assert hub.admin.post(f"/jobs/{job}/cancel").status_code == 200


def test_keys_are_kept_as_hashes_and_can_be_revoked(hub: Any, database: Database) -> None:
    made = hub.admin.post("/keys", json={"role": "user", "label": "leaver"}).json()
    with database.transaction() as connection:
        stored = str(connection.execute(sa.select(keys)).all())
        found = connection.execute(sa.select(keys.c.hash).where(keys.c.owner == made["account"])).scalar()
    assert made["key"] not in stored
    assert hub.keys.admin not in stored
    assert found == hashlib.sha256(made["key"].encode()).hexdigest()
    client = hub.client(made["key"])
    assert client.get("/jobs").status_code == 200
    assert hub.admin.post("/keys/revoke", json={"account": made["account"]}).json() == {"revoked": 1}
    assert client.get("/jobs").status_code == 401
    assert hub.admin.post("/keys/revoke", json={"account": made["account"]}).status_code == 404


def test_the_same_request_makes_one_key_and_answers_with_a_secret_that_works(hub: Any) -> None:
    body = {"role": "user", "label": "ada", "request_id": "request-key"}
    first, again = (hub.admin.post("/keys", json=body) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert hub.client(again.json()["key"]).get("/jobs").status_code == 200
    assert hub.client(first.json()["key"]).get("/jobs").status_code == 401, "its answer was lost"
    other = hub.admin.post("/keys", json=body | {"label": "ben"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
    assert hub.admin.post("/keys/revoke", json={"account": "user:ada"}).json() == {"revoked": 1}
    assert hub.admin.post("/keys", json=body).status_code == 409, "a retry revives nothing"


def test_requests_without_an_id_are_each_their_own(hub: Any) -> None:
    body = {"role": "user", "label": "ada"}
    made = [hub.admin.post("/keys", json=body).json()["key"] for _ in range(2)]
    assert [hub.client(key).get("/jobs").status_code for key in made] == [200, 200]
    assert hub.admin.post("/keys/revoke", json={"account": "user:ada"}).json() == {"revoked": 2}


def test_a_request_to_revoke_that_is_repeated_spares_what_was_made_since(hub: Any) -> None:
    key, revoke = {"role": "user", "label": "ada"}, {"account": "user:ada", "request_id": "request-revoke"}
    hub.admin.post("/keys", json=key)
    assert hub.admin.post("/keys/revoke", json=revoke).json() == {"revoked": 1}
    newer = hub.client(hub.admin.post("/keys", json=key).json()["key"])
    assert hub.admin.post("/keys/revoke", json=revoke).json() == {"revoked": 1}
    assert newer.get("/jobs").status_code == 200
    revoke["request_id"] = "request-another"
    assert hub.admin.post("/keys/revoke", json=revoke).json() == {"revoked": 1}
    assert newer.get("/jobs").status_code == 401


def test_a_budget_is_added_once_a_request(hub: Any) -> None:
    job = hub.submit_job(units=0, budget=100)
    more = {"budget": 50, "request_id": "request-resume"}
    budgets = [hub.admin.post(f"/jobs/{job}/resume", json=more).json()["budget"] for _ in range(3)]
    assert budgets == [150, 150, 150]
    assert balance(hub)["held"] == 150
    hub.admin.post(f"/jobs/{job}/pause")
    assert hub.admin.post(f"/jobs/{job}/resume", json=more).json()["status"] == "paused", "that one is over"
    more["request_id"] = "request-other"
    assert hub.admin.post(f"/jobs/{job}/resume", json=more).json()["budget"] == 200
    hub.admin.post(f"/jobs/{job}/cancel")
    assert hub.admin.post(f"/jobs/{job}/resume", json=more).json()["status"] == "cancelled"


def test_a_request_is_its_callers_own(hub: Any) -> None:
    owner = new_user(hub, "owner", 1000)
    job = submit(owner, budget=100, units=0).json()["id"]
    more = {"budget": 50, "request_id": "request-resume"}
    assert owner.post(f"/jobs/{job}/resume", json=more).json()["budget"] == 150
    assert hub.admin.post(f"/jobs/{job}/resume", json=more).json()["budget"] == 200


def test_one_request_sent_many_times_at_once_adds_once(hub: Any) -> None:
    job = hub.submit_job(units=0, budget=100)
    more, budgets = {"budget": 50, "request_id": "request-resume"}, list[int]()

    def ask() -> None:
        budgets.append(hub.admin.post(f"/jobs/{job}/resume", json=more).json()["budget"])

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budgets == [150] * 6


def test_a_key_speaks_for_its_account(database: Database) -> None:
    with database.transaction() as connection:
        secret = issue_key(connection, role="member", owner="member:mem_x", label="", now=0.0)
        caller = identify(connection, secret)
    assert (caller.role, caller.owner, caller.member) == ("member", "member:mem_x", "mem_x")


def age(tmp_path: Path, name: BlobHash) -> None:
    os.utime(tmp_path / "store" / "blobs" / name[:2] / name, (1000, 1000))


def test_garbage_is_what_nothing_names_for_long_enough(
    hub: Any, database: Database, blobs: Blobs, tmp_path: Path
) -> None:
    member = hub.member()
    spec, result, kept, orphan, young = (
        blobs.put(text) for text in (b"spec", b"result", b"kept", b"orphan", b"young")
    )
    for name in (spec, result, kept, orphan):
        age(tmp_path, name)
    body = {"kind": "count", "name": "n", "spec": {"units": 2, "ungrouped": True, "quorum": 2, "target": 30}}
    job = hub.admin.post("/jobs", json=body | {"blobs": [spec], "request_id": "request-1"}).json()["id"]
    assert member.submit(member.lease(), blobs={"delta": result}).status_code == 200
    with database.transaction() as connection:
        connection.execute(jobs.update().where(jobs.c.id == job).values(keeps=[kept]))
    now = time.time()
    assert garbage.collect(database, blobs, now, keep_seconds=60) == 1
    assert {b.hash for b in blobs.all()} == {spec, result, kept, young}
    hub.admin.post(f"/jobs/{job}/cancel")
    assert garbage.collect(database, blobs, now, keep_seconds=60) == 1
    assert not blobs.has(result)


def test_an_old_orphan_that_is_made_again_is_not_collected(
    database: Database, blobs: Blobs, tmp_path: Path
) -> None:
    """A fold that was cut off is repeated hours later, and makes the same bytes: until it is committed nothing
    names them, and they must not go."""
    name = blobs.put(b"checkpoint")
    age(tmp_path, name)
    blobs.put(b"checkpoint")
    assert garbage.collect(database, blobs, time.time(), keep_seconds=60) == 0
    assert blobs.has(name)


def test_parts_of_uploads_that_nobody_goes_on_with_are_swept(tmp_path: Path) -> None:
    old, new = tmp_path / "a.part", tmp_path / "b.part"
    old.write_bytes(b"")
    new.write_bytes(b"")
    os.utime(old, (1000, 1000))
    assert garbage.sweep(tmp_path, time.time(), 60) == 1
    assert [f.name for f in tmp_path.iterdir()] == ["b.part"]
    assert garbage.sweep(tmp_path / "none", time.time(), 60) == 0


def test_two_requests_for_one_upload_at_the_same_time(hub: Any, tmp_path: Path) -> None:
    """The client gave up on the first, which is still being read: both write the same bytes to the same place."""
    client: Any = hub.member().client
    data = os.urandom(300_000)
    name = hashlib.sha256(data).hexdigest()
    where = {"offset": 0, "size": len(data)}

    def slowly() -> Any:
        yield data[:100_000]
        deadline = time.monotonic() + 20
        while not list((tmp_path / "incoming").glob("*.part")):  # until the first is being written
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert client.patch(
            f"/uploads/{name}", params=where | {"offset": 0}, content=data[:50_000]
        ).status_code in (200, 409)
        yield data[100_000:]

    reply = TestMember(hub.client(client.headers["Authorization"][7:]), "").client.patch(
        f"/uploads/{name}", params=where, content=slowly()
    )
    assert reply.json() == {"offset": len(data)}
    assert client.get(f"/blobs/{name}").content == data


def test_the_public_export_keeps_no_transaction_for_a_slow_reader(
    start_hub: Callable[..., Any], database: Database
) -> None:
    hub = start_hub(fold=False)
    with hub.client("none") as anyone, anyone.stream("GET", "/credits/export") as reply:
        assert reply.status_code == 200
        with database.engine.connect() as connection:
            states = connection.execute(
                sa.text("select state from pg_stat_activity where datname = current_database()")
            ).scalars()
            assert "idle in transaction" not in list(states)
        assert reply.read().startswith(b'{"format"')


def test_old_units_are_forgotten(hub: Any, database: Database) -> None:
    from commonweal.pool.foreman import _forget_old_units

    job = hub.submit_job(units=0)
    with database.transaction() as connection:
        row = {
            "job": job,
            "group": "",
            "kind": "count",
            "payload": {},
            "amount": {},
            "role": "train",
            "memory": 0,
        }
        row |= {"min_reputation": 0, "excludes": [], "max_attempts": 1, "deadline": 0, "pickup_until": 0}
        connection.execute(
            units.insert(),
            [row | {"id": f"u{i}", "key": f"k{i}", "created": i, "status": "folded"} for i in range(10)],
        )
        _forget_old_units(connection, job, keep=4)
        left = connection.execute(sa.select(units.c.id).order_by(units.c.created)).scalars().all()
    assert left == ["u6", "u7", "u8", "u9"]
