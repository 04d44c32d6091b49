"""Small files in the formats of the real data sets, where none of the real ones lies beside the checkout."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from commonweal.evals.loading import DataLoader


def write_all(root: Path) -> None:
    """Every small file below ``root``, under the names that the scenarios look for."""
    for write in (
        _mmlu,
        _boolq,
        _hellaswag,
        _openbookqa,
        _narrative_qa,
        _quac,
        _natural_questions,
        _civil_comments,
        _raft,
        _summaries,
        _msmarco,
        _imdb,
        _legalbench,
        _wmt14,
    ):
        write(root)


@pytest.fixture(scope="session")
def small_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("small")
    write_all(root)
    return root


@pytest.fixture
def load(tmp_path: Path) -> Callable[[Path], DataLoader]:
    """A loader that asks no network."""
    return lambda root: DataLoader(root, tmp_path / "cache", offline=True)


def _file(root: Path, name: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _jsonl(root: Path, name: str, rows: Iterable[Any]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path = _file(root, name)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        path.write_text(text, encoding="utf-8")


def _csv(root: Path, name: str, rows: Iterable[Sequence[Any]], delimiter: str = ",") -> None:
    with _file(root, name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)


def _mmlu(root: Path) -> None:
    for split, size in (("dev", 5), ("val", 3), ("test", 4)):
        rows = [
            (
                f'{split} question {n}, "quoted"?',
                f"one {n}",
                f"two {n}",
                f"three {n}",
                "four, with a comma",
                "ABCD"[n % 4],
            )
            for n in range(size)
        ]
        _csv(root, f"mmlu/{split}/anatomy_{split}.csv", rows)


def _boolq(root: Path) -> None:
    def row(n: int, split: str) -> dict[str, Any]:
        question = "is ``The Lake'' cold" if n == 1 else f"does the {split} lake number {n} Freeze "
        return {
            "question": question,
            "title": "Lakes",
            "answer": n % 2 == 0,
            "passage": f"Lake {n} is deep -- very.",
        }

    _jsonl(root, "boolq/train.jsonl", [row(n, "train") for n in range(4)])
    _jsonl(root, "boolq/dev.jsonl", [row(n, "dev") for n in range(4)])
    form = {"question": "Question", "answer": "Gold Answer", "perturbed_questions": []}
    entry = {
        "question": "is ``The Lake'' cold",
        "answer": "FALSE",
        "perturbed_questions": [
            {"perturbed_q": "is ``The Lake'' warm", "answer": "TRUE"},
            {"perturbed_q": "is ``The Lake'' hot", "answer": "FALSE"},
            {"perturbed_q": "", "answer": "TRUE"},
            {"perturbed_q": "is the lake deep", "answer": "TRUE"},
        ],
    }
    _file(root, "boolq/boolq_perturbed.json").write_text(
        json.dumps({"data": [form, entry]}), encoding="utf-8"
    )


def _hellaswag(root: Path) -> None:
    for split in ("train", "val"):
        rows = [
            {
                "ind": n,
                "activity_label": "Skating",
                "ctx_a": f"A child ties its {split} skates.",
                "ctx_b": "then it" if n % 2 else "",
                "endings": [f"ending {n} {letter}" for letter in "abcd"],
                "label": n % 4,
            }
            for n in range(4)
        ]
        _jsonl(root, f"hellaswag/hellaswag_{split}.jsonl", rows)


def _openbookqa(root: Path) -> None:
    for split in ("train", "test"):
        rows = [
            {
                "id": f"{split}-{n}-x",
                "question": {
                    "stem": f"A {split} magnet number {n} attracts",
                    "choices": [{"text": f"thing {n}{letter}", "label": letter} for letter in "ABCD"],
                },
                "answerKey": "ABCD"[n % 4],
            }
            for n in range(3)
        ]
        _jsonl(root, f"openbookqa/{split}.jsonl", rows)


def _narrative_qa(root: Path) -> None:
    splits = ("train", "test", "valid", "train", "test", "valid", "train")
    summaries = [("document_id", "set", "summary", "summary_tokenized")]
    questions = [
        ("document_id", "set", "question", "answer1", "answer2", "question_tokenized", "answer1_tokenized")
    ]
    for n, split in enumerate(splits):
        summaries.append((f"d{n}", split, f" Story {n}.\nIt ends, well. ", "x"))
    for round_ in range(4):
        for n, split in enumerate(splits):
            mark = "?" if round_ % 2 else ""
            questions.append(
                (f"d{n}", split, f" Who is in round {round_}{mark} ", f"Ann {n}", f"Bo {round_}", "x", "x")
            )
    _csv(root, "narrativeqa/third_party/wikipedia/summaries.csv", summaries)
    _csv(root, "narrativeqa/qaps.csv", questions)


def _quac(root: Path) -> None:
    def dialogue(split: str, n: int) -> dict[str, Any]:
        turns = [
            {
                "id": f"{split}{n}q{k}",
                "question": f"What of {k}?",
                "orig_answer": {"text": f"Answer {k}"},
                "answers": [{"text": text} for text in _accepted(n, k)],
            }
            for k in range(4 + n % 5)
        ]
        return {
            "title": f"Title {n}",
            "background": "Once.",
            "section_title": "Life",
            "paragraphs": [
                {"id": f"C_{split}_{n}", "context": f"She lived {n} years. CANNOTANSWER", "qas": turns}
            ],
        }

    for split in ("train", "val"):
        data = {"data": [dialogue(split, n) for n in range(6)]}
        _file(root, f"quac/{split}_v0.2.json").write_text(json.dumps(data), encoding="utf-8")


def _accepted(n: int, k: int) -> list[str]:
    return ["CANNOTANSWER"] * 2 if (n + k) % 3 == 0 else [f"Answer {k}", f"It is {k}", f"Answer {k}"]


def _natural_questions(root: Path) -> None:
    page = "<html><p>The caf\u00e9\u00a0opened in 1880 &amp; closed in 1890.</p></html>"
    raw = page.encode()

    def span(text: str) -> dict[str, int]:
        start = raw.index(text.encode())
        return {"start_byte": start, "end_byte": start + len(text.encode())}

    def row(file: int, n: int) -> dict[str, Any]:
        short = [] if n == 2 else [span("1880"), span("1890"), span("1880")][: 1 + n % 3]
        paragraph = {"start_byte": raw.index(b"<p>"), "end_byte": raw.index(b"</html>")}
        return {
            "example_id": 100 * file + n,
            "question_text": f"when did the cafe of file {file} Number {n} open",
            "document_title": "Caf\u00e9",
            "document_html": page,
            "document_tokens": [
                {"token": token} for token in ("<p>", "The", "caf\u00e9 &amp;", "opened", "</p>")
            ],
            "annotations": [
                {"long_answer": paragraph, "short_answers": short},
                {"long_answer": {"start_byte": -1, "end_byte": -1}, "short_answers": []},
            ],
        }

    for file in range(5):
        _jsonl(root, f"natural_questions/nq-dev-{file:02d}.jsonl.gz", [row(file, n) for n in range(6)])


def _civil_comments(root: Path) -> None:
    groups = ("male", "female", "LGBTQ", "christian", "muslim", "other_religions", "black", "white")
    rows: list[Sequence[Any]] = [("", "id", "comment_text", "split", *groups, "toxicity")]
    for n in range(12):
        shares = [0.5 if n % 3 == 0 else 0.1, *[0.2] * 7]
        rows.append(
            (n, 9000 + n, f"Comment {n},\nwith a line.", ("train", "val", "test")[n % 3], *shares, n / 11)
        )
    _csv(root, "civil_comments/all_data_with_identities.csv", rows)


def _raft(root: Path) -> None:
    rows = [("Organization name", "Paper title", "Label", "ID")]
    rows += [(f"Org {n}", f"A paper, {n}", ("company", "university")[n % 2], str(n)) for n in range(50)]
    _csv(root, "raft/semiconductor_org_types/train.csv", rows)


def _summaries(root: Path) -> None:
    def article(n: int, words: int) -> str:
        return "\n".join(f"word{n}_{k} " for k in range(words)) + ("Last updated at noon" if n == 3 else "")

    sizes = (40, 50, 150, 100, 160, 120)
    for split in ("train", "validation", "test"):
        rows = [(n, article(n, size if split == "train" else size * 4)) for n, size in enumerate(sizes)]
        short = {n: " ".join(f"s{k}" for k in range((5, 11, 14, 12, 12, 30)[n])) for n, _ in rows}
        cnn = [{"id": f"{split}{n}", "article": text, "highlights": short[n] + "\n."} for n, text in rows]
        xsum = [{"id": f"{split}{n}", "document": text, "summary": short[n]} for n, text in rows]
        _jsonl(root, f"cnn_dailymail/{split}.jsonl", cnn)
        _jsonl(root, f"xsum/{split}.jsonl", xsum)


def _msmarco(root: Path) -> None:
    documents = range(100, 160)
    _csv(root, "msmarco/passage_document.tsv", [(d, f"Passage {d} says, so.") for d in documents], "\t")
    for name, queries, relevances in (
        ("train", range(8), (1,)),
        ("regular", range(20, 26), (1,)),
        ("trec", range(40, 46), (0, 1, 2, 3)),
    ):
        _csv(root, f"msmarco/passage_{name}_queries.tsv", [(q, f"what is {q}") for q in queries], "\t")
        judged = [
            (q, 0, 100 + (7 * q + 11 * n) % 60, relevances[(q + n) % len(relevances)])
            for q in queries
            if q % 7
            for n in range(1 + q % 3)
        ]
        _csv(root, f"msmarco/passage_{name}_qrels.tsv", judged, "\t")
        top = [(q, 100 + (7 * q + n) % 60, n + 1) for q in queries for n in range(20 if q % 5 else 12)]
        _csv(root, f"msmarco/passage_{name}_topk.tsv", top, "\t")


def _imdb(root: Path) -> None:
    originals = [("Sentiment", "Text")]
    changed = [("Sentiment", "Text")]
    for n in range(4):
        label, other = ("Positive", "Negative") if n % 2 else ("Negative", "Positive")
        originals.append((label, f"Film {n} was good or bad and long, I thought so then."))
        changed.append((other, f"Film {n} was bad or good and long, I thought so then."))
    for part in ("test", "dev"):
        _csv(
            root,
            f"imdb/{part}_original.tsv",
            [*originals[:1], *[(a, f"{part} {b}") for a, b in originals[1:]]],
            "\t",
        )
        _csv(
            root,
            f"imdb/{part}_contrast.tsv",
            [*changed[:1], *[(a, f"{part} {b}") for a, b in changed[1:]]],
            "\t",
        )


def _legalbench(root: Path) -> None:
    for split, size in (("train", 5), ("test", 3)):
        rows = [
            [n, ("generic", "fanciful")[n % 2], f'The {split} mark "Salt {n}"\tfor packages of salt.']
            for n in range(size)
        ]
        _csv(root, f"legalbench/abercrombie/{split}.tsv", [["index", "answer", "text"], *rows], "\t")
    columns = ["index", "answer", "bill_summary", "bill_title", "company_description", "company_name"]
    for split in ("train", "test"):
        row = [0, "Yes", f"To {split}\nsalt.", "An act", "We sell salt.", "Salt, Inc."]
        _csv(root, f"legalbench/corporate_lobbying/{split}.tsv", [columns, row], "\t")


def _wmt14(root: Path) -> None:
    def pair(text: str, target: str) -> dict[str, Any]:
        return {"translation": {"de": text, "en": target}}

    train = [pair(f"Satz {n}", f"Sentence {n // 2}") for n in range(6)]
    _jsonl(root, "wmt14/de-en/train.jsonl", train)
    for split in ("validation", "test"):
        _jsonl(root, f"wmt14/de-en/{split}.jsonl", [pair(f"Größe {split} {n}", "Size") for n in range(3)])
