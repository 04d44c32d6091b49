from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commonweal.core.completion import (
    Choice,
    Completion,
    CompletionFailed,
    Request,
    Timing,
    Token,
    ToolCall,
)
from commonweal.core.errors import DataError
from commonweal.evals.cache import CachedCompleter, RequestCache, is_cacheable
from commonweal.evals.completers.mock import MockCompleter
from commonweal.evals.records import completion_json, completion_of, completion_of_text, completion_text

TEXTS = st.text(max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TOKENS = st.builds(
    Token, text=TEXTS, logprob=st.none() | NUMBERS, top=st.dictionaries(TEXTS, NUMBERS, max_size=3)
)
CHOICES = st.builds(
    Choice,
    text=TEXTS,
    finish=st.sampled_from(["stop", "length", "tool_calls", "content_filter", "error"]),
    tokens=st.lists(TOKENS, max_size=3).map(tuple),
    logprob=st.none() | NUMBERS,
    greedy=st.none() | st.booleans(),
    tool_calls=st.lists(st.builds(ToolCall, id=TEXTS, name=TEXTS, arguments=TEXTS), max_size=2).map(tuple),
)
COMPLETIONS = st.builds(
    Completion,
    choices=st.lists(CHOICES, min_size=1, max_size=3).map(tuple),
    model=TEXTS,
    prompt_tokens=st.none() | st.integers(0, 10**9),
    completion_tokens=st.none() | st.integers(0, 10**9),
    timing=st.builds(Timing, queued=NUMBERS, first_token=st.none() | NUMBERS, total=NUMBERS),
    joules=st.none() | NUMBERS,
    attempts=st.integers(1, 9),
    cached=st.booleans(),
)


def request(i: int = 0, **more: object) -> Request:
    return replace(Request(model="m", prompt=f"prompt {i}"), **more)  # type: ignore[arg-type]


def completion(text: str = "yes") -> Completion:
    return Completion(choices=(Choice(text=text),), model="m")


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(COMPLETIONS)
def test_a_record_read_back_is_equal(made: Completion) -> None:
    assert completion_of(completion_json(made)) == made
    text = completion_text(made)
    assert text.isascii()
    assert completion_of_text(text) == made


def test_lone_surrogates_survive() -> None:
    assert completion_of_text(completion_text(completion("\ud800"))) == completion("\ud800")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"v": 2, "choices": []}', '{"v": 1}', '{"v": 1, "choices": [7]}']
)
def test_what_is_no_record_says_so(text: str) -> None:
    with pytest.raises(DataError, match="completion"):
        completion_of_text(text)


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        completion_text(Completion(choices=(Choice(text="", logprob=float("-inf")),)))


def test_only_repeatable_requests_are_kept() -> None:
    assert is_cacheable(request())
    assert is_cacheable(request(temperature=1.0, seed=0))
    assert is_cacheable(request(temperature=1.0, sample=1))
    assert is_cacheable(request(temperature=1.0, kind="score"))
    assert not is_cacheable(request(temperature=1.0))


def test_what_was_put_is_got_and_survives_a_restart(tmp_path: Path) -> None:
    cache = RequestCache(tmp_path / "deep" / "cache.sqlite")
    assert cache.get(request()) is None
    cache.put(request(), completion())
    assert cache.get(request()) == replace(completion(), cached=True)
    assert cache.get(request(1)) is None
    assert cache.get(request(sample=1)) is None
    cache.close()
    again = RequestCache(tmp_path / "deep" / "cache.sqlite")
    assert again.get(request()) == replace(completion(), cached=True)
    again.close()


def test_the_first_answer_stays(tmp_path: Path) -> None:
    cache = RequestCache(tmp_path / "cache.sqlite")
    for text in ("first", "second"):
        cache.put(request(), completion(text))
        cache.flush()
    found = cache.get(request())
    assert found is not None
    assert found.text == "first"
    cache.close()


def test_broken_answers_are_not_kept(tmp_path: Path) -> None:
    cache = RequestCache(tmp_path / "cache.sqlite")
    cache.put(request(), Completion(choices=()))
    cache.put(request(), Completion(choices=(Choice(text="x", finish="error"),)))
    cache.put(request(temperature=1.0), completion())
    cache.put(request(), Completion(choices=(Choice(text="x", logprob=float("nan")),)))
    assert cache.waiting == 0
    cache.close()


def test_rows_are_committed_together_by_number_and_by_time(tmp_path: Path) -> None:
    now = [0.0]
    cache = RequestCache(tmp_path / "cache.sqlite", clock=lambda: now[0])
    cache.put(request(0), completion())
    assert cache.waiting == 0  # nothing was committed lately
    for i in range(1, 256):
        cache.put(request(i), completion())
    assert cache.waiting == 255
    cache.put(request(256), completion())
    assert cache.waiting == 0
    cache.put(request(257), completion())
    now[0] = 0.051
    cache.put(request(258), completion())
    assert cache.waiting == 0
    cache.close()


def test_a_damaged_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_bytes(b"this is no database" * 1000)
    with caplog.at_level(logging.WARNING):
        cache = RequestCache(path)
    cache.put(request(), completion())
    cache.flush()
    assert cache.get(request()) is not None
    cache.close()
    kept = [file for file in tmp_path.iterdir() if "damaged" in file.name]
    assert [file.read_bytes()[:19] for file in kept] == [b"this is no database"]
    assert "cache.damaged" in caplog.text


def test_a_file_that_is_damaged_within_loses_what_was_in_it_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    cache = RequestCache(path)
    for i in range(2000):
        cache.put(request(i), completion("x" * 500))
    cache.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(size - 8192))
    cache = RequestCache(path)
    assert [cache.get(request(i)) for i in range(50)].count(None) > 0
    cache.put(request(-1), completion("new"))
    cache.flush()
    found = cache.get(request(-1))
    assert found is not None
    assert found.text == "new"
    cache.close()


def test_a_full_disk_turns_writing_off_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = RequestCache(tmp_path / "cache.sqlite")
    cache.put(request(-1), completion())
    cache.flush()
    cache._database.execute("PRAGMA max_page_count = 3")  # SQLite says then what it says of a full disk
    with caplog.at_level(logging.WARNING):
        for i in range(1000):
            cache.put(request(i), completion("x" * 2000))
        cache.flush()
    assert caplog.text.count("cache.off") == 1
    assert cache.get(request(-1)) is not None
    cache.close()


def test_a_path_that_cannot_be_a_file_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        cache = RequestCache(tmp_path / "file" / "cache.sqlite")
    cache.put(request(), completion())
    assert cache.get(request()) is not None
    assert "cache.off" in caplog.text
    cache.close()


def _fill(path: str, first: int) -> None:
    cache = RequestCache(Path(path))
    for i in range(first, first + 300):
        cache.put(request(i), completion(str(i)))
    cache.close()


def test_two_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fill, args=(str(path), first)) for first in (0, 200)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    cache = RequestCache(path)
    found = [cache.get(request(i)) for i in range(500)]
    assert [one.text for one in found if one] == [str(i) for i in range(500)]
    cache.close()


def test_a_killed_process_keeps_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from commonweal.core.completion import Choice, Completion, Request\n"
        "from commonweal.evals.cache import RequestCache\n"
        "cache = RequestCache(Path(sys.argv[1]))\n"
        "cache.put(Request(model='m', prompt='prompt 0'), Completion(choices=(Choice(text='kept'),)))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    cache = RequestCache(path)
    found = cache.get(request())
    assert found is not None
    assert found.text == "kept"
    cache.close()


def test_a_row_of_an_unknown_version_is_asked_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "cache.sqlite"
    cache = RequestCache(path)
    cache.put(request(), completion())
    cache.close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE completion SET body = ?", ('{"v": 99, "choices": []}',))
    database.close()
    cache = RequestCache(path)
    assert cache.get(request()) is None
    assert "row_unreadable" in caplog.text
    cache.close()


def test_a_cached_completer_asks_once(tmp_path: Path) -> None:
    async def run() -> None:
        inner, cache = MockCompleter(), RequestCache(tmp_path / "cache.sqlite")
        completer = CachedCompleter(inner, cache)
        first = await completer.complete(request())
        second = await completer.complete(request())
        assert (first.cached, second.cached, second.text) == (False, True, first.text)
        assert (inner.asked, completer.hits) == (1, 1)
        for _ in range(2):
            await completer.complete(request(temperature=1.0))
        assert inner.asked == 3
        assert await completer.probe() == inner.abilities == completer.abilities
        await completer.close()
        assert cache.waiting == 0
        cache.close()

    asyncio.run(run())


def test_a_failure_is_not_remembered(tmp_path: Path) -> None:
    async def run() -> None:
        cache = RequestCache(tmp_path / "cache.sqlite")
        with pytest.raises(CompletionFailed):
            await CachedCompleter(MockCompleter(fail_rate=1.0), cache).complete(request())
        made = await CachedCompleter(MockCompleter(), cache).complete(request())
        assert not made.cached
        cache.close()

    asyncio.run(run())
