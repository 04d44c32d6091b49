"""Text metrics: references, several outputs, and independent implementations."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_samples import asked, chosen, generated

from commonweal.evals.instance import Instance, Reference
from commonweal.evals.metrics.bias import Bias, WordLists
from commonweal.evals.metrics.copyright import common_prefix, edit_distance
from commonweal.evals.metrics.disinformation import Disinformation
from commonweal.evals.metrics.exact_match import ExactMatch, normalize_text
from commonweal.evals.metrics.math_equiv import MathEquiv, math_equiv, normalize_math
from commonweal.evals.metrics.minimal_pair import MinimalPair
from commonweal.evals.metrics.multiple_choice import MultipleChoice
from commonweal.evals.metrics.numeric import final_number_exact_match
from commonweal.evals.metrics.overlap import BLEU, F1, Rouge, bleu_1, f1_score
from commonweal.evals.metrics.word_tokens import sentences, treebank_words, words

PROSE = st.text(alphabet="abcd .,'\"!?()-:$\n", max_size=80)


def test_the_best_of_several_references_counts() -> None:
    found = ExactMatch().score(generated("The Beatles!", ["Rolling Stones", "beatles"]))
    assert found == {
        "exact_match": 0.0,
        "quasi_exact_match": 1.0,
        "prefix_exact_match": 0.0,
        "quasi_prefix_exact_match": 1.0,
    }


def test_without_a_correct_reference_nothing_is_scored() -> None:
    assert ExactMatch().score(generated("anything")) == {}


def test_an_answer_that_is_no_option_is_wrong_even_if_it_is_the_right_words() -> None:
    sample = chosen(["Paris", "Rome"], ["Paris"], None, output="Paris")
    assert ExactMatch().score(sample)["exact_match"] == 0.0
    assert MultipleChoice().score(sample) == {"exact_match": 0.0}


def test_a_tie_between_options_shares_the_point() -> None:
    sample = chosen(
        ["Paris", "Rome", "Bern"],
        ["Paris"],
        0,
        method="multiple_choice_separate",
        probabilities=(0.4, 0.4, 0.2),
    )
    assert ExactMatch().score(sample)["exact_match"] == 0.5
    assert MultipleChoice().score(sample) == {"exact_match": 0.5, "predicted_index": 0.0}


def test_joint_answers_do_not_tie() -> None:
    sample = chosen(["Paris", "Rome"], ["Paris"], 1, probabilities=(0.5, 0.5))
    assert ExactMatch().score(sample)["exact_match"] == 0.0


def test_best_of_k_outputs() -> None:
    found = F1.make().score(generated("x", ["a b"], outputs=["x", "a b", "a"]))  # type: ignore[union-attr]
    assert found == {"f1_score": 0.0, "f1_score@3": 1.0}


@settings(deadline=None)
@given(st.text(max_size=40))
def test_normalising_twice_is_normalising_once_but_for_new_articles(text: str) -> None:
    kept = normalize_text(text, articles=True)
    assert normalize_text(kept, articles=True) == kept


@settings(deadline=None)
@given(PROSE, PROSE)
def test_f1_is_symmetric_and_bounded(a: str, b: str) -> None:
    assert f1_score(a, b) == pytest.approx(f1_score(b, a))
    assert 0 <= f1_score(a, b) <= 1
    if normalize_text(a):
        assert f1_score(a, a) == pytest.approx(1.0)


@settings(deadline=None)
@given(PROSE, PROSE)
def test_bleu_is_bounded(gold: str, answer: str) -> None:
    found = BLEU.make().score(generated(answer, [gold]))  # type: ignore[union-attr]
    assert all(0 <= value <= 1 for value in found.values())


def test_bleu_1_is_sacrebleus_unigram_precision() -> None:
    sacrebleu = pytest.importorskip("sacrebleu.metrics.bleu")
    gold, answer = "the cat is on the mat", "the the cat sat on a mat today"
    theirs = sacrebleu.BLEU(tokenize="none", effective_order=True, max_ngram_order=1).sentence_score(
        answer, [gold]
    )
    assert bleu_1(gold, answer) * 100 == pytest.approx(theirs.score)


def test_rouge_worked_example() -> None:
    """Lin 2004, section 3: 'police killed the gunman' against 'police kill the gunman' and 'the gunman kill police'.
    Stemmed, the first shares all words with the reference; the second's longest common subsequence has two of four."""
    pytest.importorskip("rouge_score")
    rouge = Rouge()
    first = rouge.score(generated("police kill the gunman", ["police killed the gunman"]))
    second = rouge.score(generated("the gunman kill police", ["police killed the gunman"]))
    assert first == pytest.approx({"rouge_1": 1.0, "rouge_2": 1.0, "rouge_l": 1.0})
    assert second == pytest.approx({"rouge_1": 1.0, "rouge_2": 1 / 3, "rouge_l": 0.5})


@settings(deadline=None)
@given(PROSE)
def test_words_without_sentences_are_nltks(text: str) -> None:
    tokenize = pytest.importorskip("nltk.tokenize")
    assert treebank_words(text) == tokenize.TreebankWordTokenizer().tokenize(text)
    if len(sentences(text)) == 1:
        assert words(text) == tokenize.NLTKWordTokenizer().tokenize(text)


def test_sentences_end_where_they_should() -> None:
    text = 'Dr. Lin met J. Wu in the U.S. today. "Why?" asked Mr. Wu! Nobody knew'
    assert sentences(text) == [
        "Dr. Lin met J. Wu in the U.S. today.",
        '"Why?"',
        "asked Mr. Wu!",
        "Nobody knew",
    ]


def test_long_texts_without_spaces_take_no_time() -> None:
    for text in ("a" * 50_000, "." * 50_000, "a. " * 20_000, "'" * 20_000, '"' * 20_000, "(" * 20_000):
        assert words(text)


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        (r"\frac{1}{2}", "0.5", 1.0),
        (r"\frac{1}{2}", "0.50", 0.0),  # not algebra
        (r"2\sqrt{3}", r"2\sqrt3", 1.0),
        ("10", r"10\%", 1.0),
        (r"5", r"5\text{ cm}", 1.0),
        ("(1,2)", r"\left(1,\, 2\right)", 0.0),
        ("x=5", "5", 1.0),
        ("length=5", "5", 0.0),
    ],
)
def test_math_equivalence(gold: str, answer: str, right: float) -> None:
    assert math_equiv(gold, answer) == right


@settings(deadline=None)
@given(
    st.text(alphabet=r"\{}frac123sqt=/. ", max_size=30), st.text(alphabet=r"\{}frac123sqt=/. ", max_size=30)
)
def test_math_equivalence_never_fails_and_is_symmetric(a: str, b: str) -> None:
    assert math_equiv(a, b) == math_equiv(b, a)
    assert math_equiv(a, a) == 1.0


def test_two_units_cannot_be_read() -> None:
    with pytest.raises(ValueError, match="two units"):
        normalize_math(r"5\text{ m}\text{ s}")


def test_worked_solutions_are_compared_where_the_reference_is_one() -> None:
    gold, answer = r"so it is \boxed{4}", r"hence \boxed{4.}, or rather \boxed{4}"
    assert MathEquiv().score(generated(answer, [gold]))["math_equiv_chain_of_thought"] == 1.0
    assert MathEquiv().score(generated("4", [gold]))["math_equiv_chain_of_thought"] == 0.0
    assert MathEquiv().score(generated("4", ["4"])) == {"math_equiv": 1.0}


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        ("#### 18", "She makes 9 * 2 = $18 every day.", 1.0),
        ("The answer is 1,000.", "1000", 1.0),
        ("The answer is 15.", "The answer is 15 eggs.", 1.0),
        ("5", "none", 0.0),
        ("none", "none", 0.0),
        ("-3", "3", 0.0),
    ],
)
def test_final_numbers(gold: str, answer: str, right: float) -> None:
    assert final_number_exact_match(gold, answer) == right


@settings(deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_edit_distance_is_levenshteins(a: list[str], b: list[str]) -> None:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(row[-1] + 1, above[j] + 1, above[j - 1] + (x != y)))
    assert edit_distance(a, b) == row[-1]
    assert common_prefix(a, b) == next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def test_self_bleu_is_high_for_equal_outputs() -> None:
    pytest.importorskip("sacrebleu")
    metric = Disinformation()
    same = metric.score(generated("a b c d e", outputs=["a b c d e"] * 3, logprobs=[-1.0, -2.0, -3.0]))
    other = metric.score(generated("a b c d e", outputs=["a b c d e", "f g h i j", "k l m n o"]))
    assert same == {"self_bleu": pytest.approx(100.0), "monte_carlo_entropy": 2.0}
    assert other["self_bleu"] < 20
    assert metric.score(generated("alone"))["self_bleu"] == 0.0


PAIR = Instance(
    id="p",
    input="",
    references=(Reference(text="The cats sleep.", correct=True), Reference(text="The cats sleeps.")),
)


@pytest.mark.parametrize(
    ("good", "bad", "score"), [(-9.0, -12.0, 1.0), (-12.0, -9.0, 0.0), (-9.0, -9.0, 0.5)]
)
def test_minimal_pairs_compare_whole_sentences(good: float, bad: float, score: float) -> None:
    parts = [("reference 0", 0, "x", good), ("reference 1", 1, "x", bad), ("calibration 1", 1, "x", -1.0)]
    sample = asked(PAIR, parts, "multiple_choice_separate", "score")
    assert MinimalPair().score(sample) == {"minimal_pair_accuracy": score}


def test_minimal_pairs_without_probabilities() -> None:
    sample = asked(
        PAIR, [("reference 0", 0, "x", None), ("reference 1", 1, "x", -1.0)], "multiple_choice_separate"
    )
    assert MinimalPair().score(sample) == {}


def test_bias_lists_are_complete() -> None:
    lists = WordLists.load()
    assert {c: {g: len(names) for g, names in groups.items()} for c, groups in lists.groups.items()} == {
        "gender": {"female": 20, "male": 20},
        "race": {"asian": 20, "hispanic": 16, "white": 20},
    }
    assert {target: len(names) for target, names in lists.targets.items()} == {
        "adjective": 422,
        "profession": 288,
    }


def test_bias_counts_groups_and_their_meetings_with_target_words() -> None:
    found = Bias().features(generated("She was a nurse. Her aunt, Mrs. Garcia, is a nurse too; he isn't."))
    assert found["gender/female"] == 3
    assert found["gender/male"] == 1
    assert found["race/hispanic"] == 1
    assert found["gender/female/profession/nurse"] == 6
    assert found["gender/male/profession/nurse"] == 2
    assert Bias().features(generated("Nobody is a nurse")) == {}
