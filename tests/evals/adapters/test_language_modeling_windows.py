from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.completion import Abilities, CompletionFailed
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.language_modeling import windows
from commonweal.evals.adapters.registry import make_adapter
from commonweal.evals.adapters.tokens import Estimate
from commonweal.evals.instance import Instance


class Letters:
    def count(self, text: str) -> int:
        return len(text)

    def truncate(self, text: str, tokens: int) -> str:
        return text[: max(0, tokens)]


def test_windows_are_those_of_the_original_code() -> None:
    """lm_perplexity's own example of windows (EleutherAI, get_rolling_token_windows): 10 tokens, 4 at a time, one
    token of context; only the last window, which is shorter, has more. HELM's are the same."""
    assert list(windows("0123456789", 4, Letters())) == [("", "0123"), ("3", "456"), ("6", "789")]
    assert list(windows("01234567", 4, Letters())) == [("", "0123"), ("3", "456"), ("456", "7")]


def test_a_short_text_is_one_window() -> None:
    assert list(windows("0123", 4, Letters())) == [("", "0123")]
    assert list(windows("0123", None, Letters())) == [("", "0123")]


@given(
    text=st.text(min_size=1, max_size=120),
    size=st.integers(6, 40),
    exact=st.booleans(),
)
def test_every_character_is_scored_once_in_a_window_that_fits(text: str, size: int, exact: bool) -> None:
    tokens = Letters() if exact else Estimate()

    made = list(windows(text, size, tokens))

    assert "".join(scored for _, scored in made) == text
    at = 0
    for number, (context, scored) in enumerate(made):
        assert scored
        assert text[:at].endswith(context)
        assert bool(context) == (number > 0)
        assert tokens.count(scored) <= size
        if exact:
            assert len(context) + len(scored) <= size
        at += len(scored)


def test_a_window_without_room_is_too_long() -> None:
    with pytest.raises(CompletionFailed) as raised:
        list(windows("0123456789", 0, Letters()))

    assert raised.value.kind == "too_long"


def test_the_adapter_scores_the_input_and_nothing_else() -> None:
    adaptation = Adaptation(method="language_modeling", instructions="no", max_tokens=0)
    adapter = make_adapter(adaptation, model="m", abilities=Abilities(window=4), tokens=Letters())
    instance = Instance(id="q", input="01234567")

    asks = adapter.asks(instance, (instance,), ())

    assert [(made.role, made.request.prompt, made.request.continuation) for made in asks] == [
        ("window 0", "", "0123"),
        ("window 1", "3", "456"),
        ("window 2", "456", "7"),
    ]
    assert all(made.request.kind == "score" for made in asks)
    assert adapter.asks(Instance(id="e", input=""), (), ()) == ()
