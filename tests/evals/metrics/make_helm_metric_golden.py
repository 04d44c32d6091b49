"""Writes helm_metric_golden.json: what HELM's own functions say of many made cases.

    python make_helm_metric_golden.py CRFM_HELM UNCERTAINTY_CALIBRATION NLTK_DATA

The arguments are the unpacked packages (crfm-helm 0.5.16, uncertainty-calibration 0.1.4) and a folder with NLTK's
punkt_tab. HELM's functions are cut out of its source and run by themselves, so that its dependencies are not needed;
nltk, scikit-learn and scipy are.
"""

from __future__ import annotations

import ast
import json
import random
import re
import string
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nltk
import numpy as np
from nltk.metrics.scores import f_measure
from nltk.tokenize import word_tokenize
from nltk.tokenize.treebank import TreebankWordTokenizer
from nltk.translate.bleu_score import sentence_bleu

TEXTS = [
    "The cat sat on the mat.",
    "the cat, sat on a mat",
    "A cat!",
    "cat",
    "",
    " ",
    "the",
    "Paris",
    " paris ",
    "Paris, France",
    "The answer is 42.",
    "The answer is 1,042 dollars and 7 cents",
    "-3.5",
    "x = -3.50",
    "It's 50% (or so) -- isn't it?",
    'He said "no" and left; they\'ll stay.',
    "naïve café — déjà vu",
    "one two three four five six seven",
    "one two three four five eight seven",
    "one two three four",
    "Dr. Lin can't pay $3.88. She didn't.",
    "the U.S. Army",
    "an an an",
    "cat cat cat cat",
    "The dog is big and red.",
    "The dog is red and big",
    "The dog is big and round.",
    "Nothing.",
    "Nothing",
    "The dog is red.\nThe dog is big.",
]
MATH = [
    r"\frac{1}{2}", r"\dfrac12", r"\tfrac{1}{2}", "1/2", "0.5", ".5", "0.50", r"\frac12", r"\frac1{72}", r"\frac{1}2",
    r"\frac1b", r"\frac", r"\frac1", r"x=\frac{1}{2}", "k = 3", "3", "12 = 3", "ab = 3", "abc = 3", "a=b=c",
    r"\sqrt3", r"\sqrt{3}", r"\sqrt", r"2\sqrt3+\sqrt5", r"\sqrt\sqrt3", r"10\%", "10%", "10", r"\$10", r"90^\circ",
    r"90^{\circ}", "90", r"5\text{ meters}", r"5 \text{ m} \text{ s}", "5", r"\left(1,2\right)", "(1,2)", "(1, 2)",
    r"1\!000", "1000", "", "\n", r"\{.5\}", r"{.5}", "-1/2", "+1/2", "1/-2", "01/2", "a/b", "1/2/3", r"\\frac12",
    r"\text{even}", r"\frac{\sqrt3}{2}", r"\frac{3}{4} ", "x \\in [-2,7]", "-.5", " .5", "3.", r"\pi", "2 \\pi",
]  # fmt: skip
SOLUTIONS = [
    r"so $x = \boxed{\frac{1}{2}}$.",
    r"thus \boxed{0.5}",
    r"\boxed{1} or rather \boxed{2}",
    r"\fbox{2}",
    r"\boxed 2",
    "2",
    r"\boxed{2",
    r"\boxed{\text{even}}",
    r"\boxed{{2}}",
    "",
]


def main(helm: Path, calibration: Path, nltk_data: str) -> None:
    nltk.data.path.insert(0, nltk_data)
    metrics = helm / "helm/benchmark/metrics"
    made = {
        "reference": reference_cases(metrics),
        "math": math_cases(helm),
        "calibration": calibration_cases(calibration),
        "bias": bias_cases(metrics),
        "copyright": copyright_cases(metrics),
        "bbq": bbq_cases(metrics),
    }
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":"))
    Path(__file__).with_name("helm_metric_golden.json").write_text(text + "\n", encoding="utf-8")


def cut(path: Path, names: set[str], scope: dict[str, Any]) -> dict[str, Any]:
    """The functions and classes of these names, run in ``scope``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kept = [node for node in tree.body if getattr(node, "name", "") in names]
    for node in ast.walk(ast.Module(body=kept, type_ignores=[])):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            node.decorator_list = []
            for argument in [*node.args.args, *node.args.kwonlyargs]:
                argument.annotation = None
    exec(compile(ast.Module(body=kept, type_ignores=[]), str(path), "exec"), scope)
    return scope


def reference_cases(metrics: Path) -> dict[str, Any]:
    names = {
        "normalize_text",
        "exact_match",
        "quasi_exact_match",
        "prefix_exact_match",
        "quasi_prefix_exact_match",
    }
    names |= {"f1_score", "final_number_exact_match", "bleu_1", "bleu_4", "exact_match_indicator"}
    names |= {"exact_set_match", "iou_set_match", "f1_set_match"}
    needed = {"normalize_text", "extract_set_from_text", "extract_gold_pred_sets"}
    scope = cut(
        metrics / "evaluate_reference_metrics.py",
        names | needed,
        {"re": re, "string": string, "f_measure": f_measure, "word_tokenize": word_tokenize}
        | {"sentence_bleu": sentence_bleu},
    )
    warnings.simplefilter("ignore")
    order = sorted(names - needed)
    rows = [
        [i, j, [round(float(scope[name](gold, answer.strip())), 12) for name in order]]
        for i, gold in enumerate(TEXTS)
        for j, answer in enumerate(TEXTS)
    ]
    return {"names": order, "texts": TEXTS, "rows": [row for row in rows if any(row[2])]}


def math_cases(helm: Path) -> dict[str, Any]:
    names = {"remove_boxed", "last_boxed_only_string", "_fix_fracs", "_fix_a_slash_b", "_remove_right_units"}
    names |= {"_fix_sqrt", "_strip_string", "get_answer", "is_equiv", "is_equiv_chain_of_thought"}
    scope = cut(helm / "helm/benchmark/scenarios/math_scenario.py", names, {})
    return {
        "plain": [[a, b] for a in MATH for b in MATH if scope["is_equiv"](a, b)],
        "worked": [[a, b] for a in SOLUTIONS for b in SOLUTIONS if scope["is_equiv_chain_of_thought"](a, b)],
    }


def calibration_cases(package: Path) -> list[Any]:
    sys.path.insert(0, str(package))
    import calibration as cal

    draw = random.Random(7)
    made = []
    for n, digits in ((10, 6), (23, 6), (100, 6), (100, 1), (317, 6), (40, 2)):
        confidence = [round(draw.uniform(0.02, 0.999), digits) or 0.01 for _ in range(n)]
        correct = [int(draw.random() < p * 0.8 + 0.1) for p in confidence]
        scaler, fitted = cal.get_platt_scaler(np.array(confidence), np.array(correct), get_clf=True)
        area, tenth = cal.get_selective_stats(confidence, correct)
        scaled = scaler(np.array(confidence))
        made.append(
            {
                "confidence": confidence,
                "correct": correct,
                "distinct": len(set(confidence)) == n,
                "ece_10_bin": float(cal.get_ece_em(confidence, correct, num_bins=10)),
                "ece_1_bin": float(cal.get_ece(confidence, correct, num_bins=1)),
                "selective_cov_acc_area": float(area),
                "selective_acc@10": float(tenth),
                "platt_coef": float(fitted.coef_[0][0]),
                "platt_intercept": float(fitted.intercept_[0]),
                "platt_ece_10_bin": float(cal.get_ece_em(scaled, correct, num_bins=10)),
                "platt_ece_1_bin": float(cal.get_ece(scaled, correct, num_bins=1)),
            }
        )
    return made


def bias_cases(metrics: Path) -> list[Any]:
    lists = {}
    exec((metrics / "bias_word_lists.py").read_text(encoding="utf-8"), lists)
    import itertools
    from collections import defaultdict

    scope = cut(
        metrics / "bias_metrics.py",
        {"BiasMetric"},
        {name: lists[name] for name in ("GENDER_TO_WORD_LISTS", "RACE_TO_NAME_LISTS", "ADJECTIVE_LIST")}
        | {"PROFESSION_LIST": lists["PROFESSION_LIST"], "EvaluateInstancesMetric": object, "np": np}
        | {"Dict": dict, "List": list, "Tuple": tuple, "itertools": itertools, "defaultdict": defaultdict}
        | {"word_tokenize": word_tokenize, "Optional": None, "RequestResult": Any, "GeneratedOutput": Any},
    )
    draw = random.Random(3)
    pool = [
        *lists["FEMALE_WORDS"],
        *lists["MALE_WORDS"],
        *lists["ASIAN_NAMES"][:8],
        *lists["WHITE_NAMES"][:8],
    ]
    pool += [*lists["HISPANIC_NAMES"][:8], *lists["ADJECTIVE_LIST"][:12], *lists["PROFESSION_LIST"][:12]]
    fillers = ["was", "the", "and", "of", "very", "Mr.", "said,", "left.", "can't"]
    made = []
    for size in (0, 1, 3, 10, 30):
        texts = [
            " ".join(draw.choice(pool if draw.random() < 0.5 else fillers).title() for _ in range(12))
            + "'s idea."
            for _ in range(size)
        ]
        scores = {}
        for category in ("gender", "race"):
            metric = scope["BiasMetric"]("representation", category)
            scores[f"bias_representation_{category}"] = metric.evaluate_demographic_representation(texts)
            for target in ("adjective", "profession"):
                metric = scope["BiasMetric"]("associations", category, target)
                score = metric.evaluate_stereotypical_associations(texts)
                scores[f"bias_associations_{category}_{target}"] = score
        made.append(
            [texts, {name: None if score is None else float(score) for name, score in scores.items()}]
        )
    return made


def copyright_cases(metrics: Path) -> list[Any]:
    names = {"_longest_common_prefix_length", "_edit_distance_helper", "_edit_distance", "_edit_similarity"}
    scope = cut(metrics / "copyright_metrics.py", names, {"np": np})
    tokenize = TreebankWordTokenizer().tokenize
    pairs = [
        [
            "It was the best of times, ",
            ["it was the worst", "It was"],
            "it was the worst of times; it was the age",
        ],
        ["Call me ", ["Ishmael. Some years ago", ""], "Ishmael. Some years ago - never mind how long"],
        ["one two three", [" four five six"], " four six five seven"],
        ["def f(x):", ["\n    return x + 1"], "\n    return x+1\n"],
    ]
    made = []
    for prompt, outputs, rest in pairs:
        found: dict[str, Any] = {}
        for name, function in (
            ("longest_common_prefix_length", scope["_longest_common_prefix_length"]),
            ("edit_distance", scope["_edit_distance"]),
            ("edit_similarity", scope["_edit_similarity"]),
        ):
            result = None
            for output in outputs:
                text = output.strip()
                a, b = np.array(tokenize(text)), np.array(tokenize(rest[: len(text)]))
                result = function(a, b, previous_best=result)
            found[name] = float(result) / len(tokenize(prompt))
        made.append([prompt, outputs, rest, found])
    return made


def bbq_cases(metrics: Path) -> list[Any]:
    class Stat:
        def __init__(self, name: str) -> None:
            self.name, self.values = name, []

        def add(self, value: float) -> Stat:
            self.values.append(float(value))
            return self

        @property
        def mean(self) -> float | None:
            return sum(self.values) / len(self.values) if self.values else None

    scope = cut(
        metrics / "bbq_metrics.py",
        {"BBQMetric"},
        {"EvaluateInstancesMetric": object, "Stat": Stat, "MetricName": str, "ERROR_SCORE": 0.0}
        | {"AMBIGUOUS_TAG": "ambiguous", "NEGATIVE_TAG": "negative", "RequestResult": Any, "List": list},
    )
    draw = random.Random(5)
    made = []
    for size in (4, 40, 200):
        cases, states = [], []
        for _ in range(size):
            order = draw.sample("ABC", 3)
            target, other, unknown = order
            if draw.random() < 0.1:
                other = ""
            ambiguous, negative = draw.random() < 0.5, draw.random() < 0.5
            right = unknown if ambiguous else draw.choice([target, other or target])
            answer = draw.choice(["A", "B", "C", "D", right, right])
            tags = ["ambiguous" if ambiguous else "non-ambiguous", "negative" if negative else "non-negative"]
            reference = SimpleNamespace(tags=[*tags, right, target, other, unknown])
            result = SimpleNamespace(completions=[SimpleNamespace(text=answer)])
            states.append(SimpleNamespace(instance=SimpleNamespace(references=[reference]), result=result))
            cases.append([ambiguous, negative, target, other, unknown, right, answer])
        stats = scope["BBQMetric"]().evaluate_instances(states, "")
        made.append([cases, {stat.name: stat.mean for stat in stats}])
    return made


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
