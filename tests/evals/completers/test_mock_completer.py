from __future__ import annotations

import asyncio
from typing import Any

import pytest

from commonweal.core.completion import Choice, Completion, CompletionFailed, Message, Request
from commonweal.core.errors import ConfigError
from commonweal.evals.completers.mock import (
    REFUSAL,
    MockCompleter,
    constant_answer,
    key_of,
    mapped_answer,
    mock_of,
    tokens_of,
)

LIST = "Which is a fruit?\nA. stone\nB. apple\nC. chair\nAnswer:"


def ask(mock: MockCompleter, request: Request) -> Completion:
    return asyncio.run(mock.complete(request))


def prompts(count: int, **more: Any) -> list[Request]:
    return [Request(model="mock", prompt=f"question {i}", **more) for i in range(count)]


def test_equal_requests_get_equal_answers_and_others_do_not() -> None:
    first = [ask(MockCompleter(), request).text for request in prompts(20)]
    assert first == [ask(MockCompleter(), request).text for request in prompts(20)]
    assert first != [ask(MockCompleter(seed=1), request).text for request in prompts(20)]
    assert len(set(first)) > 15


def test_samples_of_one_prompt_differ() -> None:
    made = {
        ask(MockCompleter(), Request(model="mock", prompt="x", sample=i, temperature=1.0)).text
        for i in range(9)
    }
    assert len(made) > 5


def test_a_sample_at_temperature_0_is_the_answer() -> None:
    made = {ask(MockCompleter(), Request(model="mock", prompt="x", sample=i)).text for i in range(9)}
    assert len(made) == 1


def test_several_choices_of_one_request_differ_as_its_samples_do() -> None:
    mock = MockCompleter()
    three = ask(mock, Request(model="mock", prompt="x", n=3, temperature=1.0))
    single = [ask(mock, Request(model="mock", prompt="x", sample=i, temperature=1.0)).text for i in range(3)]
    assert [choice.text for choice in three.choices] == single


def test_a_lettered_list_is_answered_by_one_of_its_letters() -> None:
    letters = {ask(MockCompleter(seed=seed), Request(model="mock", prompt=LIST)).text for seed in range(40)}
    assert letters == {" A", " B", " C"}


def test_a_map_answers_what_it_knows_in_prompts_and_chats() -> None:
    mock = MockCompleter(mapped_answer({"2+2?": " 4"}, otherwise=" no"))
    assert ask(mock, Request(model="mock", prompt="2+2?")).text == " 4"
    assert ask(mock, Request(model="mock", messages=(Message(role="user", content="2+2?"),))).text == " 4"
    assert ask(mock, Request(model="mock", prompt="3+3?")).text == " no"


def test_the_wanted_continuation_is_the_likeliest() -> None:
    mock = MockCompleter(mapped_answer({"2+2?": "4"}))
    scores = {
        text: ask(mock, Request(model="mock", kind="score", prompt="2+2?", continuation=text)).choices[0]
        for text in (" 3", " 4", " 5")
    }
    assert max(scores, key=lambda text: scores[text].logprob or 0.0) == " 4"
    assert [text for text, choice in scores.items() if choice.greedy] == [" 4"]
    assert all((choice.logprob or 0.0) < 0.0 for choice in scores.values())


def test_text_is_cut_at_stop_strings_and_at_the_limit() -> None:
    mock = MockCompleter(constant_answer("one two\nthree"))
    stopped = ask(mock, Request(model="mock", prompt="x", stop=("\n",))).choices[0]
    assert (stopped.text, stopped.finish) == ("one two", "stop")
    limited = ask(mock, Request(model="mock", prompt="x", max_tokens=1)).choices[0]
    assert (limited.text, limited.finish) == ("one", "length")


def test_tokens_carry_log_probabilities_that_add_up() -> None:
    choice = ask(MockCompleter(), Request(model="mock", prompt="x", logprobs=3)).choices[0]
    assert "".join(token.text for token in choice.tokens) == choice.text
    assert choice.logprob == pytest.approx(sum(token.logprob or 0.0 for token in choice.tokens))
    assert all(max(token.top, key=lambda text: token.top[text]) == token.text for token in choice.tokens)


def test_a_set_rate_of_requests_fails() -> None:
    mock = MockCompleter(fail_rate=0.1, failure="server_error")

    async def run() -> list[Any]:
        return await asyncio.gather(*map(mock.complete, prompts(1000)), return_exceptions=True)

    failed = [made for made in asyncio.run(run()) if isinstance(made, CompletionFailed)]
    assert 60 < len(failed) < 140
    assert {one.kind for one in failed} == {"server_error"}


def test_an_answer_may_be_a_whole_choice() -> None:
    choice = Choice(text="", finish="content_filter")
    assert ask(MockCompleter(lambda request: choice), Request(model="mock", prompt="x")).choices == (choice,)


def test_modes() -> None:
    request = Request(model="mock", prompt="x")
    assert ask(mock_of("refuses"), request).text == REFUSAL
    assert ask(mock_of("empty"), request).text == ""
    assert ask(mock_of("always= B"), request).text == " B"
    assert ask(mock_of(""), request) == ask(mock_of("random"), request)
    with pytest.raises(CompletionFailed):
        ask(mock_of("fails=1"), request)
    for wrong in ("clever", "fails=2", "fails=x", "random=3"):
        with pytest.raises(ConfigError, match="mock"):
            mock_of(wrong)


def test_the_counter_counts_the_mocks_tokens() -> None:
    counter = MockCompleter().token_counter()
    assert counter.count("one two  three") == 3
    assert counter.truncate("one two  three", 2) == "one two"
    assert tokens_of("a b\n") == ["a", " b", "\n"]
    assert key_of(Request(model="mock", messages=())) == ""
