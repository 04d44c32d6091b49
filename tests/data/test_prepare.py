"""Preparing data: once, whole or not at all, verified, with its provenance, and all tokens where they belong."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from commonweal.core.errors import DataError, StorageFull
from commonweal.data.prepare import Prepared, open_prepared, prepare
from commonweal.data.provenance import Provenance
from commonweal.data.shards import ShardSet, folder_shards
from commonweal.data.sources import Source, held_out_rule, iter_documents
from commonweal.data.tokenizer import TokenizerSettings, load_tokenizer

BYTES = TokenizerSettings(kind="bytes")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    for i in range(120):
        (folder / f"{i:03}.txt").write_text(f"document {i}: café " + "x" * i)
    return folder


def go(text: Path, out: Path, **more: object) -> Prepared:
    source = Source(kind="files", path=str(text), licence="CC0-1.0")
    return prepare(source, BYTES, out, seq_len=16, **{"shard_tokens": 1000, **more})  # type: ignore[arg-type]


def decoded(prepared: Prepared, shards: ShardSet) -> list[str]:
    """The documents back from the shards."""
    opened = folder_shards(prepared.shard_dir, vocab_size=shards.vocab_size)
    tokens = np.concatenate([opened(s.hash) for s in shards.shards])
    tokenizer = load_tokenizer(prepared.tokenizer_dir)
    assert tokens[-1] == tokenizer.end_of_text
    ends = np.flatnonzero(tokens == tokenizer.end_of_text)
    return [
        tokenizer.decode(part[part != tokenizer.end_of_text].tolist()) for part in np.split(tokens, ends)
    ][:-1]


def test_every_document_is_in_one_split_exactly(text: Path, tmp_path: Path) -> None:
    prepared = go(text, tmp_path / "out")
    source = Source(kind="files", path=str(text))
    rule = held_out_rule(source)
    documents = list(iter_documents(source))
    assert decoded(prepared, prepared.shards) == [d.text for d in documents if not rule(d.name)]
    assert decoded(prepared, prepared.held_out) == [d.text for d in documents if rule(d.name)]
    assert prepared.held_out.documents >= 1
    sizes = [s.tokens for s in prepared.shards.shards]
    assert set(sizes[:-1]) == {1000}
    assert (
        prepared.shards.text_bytes + prepared.shards.documents == prepared.shards.tokens
    )  # bytes + separators


def test_the_second_call_does_nothing(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = go(text, tmp_path / "out")
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    monkeypatch.setattr("commonweal.data.prepare.iter_documents", None)
    second = go(text, tmp_path / "out")
    assert (first.cached, second.cached) == (False, True)
    assert replace(second, cached=False) == first
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == stamps


def test_the_same_content_elsewhere_gives_the_same_hashes(text: Path, tmp_path: Path) -> None:
    one, two = go(text, tmp_path / "a"), go(text, tmp_path / "b")
    assert one.shards == two.shards
    assert one.folder.name == two.folder.name


def test_changed_content_or_settings_are_prepared_anew(text: Path, tmp_path: Path) -> None:
    folders = [go(text, tmp_path / "out").folder, go(text, tmp_path / "out", shard_tokens=500).folder]
    (text / "000.txt").write_text("another text")
    folders.append(go(text, tmp_path / "out").folder)
    assert len(set(folders)) == 3


def test_a_damaged_shard_is_found_before_it_is_used(text: Path, tmp_path: Path) -> None:
    prepared = go(text, tmp_path / "out")
    shard = next(prepared.shard_dir.iterdir())
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match="missing or changed since it was prepared") as error:
        go(text, tmp_path / "out")
    assert f"delete {prepared.folder}" in str(error.value)


@pytest.mark.parametrize("text_of_record", ["", "{", "[]", '{"shards": {}}'])
def test_a_damaged_record_is_found(text: Path, tmp_path: Path, text_of_record: str) -> None:
    prepared = go(text, tmp_path / "out")
    (prepared.folder / "prepared.json").write_text(text_of_record)
    with pytest.raises(DataError, match=r"prepared\.json: missing or changed"):
        go(text, tmp_path / "out")


def test_a_full_disk_leaves_nothing_behind(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    write_bytes = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        written.append(self)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageFull, match="no space left for the tokens") as error:
        go(text, tmp_path / "out")
    assert "free some space" in str(error.value)
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.undo()
    assert not go(text, tmp_path / "out").cached


def test_a_folder_that_cannot_be_made(text: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        go(text, tmp_path / "file" / "out")


def test_an_interrupted_run_leaves_no_folder(text: Path, tmp_path: Path) -> None:
    def interrupt(stage: str, size: int) -> None:
        if stage == "tokens" and size > 2000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(text, tmp_path / "out", progress=interrupt)
    assert list((tmp_path / "out").iterdir()) == []


def test_too_little_text_for_a_batch(text: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"text: data: \d+ tokens make \d+ sequences of 16, less than one batch of 9999"
    ):
        go(text, tmp_path / "out", batch_size=9999)
    assert list((tmp_path / "out").iterdir()) == []


def test_too_little_held_out_text(text: Path, tmp_path: Path) -> None:
    (tmp_path / "h.txt").write_text("short")
    with pytest.raises(DataError, match="6 held-out tokens are less than one sequence of 16") as error:
        go(text, tmp_path / "out", held_out=Source(kind="files", path=str(tmp_path / "h.txt")))
    assert "separate held-out source" in str(error.value)


def test_a_separate_held_out_source_takes_the_place_of_the_split(text: Path, tmp_path: Path) -> None:
    (tmp_path / "h.txt").write_text("something else, kept out by hand")
    prepared = go(text, tmp_path / "out", held_out=Source(kind="files", path=str(tmp_path / "h.txt")))
    assert prepared.shards.documents == 120
    assert decoded(prepared, prepared.held_out) == ["something else, kept out by hand"]
    assert (prepared.provenance.held_out_source or {})["path"] == str(tmp_path / "h.txt")


def test_an_empty_source(tmp_path: Path) -> None:
    (tmp_path / "e.txt").write_text("\n")
    with pytest.raises(DataError, match="no text in it"):
        go(tmp_path / "e.txt", tmp_path / "out")


def test_provenance_says_what_went_in(text: Path, tmp_path: Path) -> None:
    prepared = go(text, tmp_path / "out")
    record = prepared.provenance
    assert (record.kind, record.location, record.licence) == ("files", str(text), "CC0-1.0")
    assert record.train.documents + record.held_out.documents == 120
    assert record.train.shards == tuple(s.hash for s in prepared.shards.shards)
    assert record.tokenizer_hash == load_tokenizer(prepared.tokenizer_dir).hash()
    assert {"commonweal", "numpy", "tokenizers"} <= record.libraries.keys()
    assert Provenance.from_json(json.loads(json.dumps(record.to_json()))) == record
    forged = {**record.to_json(), "licence": "MIT"}
    with pytest.raises(DataError, match="does not have its own hash"):
        Provenance.from_json(forged)


def test_provenance_has_no_folder_that_was_not_typed(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prepared = go(Path("text"), Path("out"))
    assert str(tmp_path) not in json.dumps(prepared.provenance.to_json())


def test_jsonl_and_data_sets_are_prepared_alike(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"row {i} " + "y" * 40}) for i in range(200)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    made = [
        prepare(Source(kind=kind, path=str(tmp_path / "rows.jsonl")), BYTES, tmp_path / "out", seq_len=16)
        for kind in ("files", "dataset")
    ]
    assert {p.shards.documents + p.held_out.documents for p in made} == {200}
    assert all(p.provenance.content for p in made)


def test_a_trained_tokenizer_never_saw_the_held_out_text(text: Path, tmp_path: Path) -> None:
    source = Source(kind="files", path=str(text))
    rule = held_out_rule(source)
    kept = next(d.name for d in iter_documents(source) if rule(d.name))
    (text / kept).write_text("zqzqzqzq " * 200)
    prepared = prepare(source, TokenizerSettings(vocab_size=400), tmp_path / "out", seq_len=4)
    assert "zqzq" not in (prepared.tokenizer_dir / "tokenizer.json").read_text()


def test_open_prepared_is_what_prepare_gave(text: Path, tmp_path: Path) -> None:
    prepared = go(text, tmp_path / "out")
    assert open_prepared(prepared.folder, cached=False) == prepared
