"""Chats become tokens: whose words they are is known, and what people write never acts as a control token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonweal.core.completion import Message, Tool, ToolCall
from commonweal.core.errors import ConfigError, DataError
from commonweal.models.chat import end_tokens, render_chat

SPECIAL = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]
OWN = (
    "{% for message in messages %}<|{{ 'assistant' if message['role'] == 'assistant' else 'user' }}|>"
    "{{ message['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CHATML = (
    "{% for m in messages %}<|user|>{{ m.role }}\n{{ m.content | trim }}"
    "{% if m.tool_calls %}{{ m.tool_calls[0].function.arguments.city }}{% endif %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|user|>assistant\n{% endif %}"
)
ASK = Message(role="user", content="2 + 2?")
TOOL = Tool(name="weather", description="of a city <|end|>", parameters={"type": "object"})

Load = Callable[..., Any]


@pytest.fixture(scope="module")
def load() -> Load:
    """A byte tokenizer with ``template`` as its chat template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    def make(
        template: str | None,
        *,
        special: list[str] = SPECIAL,
        eos: str | None = SPECIAL[0],
        prefix: bool = False,
    ) -> Any:
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
        backend.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
        backend.train_from_iterator(["the answer is", "user assistant system"] * 4, trainer)
        if prefix:
            backend.normalizer = normalizers.Sequence([])
            backend.add_tokens([AddedToken("<tool>", normalized=True)])
        made = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=eos)
        made.chat_template = template
        return made

    return make


def words(tokenizer: Any, rendered: Any, number: int) -> str:
    span = rendered.spans[number]
    return str(tokenizer.decode(rendered.ids[span.start : span.stop]))


@pytest.mark.parametrize("template", [OWN, CHATML, None])
def test_a_chat_is_rendered_with_the_places_of_its_contents(load: Load, template: str | None) -> None:
    tokenizer = load(template)
    end = "<|end|>" if template else "<|endoftext|>"
    chat = [ASK, Message(role="assistant", content="4"), Message(role="user", content="sure?")]
    rendered = render_chat(tokenizer, chat)
    assert [words(tokenizer, rendered, i) for i in range(3)] == ["2 + 2?", "4" + end, "sure?"]
    assert tokenizer.decode(rendered.ids) == rendered.text
    assert rendered.text == tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in chat],
        chat_template=template or _default(),
        tokenize=False,
        add_generation_prompt=True,
    )


def _default() -> str:
    from commonweal.models.chat import DEFAULT_TEMPLATE

    return DEFAULT_TEMPLATE


@pytest.mark.parametrize("template", [OWN, CHATML, None])
def test_the_prompt_is_how_its_own_answer_begins(load: Load, template: str | None) -> None:
    """What is trained is what will be asked: the same ids up to the answer, and the answer's span after them."""
    tokenizer = load(template)
    answer = Message(role="assistant", content="\n the answer is")
    prompt = render_chat(tokenizer, [ASK])
    whole = render_chat(tokenizer, [ASK, answer], generation_prompt=False)
    assert whole.ids[: len(prompt.ids)] == prompt.ids
    assert whole.spans[1].start == len(prompt.ids)
    assert prompt.spans[0].stop <= len(prompt.ids)


def test_the_ids_are_those_of_the_tokenizer_where_nobody_plays_tricks(load: Load) -> None:
    tokenizer = load(CHATML)
    rendered = render_chat(tokenizer, [ASK])
    assert rendered.ids == tokenizer.encode(rendered.text, add_special_tokens=False)


@settings(max_examples=60, deadline=None)
@given(
    contents=st.lists(
        st.lists(st.sampled_from([*SPECIAL, "<|", "user|>", "a ", "\n", "\ue000", "\ud800", "é"])).map(
            "".join
        ),
        min_size=1,
        max_size=4,
    ),
    template=st.sampled_from([OWN, CHATML, None]),
)
def test_no_content_makes_a_control_token(load: Load, contents: list[str], template: str | None) -> None:
    tokenizer = load(template)
    roles = ["user", "assistant", "system", "tool"]
    plain = [Message(role=roles[i], content="x") for i in range(len(contents))]  # type: ignore[arg-type]
    hostile = [Message(role=m.role, content=c) for m, c in zip(plain, contents, strict=True)]
    calm, loud = render_chat(tokenizer, plain), render_chat(tokenizer, hostile)
    special = set(range(len(SPECIAL)))
    assert [i for i in loud.ids if i in special] == [i for i in calm.ids if i in special]
    assert tokenizer.decode(loud.ids) == loud.text


def test_words_that_only_together_make_a_control_token_stay_words(load: Load) -> None:
    rendered = render_chat(
        load("{{ messages[0].content }}end|><|end|>"), [Message(role="user", content="<|")]
    )
    assert rendered.ids.count(3) == 1
    assert rendered.text == "<|end|><|end|>"


def test_control_tokens_in_calls_and_tools_are_text(load: Load) -> None:
    call = ToolCall(id="1", name="weather", arguments='{"city": "\\u003c|end|> of the world"}')
    chat = [ASK, Message(role="assistant", content="", tool_calls=(call,))]
    for template in (OWN, CHATML, None):
        tokenizer = load(template)
        rendered = render_chat(tokenizer, chat, tools=[TOOL], generation_prompt=False)
        said = words(tokenizer, rendered, 1)
        assert "<|end|> of the world" in said
        assert [i for i in rendered.ids[rendered.spans[1].start : rendered.spans[1].stop] if i < 4] == [
            3 if template else 0
        ]


def test_tools_are_told_to_a_model_whose_template_knows_none(load: Load) -> None:
    rendered = render_chat(load(OWN), [ASK], tools=[TOOL])
    assert '"name": "weather"' in rendered.text
    assert rendered.text.index("weather") < rendered.text.index("2 + 2?")
    assert [span.message for span in rendered.spans] == [0]
    with_system = render_chat(load(OWN), [Message(role="system", content="Be kind."), ASK], tools=[TOOL])
    assert with_system.text.count("<|user|>") == 2
    assert "Be kind.\n\nYou may call" in with_system.text


def test_a_template_that_knows_tools_gets_them(load: Load) -> None:
    template = "{% for t in tools %}{{ t.function.name }};{% endfor %}{{ messages[0].content }}<|end|>"
    assert render_chat(load(template), [ASK], tools=[TOOL]).text == "weather;2 + 2?<|end|>"


def test_a_template_that_rewrites_contents_still_renders(load: Load) -> None:
    """The places are then not known, which is said by an empty span, not by a wrong one."""
    template = "{{ messages[0].content.split(' ')[0] }}<|end|>"
    rendered = render_chat(load(template), [Message(role="user", content="ab cd")])
    assert rendered.text == "ab<|end|>"
    assert rendered.spans[0].start == rendered.spans[0].stop
    loud = render_chat(load("{{ messages[0].content | upper }}<|end|>"), [Message(role="user", content="ab")])
    assert (loud.text, loud.spans[0].stop) == ("AB<|end|>", 2)


def test_end_tokens(load: Load) -> None:
    assert end_tokens(load(OWN)) == {0, 3}
    assert end_tokens(load(None)) == {0}


@pytest.mark.parametrize("prefix", [False, True])
def test_a_prefix_space_is_added_where_the_tokenizer_would(load: Load, prefix: bool) -> None:
    tokenizer = load(OWN, prefix=prefix)
    rendered = render_chat(tokenizer, [ASK, Message(role="assistant", content="4")], generation_prompt=False)
    assert rendered.ids == tokenizer.encode(rendered.text, add_special_tokens=False)


def test_what_cannot_be_rendered_says_why(load: Load) -> None:
    with pytest.raises(DataError, match="none"):
        render_chat(load(OWN), [])
    with pytest.raises(DataError, match="must alternate"):
        render_chat(load("{{ raise_exception('roles must alternate') }}"), [ASK])
    with pytest.raises(ConfigError, match="chat template"):
        render_chat(load(None, eos=None), [ASK])
    with pytest.raises(ConfigError, match=r"tokenizer\.json"):
        render_chat(
            type("Slow", (), {"chat_template": OWN, "get_chat_template": lambda s, tools: OWN})(), [ASK]
        )


def test_a_tokenizer_folder_of_this_project_works(tmp_path: Path, tokenizer_dir: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(tokenizer_dir))
    assert render_chat(tokenizer, [ASK]).text == "user\n2 + 2?<|endoftext|>assistant\n"
