"""Which endpoint a prompt goes to, in which shape, and the request for it.

Three ways. ``completion``: the prompt as it is. ``message``: the whole prompt as one message of a user. ``turns``:
the instructions as the system's message and the examples as a conversation. Under ``ask="auto"`` a prompt goes to the
completion endpoint where the model has one, as in HELM; what only a chat can take (pictures, further turns of the
user, a system message) goes to the chat.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from commonweal.core.completion import Abilities, CompletionFailed, Message, Request
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.prompt import Fitted, Prompts, Shown, too_long
from commonweal.evals.adapters.tokens import TokenCounter
from commonweal.evals.instance import Instance

Way = Literal["completion", "message", "turns"]

CHAT_TOKENS = 16
MESSAGE_TOKENS = 8
"""What a chat template may add, in all and for each message."""


class Asking:
    """Makes requests of one model."""

    def __init__(
        self, adaptation: Adaptation, *, model: str, abilities: Abilities, tokens: TokenCounter
    ) -> None:
        self.adaptation = adaptation
        self.abilities = abilities
        self.tokens = tokens
        self._model = model
        self._chat_always = adaptation.ask == "chat" or bool(adaptation.system)
        self._way: Way = "turns" if adaptation.ask == "chat" else "message"

    def way(self, instance: Instance) -> Way:
        """How this instance is asked. Raises CompletionFailed("unsupported")."""
        chat = self._chat_always or bool(instance.images or instance.turns)
        if not chat and self.abilities.complete is not False:
            return "completion"
        if self.adaptation.ask == "completion":
            why = (
                "pictures, turns and system messages need a chat" if chat else "the model has no completions"
            )
            raise CompletionFailed("unsupported", why, hint='let the adaptation say ask = "auto"')
        if self.abilities.chat is False:
            raise CompletionFailed(
                "unsupported", "the model has no chat, and this can be asked in no other way"
            )
        if instance.images and self.abilities.images is False:
            raise CompletionFailed("unsupported", "the model takes no pictures")
        return self._way

    def budget(self, messages: int) -> int | None:
        """Tokens left for the prompt; None where the window is not known."""
        window = self.abilities.window
        if window is None:
            return None
        template = CHAT_TOKENS + MESSAGE_TOKENS * messages if messages else 0
        return window - self.adaptation.max_tokens - template

    def request(
        self,
        prompt: str | tuple[Message, ...],
        *,
        n: int = 1,
        stop: tuple[str, ...] = (),
        logprobs: int | None = None,
    ) -> Request:
        adaptation = self.adaptation
        is_text = isinstance(prompt, str)
        return Request(
            model=self._model,
            prompt=prompt if is_text else None,  # type: ignore[arg-type]
            messages=None if is_text else prompt,  # type: ignore[arg-type]
            max_tokens=adaptation.max_tokens,
            temperature=adaptation.temperature,
            n=n,
            stop=stop,
            logprobs=logprobs,
        )

    def score(self, prompt: str, continuation: str) -> Request:
        """Raises CompletionFailed("unsupported") where the model gives no log-probabilities of a given text."""
        if self.abilities.score is False:
            raise CompletionFailed(
                "unsupported", "the model gives no log-probabilities of a given text, which this method needs"
            )
        return Request(
            model=self._model, kind="score", prompt=prompt, continuation=continuation, max_tokens=0
        )

    def logprobs(self, alternatives: int) -> int | None:
        """What to ask for where log-probabilities would be good to have: not where the model has none."""
        return None if self.abilities.logprobs is False else alternatives

    def prompt(
        self, prompts: Prompts, shown: Shown, block: str, instance: Instance, *, least: int | None
    ) -> tuple[str | tuple[Message, ...], Fitted]:
        """The fitted prompt in the shape of its way."""
        way = self.way(instance)
        if way == "completion":
            fitted = prompts.fit(shown, block, self.budget(0), least=least)
            return fitted.text, fitted
        if way == "message":
            system = self._system("")
            budget = self.budget(1 + len(system))
            if budget is not None and system:
                budget -= self.tokens.count(system[0].content)
            fitted = prompts.fit(shown, block, budget, least=least)
            return (*system, Message(role="user", content=fitted.text, images=instance.images)), fitted
        return self._conversation(shown, block, instance)

    def _system(self, more: str) -> tuple[Message, ...]:
        text = "\n\n".join(part for part in (self.adaptation.system, more) if part)
        return (Message(role="system", content=text),) if text else ()

    def _conversation(
        self, shown: Shown, block: str, instance: Instance
    ) -> tuple[tuple[Message, ...], Fitted]:
        adaptation = self.adaptation
        system = self._system((adaptation.global_prefix + adaptation.instructions).strip())
        last = Message(role="user", content=block + adaptation.global_suffix, images=instance.images)
        for shots in range(len(shown.turns), -1, -1):
            messages = (*system, *self._turns(shown, shots), last)
            budget = self.budget(len(messages))
            if budget is None or self._size(messages, budget) <= budget:
                text = "\n".join(message.content for message in messages)
                return messages, Fitted(text=text, shots=shots)
        assert budget is not None
        raise too_long(self._size(messages, budget), budget)

    def _turns(self, shown: Shown, shots: int) -> list[Message]:
        made = []
        prefix = self.adaptation.output_prefix
        for example in shown.turns[:shots]:
            for turn in example:
                question = turn.question.removesuffix(prefix) + prefix.rstrip()
                made.append(Message(role="user", content=question))
                made.append(Message(role="assistant", content=turn.answer))
        return made

    def _size(self, messages: Sequence[Message], budget: int) -> int:
        bound = sum(len(message.content.encode("utf-8", "surrogatepass")) for message in messages)
        if bound + 2 * len(messages) <= budget:
            return bound
        return sum(self.tokens.count(message.content) for message in messages)

    def fits(self, messages: Sequence[Message]) -> None:
        """Raises CompletionFailed("too_long") where a conversation has outgrown the window."""
        budget = self.budget(len(messages))
        if budget is not None and (size := self._size(messages, budget)) > budget:
            raise too_long(size, budget)
