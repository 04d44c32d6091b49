"""Tables in words: filling in a missing value (Mei et al. 2021) and matching two records (Magellan, Konda et al. 2016).

HELM reads and samples these tables with pandas; values are written here as pandas writes them (a missing one is
``nan``, a whole number in a column with gaps ``3.0``), and drawn by the same random numbers. The archives are unpacked
below ``entity_data_imputation/`` and ``entity_matching/`` in a folder named after the data set; ``fz.arff`` is to be
named ``fz.arff.txt``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from commonweal.evals.instance import Instance, Split
from commonweal.evals.loading.fields import bad, field
from commonweal.evals.scenario import Args, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import Draft, answer, numbered
from commonweal.evals.scenarios.prompting import generation
from commonweal.evals.scenarios.reading import mirror
from commonweal.evals.scenarios.targeted.cells import MISSING, Table, arff, table_of

IMPUTED = {"Buy": "manufacturer", "Restaurant": "city"}
"""The column whose value is asked for."""

IMPUTATION_ARGS = {"dataset": tuple(IMPUTED)}

PAIRS = {
    "Beer": "Structured/Beer",
    "iTunes_Amazon": "Structured/iTunes-Amazon",
    "Fodors_Zagats": "Structured/Fodors-Zagats",
    "DBLP_ACM": "Structured/DBLP-ACM",
    "DBLP_GoogleScholar": "Structured/DBLP-GoogleScholar",
    "Amazon_Google": "Structured/Amazon-Google",
    "Walmart_Amazon": "Structured/Walmart-Amazon",
    "Abt_Buy": "Textual/Abt-Buy",
    "Company": "Textual/Company",
    "Dirty_iTunes_Amazon": "Dirty/iTunes-Amazon",
    "Dirty_DBLP_ACM": "Dirty/DBLP-ACM",
    "Dirty_DBLP_GoogleScholar": "Dirty/DBLP-GoogleScholar",
    "Dirty_Walmart_Amazon": "Dirty/Walmart-Amazon",
}
"""The pairs of tables, and where they lie below deepmatcher_data."""

MATCHING_ARGS = {"dataset": ("Abt_Buy", *(name for name in PAIRS if name != "Abt_Buy"))}

_SPLITS: tuple[Split, ...] = ("train", "valid", "test")
_IMPUTATION_SEED = 1234


def read_imputation(loader: Loader, args: Args) -> Iterator[Instance]:
    dataset = chosen(args, IMPUTATION_ARGS, "dataset")
    return numbered(_imputation(loader, dataset))


def _imputation(loader: Loader, dataset: str) -> Iterator[Draft]:
    if dataset == "Buy":
        local = Local(path="entity_data_imputation/Buy/Buy.csv")
    else:
        local = Local(path="entity_data_imputation/Restaurant/fz.arff.txt")
    hub = mirror(f"lighteval/{dataset}", split="train")
    rows = list(loader.rows(local, hub))
    if rows and "gold" in rows[0]:
        yield from _imputation_mirrored(loader, dataset)
        return
    table = _buy(rows) if dataset == "Buy" else _restaurants(rows)
    column = IMPUTED[dataset]
    shown = [name for name in table.columns if name != column]
    for split, numbers in zip(_SPLITS, _split(len(table.rows)), strict=True):
        for number in numbers:
            row = table.rows[number]
            text = f"{serialized(row, shown)}. {column}?"
            yield Draft(input=text, references=answer(row[column]), split=split)


def _imputation_mirrored(loader: Loader, dataset: str) -> Iterator[Draft]:
    for split in _SPLITS:
        for row in loader.rows(mirror(f"lighteval/{dataset}", split=split)):
            yield Draft(input=field(row, "text"), references=answer(field(row, "gold")), split=split)


def _buy(rows: Sequence[Row]) -> Table:
    table = table_of(rows, drop=("id",))
    return Table(table.columns, [row for row in table.rows if row["description"] != MISSING])


def _restaurants(rows: Sequence[Row]) -> Table:
    return arff(rows, drop="class")


def _split(count: int) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """Train, valid and test: a tenth is for tests, a fifth of the rest for validation, as pandas draws them."""
    test = _drawn(range(count), 0.1)
    rest = [number for number in range(count) if number not in set(test)]
    valid = _drawn(rest, 0.2)
    held = set(valid)
    return [number for number in rest if number not in held], valid, test


def _drawn(numbers: Sequence[int], share: float) -> list[int]:
    random = np.random.RandomState(_IMPUTATION_SEED)
    picked = random.choice(len(numbers), size=round(share * len(numbers)), replace=False)
    return [numbers[int(index)] for index in picked]


def serialized(row: Row, columns: Sequence[str]) -> str:
    """A row in words: ``name: value. name: value``."""
    return ". ".join(f"{name}: {row[name]}".strip() for name in columns)


def read_matching(loader: Loader, args: Args) -> Iterator[Instance]:
    return numbered(_matching(loader, chosen(args, MATCHING_ARGS, "dataset")))


def _matching(loader: Loader, dataset: str) -> Iterator[Draft]:
    folder = f"entity_matching/{dataset}"
    hub = mirror("lighteval/EntityMatching", config=dataset, split="train")
    first = list(loader.rows(Local(path=f"{folder}/tableA.csv"), hub))
    if first and "productA" in first[0]:
        yield from _matching_mirrored(loader, dataset)
        return
    left = _by_id(first)
    right = _by_id(list(loader.rows(Local(path=f"{folder}/tableB.csv"))))
    for split in _SPLITS:
        pairs = list(loader.rows(Local(path=f"{folder}/{split}.csv")))
        for pair in _balanced(pairs) if split == "train" else pairs:
            yield _pair(_side(left, pair, "ltable_id"), _side(right, pair, "rtable_id"), _same(pair), split)


def _matching_mirrored(loader: Loader, dataset: str) -> Iterator[Draft]:
    for split, hub_split in zip(_SPLITS, ("train", "validation", "test"), strict=True):
        for row in loader.rows(mirror("lighteval/EntityMatching", config=dataset, split=hub_split)):
            same = bool(row.get("same"))
            yield _pair(field(row, "productA"), field(row, "productB"), same, split)


def _pair(left: str, right: str, same: bool, split: Split) -> Draft:
    return Draft(
        input=f"Product A is {left}. Product B is {right}. Are A and B the same?",
        references=answer("Yes" if same else "No"),
        split=split,
    )


def _by_id(rows: Sequence[Row]) -> dict[int, str]:
    table = table_of(rows)
    shown = [name for name in table.columns if name != "id"]
    ids = [field(row, "id", int) for row in rows]
    return {number: serialized(row, shown) for number, row in zip(ids, table.rows, strict=True)}


def _side(table: dict[int, str], pair: Row, name: str) -> str:
    number = field(pair, name, int)
    if number not in table:
        raise bad(pair, f"field '{name}': its table has no row with the id {number}")
    return table[number]


def _same(pair: Row) -> bool:
    label = field(pair, "label", int)
    if label not in (0, 1):
        raise bad(pair, f"field 'label' should be 0 or 1, but is {label}")
    return label == 1


def _balanced(pairs: Sequence[Row]) -> list[Row]:
    """As many pairs that differ as pairs that match, the differing ones first. HELM draws them from states of its
    random numbers that it kept for its own runs, and by the seed 0 where it kept none, as here."""
    random = np.random.RandomState(0)
    groups = [[pair for pair in pairs if _same(pair) is same] for same in (False, True)]
    size = min(len(group) for group in groups)
    return [group[int(i)] for group in groups for i in random.choice(len(group), size=size, replace=False)]


DATA_IMPUTATION = Scenario(
    name="entity_data_imputation",
    title="Data imputation",
    description="Which value is missing in a row of a table?",
    source="https://storage.googleapis.com/crfm-helm-public/source_datasets/scenarios/entity_data_imputation/ "
    "(Mei et al. 2021, https://ieeexplore.ieee.org/document/9458712)",
    licence="not stated",
    read=read_imputation,
    adaptation=generation(instructions="What is the missing value?", output_noun="Answer"),
    main_metric="quasi_exact_match",
    metrics=("exact_match",),
    tags=("targeted", "reasoning", "structured_data"),
    args=IMPUTATION_ARGS,
)

ENTITY_MATCHING = Scenario(
    name="entity_matching",
    title="Entity matching",
    description="Do two rows of two tables describe the same product?",
    source="https://github.com/anhaidgroup/deepmatcher/blob/master/Datasets.md "
    "(Konda et al. 2016, https://doi.org/10.14778/3007263.3007314)",
    licence="BSD-3-Clause (deepmatcher)",
    read=read_matching,
    adaptation=generation(
        instructions="Are Product A and Product B the same? Yes or No?", output_noun="Answer"
    ),
    main_metric="quasi_exact_match",
    metrics=("exact_match",),
    tags=("targeted", "reasoning", "structured_data"),
    args=MATCHING_ARGS,
)
