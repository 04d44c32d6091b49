"""Members as processes: killed at every point of a unit, stopped and woken, late, two on one folder."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_pool import (
    HubProcess,
    MemberProcess,
    accepted_rounds,
    assert_books_are_exact,
    commonweal,
    job_table,
    records,
    submit,
    verdicts,
    wait_until,
)

from commonweal.pool.client import PoolClient

LONG = {"steps": 1_000_000}
ROUND = {"first_inner_steps": 12, "last_inner_steps": 12}


@pytest.fixture(scope="module")
def members(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, MemberProcess]]:
    """Ada and cleo are never harmed; it takes ben a while to upload anything."""
    folder = tmp_path_factory.mktemp("members")
    flags = {"ada": (), "ben": ("--upload-limit", "100kbit"), "cleo": ()}
    started = {name: MemberProcess(hub, name, folder, given) for name, given in flags.items()}
    try:
        for member in started.values():
            member.start()
        for member in started.values():
            assert member.id
        yield started
    finally:
        for member in started.values():
            member.stop()


@pytest.fixture
def job(
    hub: HubProcess, client: PoolClient, members: dict[str, MemberProcess], texts: Path, work: Path
) -> Iterator[str]:
    """A job without an end, cancelled after the test."""
    view = submit(client, job_table(texts, train=LONG, rounds=ROUND), work)
    everyone = {member.id for member in members.values()}
    wait_until("all take part", lambda: any(set(verdicts(r)) >= everyone for r in records(client, view.id)))
    yield view.id
    client.cancel(view.id)


def goes_on(client: PoolClient, job: str, member: str, rounds: int = 2) -> None:
    """Contributions of ``member`` are accepted from now on."""
    before = accepted_rounds(client, job, member)
    wait_until(f"{member} contributes", lambda: accepted_rounds(client, job, member) >= before + rounds)


@pytest.mark.parametrize("moment", ["progressed", "uploading", "submitted"])
def test_a_member_killed_before_in_and_after_upload(
    hub: HubProcess, client: PoolClient, members: dict[str, MemberProcess], job: str, moment: str
) -> None:
    ada, ben = members["ada"], members["ben"]
    ben.halt_when(moment)
    number = client.job(job).rounds
    earned = {row.id: row.earned for row in client.members()}[ben.id]
    ben.signal(signal.SIGKILL)
    goes_on(client, job, ada.id, 3)
    missed = {record["round"]: record for record in records(client, job)}[number]
    if moment != "submitted":
        assert ben.id not in verdicts(missed)
        assert missed["stragglers"] == 1
        assert {row.id: row.earned for row in client.members()}[ben.id] == earned
    else:
        assert verdicts(records(client, job)[number - 1])[ben.id] == "ok" or verdicts(missed)[ben.id] == "ok"
    was = ben.id
    ben.start()
    wait_until("ben is back", lambda: not ben.events("joined")[-1]["new"])
    assert ben.id == was, "it is the same member again"
    goes_on(client, job, ben.id)
    assert not any("diverged" in verdicts(record).values() for record in records(client, job))
    assert_books_are_exact(hub, client, [job])


def test_a_member_that_hangs_loses_its_lease_and_comes_back(
    hub: HubProcess, client: PoolClient, members: dict[str, MemberProcess], job: str
) -> None:
    ada, ben = members["ada"], members["ben"]
    ben.halt_when("progressed")
    number = client.job(job).rounds
    goes_on(client, job, ada.id, 3)
    assert ben.id not in verdicts(records(client, job)[number]), "it was not waited for"
    lost = len(ben.events("lost"))
    ben.signal(signal.SIGCONT)
    wait_until("ben hears that it lost the lease", lambda: len(ben.events("lost")) > lost)
    goes_on(client, job, ben.id)
    assert_books_are_exact(hub, client, [job])


def test_one_joins_late(
    hub: HubProcess, client: PoolClient, members: dict[str, MemberProcess], job: str, tmp_path: Path
) -> None:
    dora = MemberProcess(hub, "dora", tmp_path)
    dora.start()
    try:
        goes_on(client, job, dora.id, 3)
        hers = [m for r in records(client, job) for m in r["members"] if m["member"] == dora.id]
        parameters = client.job(job).spec["parameters"]
        assert hers[0]["down_bytes"] == 4 * parameters, "first the whole state"
        assert all(m["down_bytes"] < parameters for m in hers[1:]), "then updates only"
    finally:
        dora.signal(signal.SIGINT)
    assert dora.process is not None
    assert dora.process.wait(60) == 0
    last = {event["event"]: event for event in dora.events()[-2:]}
    assert last["left"] == {"event": "left", "told": True}
    assert "serving_left" in last
    state = {row.id: row.state for row in client.members()}[dora.id]
    assert state == "left"


def test_two_members_on_one_folder_are_refused(hub: HubProcess, members: dict[str, MemberProcess]) -> None:
    folder = members["ada"].folder / "ada"
    second = commonweal("join", hub.url, "--token", hub.keys["join_token"], "--state", str(folder))
    assert second.returncode == 2
    assert "--state" in second.stderr
    assert "Traceback" not in second.stderr
