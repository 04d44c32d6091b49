"""Which endpoint a prompt goes to, and its shape there."""

from __future__ import annotations

import pytest

from commonweal.core.completion import Abilities, Choice, Completion, CompletionFailed, Image, Message
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.registry import make_adapter
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.sample import Answer, Ask

CHAT_ONLY = Abilities(complete=False, chat=True)
EXAMPLE = Instance(
    id="t", input="1+1", references=(Reference(text="2", correct=True), Reference(text="3")), split="train"
)
QUESTION = Instance(id="q", input="2+2", references=(Reference(text="4", correct=True), Reference(text="5")))
PICTURE = Image(data=b"png")


def ask(adaptation: Adaptation, abilities: Abilities, instance: Instance = QUESTION) -> Ask:
    (made,) = make_adapter(adaptation, model="m", abilities=abilities).asks(instance, (EXAMPLE,), ())
    return made


def answered(made: Ask, *texts: str) -> Answer:
    return Answer(ask=made, completion=Completion(choices=tuple(Choice(text=text) for text in texts)))


@pytest.mark.parametrize("abilities", [Abilities(), Abilities(complete=True, chat=True)])
def test_auto_prefers_completions(abilities: Abilities) -> None:
    request = ask(Adaptation(), abilities).request

    assert request.prompt == "Input: 1+1\nOutput: 2\n\nInput: 2+2\nOutput:"
    assert request.messages is None


def test_auto_gives_the_whole_prompt_to_a_chat() -> None:
    request = ask(Adaptation(instructions="Add.\n"), CHAT_ONLY).request

    assert request.prompt is None
    assert request.messages == (
        Message(role="user", content="Add.\n\nInput: 1+1\nOutput: 2\n\nInput: 2+2\nOutput:"),
    )


def test_chat_makes_turns_of_the_examples() -> None:
    adaptation = Adaptation(ask="chat", instructions="Add.\n", system="You add.")

    request = ask(adaptation, Abilities()).request

    assert request.messages == (
        Message(role="system", content="You add.\n\nAdd."),
        Message(role="user", content="Input: 1+1\nOutput:"),
        Message(role="assistant", content="2"),
        Message(role="user", content="Input: 2+2\nOutput:"),
    )


def test_chat_makes_turns_of_multiple_choice() -> None:
    adaptation = Adaptation(ask="chat", method="multiple_choice_joint", output_prefix="Answer: ")

    messages = ask(adaptation, Abilities()).request.messages or ()

    assert [(message.role, message.content) for message in messages] == [
        ("user", "Input: 1+1\nA. 2\nB. 3\nAnswer:"),
        ("assistant", "A"),
        ("user", "Input: 2+2\nA. 4\nB. 5\nAnswer:"),
    ]


def test_a_system_message_makes_it_a_chat() -> None:
    request = ask(Adaptation(system="You add.", shots=0), Abilities()).request

    assert [message.role for message in request.messages or ()] == ["system", "user"]


def test_pictures_go_with_the_question() -> None:
    instance = Instance(id="q", input="What is it?", images=(PICTURE,))

    request = ask(Adaptation(), Abilities(), instance).request

    assert request.messages is not None
    assert request.messages[-1].images == (PICTURE,)
    assert request.messages[-1].content.endswith("Input: What is it?\nOutput:")


@pytest.mark.parametrize(
    ("adaptation", "abilities", "instance"),
    [
        (Adaptation(ask="completion"), CHAT_ONLY, QUESTION),
        (Adaptation(ask="chat"), Abilities(chat=False), QUESTION),
        (Adaptation(system="s"), Abilities(chat=False), QUESTION),
        (Adaptation(ask="completion"), Abilities(), Instance(id="q", input="", images=(PICTURE,))),
        (Adaptation(), Abilities(images=False), Instance(id="q", input="", images=(PICTURE,))),
        (Adaptation(), Abilities(chat=False), Instance(id="q", input="", turns=("and?",))),
        (Adaptation(method="language_modeling"), Abilities(score=False), QUESTION),
        (Adaptation(method="multiple_choice_separate"), Abilities(score=False), QUESTION),
        (Adaptation(method="ranking_binary"), Abilities(logprobs=False), QUESTION),
    ],
)
def test_what_a_model_cannot_be_asked_is_unsupported(
    adaptation: Adaptation, abilities: Abilities, instance: Instance
) -> None:
    with pytest.raises(CompletionFailed) as raised:
        ask(adaptation, abilities, instance)

    assert raised.value.kind == "unsupported"
    assert raised.value.message


def test_answers_become_the_conversation() -> None:
    adapter = make_adapter(Adaptation(shots=0, stop=()), model="m", abilities=Abilities())
    instance = Instance(id="q", input="Write a poem.", turns=("Shorter.", "In German."))
    answers: list[Answer] = []
    for text in ("Roses are red", "Roses", "Rosen"):
        (made,) = adapter.asks(instance, (), answers)
        answers.append(answered(made, text))

    assert adapter.asks(instance, (), answers) == ()
    assert [answer.ask.role for answer in answers] == ["turn 1", "turn 2", "turn 3"]
    assert [message.content for message in answers[-1].ask.request.messages or ()] == [
        "Input: Write a poem.\nOutput:",
        "Roses are red",
        "Shorter.",
        "Roses",
        "In German.",
    ]
    sample = adapter.sample(instance, 0, answers)
    assert (sample.output, sample.outputs) == ("Rosen", ("Roses are red", "Roses", "Rosen"))


def test_a_conversation_that_outgrows_the_window_is_too_long() -> None:
    adapter = make_adapter(Adaptation(shots=0, max_tokens=10), model="m", abilities=Abilities(window=100))
    instance = Instance(id="q", input="Write.", turns=("More.",))
    (made,) = adapter.asks(instance, (), ())

    with pytest.raises(CompletionFailed) as raised:
        adapter.asks(instance, (), (answered(made, "word " * 100),))

    assert raised.value.kind == "too_long"


def test_the_output_ends_at_a_stop_text_that_the_server_did_not_honour() -> None:
    adapter = make_adapter(Adaptation(stop=("\n", "###")), model="m", abilities=Abilities())
    (made,) = adapter.asks(QUESTION, (), ())

    sample = adapter.sample(QUESTION, 1, (answered(made, " four ### five\nsix"),))

    assert (sample.output, sample.outputs, sample.trial) == ("four", (), 1)
    assert made.request.stop == ("\n", "###")


def test_the_likeliest_of_several_outputs_is_the_answer() -> None:
    adapter = make_adapter(Adaptation(outputs=3, temperature=1.0), model="m", abilities=Abilities())
    (made,) = adapter.asks(QUESTION, (), ())
    choices = tuple(Choice(text=text, logprob=p) for text, p in (("a", -3.0), ("b", -1.0), ("c", -2.0)))

    sample = adapter.sample(QUESTION, 0, (Answer(ask=made, completion=Completion(choices=choices)),))

    assert (made.request.n, sample.output, sample.outputs) == (3, "b", ("a", "b", "c"))


@pytest.mark.parametrize(("logprobs", "wanted"), [(True, 0), (None, None), (False, None)])
def test_generation_asks_for_its_own_probability_where_there_is_one(
    logprobs: bool | None, wanted: int | None
) -> None:
    assert ask(Adaptation(), Abilities(logprobs=logprobs)).request.logprobs == wanted
