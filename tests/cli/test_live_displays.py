"""What commands show while they wait: on a terminal only, and never in the way of JSON."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from rich.console import Console
from test_bookkeeping import EXPORT, SEALS, Hub

from commonweal import console
from commonweal.commands import bookkeeping, training
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.pool import wire
from commonweal.pool.client import PoolClient

WEIGHTS = bytes(300_000)
VIEW = wire.JobView(
    id="job_1", kind="train", name="n", owner="user:ada", status="done", message="", created=0, updated=0,
    rounds=0, spent=0, budget=0, spec={},
    state={
        "theta": content_hash(WEIGHTS),
        "losses": {"bits_before": 2.0, "bits_now": 1.0},
        "totals": {"up_bytes": 1, "down_bytes": 1, "tokens": 1, "seconds": 1, "allreduce_bytes": 9},
    },
)  # fmt: skip


class Lines:
    """Records what live lines say, and whether they were to be shown."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.shown: list[bool] = []

    @contextmanager
    def live_line(self, text: str, *, shown: bool = True) -> Iterator[Callable[[str], None]]:
        self.shown.append(shown)
        self.said.append(text)
        yield self.said.append


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    lines = Lines()
    monkeypatch.setattr(console, "live_line", lines.live_line)
    return lines


@pytest.fixture
def small_books(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(bookkeeping, "TELL_EVERY", 2)
    return cast(Any, Hub(len(SEALS) - 1, SEALS[-1]))


def test_verifying_the_books_says_who_replays_them_and_how_far(lines: Lines, small_books: Any) -> None:
    bookkeeping.verify(small_books, json=False)
    assert lines.said[0] == "the hub replays its books"
    assert lines.said[1:] == [f"replaying the export: {n} lines" for n in range(2, len(EXPORT) + 1, 2)]
    assert len(lines.said) > 2


def test_exporting_the_books_counts_their_lines(lines: Lines, small_books: Any, tmp_path: Path) -> None:
    bookkeeping.export(small_books, tmp_path / "books.jsonl", json=False)
    assert lines.said[-1] == f"fetching the books: {len(EXPORT) // 2 * 2} lines"
    assert (tmp_path / "books.jsonl").read_text().splitlines() == EXPORT


@pytest.fixture
def hub() -> Iterator[PoolClient]:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path.endswith(f"/blobs/{content_hash(WEIGHTS)}")
        return httpx.Response(200, content=WEIGHTS)

    client = PoolClient("http://hub.test", "key", version="0.1.0", transport=httpx.MockTransport(answer))
    yield client
    client.close()


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the model would be made of: making it is not what is looked at here."""
    fetched: list[bytes] = []

    def export(spec: Any, theta: BlobHash, get: Callable[[BlobHash], bytes], out: Path, **how: Any) -> None:
        fetched.append(get(theta))

    monkeypatch.setattr(training, "export_model", export)
    monkeypatch.setattr(training, "records_beside", lambda client, view, get: {})
    return fetched


def test_saving_the_model_in_the_end_shows_what_has_come(
    lines: Lines, hub: PoolClient, fetched: list[bytes], tmp_path: Path
) -> None:
    training.finish(hub, VIEW, tmp_path / "model", json=False)
    assert fetched == [WEIGHTS]
    assert lines.said[0] == "fetching the weights"
    assert lines.said[-2:] == ["fetching 300.0k of 300.0kB", "putting the model together"]


def test_no_line_with_json(
    lines: Lines, hub: PoolClient, fetched: list[bytes], small_books: Any, tmp_path: Path
) -> None:
    training.finish(hub, VIEW, tmp_path / "model", json=True)
    bookkeeping.verify(small_books, json=True)
    bookkeeping.export(small_books, tmp_path / "books.jsonl", json=True)
    assert lines.shown == [False] * 3


@pytest.mark.parametrize("terminal", [True, False])
def test_a_line_is_for_terminals(monkeypatch: pytest.MonkeyPatch, small_books: Any, terminal: bool) -> None:
    written = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=written, force_terminal=terminal, width=80))
    bookkeeping.verify(small_books, json=False)
    assert ("replaying the export" in written.getvalue()) is terminal
    assert "the books hold" in written.getvalue()
