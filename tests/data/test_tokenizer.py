"""Tokenizers: exact round trips, the same in every run, readable by transformers, and never fooled by text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.errors import DataError
from commonweal.data.tokenizer import (
    END_OF_TEXT,
    SMALLEST_VOCABULARY,
    SPECIAL_TOKENS,
    TextTokenizer,
    TokenizerSettings,
    load_tokenizer,
    make_tokenizer,
)

TEXTS = ["def f(x):\n    return x + 1\n", "the café, 漢字 and 🙂\n", "    if x:\n        pass\n"] * 20


def trained(work: Path, size: int = 300) -> TextTokenizer:
    return make_tokenizer(TokenizerSettings(vocab_size=size), TEXTS, work=work)


BYTES = make_tokenizer(TokenizerSettings(kind="bytes"), [], work=Path())


@given(text=st.text())
def test_bytes_are_bytes(text: str) -> None:
    (ids,) = BYTES.encode_batch([text])
    assert len(ids) == len(text.encode())
    assert BYTES.decode(ids.tolist()) == text


def test_the_byte_tokenizer_has_256_and_the_special_tokens() -> None:
    assert BYTES.vocab_size == SMALLEST_VOCABULARY == 256 + len(SPECIAL_TOKENS)
    assert BYTES.end_of_text == 0


def test_training_gives_fewer_tokens_and_any_text_back(tmp_path: Path) -> None:
    tokenizer = trained(tmp_path)
    assert tokenizer.vocab_size == 300
    unseen = "class Ünseen: \t\r\n 12345 🙂 '''s"
    (ids,) = tokenizer.encode_batch([unseen])
    assert tokenizer.decode(ids.tolist()) == unseen
    assert len(tokenizer.encode_batch(TEXTS[:1])[0]) < len(TEXTS[0])


def test_training_is_the_same_in_another_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from commonweal.data.tokenizer import *\n"
        "texts = eval(sys.argv[1])\n"
        "print(make_tokenizer(TokenizerSettings(vocab_size=300), texts, work=Path()).hash())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, repr(TEXTS)], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == trained(tmp_path).hash()


def test_text_cannot_forge_a_special_token(tmp_path: Path) -> None:
    for tokenizer in (BYTES, trained(tmp_path)):
        (ids,) = tokenizer.encode_batch([f"a{END_OF_TEXT}b<|user|>"])
        assert ids.min() >= len(SPECIAL_TOKENS)
        assert tokenizer.decode(ids.tolist()) == f"a{END_OF_TEXT}b<|user|>"


def test_train_bytes_limits_what_is_read(tmp_path: Path) -> None:
    read: list[str] = []

    def texts() -> object:
        for text in TEXTS:
            read.append(text)
            yield text

    make_tokenizer(TokenizerSettings(vocab_size=300, train_bytes=50), texts(), work=tmp_path)  # type: ignore[arg-type]
    assert len(read) == 2


def test_transformers_reads_what_is_saved(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = trained(tmp_path)
    tokenizer.save(tmp_path / "saved")
    auto = AutoTokenizer.from_pretrained(tmp_path / "saved")
    text = "def f(x): café"
    assert auto.encode(text, add_special_tokens=False) == tokenizer.encode_batch([text])[0].tolist()
    assert auto.decode(auto.encode(text)) == text
    assert (auto.eos_token, auto.eos_token_id, len(auto)) == (END_OF_TEXT, 0, 300)
    chat = auto.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat == "<|user|>hi<|end|><|assistant|>"
    assert auto.encode("<|user|>") == [SPECIAL_TOKENS.index("<|user|>")]


def test_a_named_folder_gives_the_same_tokenizer(tmp_path: Path) -> None:
    first = trained(tmp_path)
    first.save(tmp_path / "one")
    settings = TokenizerSettings(kind="named", name=str(tmp_path / "one"))
    second = make_tokenizer(settings, [], work=tmp_path)
    assert (second.hash(), second.end_of_text, second.vocab_size) == (first.hash(), 0, 300)
    second.save(tmp_path / "two")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_folder_saved_by_transformers_is_read(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    first = trained(tmp_path)
    first.save(tmp_path / "one")
    AutoTokenizer.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")
    second = load_tokenizer(tmp_path / "two")
    assert second.encode_batch(TEXTS[:2])[1].tolist() == first.encode_batch(TEXTS[:2])[1].tolist()
    assert second.end_of_text == 0


def test_folders_that_are_not_tokenizers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no tokenizer\.json") as error:
        load_tokenizer(tmp_path)
    assert "save_pretrained" in str(error.value)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="not a tokenizer"):
        load_tokenizer(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        make_tokenizer(TokenizerSettings(kind="named", name="./none"), [], work=tmp_path)


def test_a_tokenizer_without_an_end(tmp_path: Path) -> None:
    trained(tmp_path).save(tmp_path)
    text = (tmp_path / "tokenizer.json").read_text().replace(END_OF_TEXT, "<|other|>")
    (tmp_path / "tokenizer.json").write_text(text)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(DataError, match="no end-of-text token") as error:
        load_tokenizer(tmp_path)
    assert "eos_token" in str(error.value)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "<|other|>"}}))
    assert load_tokenizer(tmp_path).end_of_text == 0
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "named"}, "name: the kind 'named' needs one"),
        ({"name": "x"}, "name: the kind 'train' has none"),
        ({"vocab_size": 259}, "vocab_size: must be between 260"),
        ({"train_bytes": 0}, "train_bytes"),
    ],
)
def test_settings_check_themselves(values: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TokenizerSettings(**values)  # type: ignore[arg-type]
