"""The hub as a process: killed in mid-round, started again, stopped while members wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_pool import (
    HubProcess,
    MemberProcess,
    assert_books_are_exact,
    ended,
    job_table,
    records,
    submit,
    verdicts,
    wait_until,
)


@pytest.fixture
def own_hub(hub_folder: Path) -> Iterator[HubProcess]:
    hub = HubProcess(hub_folder)
    try:
        hub.start()
        yield hub
    finally:
        hub.stop()


def test_a_hub_killed_in_mid_round_goes_on_and_so_do_waiting_members(
    own_hub: HubProcess, tmp_path: Path, texts: Path, work: Path
) -> None:
    members = [MemberProcess(own_hub, name, tmp_path) for name in ("ada", "ben")]
    client = own_hub.client()
    try:
        for member in members:
            member.start()
        ids = {member.id for member in members}
        first = _killed_twice(own_hub, members, texts, work)
        found = [record for record in records(client, first) if record["outcome"] == "folded"]
        assert [record["round"] for record in found] == list(range(len(found))), "no round is lost or doubled"
        steps = [record["step"] for record in found]
        assert steps == sorted(set(steps))
        assert found[-1]["bits_per_byte"] < 0.7 * client.job(first).state["losses"]["bits_before"]
        assert all(set(verdicts(record).values()) == {"ok"} for record in found)
        second = _restarted_while_members_wait(own_hub, members, texts, work)
        assert {member for record in records(client, second) for member in verdicts(record)} == ids
        assert_books_are_exact(own_hub, client, [first, second])
    finally:
        client.close()
        for member in members:
            member.stop()


def _killed_twice(hub: HubProcess, members: list[MemberProcess], texts: Path, work: Path) -> str:
    """Once while members compute, once just when one has handed in (a fold may be under way)."""
    client = hub.client()
    job = submit(client, job_table(texts, train={"steps": 120}), work).id
    for moment in ("progressed", "submitted"):
        reached = client.job(job).rounds + 2
        wait_until("two more rounds", lambda n=reached: client.job(job).rounds >= n)
        wait_until(f"a member is at {moment}", lambda m=moment: members[0].events()[-1]["event"] == m)
        hub.kill()
        folded = len(members[0].events("waiting"))
        hub.start()
        assert client.job(job).status == "running"
        assert client.job(job).rounds >= reached
        assert len(members[0].events("waiting")) >= folded
    assert ended(client, job).status == "done"
    client.close()
    return job


def _restarted_while_members_wait(
    hub: HubProcess, members: list[MemberProcess], texts: Path, work: Path
) -> str:
    """The hub ends well, with long polls open; the same members work for the one that starts next."""
    assert hub.process is not None
    hub.process.terminate()
    assert hub.process.wait(60) == 0
    wait_until("members notice", lambda: all(member.events()[-1]["event"] == "waiting" for member in members))
    hub.start()
    client = hub.client()
    job = submit(client, job_table(texts, train={"steps": 24, "seed": 1}), work).id
    assert ended(client, job).status == "done"
    client.close()
    return job
