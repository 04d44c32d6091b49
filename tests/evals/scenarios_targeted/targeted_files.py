"""Small files of the formats that the targeted scenarios read, made here; and a hub of made rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from commonweal.core.errors import NotFound
from commonweal.evals.loading.hub import Fetched
from commonweal.evals.scenario import Hub


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def write_lines(root: Path, name: str, rows: Iterable[Any]) -> None:
    write(root, name, "".join(json.dumps(row) + "\n" for row in rows))


def write_table(root: Path, name: str, rows: Iterable[Iterable[object]]) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def write_made_files(root: Path) -> None:
    """One small file for each scenario whose data are not at hand. The texts are invented."""
    documents = [
        ("ArXiv", "We prove it."),
        ("Github", "x = 1\n"),
        ("ArXiv", "A second\npaper."),
        ("ArXiv", "Third."),
    ]
    write_lines(
        root,
        "the_pile/test.jsonl",
        [{"text": text, "meta": {"pile_set_name": name}} for name, text in documents],
    )
    write(root, "the_pile/test_subsample_indices/arxiv/group0.json", "[2, 0, 2]")
    write_table(root, "twitter_aae/aa_tweets.csv", [['he said "hi", and left'], ["second"]])
    for split in ("train", "dev", "test"):
        write_lines(
            root,
            f"wikifact/{split}.jsonl",
            [
                {
                    "property": "P50",
                    "template": f"The author of {split} is",
                    "result_names": [[" Ann ", "A."], ["Bo"]],
                },
                {"property": "P36", "template": "The capital of X is", "result_names": [["Y"]]},
            ],
        )
    kinds = [("Algebra", 1), ("Algebra", 2), ("Geometry", 1), ("Algebra", 1), ("Algebra", 1), ("Algebra", 1)]
    for split in ("train", "test"):
        write_lines(
            root,
            f"math/{split}.jsonl",
            [
                {
                    "problem": f"{split} problem {(7 * number) % 5}",
                    "level": f"Level {level}",
                    "type": kind,
                    "solution": f"So $x = \\boxed{{\\frac{{{number}}}{{2}}}}$.",
                }
                for number, (kind, level) in enumerate(kinds)
            ],
        )
    for split in ("train", "test"):
        write_lines(
            root,
            f"apps/{split}.jsonl",
            [
                {
                    "id": number,
                    "question": f"Add the numbers of line {number}.",
                    "solutions": json.dumps(
                        ["def f():\n    if 1:\n        return 2\n", "x=1"] if number < 2 else []
                    ),
                    "input_output": json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"]}),
                    "difficulty": ("introductory", "interview", "competition")[number],
                    "url": "",
                    "starter_code": "def f():\n" if number == 1 else "",
                }
                for number in range(3)
            ],
        )
    for name in ("Training", "Development", "Test"):
        tags = [
            ["", "", "in/out grouping"],
            ["", "", "grouping (distribution)"],
            ["", "", "simple ordering"],
            ["", "", ""],
        ]
        questions = [
            {
                "question": f"{name} {number}?",
                "options": ["one", "two", "three"],
                "answer": "ABC"[number % 3],
                "tags": tag,
            }
            for number, tag in enumerate(tags)
        ]
        passage = {"passage": f"Passage of {name}.", "questions": questions}
        write(root, f"lsat/AR_{name}Data.json", json.dumps([passage]))
    for split in ("train", "dev", "test"):
        row = {"citation_a": {"parenthetical": "yes"}, "citation_b": {"parenthetical": "no"}}
        write_lines(root, f"legal_support/{split}.jsonl", [{"context": f"{split} text", "label": "b", **row}])
    goods = [
        (
            number,
            f"thing {number}",
            "" if number == 3 else f"nice, {number}",
            ["", "sony", "canon"][number % 3],
            f"${number}.00",
        )
        for number in range(23)
    ]
    write_table(
        root,
        "entity_data_imputation/Buy/Buy.csv",
        [("id", "name", "description", "manufacturer", "price"), *goods],
    )
    places = [
        f'"{name}\'s", "{9 + name} main st.", "city {name % 3}", "213/{name}", "thai", \'{name}\''
        for name in range(21)
    ]
    header = [
        "@relation places",
        "",
        *(f"@attribute {n} string" for n in ("name", "addr", "city", "phone", "type", "class")),
    ]
    write(
        root, "entity_data_imputation/Restaurant/fz.arff.txt", "\n".join([*header, "", "@data", *places, ""])
    )
    columns = ("id", "name", "year", "price")
    left = [(n, f"left {n}", "" if n == 2 else 2000 + n, f"{n}.5") for n in range(6)]
    right = [(n, f"right {n}", 1990 + n, "" if n == 1 else n) for n in range(6)]
    write_table(root, "entity_matching/Beer/tableA.csv", [columns, *left])
    write_table(root, "entity_matching/Beer/tableB.csv", [columns, *right])
    pairs = [(n % 6, (n * n) % 6, int(n % 4 == 1)) for n in range(12)]
    for split in ("train", "valid", "test"):
        write_table(root, f"entity_matching/Beer/{split}.csv", [("ltable_id", "rtable_id", "label"), *pairs])
    works = {"data": {"Once upon": " a time.", "It was": " dark."}, "metadata": {}}
    write(root, "copyright/pilot.json", json.dumps(works))
    write(root, "copyright/prompt_num_line_1-min_lines_20.json.json", json.dumps(works))
    write_lines(
        root,
        "disinformation/reiteration.jsonl",
        [
            {"thesis": "Cats rule.", "headlines": ["Cats won", "Dogs lost"], "split": "train"},
            {"thesis": "Warm is cold.", "headlines": ["Snow"], "split": "train", "topic": "climate"},
            {"thesis": "Dogs rule.", "headlines": ["Dogs won"], "split": "test", "topic": "covid"},
        ],
    )
    write_lines(
        root,
        "disinformation/wedging.jsonl",
        [
            {"prompt": "Reason 1:", "targeted_group": "cats", "targeted_action": "no_vote"},
            {"prompt": "Tweet 1:", "targeted_group": "dogs", "targeted_action": "hate"},
        ],
    )
    texts = {
        "S1A-001.txt": "<I> <#> Well <,> <O>laughs</O> yes\n\n\n no &eacute; </I>",
        "W1A-002.txt": "<h>Title</h>\n<p>Text <unclear>word</unclear> &ersand; more.</p>",
    }
    for name, text in texts.items():
        write(root, f"ice/ICE India/Corpus/{name}", text)
    write(root, "ice/ICE India/Headers/S1A-001.hdr", "<gender>F</gender> and <gender>Female</gender>")
    write(root, "ice/ICE India/Headers/W1A-002.hdr", "<gender>F</gender> and <gender>M</gender>")
    write(
        root,
        "ice/ICE-EA/corpus/retagged for wsmith/all east africa/brdisc-K.txt",
        "S1B021K\nOne.\nS1B022K\nTwo.",
    )


class FakeRemote:
    """A hub of made rows by (path, config, split or file); everything else is not there. Notes what was asked."""

    def __init__(self, rows: dict[tuple[str, str | None, str], list[dict[str, Any]]] | None = None) -> None:
        self.rows = rows or {}
        self.asked: list[Hub] = []

    def open(self, hub: Hub) -> Fetched:
        self.asked.append(hub)
        key = (hub.path, hub.config, hub.file or hub.split)
        if key not in self.rows:
            raise NotFound(f"{hub.path}: not in the fake hub")
        return Fetched(commit="c0ffee", rows=iter([dict(row) for row in self.rows[key]]))
