"""Sources: which documents, in which order, which are held out, and what a bad file is answered with."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonweal.core.errors import DataError, Unavailable
from commonweal.data import files
from commonweal.data.hub_datasets import hub_error
from commonweal.data.sources import Document, Source, held_out_rule, is_held_out, iter_documents


def read(path: Path | str, **more: str) -> list[Document]:
    return list(iter_documents(Source(kind="files", path=str(path), **more)))


def test_stdlib_is_real_text_in_a_fixed_order_without_tests() -> None:
    names = [d.name for d in iter_documents(Source())]
    assert names[:1] == ["__future__.py"]
    assert names == sorted(names)
    assert {"json/decoder.py", "argparse.py"} <= set(names)
    assert not [n for n in names if {"test", "tests", "site-packages"} & set(n.split("/"))]


def test_one_in_fifty_is_held_out_by_name_alone() -> None:
    names = [f"folder/{i}.py" for i in range(20_000)]
    share = sum(map(is_held_out, names)) / len(names)
    assert 0.017 < share < 0.023
    assert [n for n in names[:250] if is_held_out(n)] == [
        "folder/18.py",
        "folder/125.py",
        "folder/153.py",
        "folder/189.py",
        "folder/226.py",
        "folder/247.py",
    ]


def test_a_small_source_still_gives_up_one_document(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text(name)
    rule = held_out_rule(Source(kind="files", path=str(tmp_path)))
    assert [rule(f"{n}.txt") for n in "abc"].count(True) == 1


def test_a_single_document_cannot_be_split(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alone")
    with pytest.raises(DataError, match="one document only") as error:
        held_out_rule(Source(kind="files", path=str(tmp_path)))
    assert "held-out source" in str(error.value)


def test_a_folder_is_read_by_name_and_hidden_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x").write_text("hidden")
    (tmp_path / "b.txt").write_text("B")
    (tmp_path / "sub" / "a.md").write_text("A")
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "rows.jsonl").write_text('{"text": "R1"}\n\n{"text": "R3", "x": 1}\n')
    found = [(d.name, d.text) for d in read(tmp_path)]
    assert found == [("b.txt", "B"), ("rows.jsonl:1", "R1"), ("rows.jsonl:3", "R3"), ("sub/a.md", "A")]


def test_a_glob_and_its_names(tmp_path: Path) -> None:
    for name in ("x/1.txt", "x/y/2.txt", "x/3.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [d.name for d in read(tmp_path / "**" / "*.txt")] == ["x/1.txt", "x/y/2.txt"]
    assert [d.name for d in read(tmp_path / "x" / "*.md")] == ["3.md"]


def test_max_bytes_stops_early(tmp_path: Path) -> None:
    for i in range(10):
        (tmp_path / f"{i}.txt").write_text("é" * 50)
    source = Source(kind="files", path=str(tmp_path), max_bytes=250)
    assert len(list(iter_documents(source))) == 3


def test_a_long_file_is_cut_at_line_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIECE_BYTES", 100)
    text = "".join(f"line {i}\n" for i in range(100))
    (tmp_path / "long.txt").write_text(text)
    found = read(tmp_path / "long.txt")
    assert "".join(d.text for d in found) == text
    assert [d.name for d in found[:2]] == ["long.txt", "long.txt#1"]
    assert all(d.text.endswith("\n") for d in found)


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet=st.sampled_from("a\né漢🙂"), max_size=300), size=st.integers(1, 40))
def test_pieces_join_to_the_file_whatever_its_lines(
    tmp_path_factory: pytest.TempPathFactory, text: str, size: int
) -> None:
    path = tmp_path_factory.mktemp("pieces") / "t.txt"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "PIECE_BYTES", size)
        assert "".join(piece for _, piece in files.iter_files(str(path), "text")) == text


def write_latin1(folder: Path) -> Path:
    (folder / "l.txt").write_bytes(b"caf" + "é".encode("latin-1") + b" au lait")
    return folder / "l.txt"


def write_lines(*lines: str | bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "rows.jsonl"
        path.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines))
        return path

    return write


GOOD = '{"text": "fine"}'


@pytest.mark.parametrize(
    ("make", "says", "advice"),
    [
        (lambda f: f / "none.txt", "none.txt: no such file or folder", "check path"),
        (lambda f: f / "*.none", r"\*.none: no file matches", "any depth"),
        (lambda f: f, "the folder has no files in it", "text or JSONL"),
        (write_latin1, r"l.txt: not UTF-8 \(byte 3\)", "convert it to UTF-8"),
        (write_lines(GOOD, "{bad"), "rows.jsonl:2: not valid JSON: .* column 2", "one JSON object"),
        (write_lines(GOOD, "[1]"), "rows.jsonl:2: a list, not an object", "one JSON object"),
        (write_lines(GOOD, "", '{"txt": "x", "id": 1}'), "rows.jsonl:3: no field 'text'", "it has: id, txt"),
        (write_lines('{"text": 7}'), "rows.jsonl:1: the field 'text' is a number, not text", "text_field"),
        (write_lines('{"text": null}'), "rows.jsonl:1: the field 'text' is a null", "text_field"),
        (write_lines('{"text": "\\ud800"}'), "rows.jsonl:1: .* lone surrogate", "repair"),
        (write_lines(GOOD, b'{"text": "\xff"}'), r"not UTF-8 \(line 2, byte 10 of it\)", "UTF-8"),
        (write_lines("[" * 100_000), "rows.jsonl:1: JSON nested too deep", "one JSON object"),
    ],
)
def test_bad_files_are_answered_with_the_place_and_what_to_do(
    tmp_path: Path, make: Callable[[Path], Path], says: str, advice: str
) -> None:
    with pytest.raises(DataError, match=says) as error:
        read(make(tmp_path))
    assert advice in (error.value.hint or "")


def test_not_utf8_far_into_a_long_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIECE_BYTES", 64)
    (tmp_path / "t.txt").write_bytes(b"abc\n" * 1000 + b"\xff")
    with pytest.raises(DataError, match=r"byte 4000\)"):
        read(tmp_path / "t.txt")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "stdlib", "path": "x"}, "path: the kind 'stdlib' has none"),
        ({"kind": "files"}, "path: the kind 'files' needs one"),
        ({"text_field": ""}, "text_field"),
        ({"max_bytes": 0}, "max_bytes"),
    ],
)
def test_settings_check_themselves(values: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Source(**values)  # type: ignore[arg-type]


ROWS = [{"text": f"row {i} é", "other": i} for i in range(5)]


def write_dataset(folder: Path, form: str) -> Path:
    import pyarrow
    import pyarrow.parquet

    path = folder / f"train.{form}"
    if form == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        path.write_text("".join(f"{row['text']}\n" for row in ROWS))
    return path


@pytest.mark.parametrize("form", ["parquet", "jsonl", "txt"])
@pytest.mark.parametrize("whole_folder", [False, True])
def test_a_data_set_streams_from_local_files(tmp_path: Path, form: str, whole_folder: bool) -> None:
    path = write_dataset(tmp_path, form)
    source = Source(kind="dataset", path=str(tmp_path if whole_folder else path))
    found = [(d.name, d.text) for d in iter_documents(source)]
    assert found == [(f"train:{i}", row["text"]) for i, row in enumerate(ROWS)]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"text_field": "body"}, "row 0 of 'train': no field 'body'"),
        ({"text_field": "other"}, "row 0 of 'train': the field 'other' is a number"),
        ({"split": "nope"}, "split"),
    ],
)
def test_bad_data_sets(tmp_path: Path, more: dict[str, str], says: str) -> None:
    path = write_dataset(tmp_path, "parquet")
    with pytest.raises(DataError, match=says):
        list(iter_documents(Source(kind="dataset", path=str(path), **more)))  # type: ignore[arg-type]


def test_a_broken_or_unknown_data_set_file(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataError, match=r"x\.parquet"):
        list(iter_documents(Source(kind="dataset", path=str(tmp_path / "x.parquet"))))
    (tmp_path / "x.xyz").write_bytes(b"")
    with pytest.raises(DataError, match="not a data set file"):
        list(iter_documents(Source(kind="dataset", path=str(tmp_path / "x.xyz"))))
    with pytest.raises(DataError, match="no such file or folder"):
        list(iter_documents(Source(kind="dataset", path=str(tmp_path / "none"))))


def test_tables_are_not_read_as_text(tmp_path: Path) -> None:
    write_dataset(tmp_path, "parquet")
    with pytest.raises(DataError, match="a table, not text") as error:
        read(tmp_path)
    assert 'kind = "dataset"' in str(error.value)


def test_a_hub_that_is_away_is_no_fault_of_the_data() -> None:
    away = OSError("We couldn't connect")
    away.__cause__ = ValueError("wrapped")
    away.__cause__.__context__ = socket.gaierror(-2, "Name or service not known")
    assert isinstance(hub_error(away, "some/name", hint=""), Unavailable)
    wrong = hub_error(OSError("nobody/nothing is not a name\nmore"), "some/name", hint="check it")
    assert isinstance(wrong, DataError)
    assert str(wrong) == "some/name: nobody/nothing is not a name\n  check it"
