"""The loader: which origin is read, what is kept of the hub, and what is said when nothing is within reach."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from commonweal.core.errors import DataError, NotFound, Unavailable
from commonweal.evals.loading import DataLoader, examples
from commonweal.evals.loading.hub import Fetched
from commonweal.evals.scenario import Hub, Local

HUB = Hub(path="org/set", revision="main", split="test")


class FakeHub:
    """Data sets by their path: rows, a file, or an error."""

    def __init__(self, **sets: Any) -> None:
        self.sets = sets
        self.opened: list[str] = []
        self.passed = 0

    def open(self, hub: Hub) -> Fetched:
        self.opened.append(hub.path)
        held = self.sets[hub.path.partition("/")[2]]
        if isinstance(held, Exception):
            raise held
        if isinstance(held, Path):
            return Fetched(commit="c0ffee", file=held)
        return Fetched(commit="c0ffee", rows=self._rows(held))

    def _rows(self, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for row in rows:
            self.passed += 1
            if "raise" in row:
                raise Unavailable("the line is cut")
            yield dict(row)


def plain(rows: Iterator[Any]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if not k.startswith("__")} for row in rows]


def make(tmp_path: Path, remote: FakeHub | None = None, *, offline: bool = False) -> DataLoader:
    (tmp_path / "root").mkdir(exist_ok=True)
    return DataLoader(tmp_path / "root", tmp_path / "cache", offline=offline, remote=remote or FakeHub())


ROWS = [{"q": f"question {n}", "choices": {"text": ["a", "b"]}, "gold": n} for n in range(2500)]


def test_local_files_come_first_wherever_they_stand(tmp_path: Path) -> None:
    remote = FakeHub(set=ROWS)
    loader = make(tmp_path, remote)
    (tmp_path / "root" / "a.jsonl").write_text('{"q": "local"}\n')
    assert plain(loader.rows(HUB, Local(path="missing.jsonl"), Local(path="a.jsonl"))) == [{"q": "local"}]
    assert remote.opened == []
    assert [source.path for source in loader.sources] == [str(tmp_path / "root" / "a.jsonl")]


def test_a_star_reads_all_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    loader = make(tmp_path)
    for name in ("b-2", "b-1", "c-1"):
        (tmp_path / "root" / f"{name}.txt").write_text(name)
    assert [row["line"] for row in loader.rows(Local(path="b-*.txt"))] == ["b-1", "b-2"]
    with pytest.raises(NotFound, match=r"x-\*\.txt"):
        loader.rows(Local(path="x-*.txt"))


def test_rows_of_the_hub_are_kept_and_read_offline(tmp_path: Path) -> None:
    remote = FakeHub(set=ROWS)
    first = make(tmp_path, remote)
    assert plain(first.rows(HUB)) == ROWS
    later = make(tmp_path, offline=True)
    assert plain(later.rows(HUB)) == ROWS
    assert plain(make(tmp_path, remote).rows(HUB)) == ROWS
    assert remote.opened == ["org/set"]
    assert later.sources[0].revision == "c0ffee"
    assert [path.suffix for path in sorted((tmp_path / "cache").iterdir())] == [".parquet", ".json"]
    note = json.loads(next((tmp_path / "cache").glob("*.json")).read_text())
    assert (note["commit"], note["rows"], note["path"]) == ("c0ffee", 2500, "org/set")


def test_ten_rows_fetch_ten_and_keep_nothing(tmp_path: Path) -> None:
    remote = FakeHub(set=ROWS)
    rows = make(tmp_path, remote).rows(HUB)
    assert len(list(islice(rows, 10))) == 10
    assert remote.passed == 10
    rows.close()  # type: ignore[attr-defined]
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cut_line_keeps_nothing(tmp_path: Path) -> None:
    remote = FakeHub(set=[*ROWS[:1200], {"raise": 1}])
    with pytest.raises(Unavailable):
        list(make(tmp_path, remote).rows(HUB))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    list(make(tmp_path, FakeHub(set=ROWS)).rows(HUB))
    kept = next((tmp_path / "cache").glob("*.parquet"))
    data = bytearray(kept.read_bytes())
    data[100] ^= 1
    kept.write_bytes(data)
    with pytest.raises(DataError, match="changed since it was loaded from org/set"):
        make(tmp_path, offline=True).rows(HUB)
    kept.unlink()
    assert plain(make(tmp_path, FakeHub(set=ROWS)).rows(HUB)) == ROWS


def test_rows_that_parquet_would_change_are_given_but_not_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd: list[dict[str, Any]] = [{"a": 1}, {"a": 2, "b": "x"}]
    assert plain(make(tmp_path, FakeHub(set=odd)).rows(HUB)) == odd
    mixed: list[dict[str, Any]] = [*({"a": 1} for _ in range(1000)), {"a": "x"}]
    other = Hub(path="org/mixed", revision="main")
    assert plain(make(tmp_path, FakeHub(mixed=mixed)).rows(other)) == mixed
    assert list((tmp_path / "cache").iterdir()) == []
    assert [record.message.split()[0] for record in caplog.records] == ["rows_not_cached"] * 2


def test_a_cache_that_cannot_be_written_loses_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("commonweal.evals.loading.cache.os.replace", full)
    fetched = tmp_path / "download.csv"
    fetched.write_text("q\na\n")
    remote = FakeHub(set=ROWS, files=fetched)
    loader = make(tmp_path, remote)
    assert plain(loader.rows(HUB)) == ROWS
    assert plain(loader.rows(Hub(path="org/files", revision="abc", file="x.csv"))) == [{"q": "a"}]
    assert list((tmp_path / "cache").iterdir()) == []
    assert [r.message.split()[0] for r in caplog.records] == ["rows_not_cached", "file_not_cached"]
    assert "No space left" in caplog.text


def test_a_file_of_a_repository_is_kept_as_it_is(tmp_path: Path) -> None:
    fetched = tmp_path / "download.csv"
    fetched.write_text("a,1\nb,2\n")
    hub = Hub(path="org/files", revision="abc", file="data/x.csv", columns=("q", "n"))
    assert plain(make(tmp_path, FakeHub(files=fetched)).rows(hub))[1] == {"q": "b", "n": "2"}
    fetched.unlink()
    assert plain(make(tmp_path, offline=True).rows(hub))[0] == {"q": "a", "n": "1"}


def test_revisions_splits_and_files_are_kept_apart(tmp_path: Path) -> None:
    other = Hub(path="org/set", revision="main", split="train")
    list(make(tmp_path, FakeHub(set=ROWS[:3])).rows(HUB))
    list(make(tmp_path, FakeHub(set=ROWS[:1])).rows(other))
    offline = make(tmp_path, offline=True)
    assert (len(plain(offline.rows(HUB))), len(plain(offline.rows(other)))) == (3, 1)


def test_nothing_within_reach_names_every_reason(tmp_path: Path) -> None:
    loader = make(tmp_path, FakeHub(set=NotFound("org/set: gated")))
    with pytest.raises(NotFound) as caught:
        loader.rows(Local(path="a/b.csv"), HUB)
    said = "data not available: a/b.csv: not below the data root; org/set: gated"
    assert caught.value.message == said
    assert loader.missed == [said]
    with pytest.raises(NotFound, match="no data root was given"):
        DataLoader(None, tmp_path, offline=True).rows(Local(path="a.csv"))
    with pytest.raises(NotFound, match=r"\(offline\)"):
        make(tmp_path, offline=True).rows(HUB)


def test_a_hub_out_of_reach_is_asked_once(tmp_path: Path) -> None:
    remote = FakeHub(set=Unavailable("org/set: ConnectError"), other=ROWS)
    loader = make(tmp_path, remote)
    for hub in (HUB, HUB, Hub(path="org/other", revision="main")):
        with pytest.raises(NotFound, match="ConnectError"):
            loader.rows(hub)
    assert remote.opened == ["org/set"]


def test_missing_examples_are_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    loader = make(tmp_path, offline=True)
    assert list(examples(loader, Local(path="train.csv"))) == []
    assert "no_examples" in caplog.text
    assert loader.missed == ["asked without examples: data not available: train.csv: not below the data root"]


def test_an_absolute_path_needs_no_root(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x")
    loader = DataLoader(None, tmp_path / "cache", offline=True)
    assert [row["line"] for row in loader.rows(Local(path=str(path)))] == ["x"]
    assert loader.path(Local(path=str(tmp_path))) == tmp_path
    with pytest.raises(NotFound, match="no such file"):
        loader.path(Local(path=str(tmp_path / "b")))
