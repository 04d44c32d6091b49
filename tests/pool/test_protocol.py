"""The work protocol against a real hub: what a member may rely on."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest


def work(member: Any, rounds: int, count: int = 1) -> None:
    for _ in range(rounds):
        lease = member.lease()
        assert lease is not None
        assert member.submit(lease, count).status_code == 200


def test_a_job_runs_to_its_end_and_pays(hub: Any) -> None:
    a, b = hub.member("a"), hub.member("b")
    job = hub.submit_job(rounds=3, units=2, price=1000)
    threads = [threading.Thread(target=work, args=(m, 3, n)) for m, n in ((a, 1), (b, 10))]
    for thread in threads:
        thread.start()
    view = hub.wait_for(job)
    for thread in threads:
        thread.join()
    assert view["state"] == {"round": 3, "total": 33}
    assert view["spent"] == 6000
    rows = {m["id"]: m for m in hub.admin.get("/members").json()}
    assert rows[a.id]["earned"] == rows[b.id]["earned"] == 3000
    assert rows[a.id]["accepted"] == 3
    audit = hub.admin.post("/credits/verify").json()
    assert audit["ok"], audit
    balances = {row["account"]: row for row in hub.admin.get("/credits").json()}
    assert balances["operator"]["held"] == 0
    assert balances["operator"]["available"] == 10**12 - 6000


def test_a_waiting_member_is_woken_at_once(hub: Any) -> None:
    member = hub.member()
    got: list[tuple[float, Any]] = []
    thread = threading.Thread(target=lambda: got.append((time.monotonic(), member.lease(wait=20))))
    thread.start()
    while hub.admin.get("/members").json()[0]["free_memory"] == 0:
        time.sleep(0.02)
    hub.submit_job(units=1)
    thread.join(10)
    assert got, "the member waited on although there was work"
    assert got[0][1] is not None


def test_nothing_to_do_is_204_after_the_wait(hub: Any) -> None:
    started = time.monotonic()
    assert hub.member().lease(wait=0.3) is None
    assert 0.3 <= time.monotonic() - started < 3


def test_the_same_request_gets_the_same_lease(hub: Any) -> None:
    member = hub.member()
    hub.submit_job(units=2, ungrouped=True)
    first = member.lease(request_id="one-and-only")
    again = member.lease(request_id="one-and-only")
    assert first is not None
    assert again is not None
    assert (first["unit"], first["fence"]) == (again["unit"], again["fence"])
    assert member.lease()["unit"] != first["unit"]


def test_a_member_gets_one_unit_of_a_group(hub: Any) -> None:
    member, other = hub.member("a"), hub.member("b")
    hub.submit_job(units=2)
    assert member.lease() is not None
    assert member.lease(wait=0) is None
    assert other.lease() is not None


def test_a_doubled_submit_changes_nothing_and_says_so(hub: Any) -> None:
    member = hub.member()
    job = hub.submit_job(units=1, rounds=1)
    lease = member.lease()
    assert member.submit(lease, 5).json() == {"duplicate": False}
    assert member.submit(lease, 7).json() == {"duplicate": True}
    assert hub.wait_for(job)["state"]["total"] == 5
    assert member.submit(lease, 9).json() == {"duplicate": True}
    assert hub.job(job)["state"]["total"] == 5


def test_a_lost_lease_goes_to_another_and_the_late_submit_is_refused(start_hub: Callable[..., Any]) -> None:
    hub = start_hub(lease_seconds=2.0)
    slow, other = hub.member("slow"), hub.member("other")
    job = hub.submit_job(units=1, rounds=1, target=20)
    lease = slow.lease()
    taken = other.lease(wait=10)
    assert taken["unit"] == lease["unit"]
    assert taken["fence"] > lease["fence"]
    assert slow.heartbeat(lease) == {"leases": [{"unit": lease["unit"], "valid": False}]}
    late = slow.submit(lease, 100)
    assert late.status_code == 409
    assert late.json()["error"]["code"] == "stale_lease"
    assert other.submit(taken, 1).status_code == 200
    assert hub.wait_for(job)["state"]["total"] == 1


def test_heartbeats_keep_a_lease(start_hub: Callable[..., Any]) -> None:
    hub = start_hub(lease_seconds=2.0)
    member = hub.member()
    job = hub.submit_job(units=1, rounds=1, target=20)
    lease = member.lease()
    for _ in range(6):
        time.sleep(0.5)
        assert member.heartbeat(lease)["leases"][0]["valid"]
    assert member.submit(lease).status_code == 200
    hub.wait_for(job)


def test_a_released_unit_goes_to_another(hub: Any) -> None:
    a, b = hub.member("a"), hub.member("b")
    hub.submit_job(units=1, target=20)
    lease = a.lease()
    body = {"fence": lease["fence"], "failure": "", "message": "ctrl-c"}
    assert a.client.post(f"/units/{lease['unit']}/release", json=body).status_code == 204
    assert b.lease()["unit"] == lease["unit"]


def test_what_ran_out_of_memory_is_not_offered_again(hub: Any) -> None:
    member = hub.member()
    hub.submit_job(units=1, target=20, ungrouped=True)
    lease = member.lease(memory=100)
    body = {"fence": lease["fence"], "failure": "out_of_memory"}
    assert member.client.post(f"/units/{lease['unit']}/release", json=body).status_code == 204
    assert member.lease(wait=0, memory=100) is None


@pytest.mark.parametrize("key", ["", "cwmember-nonsense-nonsense"])
def test_a_wrong_key_is_401(hub: Any, key: str) -> None:
    reply = hub.client(key or "x").post("/heartbeat", json={"state": "idle"})
    assert reply.status_code == 401
    assert reply.json()["error"]["code"] == "not_authorized"


def test_another_members_lease_is_not_mine(hub: Any) -> None:
    owner, thief = hub.member("owner"), hub.member("thief")
    hub.submit_job(units=1, rounds=1)
    lease = owner.lease()
    assert thief.submit(lease, 99).status_code == 409
    assert thief.heartbeat(lease)["leases"][0]["valid"] is False
    assert owner.submit(lease, 1).status_code == 200


def test_bad_work_costs_reputation_and_is_unpaid(hub: Any) -> None:
    member = hub.member()
    job = hub.submit_job(units=1, rounds=1, price=1000)
    member.submit(member.lease(), count=-5)
    view = hub.wait_for(job)
    row = hub.admin.get("/members").json()[0]
    assert view["spent"] == 0
    assert (row["accepted"], row["refused"], row["reputation"]) == (0, 1, 0.25)


def test_a_used_up_budget_pauses_the_job_and_loses_nothing(hub: Any) -> None:
    member = hub.member()
    job = hub.submit_job(units=1, rounds=2, price=1000, budget=1500)
    work(member, 2)
    view = hub.wait_for(job, "paused")
    assert "budget" in view["message"]
    assert view["state"]["round"] == 1
    assert hub.admin.post(f"/jobs/{job}/resume", json={"budget": 5000}).status_code == 200
    view = hub.wait_for(job)
    assert (view["spent"], view["state"]["total"]) == (2000, 2)
    assert hub.admin.post("/credits/verify").json()["ok"]


def test_uploads_resume_and_are_verified(hub: Any) -> None:
    client = hub.member().client
    data = bytes(range(256)) * 1000
    name = hashlib.sha256(data).hexdigest()
    begin = {"hash": name, "size": len(data)}
    assert client.post("/uploads", json=begin).json() == {
        "complete": False,
        "offset": 0,
        "url": None,
        "parts": None,
    }
    half = len(data) // 2
    where = {"offset": 0, "size": len(data)}
    assert client.patch(f"/uploads/{name}", params=where, content=data[:half]).json() == {"offset": half}
    assert client.post("/uploads", json=begin).json()["offset"] == half
    wrong = client.patch(f"/uploads/{name}", params=where, content=data[half:])
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (409, str(half))
    where["offset"] = half
    assert client.patch(f"/uploads/{name}", params=where, content=data[half:]).json()["offset"] == len(data)
    assert client.post("/uploads", json=begin).json()["complete"]
    assert client.get(f"/blobs/{name}").content == data
    part = client.get(f"/blobs/{name}", headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, data[1000:2000])
    assert client.get(f"/blobs/{name}", headers={"Range": "bytes=999999999-"}).status_code == 416


def test_an_upload_with_another_hash_is_refused(hub: Any) -> None:
    client = hub.member().client
    name = "0" * 64
    reply = client.patch(f"/uploads/{name}", params={"offset": 0, "size": 3}, content=b"abc")
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "wrong_hash")
    assert client.get(f"/blobs/{name}").status_code == 404
    assert (
        client.patch(f"/uploads/{name}", params={"offset": 0, "size": 3}, content=b"abcd").status_code == 413
    )


def test_submitting_a_blob_that_is_not_there_is_refused_and_the_lease_kept(hub: Any) -> None:
    member = hub.member()
    job = hub.submit_job(units=1, rounds=1)
    lease = member.lease()
    reply = member.submit(lease, blobs={"delta": "1" * 64})
    assert reply.status_code == 422
    assert "was not uploaded" in reply.json()["error"]["message"]
    assert member.submit(lease).status_code == 200
    hub.wait_for(job)


def test_an_old_client_is_told_to_upgrade(hub: Any) -> None:
    body = {"name": "old", "client_version": "0.0.9", "roles": ["train"], "request_id": "old-client-1"}
    reply = hub.client(hub.keys.join).post("/members", json=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (426, "client_too_old")
    assert "pip install" in reply.json()["error"]["hint"]


def test_registering_twice_is_registering_once(hub: Any) -> None:
    body = {"name": "m", "client_version": "0.1.0", "roles": ["train"], "request_id": "the-same-request"}
    client = hub.client(hub.keys.join)
    first, second = (client.post("/members", json=body).json() for _ in range(2))
    assert first["member"] == second["member"]
    assert hub.client(first["key"]).post("/heartbeat", json={"state": "idle"}).status_code == 401
    assert hub.client(second["key"]).post("/heartbeat", json={"state": "idle"}).status_code == 200


@pytest.mark.parametrize("report", [{"x": "\x00"}, {"deep": [[[[1]]]] * 3, "n": 2**70}, {"a" * 10: "\ud800"}])
def test_what_the_database_cannot_store_is_refused_clearly(hub: Any, report: dict[str, Any]) -> None:
    import json

    member = hub.member()
    hub.submit_job(units=1, rounds=1)
    lease = member.lease()
    body = {"fence": lease["fence"], "amount_done": 1, "seconds": 1, "report": report}
    reply = member.client.post(
        f"/units/{lease['unit']}/submit",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 422, reply.text


def test_nan_in_a_report_is_refused(hub: Any) -> None:
    member = hub.member()
    hub.submit_job(units=1, rounds=1)
    lease = member.lease()
    text = f'{{"fence": {lease["fence"]}, "amount_done": 1, "seconds": 1, "report": {{"loss": NaN}}}}'
    reply = member.client.post(
        f"/units/{lease['unit']}/submit", content=text, headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 422
