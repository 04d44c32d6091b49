"""A saved tokenizer as examples need it: chats and plain text to ids, and ids to text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commonweal.core.completion import Message, Tool
from commonweal.core.errors import ConfigError
from commonweal.models.chat import Rendered, plain_text, render_chat


class ChatEncoder:
    """Encodes by one fast tokenizer of transformers. No text ever becomes a control token. Needs no torch."""

    def __init__(self, tokenizer: Any) -> None:
        if tokenizer.eos_token_id is None:
            raise ConfigError(
                "the tokenizer has no end-of-text token", hint="add eos_token to its tokenizer_config.json"
            )
        self.tokenizer = tokenizer
        self._plain = plain_text(tokenizer)

    @property
    def end_of_text(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def size(self) -> int:
        """One more than the largest id."""
        return 1 + max(int(number) for number in self.tokenizer.get_vocab().values())

    def chat(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Rendered:
        """A whole conversation, answers included."""
        return render_chat(self.tokenizer, messages, tools=tools, generation_prompt=False)

    def text(self, text: str, *, continued: bool = False) -> list[int]:
        """Plain text; ``continued``: after other text, so that nothing is put before its first word."""
        return [token for token, _, _ in self._plain.encode(text, "inside" if continued else "first")]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids``, control tokens by their characters."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))


def load_encoder(folder: Path) -> ChatEncoder:
    """The encoder of a model's folder. Raises ConfigError."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"the model's tokenizer cannot be loaded: {said}",
            hint="save it with the model, as tokenizer.json",
        ) from error
    return ChatEncoder(tokenizer)
