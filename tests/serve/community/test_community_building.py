"""Data sets: what is in them, what is not, and that the same feedback always gives the same bytes."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonweal.core.completion import ToolCall
from commonweal.core.errors import UserError
from commonweal.core.hashing import content_hash
from commonweal.data.conversations.reading import Method, read_examples
from commonweal.serve.community.building import BuildOptions, Built, build, side_of, without
from commonweal.serve.community.evidence import Evidence, Said, narrowest
from commonweal.serve.community.near_duplicates import distinct, jaccard, shingles
from commonweal.serve.community.scrubbing import PatternScrubber
from commonweal.serve.community.terms import Terms, terms

METHODS: dict[str, Method] = {"sft": "supervised", "dpo": "dpo", "kto": "kto"}
NONE_HELD_OUT = BuildOptions(held_out=0.0)


def evidence(number: int = 0, kind: str = "thumb", **changes: Any) -> Evidence:
    words = " ".join(content_hash(str(number).encode())[i : i + 8] for i in range(0, 48, 8))
    fields: dict[str, Any] = {
        "feedback": f"fdb_{number}",
        "kind": kind,
        "account": "user:ann",
        "conversation": f"conv_{number}",
        "created": float(number),
        "terms": terms("improve"),
        "status": "accepted",
        "clean": True,
        "context": (Said(role="user", content=f"Say {words}."),),
        "answer": Said(role="assistant", content=f"Here: {words}"),
        "models": ("model_1",),
    }
    if kind == "thumb":
        fields["rating"] = 1
    elif kind == "edit":
        fields["ideal"] = f"Gladly: {words[::-1]}"
    else:
        fields["other"] = Said(role="assistant", content=f"No: {words[::-1]}")
    return Evidence(**fields | changes)


def made(found: list[Evidence], options: BuildOptions = NONE_HELD_OUT) -> Built:
    return build(found, options, PatternScrubber(), code="test")


def lines(built: Built, file: str) -> list[Any]:
    return [json.loads(line) for line in built.files.get(file, b"").splitlines()]


def test_each_kind_of_feedback_becomes_its_examples() -> None:
    built = made(
        [
            evidence(1, "edit"),
            evidence(2, "choice"),
            evidence(3, "thumb", rating=-1),
            evidence(4, "choice", tie=True),
        ]
    )
    edit, choice = evidence(1, "edit"), evidence(2, "choice")
    (sft,) = lines(built, "sft.train.jsonl")
    assert [m["content"] for m in sft["messages"]] == [edit.context[0].content, edit.ideal]
    ideal_pair, drafts_pair = lines(built, "dpo.train.jsonl")
    assert ideal_pair["preferred_output"] == [{"role": "assistant", "content": edit.ideal}]
    assert ideal_pair["non_preferred_output"] == [{"role": "assistant", "content": edit.answer.content}]
    assert choice.other is not None
    assert drafts_pair["preferred_output"][0]["content"] == choice.answer.content
    assert drafts_pair["non_preferred_output"][0]["content"] == choice.other.content
    (kto,) = lines(built, "kto.train.jsonl")
    assert kto["label"] is False
    assert built.manifest["left_out"] == {"tie": 1}
    assert built.manifest["by_kind"] == {"edit": 1, "choice": 1, "thumb": 1}
    assert built.manifest["licences"] == {"LicenseRef-Commonweal-Training": 3}


def test_fine_tuning_accepts_every_file() -> None:
    call = ToolCall(id="c1", name="add", arguments='{"a": 1}')
    long = (
        Said(role="system", content="Be kind."),
        Said(role="user", content="A first question of some length?"),
        Said(role="assistant", content="An answer that nobody has rated."),
        Said(role="user", content="And a second one that is different."),
    )
    found = [evidence(i, kind) for i, kind in enumerate(["edit", "choice", "thumb"] * 20)]
    found += [
        evidence(100, "edit", context=long),
        evidence(101, answer=Said(role="assistant", content="", tool_calls=(call,))),
    ]
    built = made(found, BuildOptions(held_out=0.3))
    assert len(built.files) == 6
    for name, data in built.files.items():
        read = read_examples(data, METHODS[name.split(".")[0]])
        read.problems.check()
        assert len(read.examples) == built.manifest["files"][name]["examples"]
        assert not read.problems.warnings


def test_only_the_edited_answer_is_trained_on() -> None:
    context = (
        Said(role="user", content="One?"),
        Said(role="assistant", content="Unrated."),
        Said(role="user", content="Two?"),
    )
    (line,) = lines(made([evidence(1, "edit", context=context)]), "sft.train.jsonl")
    assert [message.get("weight") for message in line["messages"]] == [None, 0, None, None]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"terms": Terms()}, "without consent"),
        ({"status": "pending"}, "pending"),
        ({"status": "refused"}, "refused"),
        ({"clean": False}, "withheld or cut off"),
        ({"aided": True}, "answered with tools or passages"),
        ({"answer": Said(role="assistant", content="")}, "empty answer"),
    ],
)
def test_what_may_not_be_used_is_left_out_and_counted(changes: dict[str, Any], reason: str) -> None:
    built = made([evidence(1), evidence(2, **changes)])
    assert built.manifest["left_out"] == {reason: 1}
    assert built.manifest["feedback"] == ["fdb_1"]
    with pytest.raises(UserError, match=f"1 {reason}"):
        made([evidence(2, **changes)])


def test_a_published_data_set_has_only_what_may_be_published() -> None:
    found = [evidence(1), evidence(2, terms=terms("publish", "CC-BY-4.0"))]
    built = made(found, BuildOptions(consent="publish", held_out=0.0))
    assert built.manifest["feedback"] == ["fdb_2"]
    assert built.manifest["licences"] == {"CC-BY-4.0": 1}


def test_the_narrowest_terms_count() -> None:
    by, zero = terms("publish", "CC-BY-4.0"), terms("publish", "CC0-1.0")
    assert narrowest([zero, by, zero]) == by
    assert narrowest([zero, terms("improve"), by]).consent == "improve"
    assert narrowest([zero, Terms()]).consent == "none"


def test_personal_data_does_not_get_in() -> None:
    asked = (Said(role="user", content="Mail ann@example.org about 4111 1111 1111 1111"),)
    built = made([evidence(1, context=asked)])
    assert b"ann@example.org" not in built.files["kto.train.jsonl"]
    assert b"4111" not in built.files["kto.train.jsonl"]
    assert built.manifest["scrubbed"] == {"CARD": 1, "EMAIL": 1}


def test_half_characters_become_something_utf8_has() -> None:
    made([evidence(1, answer=Said(role="assistant", content="half \ud83d"))])


def test_near_duplicates_are_kept_once_and_short_answers_are_told_apart() -> None:
    text = "The quick brown fox jumps over the lazy dog near the river bank, again and again."
    twice = [
        evidence(
            i, answer=Said(role="assistant", content=text + end), context=(Said(role="user", content="Tell"),)
        )
        for i, end in enumerate(["", " ", "!"])
    ]
    assert made(twice).manifest["left_out"] == {"near duplicate": 2}
    sums = [
        evidence(
            i,
            context=(Said(role="user", content=f"What is {i} + {7 * i}?"),),
            answer=Said(role="assistant", content=f"{8 * i}"),
        )
        for i in range(10, 20)
    ]
    assert len(made(sums).manifest["feedback"]) == 10


def test_what_a_held_out_example_asks_is_not_trained_on() -> None:
    options = BuildOptions(held_out=0.5)
    names = [f"conv_{i}" for i in range(100)]
    out = next(name for name in names if side_of(name, 0.5) == "heldout")
    in_ = next(name for name in names if side_of(name, 0.5) == "train")
    same = (Said(role="user", content="What is the capital of the moon?"),)
    built = made(
        [evidence(1, "edit", conversation=out, context=same), evidence(2, conversation=in_, context=same)],
        options,
    )
    assert list(built.files) == ["sft.heldout.jsonl", "dpo.heldout.jsonl"]
    assert built.manifest["left_out"] == {"asks what a held-out example asks": 1}


_KINDS = st.sampled_from(["thumb", "edit", "choice"])
_STATES = st.sampled_from(["accepted"] * 4 + ["pending", "refused"])
_TERMS = st.sampled_from([terms("improve"), terms("publish"), terms("publish", "CC-BY-4.0"), Terms()])


@st.composite
def collections(draw: st.DrawFn) -> list[Evidence]:
    found = []
    for number in range(draw(st.integers(1, 25))):
        kind = draw(_KINDS)
        same = draw(st.integers(0, 30))
        found.append(
            evidence(
                same,
                kind,
                feedback=f"fdb_{number}",
                conversation=f"conv_{draw(st.integers(0, 12))}",
                account=f"user:{draw(st.integers(0, 3))}",
                created=float(draw(st.integers(0, 5))),
                status=draw(_STATES),
                terms=draw(_TERMS),
                clean=draw(st.booleans()) or draw(st.booleans()),
                tie=kind == "choice" and draw(st.booleans()),
            )
        )
    return found


@settings(max_examples=60, deadline=None)
@given(collections(), st.integers(1, 4), st.floats(0, 0.9), st.randoms(use_true_random=False))
def test_properties_of_every_data_set(found: list[Evidence], cap: int, held_out: float, random: Any) -> None:
    options = BuildOptions(per_account=cap, held_out=held_out)
    try:
        built = made(found, options)
    except UserError:
        return
    shuffled = list(found)
    random.shuffle(shuffled)
    assert made(shuffled, options) == built

    by_id = {e.feedback: e for e in found}
    used = [by_id[item.feedback] for item in built.items]
    assert all(e.status == "accepted" and e.clean and e.terms.consent != "none" and not e.tie for e in used)
    feedback_of = {(e.account, e.feedback) for e in used}
    assert all(count <= cap for count in Counter(account for account, _ in feedback_of).values())

    sides: dict[str, set[str]] = {}
    for item in built.items:
        sides.setdefault(item.conversation, set()).add(item.file.split(".")[1])
    assert all(len(side) == 1 for side in sides.values())

    everything = [line for data in built.files.values() for line in data.splitlines()]
    assert len(everything) == len(set(everything)) == len(built.items)
    assert {content_hash(line) for line in everything} == {item.line for item in built.items}
    assert sorted(built.manifest["feedback"]) == sorted({item.feedback for item in built.items})
    for name, data in built.files.items():
        read_examples(data, METHODS[name.split(".")[0]]).problems.check()


def test_another_salt_holds_out_other_conversations_and_the_share_is_kept() -> None:
    names = [f"conv_{i}" for i in range(2000)]
    share = sum(side_of(name, 0.2) == "heldout" for name in names) / len(names)
    assert 0.17 < share < 0.23
    assert any(side_of(name, 0.2) != side_of(name, 0.2, "b") for name in names)


def test_the_version_is_the_content() -> None:
    one = made([evidence(1), evidence(2)])
    assert made([evidence(2), evidence(1)]).version == one.version
    assert made([evidence(1)]).version != one.version
    assert (
        build([evidence(1), evidence(2)], NONE_HELD_OUT, PatternScrubber(), code="other").version
        != one.version
    )


def test_lines_can_be_taken_out() -> None:
    built = made([evidence(i) for i in range(5)])
    data = built.files["kto.train.jsonl"]
    gone = frozenset(item.line for item in built.items[:2])
    assert without(data, gone).splitlines() == data.splitlines()[2:]
    assert without(data, frozenset()) == data


@pytest.mark.parametrize("options", [{"held_out": 1.0}, {"near": 0.0}, {"per_account": 0}])
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        BuildOptions(**options)


_TEXTS = st.lists(st.text("abcdefgh ", max_size=60), max_size=20)


@settings(deadline=None)
@given(_TEXTS, st.floats(0.5, 1.0))
def test_what_is_dropped_is_like_something_kept(texts: list[str], threshold: float) -> None:
    kept = distinct(texts, threshold)
    sets = [shingles(text) for text in texts]
    for i in range(len(texts)):
        if i not in kept:
            assert any(jaccard(sets[i], sets[k]) >= threshold for k in kept if k < i)


def test_nearly_equal_texts_are_found_among_many() -> None:
    texts = [" ".join(content_hash(f"{i}-{j}".encode())[:6] for j in range(40)) for i in range(300)]
    changed = [text[:200] + "x" + text[201:] for text in texts]
    kept = distinct(texts + changed, 0.85)
    assert kept[:300] == list(range(300))
    assert len(kept) <= 303
