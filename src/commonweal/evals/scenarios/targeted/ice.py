"""ICE, the International Corpus of English (Greenbaum 1991): texts of nine regions, in bits per byte.

The corpora are given out one by one, under agreements; each is unpacked below ``ice/`` in the folder that its archive
makes (``FOLDERS``). Which texts are taken, in which order, and how their markup is removed is HELM's; its pinned order
of files, which was that of one machine's folders, is read from ``ice/ice_scenario_pinned_file_order.json`` where it
is, else files are sorted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from commonweal.core.errors import DataError, NotFound, UserError
from commonweal.evals.instance import Instance
from commonweal.evals.scenario import Args, Loader, Local, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import Draft, numbered
from commonweal.evals.scenarios.prompting import language_modeling
from commonweal.evals.scenarios.targeted.ice_markup import plain

FOLDERS = {
    "can": "ICE-CAN",
    "ja": "ICE-JA",
    "hk": "ICE-HK",
    "ind": "ICE India",
    "sin": "ICE SINGAPORE",
    "phi": "ICE Philippines",
    "usa": "ICE-USA",
    "ea": "ICE-EA/corpus/retagged for wsmith",
    "irl": "ICE-IRL/ICE-Ireland version 1.2#6DAE.2/ICE-Ireland txt",
}
"""Canada, Jamaica, Hong Kong, India, Singapore, the Philippines, the USA, East Africa, Ireland."""

CATEGORIES = ("all", "S", "W", "S1", "S2", "W1", "W2")
"""All, spoken, written; dialogue, monologue, private, public."""

SHEETS = {
    "can": (("Spoken ICE-CAN metadata.xls", (12,)), ("Written ICE-CAN metadata.xls", (12, 19))),
    "hk": (("HKRecords.xls", (16,)),),
}
"""Regions whose metadata are spreadsheets: the columns that hold a speaker's gender."""

HEADERS = ("ind", "usa")
"""Regions whose metadata are header files."""

ARGS = {
    "subset": ("all", *FOLDERS),
    "category": CATEGORIES,
    "gender": ("any", "male", "female"),
}

EAST_AFRICA = {
    **dict.fromkeys(("brdisc", "brint", "clless", "conv", "conv1", "conv2", "crossx", "parlia"), "S1"),
    **dict.fromkeys(("brnews", "brtalk", "schbr", "splect"), "S2"),
    **dict.fromkeys(("buslet", "essays", "exam", "judge", "soclet"), "W1"),
    **dict.fromkeys(("column", "crea", "creat1", "creat2", "editor", "feat", "instruct"), "W2"),
    **dict.fromkeys(("ldhum", "ldnats", "ldsoc", "ldtech", "ppgen", "pphum", "ppnats", "ppsoc"), "W2"),
    **dict.fromkeys(("pptech", "splash"), "W2"),
}
"""The categories of East Africa's files."""

_ANNOTATIONS = {"male": {"M", "m", "Male", "male"}, "female": {"F", "f", "Female", "female"}}
_GENDER = re.compile(r"(?<=<gender>)\w+(?=</gender>)")
_TEXT_MARK = re.compile("[WS]\\d[A-F]\\d{3}[A-Z]*[KT]\n")
_ORDER = "ice/ice_scenario_pinned_file_order.json"


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    category = chosen(args, ARGS, "category")
    return numbered(
        Draft(input=text, subset=region)
        for region, gender in _regions(args)
        for text in _texts(loader, region, category, gender)
    )


def _regions(args: Args) -> list[tuple[str, str]]:
    """The regions with the gender to filter by, "" for none."""
    subset, gender = chosen(args, ARGS, "subset"), chosen(args, ARGS, "gender")
    known = (*SHEETS, *HEADERS)
    if gender == "any":
        return [(region, "") for region in (FOLDERS if subset == "all" else (subset,))]
    if subset == "all":
        return [(region, gender) for region in ("can", "hk", "ind", "usa")]
    if subset not in known:
        raise UserError(f"ICE '{subset}' says nothing of gender", hint="these do: " + ", ".join(known))
    return [(subset, gender)]


def _texts(loader: Loader, region: str, category: str, gender: str) -> Iterator[str]:
    folder = Path(loader.path(Local(path=f"ice/{FOLDERS[region]}")))
    corpus = _corpus(folder, region)
    names = _ordered(loader, corpus, region)
    if gender:
        names = _by_gender(folder / "Headers", region, gender, names)
    for name in names:
        if in_category(region, name, category):
            text = _decoded(corpus / name)
            parts = [part for part in _TEXT_MARK.split(text) if part] if region == "ea" else [text]
            yield from map(plain, parts)


def _corpus(folder: Path, region: str) -> Path:
    fixed = {"irl": "ICE combined running txt", "ea": "all east africa"}
    for name in ("Corpus", "CORPUS", fixed.get(region, "corpus")):
        if (folder / name).is_dir():
            return folder / name
    raise NotFound(f"{folder}: has no folder of texts", hint="unpack the corpus as it comes")


def _ordered(loader: Loader, corpus: Path, region: str) -> list[str]:
    present = sorted(path.name for path in corpus.iterdir() if path.is_file())
    try:
        order = json.loads(Path(loader.path(Local(path=_ORDER))).read_text(encoding="utf-8"))
        pinned: list[str] = order.get(f"restricted/ice/{FOLDERS[region]}/{corpus.name}", present)
    except NotFound:
        return present
    except (ValueError, AttributeError) as error:
        raise DataError(f"{_ORDER}: not a JSON object of lists: {error}") from None
    return pinned


def in_category(region: str, name: str, category: str) -> bool:
    """Whether a file is of the category. A file's name begins with it, but for East Africa's."""
    if category == "all":
        return True
    if region != "ea":
        return name.upper().startswith(category)
    kind = EAST_AFRICA.get(name.replace("-", "")[:-5].lower())
    if kind is None:
        raise DataError(
            f"{name}: its category is not known", hint="East Africa's files are named like brdisc-K.txt"
        )
    return kind.startswith(category)


def _by_gender(headers: Path, region: str, gender: str, names: list[str]) -> list[str]:
    """The texts all of whose speakers are known to be of one gender (spreadsheets: any speaker, as in HELM)."""
    codes = _from_sheets(headers, region, gender) if region in SHEETS else _from_headers(headers, gender)
    patterns = [re.compile(code, re.IGNORECASE) for code in codes]
    return sorted(name for name in names if any(pattern.match(name) for pattern in patterns))


def _from_headers(headers: Path, gender: str) -> set[str]:
    found = set()
    for path in headers.iterdir():
        if path.name.endswith("hdr"):
            told = _GENDER.findall(_decoded(path))
            if told and all(word in _ANNOTATIONS[gender] for word in told):
                found.add(path.name[:-4])
    return found


def _from_sheets(headers: Path, region: str, gender: str) -> set[str]:
    try:
        xlrd: Any = import_module("xlrd")  # the old spreadsheet format, needed by this filter alone
    except ImportError:
        raise UserError("reading .xls files needs the library xlrd", hint="pip install xlrd") from None
    found = set()
    for name, columns in SHEETS[region]:
        book = xlrd.open_workbook(headers / name)
        for sheet in [book.sheet_by_index(0)] if region == "can" else book.sheets():
            for number in range(1, sheet.nrows):
                row = sheet.row_values(number)
                if row[0] and any(row[column] in _ANNOTATIONS[gender] for column in columns):
                    found.add(str(row[0]))
    return found


def _decoded(path: Path) -> str:
    """Text in UTF-8, else in ISO 8859-1, with line feeds alone."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return path.read_text(encoding="iso-8859-1")


ICE = Scenario(
    name="ice",
    title="ICE",
    description="Spoken and written English of nine regions, scored as it is: gaps between regions are disparities.",
    source="https://www.ice-corpora.uzh.ch (Greenbaum 1991); to be asked for and unpacked below ice/",
    licence="by agreement with each corpus's holders, for research",
    read=read,
    adaptation=language_modeling(),
    main_metric="bits_per_byte",
    metrics=("bits_per_byte",),
    tags=("targeted", "language", "language_modeling", "dialect"),
    args=ARGS,
    needs=("logprobs",),
)
