"""What an adapter is. It knows prompts; it knows no network and no metric.

An adapter is asked again and again what to ask next, so that chats of several turns and tool use are no special
case: most methods ask once, and answer with nothing the second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from commonweal.evals.instance import Instance
from commonweal.evals.sample import Answer, Ask, Sample


class Adapter(Protocol):
    """Turns instances into requests and completions into samples. Pure: the same arguments give the same prompts."""

    def asks(
        self, instance: Instance, examples: Sequence[Instance], answers: Sequence[Answer]
    ) -> Sequence[Ask]:
        """The requests to send next, given what was answered so far; empty when there is nothing more to ask.

        ``examples`` are the in-context examples of this trial, which the adapter drops from the end until the prompt
        fits the window. Raises CompletionFailed("too_long") where the input alone does not fit, and
        CompletionFailed("unsupported") where the model cannot be asked so.
        """
        ...

    def sample(self, instance: Instance, trial: int, answers: Sequence[Answer]) -> Sample:
        """The parsed sample."""
        ...
