"""The fields that chat and completions share: sampling, limits, streaming, and what is accepted without effect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from commonweal.serve.api.asking import AskBody, Strict
from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.tags import text_or_list

MOST_CHOICES = 128
MOST_TOKENS = 2**24
DEFAULT_TOKENS = 4096
"""How long an answer may be that nobody set a limit to (and the model's window, if that is smaller)."""
_TOKEN_ID = re.compile(r"\d{1,9}")

Penalty = Annotated[float, Field(ge=-2, le=2)]
StopText = Annotated[str, Field(max_length=2_000)]
Stops = Annotated[
    Annotated[StopText, Tag("<text>")] | Annotated[list[StopText], Tag("<list>")], Discriminator(text_or_list)
]


class StreamOptions(Strict):
    """``include_usage``: a last chunk with the usage. ``include_obfuscation`` is accepted, nothing is obfuscated."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class SamplingBody(AskBody):
    """Sampling as OpenAI has it; the defaults are OpenAI's too."""

    n: int | None = Field(default=None, ge=1, le=MOST_CHOICES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: Stops | None = Field(default=None, description="A text, or several.")
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = Field(default=None, description="Token id -> -100 to 100.")

    @property
    def includes_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)


def sampling_of(body: SamplingBody, *, most_stops: int) -> dict[str, Any]:
    """The fields of a core ``Request``."""
    if body.stream_options is not None and not body.stream:
        raise ApiError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    temperature = 1.0 if body.temperature is None else float(body.temperature)
    top_p = 1.0 if body.top_p is None else float(body.top_p)
    if top_p == 0.0:  # the likeliest token alone is as many as nothing
        temperature, top_p = 0.0, 1.0
    return {
        "n": body.n or 1,
        "temperature": temperature,
        "top_p": top_p,
        "stop": _stops(body.stop, most_stops),
        "seed": body.seed,
        "penalties": (float(body.frequency_penalty or 0.0), float(body.presence_penalty or 0.0)),
        "bias": _bias(body.logit_bias),
    }


def _stops(stop: str | list[str] | None, most: int) -> tuple[str, ...]:
    texts = [stop] if isinstance(stop, str) else stop or []
    if len(texts) > most:
        raise ApiError(
            f"Invalid 'stop': array too long. Expected an array with maximum length {most}, but got an array with "
            f"length {len(texts)} instead.",
            param="stop",
            code="array_above_max_length",
        )
    return tuple(text for text in texts if text)


def _bias(bias: Mapping[str, float] | None) -> tuple[tuple[int, float], ...]:
    if not bias:
        return ()
    if len(bias) > 1024:
        raise ApiError("Invalid 'logit_bias': at most 1024 tokens.", param="logit_bias")
    for token, value in bias.items():
        if not _TOKEN_ID.fullmatch(token):
            raise ApiError(
                f"Invalid key in 'logit_bias': {token[:40]}. You should only be submitting token ids, "
                "e.g. {'42': -100}.",
                param="logit_bias",
            )
        if not -100 <= value <= 100:
            raise ApiError("Invalid 'logit_bias': values are between -100 and 100.", param="logit_bias")
    return tuple(sorted((int(token), float(value)) for token, value in bias.items()))
