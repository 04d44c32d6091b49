"""Tokenizers: train a byte-level BPE, take raw bytes, or use a named one. Saved as Hugging Face folders.

Every kind ends as one ``tokenizers.Tokenizer`` with an end-of-text token, so the rest of the package sees
:class:`TextTokenizer` only. Byte-level means that any text encodes and decodes exactly. Text never turns
into a special token: a document that contains "<|endoftext|>" gets the characters, not the token.
``tokenizers`` and ``transformers`` are imported when a tokenizer is made.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from commonweal.core.errors import ConfigError, DataError
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.data.hub_datasets import hub_error

END_OF_TEXT = "<|endoftext|>"
SPECIAL_TOKENS = (END_OF_TEXT, "<|user|>", "<|assistant|>", "<|end|>")
SMALLEST_VOCABULARY = 256 + len(SPECIAL_TOKENS)

_CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ 'assistant' if message['role'] == 'assistant' else 'user' }}|>"
    "{{ message['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSettings:
    """Which tokenizer a job uses: one trained on its own text, raw bytes, or a named one.

    ``name`` is a local folder with a tokenizer.json, or a name on the Hugging Face hub. ``train_bytes`` is
    how much text (UTF-8 bytes, from the start of the source) a trained one is learned from.
    """

    kind: Literal["train", "bytes", "named"] = "train"
    vocab_size: int = 8192
    name: str = ""
    train_bytes: int = 50_000_000

    def __post_init__(self) -> None:
        if self.kind == "named" and not self.name:
            raise ValueError("name: the kind 'named' needs one")
        if self.kind != "named" and self.name:
            raise ValueError(f"name: the kind '{self.kind}' has none; set kind = \"named\"")
        if self.kind == "train" and not SMALLEST_VOCABULARY <= self.vocab_size <= 1_000_000:
            raise ValueError(f"vocab_size: must be between {SMALLEST_VOCABULARY} and 1000000")
        if self.train_bytes < 1:
            raise ValueError("train_bytes: must be at least 1")


class TextTokenizer:
    """Text to token ids. ``end_of_text`` separates documents; every id is below ``vocab_size``."""

    def __init__(
        self, backend: Any, *, end_of_text: int, config: dict[str, Any], origin: Path | None
    ) -> None:
        self._backend = backend
        self._backend.encode_special_tokens = True
        self._backend.no_truncation()
        self._backend.no_padding()
        self._config = config
        self._origin = origin
        self.end_of_text = end_of_text
        self.vocab_size: int = max(backend.get_vocab(with_added_tokens=True).values()) + 1

    def encode_batch(self, texts: Sequence[str]) -> list[npt.NDArray[np.uint32]]:
        """The ids of each text, without special tokens."""
        encoded = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(e.ids, dtype=np.uint32) for e in encoded]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids``, special tokens left out."""
        text: str = self._backend.decode([int(i) for i in ids], skip_special_tokens=True)
        return text

    def serialized(self) -> bytes:
        """The bytes of tokenizer.json."""
        if self._origin is not None:
            return (self._origin / "tokenizer.json").read_bytes()
        text: str = self._backend.to_str(pretty=True)
        return text.encode()

    def hash(self) -> BlobHash:
        """The content hash of tokenizer.json: two tokenizers with one hash give the same tokens."""
        return content_hash(self.serialized())

    def save(self, folder: Path) -> None:
        """Write the folder that ``transformers.AutoTokenizer.from_pretrained`` reads."""
        folder.mkdir(parents=True, exist_ok=True)
        if self._origin is not None:
            for name in _TOKENIZER_FILES:
                if (self._origin / name).is_file():
                    shutil.copyfile(self._origin / name, folder / name)
            return
        (folder / "tokenizer.json").write_bytes(self.serialized())
        (folder / "tokenizer_config.json").write_text(
            json.dumps(self._config, indent=2) + "\n", encoding="utf-8"
        )


def make_tokenizer(settings: TokenizerSettings, texts: Iterable[str], *, work: Path) -> TextTokenizer:
    """The tokenizer that ``settings`` ask for. ``texts`` are read only to train one; ``work`` is an existing
    folder where files of a tokenizer from the hub may be kept as long as the result is used."""
    if settings.kind == "bytes":
        return _own(_train([], SMALLEST_VOCABULARY))
    if settings.kind == "train":
        return _own(_train(_until(texts, settings.train_bytes), settings.vocab_size))
    folder = Path(settings.name).expanduser()
    return load_tokenizer(folder if folder.is_dir() else _fetch(settings.name, work))


def load_tokenizer(folder: Path) -> TextTokenizer:
    """The tokenizer saved in ``folder``: tokenizer.json, and tokenizer_config.json for its end of text."""
    tokenizers = _library()
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise DataError(
            f"{folder}: no tokenizer.json in it",
            hint="name a folder that save_pretrained of a fast tokenizer wrote",
        )
    try:
        backend = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:
        raise DataError(f"{file}: not a tokenizer: {error}") from None
    config = _read_config(folder / "tokenizer_config.json")
    return TextTokenizer(
        backend, end_of_text=_end_of_text(backend, config, folder), config=config, origin=folder
    )


def _own(backend: Any) -> TextTokenizer:
    return TextTokenizer(
        backend, end_of_text=backend.token_to_id(END_OF_TEXT), config=_own_config(), origin=None
    )


def _own_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "extra_special_tokens": list(SPECIAL_TOKENS[1:]),
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000_000,
        "chat_template": _CHAT_TEMPLATE,
    }


def _train(texts: Iterable[str], vocab_size: int) -> Any:
    tokenizers = _library()
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    # GPT-2's split into words. On code it gives fewer tokens than GPT-4's, which parts line ends from indents.
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


def _until(texts: Iterable[str], limit: int) -> Iterator[str]:
    size = 0
    for text in texts:
        yield text
        size += len(text.encode())
        if size >= limit:
            return


def _fetch(name: str, work: Path) -> Path:
    """Save a hub tokenizer's files locally, so that it is then loaded like any other folder."""
    if name.startswith((".", "/", "~")):
        raise DataError(f"{name}: no such folder", hint="name a folder with a tokenizer.json in it")
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise ConfigError(
            f"name: '{name}' is on the hub, which needs transformers", hint="install commonweal[torch]"
        ) from None
    try:
        AutoTokenizer.from_pretrained(name, trust_remote_code=False).save_pretrained(str(work))
    except Exception as error:
        where = f"tokenizer '{name}'"
        raise hub_error(error, where, hint="check the name, or give a local folder") from error
    return work


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(f"{file}: not valid JSON: {error}") from None
    return config if isinstance(config, dict) else {}


def _end_of_text(backend: Any, config: dict[str, Any], folder: Path) -> int:
    named = config.get("eos_token")
    named = named.get("content") if isinstance(named, dict) else named
    for token in (named, END_OF_TEXT, "</s>", "<|end_of_text|>", "<eos>"):
        number = backend.token_to_id(token) if isinstance(token, str) else None
        if number is not None:
            return int(number)
    raise DataError(
        f"{folder}: the tokenizer has no end-of-text token", hint="add eos_token to its tokenizer_config.json"
    )


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise ConfigError(
            "making tokens needs the 'tokenizers' library", hint="install commonweal[torch]"
        ) from None
    return tokenizers
