"""Words of a text as the Penn Treebank splits them, which HELM's BLEU, bias and copyright metrics count.

The rules are those of NLTK's ``word_tokenize`` (Bird et al. 2009; Robert MacIntyre's sed script): sentences first, then
quotes, punctuation, clitics. The sentence splitter is ours, as NLTK's Punkt model is a download: it breaks after every
``.``, ``?`` and ``!`` before white space, but not after a known abbreviation or an initial. Over the 2,396
RealToxicityPrompts texts of the subset that the toxicity classifier is fitted to, 16 have other words than with Punkt;
without sentences the words are NLTK's exactly (tests/evals/metrics/test_word_tokens.py).
"""

from __future__ import annotations

import re

# NLTK data, punkt_tab/english/abbrev_types.txt (Kiss & Strunk 2006), Apache-2.0.
_ABBREVIATIONS = """
a.a a.c a.d a.g a.h a.m a.m.e a.s a.t adm ala ariz aug ave b.f b.v bros c c.i.t c.o.m.b c.v calif chg
cie co col colo conn corp cos ct d d.c d.h d.w dec dr e e.f e.h e.l e.m f f.g f.j feb fla fri ft g g.d
g.f g.k ga gen h h.c h.f h.m i.m.s ill inc j.b j.c j.j j.k j.p j.r jan jr k kan ky l l.a l.f l.p lt ltd
m m.b.a m.d.c m.j maj messrs mg mich minn mr mrs ms n n.c n.d n.h n.j n.m n.v n.y nev nov oct ok okla
ore p p.a.m p.m pa ph.d prof r r.a r.h r.i r.j r.k r.t rep reps s s.a s.a.y s.c s.g s.p.a s.s sen sep
sept sr st sw t t.j tenn tues u.k u.n u.s u.s.a u.s.s.r v va vs vt w w.c w.r w.va w.w wash wed wis yr
"""
_KNOWN = frozenset(_ABBREVIATIONS.split())
_END = re.compile(r"(?P<mark>[.?!])[\"')\]}»”’]*(?P<gap>\s+)(?=\S)")
_LAST_WORD = 24  # longest abbreviation, with room

_QUOTES_BEFORE = (
    (re.compile("([«“‘„]|[`]+)"), r" \1 "),
    (re.compile(r"^\""), r"``"),
    (re.compile(r"(``)"), r" \1 "),
    (re.compile(r"([ \(\[{<])(\"|\'{2})"), r"\1 `` "),
    (re.compile(r"(?i)(?<!\w)(\')(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)"), r"\1 "),
)
_PUNCTUATION = (
    (re.compile(r'([^\.])(\.)([\]\)}>"\'»”’ ]*+)\s*$'), r"\1 \2 \3 "),
    (re.compile(r"([:,])([^\d])"), r" \1 \2"),
    (re.compile(r"([:,])$"), r" \1 "),
    (re.compile(r"\.{2,}"), r" \g<0> "),
    (re.compile(r"[;@#$%&]"), r" \g<0> "),
    (re.compile(r"[\u2012-\u2015]"), r" \g<0> "),
    (re.compile(r'([^\.])(\.)([\]\)}>"\']*)\s*$'), r"\1 \2\3 "),
    (re.compile(r"[?!]"), r" \g<0> "),
    (re.compile(r"([^'])' "), r"\1 ' "),
    (re.compile(r"[*]"), r" \g<0> "),
    (re.compile(r"[\]\[\(\)\{\}\<\>]"), r" \g<0> "),
    (re.compile(r"--"), r" -- "),
)
_QUOTES_AFTER = (
    (re.compile("([»”’])"), r" \1 "),
    (re.compile(r"''"), " '' "),
    (re.compile(r'"'), " '' "),
    (re.compile(r"\s+"), " "),
    (re.compile(r"([^' ])('[sS]|'[mM]|'[dD]|') "), r"\1 \2 "),
    (re.compile(r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) "), r"\1 \2 "),
)
_CONTRACTIONS = re.compile(
    r"(?i)\b(can)(not)\b|\b(d)('ye)\b|\b(gim)(me)\b|\b(gon)(na)\b|\b(got)(ta)\b|\b(lem)(me)\b|\b(more)('n)\b"
    r"|\b(wan)(na)(?=\s)|(?<= )('t)(is|was)\b"
)
_TREEBANK_QUOTES_BEFORE = (
    (re.compile(r"^\""), r"``"),
    (re.compile(r"(``)"), r" \1 "),
    (re.compile(r"([ \(\[{<])(\"|\'{2})"), r"\1 `` "),
)
_TREEBANK_PUNCTUATION = (
    (re.compile(r"([:,])([^\d])"), r" \1 \2"),
    (re.compile(r"([:,])$"), r" \1 "),
    (re.compile(r"\.\.\."), r" ... "),
    (re.compile(r"[;@#$%&]"), r" \g<0> "),
    (re.compile(r'([^\.])(\.)([\]\)}>"\']*)\s*$'), r"\1 \2\3 "),
    (re.compile(r"[?!]"), r" \g<0> "),
    (re.compile(r"([^'])' "), r"\1 ' "),
    (re.compile(r"[\]\[\(\)\{\}\<\>]"), r" \g<0> "),
    (re.compile(r"--"), r" -- "),
)
_TREEBANK_QUOTES_AFTER = (*_QUOTES_AFTER[1:3], *_QUOTES_AFTER[4:])
_Rules = tuple[tuple[re.Pattern[str], str], ...]


def words(text: str) -> list[str]:
    """Words and punctuation marks (NLTK's ``word_tokenize``).

    >>> words("They can't pay $3.88. Mr. Lin's friends (can).")
    ['They', 'ca', "n't", 'pay', '$', '3.88', '.', 'Mr.', 'Lin', "'s", 'friends', '(', 'can', ')', '.']
    """
    made: list[str] = []
    for sentence in sentences(text):
        made += _split(sentence, _QUOTES_BEFORE, _PUNCTUATION, _QUOTES_AFTER)

    return made


def treebank_words(text: str) -> list[str]:
    """The older rules, without sentences or typographic quotes (NLTK's ``TreebankWordTokenizer``)."""
    return _split(text, _TREEBANK_QUOTES_BEFORE, _TREEBANK_PUNCTUATION, _TREEBANK_QUOTES_AFTER)


def sentences(text: str) -> list[str]:
    """The text cut after each sentence's end."""
    made, start = [], 0
    for match in _END.finditer(text):
        before = text[max(start, match.start() - _LAST_WORD) : match.start()]
        if match["mark"] != "." or _ends(before.split()[-1] if before.strip() else ""):
            made.append(text[start : match.start("gap")])
            start = match.end()
    made.append(text[start:])

    return made


def _ends(word: str) -> bool:
    """Whether a period after ``word`` ends a sentence."""
    core = word.lstrip("\"'([{").lower()
    return not (core in _KNOWN or (len(core) == 1 and core.isalpha()) or core.endswith("."))


def _split(text: str, before: _Rules, punctuation: _Rules, after: _Rules) -> list[str]:
    for rules in (before, punctuation):
        for pattern, replacement in rules:
            text = pattern.sub(replacement, text)
    text = f" {text} "
    for pattern, replacement in after:
        text = pattern.sub(replacement, text)
    return _CONTRACTIONS.sub(_apart, text).split()


def _apart(match: re.Match[str]) -> str:
    first, second = (part for part in match.groups() if part is not None)
    return f" {first} {second} "
