"""A local model's tokenizer: text to token ids and back, exactly where a prompt ends and its continuation begins.

It knows no tensor. Special tokens are added as the tokenizer itself would (a beginning-of-text token, where it has
one), but for chats, whose template writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import AutoTokenizer

from commonweal.core.completion import CompletionFailed, Message, Request
from commonweal.core.errors import ConfigError
from commonweal.models.architecture import quiet
from commonweal.models.encoded import Encoded


class LocalText:
    """The tokenizer in ``location``. Raises ConfigError where there is none that is fast."""

    def __init__(self, location: str) -> None:
        try:
            with quiet():
                self.tokenizer: Any = AutoTokenizer.from_pretrained(location, trust_remote_code=False)
        except Exception as error:
            raise ConfigError(
                f"model: '{location}' has no tokenizer that can be loaded: {error}",
                hint="save the tokenizer (tokenizer.json) beside the model",
            ) from error
        self._backend: Any = getattr(self.tokenizer, "backend_tokenizer", None)
        if self._backend is None:
            raise ConfigError(f"model: the tokenizer of '{location}' has no tokenizer.json")
        self._backend.no_truncation()
        self._backend.no_padding()
        self._anchor: list[int] = self._backend.encode("a", add_special_tokens=False).ids
        self._lead: str = self._decode(self._anchor)
        self._texts: dict[int, str] = {}
        self.end: int | None = self.tokenizer.eos_token_id
        self._begin: int | None = self.tokenizer.bos_token_id
        self.has_chat = bool(getattr(self.tokenizer, "chat_template", None))

    def encode(self, requests: Sequence[Request]) -> list[Encoded | CompletionFailed]:
        """The tokens of each request, or why it cannot be asked of this model."""
        return [
            self._plain(request) if request.messages is None else self._chat(request) for request in requests
        ]

    def text_of(self, ids: Sequence[int]) -> str:
        """What ``ids`` add to a text that they are written after, special tokens left out."""
        text: str = self._backend.decode([*self._anchor, *ids], skip_special_tokens=True)
        return text.removeprefix(self._lead)

    def token_text(self, token: int) -> str:
        """What one token adds to a text; a part of a character is shown as U+FFFD."""
        known = self._texts.get(token)
        if known is None:
            known = self._decode([*self._anchor, token]).removeprefix(self._lead)
            self._texts[token] = known
        return known

    def count(self, text: str) -> int:
        """How many tokens ``text`` has as a prompt, with those that the tokenizer puts before every text."""
        return len(self._backend.encode(text))

    def truncate(self, text: str, tokens: int) -> str:
        """The longest beginning of ``text``, ending where a token does, that has at most ``tokens`` tokens."""
        if tokens <= 0:
            return ""
        encoding = self._backend.encode(text)
        if len(encoding) <= tokens:
            return text
        for _, end in reversed(encoding.offsets[:tokens]):
            if self.count(text[:end]) <= tokens:
                return text[:end]
        return ""

    def _decode(self, ids: list[int]) -> str:
        text: str = self._backend.decode(ids, skip_special_tokens=False)
        return text

    def _chat(self, request: Request) -> Encoded | CompletionFailed:
        messages = request.messages or ()
        if request.kind == "score":
            return CompletionFailed("unsupported", "a chat has no continuation to score")
        if request.tools or any(message.images or message.tool_calls for message in messages):
            return CompletionFailed("unsupported", "local models are asked in text only: no images, no tools")
        if not self.has_chat:
            return CompletionFailed(
                "unsupported", "the model's tokenizer has no chat template", hint="ask it for completions"
            )
        try:
            ids: list[int] = self._templated(messages)
        except Exception as error:  # the template is a stranger's program
            return CompletionFailed("unsupported", f"the chat template does not take this chat: {error}")
        return Encoded(prompt=ids or self._start(), continuation=[])

    def _templated(self, messages: Sequence[Message]) -> list[int]:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        text = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids

    def _plain(self, request: Request) -> Encoded | CompletionFailed:
        text = _whole(request)
        if not _is_unicode(text):
            return CompletionFailed("bad_request", "the prompt has a lone surrogate, which is no character")
        # unlike encode, encode_batch lets other threads go on meanwhile
        [encoding] = self._backend.encode_batch([text])
        ids: list[int] = encoding.ids
        if request.kind != "score":
            prompt = ids or self._start()
            return Encoded(prompt=prompt, continuation=[]) if prompt else _nothing()
        start = _boundary(encoding, len(request.prompt or ""), len(request.continuation))
        prompt, continuation = ids[:start], ids[start:]
        if prompt or not continuation:
            return Encoded(prompt=prompt or self._start() or ids, continuation=continuation)
        if begin := self._start():
            return Encoded(prompt=begin, continuation=continuation)
        return Encoded(prompt=continuation[:1], continuation=continuation[1:], unscored=True)

    def _start(self) -> list[int]:
        """What stands before an empty prompt: the token that begins a text, or the one that ends it."""
        token = self._begin if self._begin is not None else self.end
        return [] if token is None else [token]


def _whole(request: Request) -> str:
    return (request.prompt or "") + (request.continuation if request.kind == "score" else "")


def _is_unicode(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _boundary(encoding: Any, prompt: int, continuation: int) -> int:
    """The first token that holds a character of the continuation.

    A character may be in no token (white space that the tokenizer's offsets leave out): then the next one counts.
    """
    for at in range(prompt, prompt + continuation):
        token = encoding.char_to_token(at)
        if token is not None:
            return int(token)
    return len(encoding.ids)


def _nothing() -> CompletionFailed:
    return CompletionFailed(
        "unsupported", "the prompt is empty, and the tokenizer has no token that begins a text"
    )
