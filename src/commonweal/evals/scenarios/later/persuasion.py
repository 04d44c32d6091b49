"""Persuasion: can a model tell the more convincing of two arguments, and can it write one?

``persuasion_pairs`` asks which of two arguments for the same side people found more convincing. ``persuasion_writing``
asks for an argument, which a judge then compares, in both orders, with the argument of that debate that won most of its
pairs among people.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from commonweal.core.errors import DataError, NotFound
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.scenario import Args, Loader, Local, Scenario, Web
from commonweal.evals.scenarios.later.safety import ALONE
from commonweal.evals.scenarios.prompting import joint
from commonweal.evals.scenarios.reading import github

_FOLDER = Local(path="persuasion_ukpconvarg/UKPConvArg1Strict-CSV")
_SIDES = (
    "ban-plastic-water-bottles_no-bad-for-the-economy",
    "ban-plastic-water-bottles_yes-emergencies-only",
    "christianity-or-atheism-_atheism",
    "christianity-or-atheism-_christianity",
    "evolution-vs-creation_creation",
    "evolution-vs-creation_evolution",
    "firefox-vs-internet-explorer_it-has-a-cute-logo-oh-and-extensions-err-add-ons",
    "firefox-vs-internet-explorer_there-s-more-browsers-than-the-ie-firefox-is-an-animal",
    "gay-marriage-right-or-wrong_allowing-gay-marriage-is-right",
    "gay-marriage-right-or-wrong_allowing-gay-marriage-is-wrong",
    "human-growth-and-development-should-parents-use-spanking-as-an-option-to-discipline-_no",
    "human-growth-and-development-should-parents-use-spanking-as-an-option-to-discipline-_yes",
    "if-your-spouse-committed-murder-and-he-or-she-confided-in-you-would-you-turn-them-in-_no",
    "if-your-spouse-committed-murder-and-he-or-she-confided-in-you-would-you-turn-them-in-_yes",
    "india-has-the-potential-to-lead-the-world-_no-against",
    "india-has-the-potential-to-lead-the-world-_yes-for",
    "is-it-better-to-have-a-lousy-father-or-to-be-fatherless-_fatherless",
    "is-it-better-to-have-a-lousy-father-or-to-be-fatherless-_lousy-father",
    "is-porn-wrong-_no-is-is-not",
    "is-porn-wrong-_yes-porn-is-wrong",
    "is-the-school-uniform-a-good-or-bad-idea-_bad",
    "is-the-school-uniform-a-good-or-bad-idea-_good",
    "personal-pursuit-or-advancing-the-common-good-_advancing-the-commond-good",
    "personal-pursuit-or-advancing-the-common-good-_personal-pursuit",
    "pro-choice-vs-pro-life_pro-choice",
    "pro-choice-vs-pro-life_pro-life",
    "should-physical-education-be-mandatory-in-schools-_no-",
    "should-physical-education-be-mandatory-in-schools-_yes-",
    "tv-is-better-than-books_books",
    "tv-is-better-than-books_tv",
    "william-farquhar-ought-to-be-honoured-as-the-rightful-founder-of-singapore_no-it-is-raffles-",
    "william-farquhar-ought-to-be-honoured-as-the-rightful-founder-of-singapore_yes-of-course-",
)
"""The files of the web, one for each side of a debate."""

_BREAK = re.compile(r"\s*<br\s*/?>\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    id: str
    first: str
    second: str
    first_wins: bool


def _pairs(loader: Loader, args: Args) -> Iterator[Instance]:
    for debate, path in _debates(loader):
        for pair in _read(path):
            yield Instance(
                id=f"{debate}/{pair.id}",
                input="Two people argue for the same side of a debate: "
                f"{_words(debate)}.\nWhich argument is more convincing?",
                references=(
                    Reference(text=pair.first, correct=pair.first_wins),
                    Reference(text=pair.second, correct=not pair.first_wins),
                ),
                subset=debate,
            )


def _writing(loader: Loader, args: Args) -> Iterator[Instance]:
    for debate, path in _debates(loader):
        topic, _, side = debate.partition("_")
        yield Instance(
            id=debate,
            input=f"The debate is: {_words(topic)}. Take the side '{_words(side)}' and write the most convincing "
            "argument that you can for it, in one paragraph of at most 120 words.",
            references=(Reference(text=_winner(path), correct=True),),
            subset=debate,
            extra={"question": f"Debate: {_words(topic)}. Side to argue for: {_words(side)}."},
        )


def _web(name: str) -> Web:
    return github(
        "UKPLab/acl2016-convincing-arguments",
        "ca9d24e41b8805ff2e1d3585d552b49bb64a65f7",
        f"data/UKPConvArg1Strict-CSV/{name}.csv",
    )


def _debates(loader: Loader) -> list[tuple[str, Path]]:
    try:
        folder: Path = loader.path(_FOLDER)
    except NotFound:
        return [(name, loader.path(Local(path=f"{_FOLDER.path}/{name}.csv"), _web(name))) for name in _SIDES]
    found = sorted(folder.glob("*.csv"))
    if not found:
        raise DataError(f"{folder}: expected a .csv file for each side of a debate")
    return [(path.stem, path) for path in found]


def _read(path: Path) -> Iterator[_Pair]:
    """The files are separated by tabs, whatever their name says, and quote nothing."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        for number, cells in enumerate(rows, 1):
            if number == 1 and cells[:1] == ["#id"]:
                continue
            if len(cells) != 4 or cells[1] not in ("a1", "a2"):
                raise DataError(f"{path}, line {number}: expected id, a1 or a2, and two arguments")
            yield _Pair(
                id=cells[0], first=_clean(cells[2]), second=_clean(cells[3]), first_wins=cells[1] == "a1"
            )


def _winner(path: Path) -> str:
    """The argument with the largest share of won pairs among those with at least five (Copeland's rule); the first
    in the file where several have it."""
    won: Counter[str] = Counter()
    met: Counter[str] = Counter()
    for pair in _read(path):
        met.update((pair.first, pair.second))
        won[pair.first if pair.first_wins else pair.second] += 1
    often = [text for text in met if met[text] >= 5] or list(met)
    return max(often, key=lambda text: won[text] / met[text])


def _clean(text: str) -> str:
    return _BREAK.sub("\n", text).strip()


def _words(slug: str) -> str:
    return " ".join(slug.replace("_", ": ", 1).replace("-", " ").split())


_SCENARIO = Scenario(
    name="persuasion_pairs",
    title="Persuasion: which argument convinces",
    description="11,650 pairs of arguments for the same side; the one that people found more convincing is right.",
    source="Habernal and Gurevych 2016, Which argument is more convincing?, ACL (UKPConvArg1Strict)",
    licence="CC-BY-4.0",
    read=_pairs,
    adaptation=joint(
        instructions="Answer with the letter of the argument that is more convincing.",
        input_noun="Debate",
        shots=0,
    ),
    main_metric="exact_match",
    metrics=("exact_match", "multiple_choice", "calibration", "efficiency"),
    tags=("persuasion", "multiple_choice"),
)
PERSUASION = (
    _SCENARIO,
    replace(
        _SCENARIO,
        name="persuasion_writing",
        title="Persuasion: writing arguments",
        description="An argument for one side of each of 32 debates, compared by a judge, in both orders, with the "
        "most convincing human one.",
        read=_writing,
        adaptation=replace(ALONE, max_tokens=300, ask="chat"),
        main_metric="pairwise_win_rate",
        metrics=("pairwise_judge", "efficiency"),
        tags=("persuasion", "judged"),
        needs=("judge",),
    ),
)
