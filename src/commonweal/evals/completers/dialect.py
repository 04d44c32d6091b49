"""What a server understands of the OpenAI protocol, learned from its complaints.

A server that answers 400 because it does not know a parameter is asked again without it, where that changes nothing
of the measurement (a stop string is cut by us as well; the limit of tokens has two names). A parameter that does
change it (the temperature) is never dropped. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """``limit`` is the name of the limit of new tokens in a chat; ``echo_tokens`` how many must be generated where
    only the prompt is to be scored; ``stops`` is how many stop strings may be sent. The others are whether the
    server knows a seed, several choices (``n``), streams, and the tokens' number at the end of one (``usage``)."""

    limit: str = "max_tokens"
    echo_tokens: int = 0
    stops: int = 4
    seed: bool = True
    n: bool = True
    stream: bool = True
    usage: bool = True


_UNKNOWN = re.compile(
    r"support|unknown|unexpected|unrecognized|not permitted|extra input|at most|only one|must be"
)
_N = re.compile(r"\bn\b|choice")
_STREAM = re.compile(r"\bstream(ing|ed)?\b")


def learned(
    dialect: Dialect, message: str, *, scoring: bool = False, several: bool = False
) -> Dialect | None:
    """The dialect after a 400 that says ``message``; None where it teaches nothing new. ``scoring`` and ``several`` are
    whether the request was one for a score, or for several choices.

    >>> learned(Dialect(), "Use 'max_completion_tokens' instead.").limit
    'max_completion_tokens'
    """
    text = message.lower()
    if "max_completion_tokens" in text:
        new = replace(dialect, limit="max_completion_tokens")
    elif "max_tokens" in text and scoring:
        new = replace(dialect, echo_tokens=1)
    elif not _UNKNOWN.search(text):
        return None
    elif "stream_options" in text or "include_usage" in text:
        new = replace(dialect, usage=False)
    elif _STREAM.search(text):
        new = replace(dialect, stream=False)
    elif "stop" in text:
        new = replace(dialect, stops=0)
    elif "seed" in text:
        new = replace(dialect, seed=False)
    elif several and _N.search(text):
        new = replace(dialect, n=False)
    else:
        return None
    return None if new == dialect else new
