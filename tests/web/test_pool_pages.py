"""The pool's pages of a real hub: what they say is what its database says, and nothing that is not for everybody."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import sqlalchemy as sa
from pool_world import SECRET_PATH, TOKENS, Hub, pool_hub, record, spec
from site_reading import Read

from commonweal.core.blobs import Blobs
from commonweal.core.clock import ManualClock
from commonweal.core.database import Database
from commonweal.core.errors import NotFound
from commonweal.pool.schema import jobs, members, rates, rounds
from commonweal.serve.billing.schema import usage
from commonweal.serve.public import Served
from commonweal.serve.router.schema import hubs
from commonweal.train.record import MemberRecord
from commonweal.web.pool.history import Histories
from commonweal.web.pool.job import JobPage
from commonweal.web.pool.machine import MachinePage
from commonweal.web.pool.machines import MachineListPage
from commonweal.web.pool.overview import OverviewPage
from commonweal.web.pool.pages import PoolPages
from commonweal.web.pool.render import parts, render
from commonweal.web.pool.rounds import RoundsPage
from commonweal.web.site.page import Link

NOW = 1_800_000_000.0
PLACES = (Link(text="Pool", path="pool/index.html"),)
P = TypeVar("P")


def enter_members(database: Database, number: int, **changes: Any) -> list[str]:
    rows = [
        {
            "id": f"mem_{n:016}",
            "name": f"machine-{n:05}",
            "client_version": "0.1.0",
            "roles": ["train"],
            "platform": {},
            "state": "idle",
            "joined": NOW - 1000 + n / 100,
            "last_seen": NOW - 1,
            "request_id": f"r{n}",
            "owner": "user:hidden-owner",
        }
        | changes
        for n in range(number)
    ]
    with database.transaction() as connection:
        connection.execute(members.insert(), rows)
    return [str(row["id"]) for row in rows]


def enter_job(
    database: Database, number: int, members_: list[str], name: str = "tiny", **changes: Any
) -> str:
    """A job of so many rounds, each of all these members, as folds would have left it."""
    job = f"job_{name:0>16}"
    told = [
        record(n, [MemberRecord(member=one, asked=10, steps=10, tokens=TOKENS) for one in members_]).to_json()
        for n in range(number)
    ]
    state = {
        "round": number,
        "attempt": 0,
        "refused": 0,
        "step": 10 * number,
        "position": 0,
        "theta": "ab" * 32,
        "previous": None,
        "momentum": None,
        "residual": None,
        "chain": [],
        "seen": {},
        "usual": [],
        "checkpoints": [{"round": number, "step": 10 * number, "theta": "ab" * 32, "tokens": 99}],
        "totals": {
            "tokens": told[-1]["tokens"] if told else 0,
            "member_steps": 0,
            "up_bytes": 1_000_000,
            "down_bytes": 500_000,
            "allreduce_bytes": 300_000_000,
            "microcredits": 0,
            "seconds": 1.0,
        },
        "losses": {"first": 5.0, "last": 1.25, "bits_before": 8.0, "bits_now": 2.0},
    }
    row = {
        "id": job,
        "kind": "train",
        "name": name,
        "owner": "user:hidden-owner",
        "status": "running",
        "message": "",
        "spec": spec(steps=20 * max(1, number), name=name),
        "state": state,
        "keeps": [],
        "spec_blobs": [],
        "rounds": number,
        "created": NOW - 5000,
        "updated": NOW,
        "request_id": f"request-{name}",
    }
    with database.transaction() as connection:
        connection.execute(jobs.insert(), row | changes)
        if told:
            connection.execute(
                rounds.insert(),
                [
                    {"job": job, "number": n, "at": NOW - 2.0 * (number - n), "record": one}
                    for n, one in enumerate(told)
                ],
            )
            connection.execute(
                rates.insert(),
                [
                    {"member": one, "job": job, "rate": 2.0, "samples": 3, "measured": NOW - 5}
                    for one in members_
                ],
            )
    return job


@pytest.fixture
def pages(database: Database) -> PoolPages:
    return PoolPages(database, ManualClock(NOW))


def page(pages: PoolPages, path: str, kind: type[P]) -> P:
    found = pages.page(path)
    assert isinstance(found, kind)
    return found


def html(pages: PoolPages, path: str) -> str:
    return render(pages.page(path), PLACES, NOW).decode()


def test_the_pool_says_who_is_here_what_waits_and_how_fast_it_goes(
    pages: PoolPages, database: Database
) -> None:
    here = enter_members(database, 3)
    with database.transaction() as connection:
        connection.execute(members.update().where(members.c.id == here[0]).values(state="working"))
        connection.execute(members.update().where(members.c.id == here[1]).values(last_seen=NOW - 3600))
    enter_job(database, 6, here)
    found = page(pages, "pool/index.html", OverviewPage)
    assert (found.here, found.known) == (2, 3)
    assert dict(found.machines) == {"working": 1, "idle": 1, "away": 1}
    assert found.tokens_a_second == pytest.approx(3 * TOKENS / 2.0)
    assert [row.job.text for row in found.running] == ["tiny"]
    assert {row.machine.name for row in found.shown} == {"machine-00000", "machine-00002"}
    assert {row.speed for row in found.shown} == {f"{2 * 256} tokens/s"}


def test_what_is_served_is_told_by_machine_and_minute(pages: PoolPages, database: Database) -> None:
    here = enter_members(database, 4)
    moment = sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()), sa.Double)

    def worker(member: str, running: int = 0, judges: bool = False) -> dict[str, Any]:
        return {"id": f"w-{member}", "lender": {"member": member}, "judges": judges, "running": running}

    def answer(member: str, number: int, **changes: Any) -> dict[str, Any]:
        told = {"ask": f"{member}-{number}", "account": "user:hidden-owner", "model": "m", "member": member}
        told |= {
            "prompt_tokens": 9,
            "completion_tokens": 60,
            "microcredits": 1,
            "outcome": "done",
            "at": NOW - 5,
        }
        return told | changes

    with database.transaction() as connection:
        connection.execute(hubs.insert().values(id="one", seen=moment, workers=[worker(here[0], 2)]))
        more = [worker(here[1], 1), worker("judge", judges=True)]
        connection.execute(hubs.insert().values(id="two", seen=moment, workers=more))
        connection.execute(hubs.insert().values(id="gone", seen=moment - 100, workers=[worker(here[2])]))
        connection.execute(
            usage.insert(),
            [
                answer(here[0], 1),
                answer(here[1], 1),
                answer(here[1], 2, at=NOW - 61),
                answer(here[1], 3, outcome="failed"),
                answer(here[2], 1),
            ],
        )
    found = page(pages, "pool/index.html", OverviewPage)
    assert found.served == Served(machines=2, running=3, answers=2, tokens=120)
    assert found.answered_a_second == 2.0
    assert "hidden-owner" not in html(pages, "pool/index.html")


def test_a_training_that_stands_still_is_not_said_to_go_fast(database: Database) -> None:
    here = enter_members(database, 1)
    enter_job(database, 6, here)
    later = PoolPages(database, ManualClock(NOW + 3600))
    assert page(later, "pool/index.html", OverviewPage).tokens_a_second < TOKENS / 600


def test_a_job_shows_its_curve_its_rounds_and_its_refusals(pages: PoolPages, database: Database) -> None:
    here = enter_members(database, 3)
    job = enter_job(database, 30, here)
    bad = record(
        30,
        [
            MemberRecord(member=here[0], asked=10, tokens=TOKENS),
            MemberRecord(member=here[1], asked=10, verdict="raises_loss"),
        ],
        late=1,
    ).to_json()
    with database.transaction() as connection:
        connection.execute(rounds.insert(), {"job": job, "number": 30, "at": NOW, "record": bad})
        connection.execute(jobs.update().values(rounds=31))
    found = page(pages, f"pool/jobs/{job}.html", JobPage)
    assert [point.number for point in found.points] == list(range(31))
    last = found.points[-1]
    assert (last.accepted, last.refused, last.missing) == (1, 1, 1)
    assert found.points[0].loss == pytest.approx(5.0)
    assert found.share == pytest.approx(310 / 600)
    assert found.left
    assert [row.point.number for row in found.rounds] == list(range(30, 10, -1))
    (refused,) = found.refused
    assert (refused.number, refused.machine.text) == (30, "machine-00001")
    assert (refused.verdict, refused.meaning) == ("raises_loss", "it makes the model worse")
    facts = dict(found.facts)
    assert "200 times fewer" in facts["saved"]
    assert "1.5 MB" in facts["moved"]
    text = html(pages, f"pool/jobs/{job}.html")
    assert text.count("<polyline") == 5
    assert "it makes the model worse" in text
    assert "31 rounds" not in text, "only the latest are listed"


def test_rounds_are_paged_and_the_same_as_on_the_job(pages: PoolPages, database: Database) -> None:
    job = enter_job(database, 450, enter_members(database, 1))
    numbers = []
    for number in (1, 2, 3):
        found = page(pages, f"pool/jobs/{job}/rounds-{number}.html", RoundsPage)
        numbers += [row.point.number for row in found.rows]
    assert numbers == list(range(450))
    with pytest.raises(NotFound):
        pages.page(f"pool/jobs/{job}/rounds-4.html")


def test_a_long_job_is_read_in_part_and_its_page_stays_small(pages: PoolPages, database: Database) -> None:
    here = enter_members(database, 2)
    job = enter_job(database, 6000, here)
    found = page(pages, f"pool/jobs/{job}.html", JobPage)
    assert len(found.points) <= 2200
    assert found.points[-1].number == 5999
    assert found.points[0].number == 0
    assert [point.number for point in found.points[-200:]] == list(range(5800, 6000))
    assert len(html(pages, f"pool/jobs/{job}.html")) < 100_000


def test_history_is_read_once(database: Database) -> None:
    job = enter_job(database, 20, enter_members(database, 1))
    known = Histories()
    asked: list[str] = []
    sa.event.listen(database.engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
    with database.transaction() as connection:
        assert known.of(connection, job, 20).last == 19
        first = len(asked)
        assert first == 1
        assert known.of(connection, job, 20).last == 19
        assert len(asked) == first, "what is known is not asked again"
        told = record(20, []).to_json()
        connection.execute(rounds.insert(), {"job": job, "number": 20, "at": NOW, "record": told})
        assert known.of(connection, job, 21).last == 20
        assert len(asked) == first + 2


def test_a_machine_shows_its_part_of_each_round(pages: PoolPages, database: Database) -> None:
    here = enter_members(database, 2)
    job = enter_job(database, 5, here[:1])
    alone = record(5, [MemberRecord(member=here[1], asked=10, tokens=TOKENS)]).to_json()
    refused = record(6, [MemberRecord(member=here[0], asked=10, tokens=7, verdict="huge_norm")]).to_json()
    with database.transaction() as connection:
        connection.execute(
            rounds.insert(),
            [{"job": job, "number": n, "at": NOW, "record": one} for n, one in ((5, alone), (6, refused))],
        )
    found = page(pages, f"pool/machines/{here[0]}.html", MachinePage)
    (part,) = found.parts
    assert (part.taken, part.rounds, part.tokens, part.refused) == (6, 7, 5 * TOKENS, 1)
    assert [row.number for row in part.rows] == [6, 4, 3, 2, 1, 0]
    assert (part.rows[0].verdict, part.rows[0].meaning) == ("huge_norm", "absurdly large")
    with pytest.raises(NotFound):
        pages.page("pool/machines/mem_nobody.html")


def test_a_pool_of_ten_thousand_is_paged_into_small_pages_and_asked_in_a_few_queries(
    pages: PoolPages, database: Database
) -> None:
    here = enter_members(database, 10_000, name="a name of a machine that is rather long, as some are")
    job = enter_job(database, 1, here[:64])
    asked: list[str] = []
    sa.event.listen(database.engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
    for path in (
        "pool/index.html",
        "pool/machines/here-1.html",
        "pool/machines/all-100.html",
        "pool/join.html",
        f"pool/machines/{here[0]}.html",
        f"pool/jobs/{job}.html",
    ):
        asked.clear()
        assert len(html(pages, path)) < 200_000, path
        assert len(asked) <= 12, (path, asked)
    last = page(pages, "pool/machines/all-100.html", MachineListPage)
    assert (len(last.rows), last.first, last.known) == (100, 9901, 10_000)
    with pytest.raises(NotFound):
        pages.page("pool/machines/all-101.html")


def test_hostile_names_are_text(pages: PoolPages, database: Database) -> None:
    hostile = "<script>alert(1)</script>\u202e\"'><img src=x>"
    (member,) = enter_members(database, 1, name=hostile)
    job = enter_job(database, 2, [member], name="evil")
    with database.transaction() as connection:
        connection.execute(jobs.update().values(name=hostile))
    for path in (
        "pool/index.html",
        "pool/join.html",
        "pool/machines/all-1.html",
        f"pool/machines/{member}.html",
        "pool/jobs/page-1.html",
        f"pool/jobs/{job}.html",
        f"pool/jobs/{job}/rounds-1.html",
    ):
        read = Read(html(pages, path))
        assert "img" not in read.tags, path
        assert not read.forbidden, path
        assert read.tags.count("script") <= 3, path
        assert "\u202e" not in re.sub("data-name=.*?>", "", html(pages, path)), path


def test_the_parts_that_are_told_are_those_of_the_page(pages: PoolPages, database: Database) -> None:
    here = enter_members(database, 2)
    job = enter_job(database, 3, here)
    for path in (
        "pool/index.html",
        f"pool/jobs/{job}.html",
        f"pool/machines/{here[0]}.html",
        "pool/machines/here-1.html",
        "pool/join.html",
        "pool/jobs/page-1.html",
    ):
        found = pages.page(path)
        whole = render(found, PLACES, NOW).decode()
        told = parts(found)
        assert told, path
        assert sorted(re.findall(r'<live-part data-part="(\w+)"', whole)) == sorted(told), path
        for name, part in told.items():
            assert part in whole, (path, name)


def test_why_a_job_stands_is_told_without_its_owner_and_its_balance(
    pages: PoolPages, database: Database
) -> None:
    here = enter_members(database, 1)
    secret = "budget used up: user:hidden-owner has 12.5 credits available"
    stands = {
        "a": ("paused", secret, "its budget is used up"),
        "b": ("paused", "paused by user:hidden-owner", "by its owner or the operator"),
        "c": ("failed", "FileNotFoundError: /home/hidden-owner/x", "by its own code"),
        "d": ("cancelled", "cancelled by user:hidden-owner", "by its owner or the operator"),
    }
    for name, (status, message, why) in stands.items():
        job = enter_job(database, 0, here, name=name, status=status, message=message)
        text = html(pages, f"pool/jobs/{job}.html")
        assert why in text, name
        assert "hidden-owner" not in text, name
        assert "12.5" not in text, name


def test_an_old_record_and_another_kind_of_job_have_pages_too(pages: PoolPages, database: Database) -> None:
    (member,) = enter_members(database, 1)
    job = enter_job(
        database, 1, [member], name="other", kind="count", spec={}, state={"round": 1, "total": 4}
    )
    text = html(pages, f"pool/jobs/{job}.html")
    assert "live-curve" not in text
    assert html(pages, "pool/jobs/page-1.html").count(">other<") == 1
    old = enter_job(database, 1, [member], name="old")
    with database.transaction() as connection:
        connection.execute(
            rounds.update().where(rounds.c.job == old).values(record={"round": 0, "loss": 3.0})
        )
    assert "3.000" in html(pages, f"pool/jobs/{old}.html")


# Over HTTP.


@pytest.fixture
def hub(database: Database, blobs: Blobs, tmp_path: Path) -> Iterator[Hub]:
    with pool_hub(database, blobs, tmp_path) as running:
        yield running


def events(stream: httpx.Response) -> Iterator[tuple[str, str, Any]]:
    """The events of a stream as they come: name, id and data."""
    told: dict[str, str] = {}
    for line in stream.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            told[name] = value
        else:
            if "event" in told:
                yield told["event"], told.get("id", ""), json.loads(told["data"])
            told = {}


def first(stream: httpx.Response, wanted: str) -> tuple[str, Any]:
    """Id and data of the first event of that name."""
    return next((number, data) for name, number, data in events(stream) if name == wanted)


def test_a_job_is_told_live_and_the_same_by_every_hub_on_its_database(
    hub: Hub, database: Database, blobs: Blobs, tmp_path: Path
) -> None:
    for name in ("ada", "ben", "cleo"):
        hub.join(name)
    job = hub.submit(refuse="raises_loss")
    with pool_hub(database, blobs, tmp_path / "other", keys=hub.keys) as other:
        hub.play(job, 3)
        address = f"/pool/jobs/{job}.events"
        with (
            httpx.stream("GET", hub.url + address, timeout=20) as one,
            httpx.stream("GET", other.url + address, timeout=20) as two,
        ):
            assert one.headers["content-type"].startswith("text/event-stream")
            assert one.headers["cache-control"] == "no-store"
            heard = events(one)
            name, _, told = next(heard)
            assert name == "parts"
            assert "it makes the model worse" in told["live_refused"]
            last, points = next((number, data) for name, number, data in heard if name == "points")
            _, same = first(two, "points")
        assert [row[0] for row in points] == list(range(len(points)))
        assert int(last) == points[-1][0] >= 2
        assert same[:3] == points[:3]
        hub.play(job, int(last) + 3)
        with httpx.stream("GET", other.url + address, headers={"Last-Event-ID": last}, timeout=20) as three:
            _, new = first(three, "points")
        assert new[0][0] == int(last) + 1, "it goes on where the other hub stopped"
    page_one = hub.page(f"pool/jobs/{job}.html").text
    assert re.search(">(ada|ben|cleo)</a></td><td>raises_loss", page_one)
    assert 'class="state running"' in page_one


def test_a_hub_that_stops_ends_its_streams_and_says_no_word_of_it(
    database: Database, blobs: Blobs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        hub = stack.enter_context(pool_hub(database, blobs, tmp_path))
        with httpx.stream("GET", f"{hub.url}/pool/index.events", timeout=20) as answer:
            lines = answer.iter_lines()
            assert any(line.startswith("data: ") for line in lines)
            began = time.monotonic()
            stack.close()
            assert time.monotonic() - began < 10
            assert not [line for line in lines if line], "it ends, and in order"
    assert not [one for one in caplog.records if "ASGI" in one.getMessage()]


def test_pages_say_who_may_load_what_and_show_no_secret(hub: Hub) -> None:
    machine = hub.join("ada", hub.user("a-private-label"))
    job = hub.submit()
    hub.play(job, 1)
    for path in (
        "",
        "pool",
        "pool/",
        "pool/index.html",
        "pool/join.html",
        "pool/yours.html",
        "pool/machines/here-1.html",
        f"pool/machines/{machine.id}.html",
        "pool/jobs/page-1.html",
        f"pool/jobs/{job}.html",
        f"pool/jobs/{job}/rounds-1.html",
    ):
        answer = httpx.get(f"{hub.url}/{path}", follow_redirects=True)
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "default-src 'none'" in policy
        read = Read(answer.text)
        assert not read.forbidden, path
        for address in read.loads:
            assert not address.startswith(("http", "//")), path
            assert httpx.get(answer.url.join(address)).status_code == 200, address
        for secret in (
            hub.keys.admin,
            hub.keys.join,
            machine.key,
            "a-private-label",
            "do-not-show",
            SECRET_PATH,
            "cd" * 32,
            "user:",
            "operator's account",
        ):
            assert secret not in answer.text, (path, secret)
    assert hub.page("pool/nothing.html").status_code == 404
    assert hub.page("pool/yours.events").status_code == 404
    assert hub.page("pool/jobs/job_0000000000000000.events").status_code == 404
    assert hub.page("pool/v1/hello").json()["service"] == "commonweal", "the API is where it was"


def test_what_is_ones_own_needs_ones_key(hub: Hub) -> None:
    key, other = hub.user("alice"), hub.user("bob")
    mine, theirs = hub.join("mine", key), hub.join("theirs", other)
    job = hub.submit()
    hub.play(job, 2)
    assert hub.page("pool/yours.part").status_code == 401
    assert hub.page("pool/yours.part", "cw-wrong").status_code == 401
    assert hub.page("pool/yours.part", hub.keys.join).status_code in (401, 403)
    found = hub.page("pool/yours.part", key)
    assert found.headers["cache-control"] == "no-store"
    assert "user:alice" in found.text
    assert ">mine<" in found.text
    assert ">theirs<" not in found.text
    books = hub.page(f"pool/machines/{mine.id}.part", key)
    assert books.status_code == 200
    assert "tiny, round 0" in books.text
    assert f"member:{mine.id}" in books.text
    for allowed in (mine.key, hub.keys.admin):
        assert hub.page(f"pool/machines/{mine.id}.part", allowed).status_code == 200
    for refused in (theirs.key, other, ""):
        assert hub.page(f"pool/machines/{mine.id}.part", refused).status_code in (401, 403)
    with hub.client(key) as client:
        account = {"account": f"member:{mine.id}"}
        assert client.get("/credits/history", params=account).status_code == 200
        account = {"account": f"member:{theirs.id}"}
        assert client.get("/credits/history", params=account).status_code in (401, 403)


def test_journals_are_paged(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commonweal.web.pool.yours._JOURNALS", 2)
    machine = hub.join("ada")
    hub.play(hub.submit(), 3)
    first = hub.page(f"pool/machines/{machine.id}.part", machine.key).text
    (before,) = re.findall(r'data-before="(\d+)"', first)
    second = hub.page(f"pool/machines/{machine.id}.part?before={before}", machine.key).text
    assert "available</dt>" in first
    assert "available</dt>" not in second
    seen = [
        int(n.replace(",", "")) for n in re.findall(r'<th scope="row" class="num">([\d,]+)<', first + second)
    ]
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) >= 3
