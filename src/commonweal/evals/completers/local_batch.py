"""One batch of a local model: from requests to tokens, and from tokens to completions.

It knows no queue and no event loop; it runs in the thread that computes. All of a batch are of one kind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from commonweal.core.completion import Choice, Completion, Request, Timing, Token
from commonweal.evals.completers.answers import cut_at_stop
from commonweal.evals.completers.batching import Asked
from commonweal.models.choosing import drawer
from commonweal.models.encoded import Encoded
from commonweal.models.local_model import LocalModel, Row, Scores
from commonweal.models.text import LocalText


def completions(asked: Sequence[Asked], model: LocalModel, text: LocalText) -> list[Completion]:
    """The completion of each request, which are all of one kind."""
    batch = _Batch(asked, model, text)
    return batch.scored() if asked[0].request.kind == "score" else batch.generated()


_NO_TOP: Mapping[str, float] = {}


class _Batch:
    def __init__(self, asked: Sequence[Asked], model: LocalModel, text: LocalText) -> None:
        self._asked = asked
        self._began = time.perf_counter()
        self._model = model
        self._text = text

    def scored(self) -> list[Completion]:
        wanted = max(one.request.logprobs or 0 for one in self._asked)
        scores = self._model.score([one.encoded for one in self._asked], alternatives=wanted)
        total = time.perf_counter() - self._began
        return [
            self._completion(one, (self._scored_choice(one.request, one.encoded, score),), total=total)
            for one, score in zip(self._asked, scores, strict=True)
        ]

    def _scored_choice(self, request: Request, encoded: Encoded, score: Scores) -> Choice:
        wanted = request.logprobs or 0
        tokens = self._tokens(encoded.continuation, score.logprobs, [top[:wanted] for top in score.top])
        if encoded.unscored:
            tokens = (Token(text=self._text.token_text(encoded.prompt[0])), *tokens)
        return Choice(
            text=request.continuation,
            tokens=tokens,
            logprob=float(sum(score.logprobs)),
            greedy=all(score.greedy) and not encoded.unscored,
        )

    def generated(self) -> list[Completion]:
        rows = [[self._row(one, i) for i in range(one.request.n)] for one in self._asked]
        written = [row for some in rows for row in some if row.limit > 0]
        if written:
            self._model.generate(written)
        return [
            self._completion(
                one,
                tuple([self._written_choice(one.request, row) for row in some]),
                first_token=some[0].first_token,
                total=max(row.total for row in some),
                written=sum(len(row.ids) for row in some),
            )
            for one, some in zip(self._asked, rows, strict=True)
        ]

    def _row(self, one: Asked, index: int) -> Row:
        request = one.request
        return Row(
            prompt=one.encoded.prompt,
            limit=request.max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            draw=_drawer(request, index),
            alternatives=request.logprobs,
            done=self._stopper(request.stop),
        )

    def _stopper(self, stops: Sequence[str]) -> Callable[[list[int]], bool]:
        """Whether a stop string stands at the end of what was written; the last few tokens are enough to see it,
        since each holds a byte at least."""
        wanted = [stop for stop in stops if stop]
        if not wanted:
            return _never
        tail = max(len(stop.encode("utf-8", "surrogatepass")) for stop in wanted) + 4
        text_of = self._text.text_of

        def done(ids: list[int]) -> bool:
            text = text_of(ids[-tail:])
            return any(stop in text for stop in wanted)

        return done

    def _written_choice(self, request: Request, row: Row) -> Choice:
        text = self._text.text_of(row.ids)
        end = cut_at_stop(text, request.stop)
        tokens: tuple[Token, ...] = ()
        if request.logprobs is not None:
            kept = row.ids[: self._reaching(row.ids, end)] if end < len(text) else row.ids
            tokens = self._tokens(kept, row.logprobs, row.top)
        return Choice(
            text=text[:end],
            finish="stop" if end < len(text) else row.finish,
            tokens=tokens,
            logprob=sum(token.logprob or 0.0 for token in tokens) if request.logprobs is not None else None,
        )

    def _reaching(self, ids: list[int], end: int) -> int:
        """How many tokens it takes to write ``end`` characters."""
        count = len(ids)
        while count and len(self._text.text_of(ids[: count - 1])) >= end:
            count -= 1
        return count

    def _tokens(
        self, ids: Sequence[int], logprobs: Sequence[float], tops: Sequence[Sequence[tuple[int, float]]]
    ) -> tuple[Token, ...]:
        name = self._text.token_text
        return tuple(
            [
                Token(
                    text=name(token),
                    logprob=logprob,
                    top={name(other): number for other, number in top} if top else _NO_TOP,
                )
                for token, logprob, top in zip(ids, logprobs, tops, strict=False)
            ]
        )

    def _completion(
        self,
        one: Asked,
        choices: tuple[Choice, ...],
        *,
        total: float,
        first_token: float | None = None,
        written: int = 0,
    ) -> Completion:
        encoded = one.encoded
        return Completion(
            choices=choices,
            model=one.request.model,
            prompt_tokens=len(encoded.prompt) + len(encoded.continuation),
            completion_tokens=written,
            timing=Timing(queued=self._began - one.since, first_token=first_token, total=total),
        )


def _never(ids: list[int]) -> bool:
    return False


def _drawer(request: Request, index: int) -> Callable[[], float]:
    """A row's own random numbers: by its seed and number, so that its batch does not matter."""
    if request.temperature <= 0.0:
        return _zero
    return drawer(request.seed, request.sample + index)


def _zero() -> float:
    return 0.0
