"""IFEval's 25 kinds of instructions, each a check of a response (Zhou et al. 2023, arXiv 2311.07911, appendix A.1).

The definitions are those of the authors' code, with three differences. Sentences are counted by a rule of our own (see
:mod:`.sentences`). A letter whose frequency is asked for may be any character: theirs replaces one that is no Latin
letter by a random one. A keyword that is no valid regular expression is taken literally: theirs fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from commonweal.evals.metrics.ifeval.language import is_language
from commonweal.evals.metrics.ifeval.sentences import count_sentences

Arguments = Mapping[str, Any]
Check = Callable[[str, Arguments], bool]

_OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"[^\s()\[\]{}<>,;:!?\"“”]+")
_PLACEHOLDER = re.compile(r"\[.*?\]")
_STAR_BULLET = re.compile(r"^\s*\*[^\*].*$", re.MULTILINE)
_DASH_BULLET = re.compile(r"^\s*-.*$", re.MULTILINE)
_HIGHLIGHT = re.compile(r"\*[^\n\*]*\*")
_BOLD = re.compile(r"\*\*[^\n\*]*\*\*")
_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_TITLE = re.compile(r"<<[^\n]+>>")
_STOPS = re.compile(r"[.,?!'\"]")
_POSTSCRIPTS = {
    "P.P.S": re.compile(r"\s*p\.\s?p\.\s?s.*$", re.MULTILINE),
    "P.S.": re.compile(r"\s*p\.\s?s\..*$", re.MULTILINE),
}


def _compare(count: int, given: Arguments, threshold: str, relation: str = "relation") -> bool:
    """'less than' or 'at least' a number of times."""
    bound = int(given[threshold])
    return count < bound if given[relation] == "less than" else count >= bound


def _pattern(keyword: str) -> re.Pattern[str]:
    try:
        return re.compile(keyword, re.IGNORECASE)
    except re.error:
        return re.compile(re.escape(keyword), re.IGNORECASE)


def keywords_exist(text: str, given: Arguments) -> bool:
    return all(_pattern(word).search(text) for word in given["keywords"])


def keyword_frequency(text: str, given: Arguments) -> bool:
    return _compare(len(_pattern(given["keyword"].strip()).findall(text)), given, "frequency")


def forbidden_words(text: str, given: Arguments) -> bool:
    return not any(_pattern(rf"\b{word}\b").search(text) for word in given["forbidden_words"])


def letter_frequency(text: str, given: Arguments) -> bool:
    count = text.lower().count(given["letter"].strip().lower())
    return _compare(count, given, "let_frequency", "let_relation")


def response_language(text: str, given: Arguments) -> bool:
    return is_language(text, given["language"])


def number_sentences(text: str, given: Arguments) -> bool:
    return _compare(count_sentences(text), given, "num_sentences")


def number_paragraphs(text: str, given: Arguments) -> bool:
    """Paragraphs between ``***``; only the first and the last may be empty, and then do not count."""
    parts = [bool(part.strip()) for part in _DIVIDER.split(text)]
    return all(parts[1:-1]) and sum(parts) == int(given["num_paragraphs"])


def number_words(text: str, given: Arguments) -> bool:
    return _compare(len(_WORD.findall(text)), given, "num_words")


def nth_paragraph_first_word(text: str, given: Arguments) -> bool:
    """Paragraphs between blank lines: their number, and the first word of one of them. An empty paragraph does not
    count in their number, but in the numbering (as in the authors' code)."""
    parts = text.split("\n\n")
    count, nth = sum(bool(part.strip()) for part in parts), given["nth_paragraph"]
    if nth > count or not (words := parts[nth - 1].split()):
        return False
    first = _STOPS.split(words[0].lstrip("'").lstrip('"'), maxsplit=1)[0].lower()
    return count == int(given["num_paragraphs"]) and first == given["first_word"].lower()


def number_placeholders(text: str, given: Arguments) -> bool:
    return len(_PLACEHOLDER.findall(text)) >= int(given["num_placeholders"])


def postscript(text: str, given: Arguments) -> bool:
    marker = given["postscript_marker"].strip()
    pattern = _POSTSCRIPTS.get(marker) or re.compile(rf"\s*{marker.lower()}.*$", re.MULTILINE)
    return pattern.search(text.lower()) is not None


def number_bullet_lists(text: str, given: Arguments) -> bool:
    return len(_STAR_BULLET.findall(text)) + len(_DASH_BULLET.findall(text)) == int(given["num_bullets"])


def constrained_response(text: str, given: Arguments) -> bool:
    return any(option in text for option in _OPTIONS)


def number_highlighted_sections(text: str, given: Arguments) -> bool:
    """``*so*`` and ``**so**``; the pattern of single stars also finds both halves of double ones, which are empty."""
    single = sum(bool(found.strip("*").strip()) for found in _HIGHLIGHT.findall(text))
    double = sum(bool(found.removeprefix("**").removesuffix("**").strip()) for found in _BOLD.findall(text))
    return single + double >= int(given["num_highlights"])


def multiple_sections(text: str, given: Arguments) -> bool:
    parts = re.split(rf"\s?{given['section_spliter'].strip()}\s?\d+\s?", text)
    return len(parts) - 1 >= int(given["num_sections"])


def json_format(text: str, given: Arguments) -> bool:
    value = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        value = value.removeprefix(fence)
    try:
        json.loads(value.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def title(text: str, given: Arguments) -> bool:
    return any(found.lstrip("<").rstrip(">").strip() for found in _TITLE.findall(text))


def two_responses(text: str, given: Arguments) -> bool:
    parts = text.split("******")
    if not all(part.strip() for part in parts[1:-1]):
        return False
    said = [part.strip() for part in parts if part.strip()]
    return len(said) == 2 and said[0] != said[1]


def repeat_prompt(text: str, given: Arguments) -> bool:
    return text.strip().lower().startswith(given["prompt_to_repeat"].strip().lower())


def end_checker(text: str, given: Arguments) -> bool:
    return text.strip().strip('"').lower().endswith(given["end_phrase"].strip().lower())


def capital_word_frequency(text: str, given: Arguments) -> bool:
    """Words all in capitals; with hyphens in them they are one word."""
    count = sum(word.isupper() for word in _TOKEN.findall(text))
    return _compare(count, given, "capital_frequency", "capital_relation")


def english_capital(text: str, given: Arguments) -> bool:
    return text.isupper() and is_language(text, "en")


def english_lowercase(text: str, given: Arguments) -> bool:
    return text.islower() and is_language(text, "en")


def no_comma(text: str, given: Arguments) -> bool:
    return "," not in text


def quotation(text: str, given: Arguments) -> bool:
    value = text.strip()
    return len(value) > 1 and value[0] == value[-1] == '"'


CHECKS: Mapping[str, Check] = {
    "keywords:existence": keywords_exist,
    "keywords:frequency": keyword_frequency,
    "keywords:forbidden_words": forbidden_words,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": response_language,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:number_words": number_words,
    "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
    "detectable_content:number_placeholders": number_placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": number_bullet_lists,
    "detectable_format:constrained_response": constrained_response,
    "detectable_format:number_highlighted_sections": number_highlighted_sections,
    "detectable_format:multiple_sections": multiple_sections,
    "detectable_format:json_format": json_format,
    "detectable_format:title": title,
    "combination:two_responses": two_responses,
    "combination:repeat_prompt": repeat_prompt,
    "startend:end_checker": end_checker,
    "change_case:capital_word_frequency": capital_word_frequency,
    "change_case:english_capital": english_capital,
    "change_case:english_lowercase": english_lowercase,
    "punctuation:no_comma": no_comma,
    "startend:quotation": quotation,
}


def follows(kind: str, text: str, given: Arguments) -> bool:
    """Whether a response follows an instruction; an empty one follows none. Raises KeyError for an unknown kind."""
    return bool(text.strip()) and CHECKS[kind](text, given)


def loosened(text: str) -> Sequence[str]:
    """The response as it is, without its first line, its last line and both, each also without stars (section 2.2)."""
    lines = text.split("\n")
    cut = (
        text,
        "\n".join(lines[1:]).strip(),
        "\n".join(lines[:-1]).strip(),
        "\n".join(lines[1:-1]).strip(),
    )
    return tuple(dict.fromkeys((*cut, *(one.replace("*", "") for one in cut))))
