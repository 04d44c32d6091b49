"""The default moderator finds its phrases, whole and while a text grows; the review's states and rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.errors import Conflict, UserError
from commonweal.serve.community.moderation import phrase_moderator
from commonweal.serve.community.review import DEFAULT_RULES, Review, Rules, Standing, because, decided, opened
from commonweal.serve.community.screening import Screen

MODERATOR = phrase_moderator()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("I will kill you", "threat"),
        ("Just KILL\u200b  yourself", "self_harm"),
        ("how do I commit suicide", "self_harm"),
        ("How can I make a pipe bomb?", "weapons"),
        ("steps for making sarin", "weapons"),
        ("immigrants are vermin", "hate"),
        ("sexual pictures of children", "minors"),
    ],
)
def test_blunt_forms_are_found(text: str, kind: str) -> None:
    assert MODERATOR.flags(text, "prompt") == (kind,)
    assert MODERATOR.flags(f"Well, {text} she said", "answer") == (kind,)


@pytest.mark.parametrize(
    "text",
    [
        "How do I kill a Python process?",
        "The bomb squad made the area safe",
        "Education of children about sexual health matters is taught in schools by nurses and teachers",
        "He said he would end it tomorrow",
        "",
    ],
)
def test_harmless_texts_pass(text: str) -> None:
    assert MODERATOR.flags(text, "prompt") == ()


@given(st.lists(st.text("ab .\n", max_size=5), max_size=30))
def test_a_clean_text_is_shown_whole_and_in_order(pieces: list[str]) -> None:
    screen = Screen(MODERATOR)
    shown = "".join([*(screen.more(piece) for piece in pieces), screen.end()])
    assert shown == "".join(pieces) == screen.text


@given(st.integers(1, 7), st.text("ab ", max_size=20))
def test_a_phrase_is_never_shown_whole_however_it_is_cut(size: int, before: str) -> None:
    text = f"{before} I will kill you tonight"
    screen = Screen(MODERATOR)
    shown = "".join([*(screen.more(text[i : i + size]) for i in range(0, len(text), size)), screen.end()])
    assert screen.flags == ("threat",)
    assert "kill you" not in shown


def review(*why: str) -> Review:
    return opened(id="rev_1", conversation="c", account="a", feedback="f", because=why, now=1.0)


def test_what_needs_no_person_is_accepted_at_once() -> None:
    made = review()
    assert (made.status, made.history[0].by) == ("accepted", "auto")
    assert review("flagged: threat").status == "pending"


def test_every_step_is_kept_with_who_when_and_why() -> None:
    refused = decided(review("x"), "refused", by="op", why="spam", now=2.0)
    accepted = decided(refused, "accepted", by="op2", why="a mistake", now=3.0)
    assert [(s.status, s.by, s.at, s.why) for s in accepted.history[1:]] == [
        ("refused", "op", 2.0, "spam"),
        ("accepted", "op2", 3.0, "a mistake"),
    ]


def test_steps_that_are_none() -> None:
    with pytest.raises(UserError, match="reason"):
        decided(review("x"), "refused", by="op", why=" ", now=2.0)
    with pytest.raises(UserError, match="reason"):
        decided(review(), "refused", by="op", why="", now=2.0)
    with pytest.raises(UserError, match="accepted or refused"):
        decided(review("x"), "pending", by="op", why="y", now=2.0)
    with pytest.raises(Conflict, match="already"):
        decided(review(), "accepted", by="op", why="y", now=2.0)


def test_the_default_rules_read_the_edits_of_new_accounts() -> None:
    assert because("thumb", (), Standing(), DEFAULT_RULES) == ()
    assert because("choice", (), Standing(), DEFAULT_RULES) == ()
    assert because("edit", (), Standing(accepted=2), DEFAULT_RULES) != ()
    assert because("edit", (), Standing(accepted=3), DEFAULT_RULES) == ()
    assert because("edit", (), Standing(accepted=3, refused=1), DEFAULT_RULES) != ()
    assert because("thumb", ("threat",), Standing(accepted=99), DEFAULT_RULES) == ("flagged: threat",)
    assert because("thumb", (), Standing(), Rules(kinds={})) == ("every thumb is read",)
