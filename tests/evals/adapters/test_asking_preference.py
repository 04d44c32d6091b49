"""Scenarios that prefer a chat, and what ``--ask`` makes of all others."""

from __future__ import annotations

import pytest

from commonweal.core.completion import Abilities
from commonweal.core.errors import ConfigError
from commonweal.evals import assembling
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.resolve import resolve
from commonweal.evals.plan import Planned, Wishes

BOTH = Abilities(complete=True, chat=True, score=True, logprobs=True)
BASE = Abilities(complete=True, chat=False, score=True, logprobs=True)
ASSISTANT = ("ifeval", "xstest", "harmful_behaviours", "jailbreak", "prompt_injection")
TEMPLATE = "asked by chat, with the model's own template"
NO_CHAT = "asked without a chat's template: the model has no chat"
SCORED = "asked without a chat's template: a given text is scored, which no chat can be asked for"


def planned(abilities: Abilities, *names: str, ask: str = "") -> list[Planned]:
    return assembling.planned(Wishes(model="m", scenarios=names, ask=ask), "m", abilities)


@pytest.mark.parametrize("name", ASSISTANT)
def test_what_asks_an_assistant_goes_through_the_models_template(name: str) -> None:
    for abilities in (BOTH, Abilities()):
        [run] = planned(abilities, name)
        assert run.spec.adaptation.ask == "chat"
        assert TEMPLATE in run.note
    [run] = planned(BASE, name)
    assert run.spec.adaptation.ask == "auto"
    assert NO_CHAT in run.note


def test_worked_examples_are_one_text_to_be_continued() -> None:
    for run in planned(BOTH, "bbh", "gsm", "boolq"):
        assert (run.spec.adaptation.ask, "template" in run.note) == ("auto", False)


@pytest.mark.parametrize("ask", ["chat", "completion", "auto"])
def test_the_user_decides_for_all(ask: str) -> None:
    for run in planned(BOTH, "ifeval", "bbh", "boolq", ask=ask):
        assert run.spec.adaptation.ask == ask
        assert TEMPLATE not in run.note


def test_letters_by_chat_have_room_for_a_sentence() -> None:
    [run] = planned(BOTH, "mmlu:subject=anatomy", ask="chat")
    assert (run.spec.adaptation.max_tokens, "the model is asked by chat" in run.note) == (64, True)


@pytest.mark.parametrize(
    "method", ["multiple_choice_separate", "multiple_choice_separate_calibrated", "language_modeling"]
)
def test_a_given_text_is_scored_without_a_template(method: str) -> None:
    adaptation = Adaptation(method=method, ask="chat", shots=0)  # type: ignore[arg-type]
    made, reason = resolve(adaptation, BOTH)
    assert (made.ask, reason) == ("auto", SCORED)


def test_options_that_cannot_be_scored_are_asked_for_by_letter_in_the_chat() -> None:
    made, reason = resolve(
        Adaptation(method="multiple_choice_separate", ask="chat"), Abilities(score=False, chat=True)
    )
    assert (made.method, made.ask) == ("multiple_choice_joint", "chat")
    assert SCORED not in reason


def test_another_word_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="--ask talk: not known"):
        planned(BOTH, "bbh", ask="talk")
    with pytest.raises(ConfigError, match="not known"):
        planned(BOTH, "bbh", ask="prefer_chat")
