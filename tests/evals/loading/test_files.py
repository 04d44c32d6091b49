"""Rows of local files: every format, and what is said about a bad one."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonweal.core.errors import DataError
from commonweal.evals.loading.fields import field, where
from commonweal.evals.loading.files import file_rows


def values(path: Path, columns: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if not k.startswith("__")} for row in file_rows(path, columns)]


ROWS = [{"question": "Où?", "n": "1"}, {"question": 'a, "b"\nc', "n": "2"}]


def as_csv(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


WRITERS: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "a.jsonl": lambda rows: "\n\n".join(json.dumps(row) for row in rows),
    "b.json": lambda rows: json.dumps(rows, indent=2),
    "c.csv": as_csv,
    "d.tsv": lambda rows: as_csv(rows, "\t"),
    "lines.json": lambda rows: "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n",
}


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("name", sorted(WRITERS))
def test_each_format_plain_packed_and_in_an_archive(name: str, bom: str, tmp_path: Path) -> None:
    data = (bom + WRITERS[name](ROWS)).encode()
    (tmp_path / name).write_bytes(data)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data, mtime=0))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr(f"inner/{name}", data)
    for path in (tmp_path / name, tmp_path / f"{name}.gz", tmp_path / "all.zip" / "inner" / name):
        assert values(path) == ROWS


def test_one_object_is_one_row_and_bare_elements_get_a_name(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{"data": [1, 2]}')
    (tmp_path / "bare.json").write_text("[1, [2]]")
    (tmp_path / "bare.jsonl").write_text('"x"\n')
    assert values(tmp_path / "one.json") == [{"data": [1, 2]}]
    assert values(tmp_path / "bare.json") == [{"value": 1}, {"value": [2]}]
    assert values(tmp_path / "bare.jsonl") == [{"value": "x"}]


def test_lines_of_text_keep_all_but_their_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("one \r\n\n\x85two\u2028three".encode())
    assert [row["line"] for row in file_rows(tmp_path / "a.txt")] == ["one ", "", "\x85two\u2028three"]


def test_parquet_and_line_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": list(range(600)), "b": [["x"]] * 600}), tmp_path / "a.parquet")
    rows = list(file_rows(tmp_path / "a.parquet"))
    assert (len(rows), rows[599]["a"], rows[599]["b"]) == (600, 599, ["x"])
    assert where(rows[599]) == f"{tmp_path / 'a.parquet'}, line 600"


def test_columns_of_a_file_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("1\tx\n2\ty\n")
    assert values(tmp_path / "a.tsv", ("id", "text")) == [{"id": "1", "text": "x"}, {"id": "2", "text": "y"}]


@pytest.mark.parametrize(
    ("name", "data", "line", "said"),
    [
        ("a.jsonl", b'{"a": 1}\n\n{"a": }\n', 3, "not valid JSON"),
        ("a.json", b"[1,\n2,\n}", 3, "not valid JSON"),
        ("a.csv", b'a,b\n1,2\n"x\ny",2\n1,2,3\n', 5, "expected 2 columns (a, b), found 3"),
        ("a.tsv", b"a\tb\n1\n", 2, "expected 2 columns"),
        ("a.txt", b"good\nb\xffd\n", None, "not UTF-8"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 2000, mtime=0)[:40], None, "damaged"),
        ("a.parquet", b"PAR1 no", None, "not a readable Parquet file"),
        ("a.xls", b"", None, "no reader for '.xls'"),
    ],
)
def test_a_bad_file_is_told_with_its_line(
    name: str, data: bytes, line: int | None, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as caught:
        list(file_rows(tmp_path / name))
    assert name in caught.value.message
    assert said in caught.value.message
    if line is not None:
        assert f"line {line}:" in caught.value.message


def test_good_rows_before_the_bad_one_are_given(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": 2}\nbroken\n')
    rows = file_rows(tmp_path / "a.jsonl")
    assert [row["a"] for row in islice(rows, 2)] == [1, 2]
    with pytest.raises(DataError, match="line 3"):
        next(rows)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt", "a.jsonl.gz"])
def test_ten_rows_are_read_without_the_rest(name: str, tmp_path: Path) -> None:
    """The rest is garbage in every format, so whoever reads it fails."""
    good = b"a,b\n" + b'"{",2\n' * 50_000 if name == "a.csv" else b'{"a": 1}\n' * 50_000
    data = gzip.compress(good, 1, mtime=0)[:-100] if name.endswith(".gz") else good + b"1,2,3\n\xff\n" * 1000
    (tmp_path / name).write_bytes(data)
    assert len(list(islice(file_rows(tmp_path / name), 10))) == 10
    with pytest.raises(DataError):
        list(file_rows(tmp_path / name))


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=20)


@settings(max_examples=60)
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8))
def test_any_cells_survive_csv_and_jsonl(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("cells")
    rows = [{"x": x, "y": y} for x, y in cells]
    (folder / "a.csv").write_text(as_csv(rows).replace("\r\n", "\n"), encoding="utf-8", newline="")
    (folder / "a.jsonl").write_text(
        "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8", newline=""
    )
    assert values(folder / "a.csv") == rows
    assert values(folder / "a.jsonl") == rows


@pytest.mark.parametrize(
    ("value", "kind", "given"),
    [
        ("x", str, "x"),
        ("3", int, 3),
        (3, float, 3.0),
        ("0.5", float, 0.5),
        (True, bool, True),
        ([1], list, [1]),
    ],
)
def test_a_field_of_its_kind(value: Any, kind: type[Any], given: Any) -> None:
    assert field({"a": value}, "a", kind) == given


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (3, str, "should be text, but is int 3"),
        ("x", int, "should be an integer, but is str 'x'"),
        (1.5, int, "should be an integer, but is float 1.5"),
        (True, int, "should be an integer"),
        (None, list, "should be a list, but is NoneType None"),
        ("yes", bool, "should be true or false"),
    ],
)
def test_a_field_of_another_kind(value: Any, kind: type[Any], said: str) -> None:
    with pytest.raises(DataError, match=r"f\.jsonl, line 7: field 'a'") as caught:
        field({"a": value, "__file__": "f.jsonl", "__line__": 7}, "a", kind)
    assert said in caught.value.message


def test_a_missing_field_names_those_there_are() -> None:
    with pytest.raises(DataError, match="no field 'answr'") as caught:
        field({"answer": 1, "__file__": "f"}, "answr", int)
    assert caught.value.hint == "the row has: answer"
