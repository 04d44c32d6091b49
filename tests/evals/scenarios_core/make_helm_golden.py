"""Writes helm_golden.json: what HELM itself (crfm-helm 0.5.16) makes of the small files of conftest.py, and its
adapter specifications. Run by hand, where HELM is installed, with nothing but these files within its reach, and
LegalBench's prompt settings, which HELM downloads (helm_prompt_settings.jsonl of HazyResearch/legalbench):

    python make_helm_golden.py SETTINGS

The tests compare our scenarios with it; they need no HELM.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import runpy
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MODULES = ("boolq", "narrativeqa", "natural_qa", "quac", "msmarco", "raft", "civil_comments", "summarization")
MODULES += ("imdb", "mmlu", "commonsense", "truthful_qa", "legalbench", "wmt_14")
LEGALBENCH = ("abercrombie", "corporate_lobbying", "international_citizenship_questions")
LEGALBENCH += ("function_of_decision_section", "proa")


def main(settings: Path) -> None:
    conftest = runpy.run_path(str(HERE / "conftest.py"))
    scenarios = {
        name: importlib.import_module(f"helm.benchmark.scenarios.{name}_scenario") for name in MODULES
    }
    read = scenarios["legalbench"].get_legalbench_prompt_settings
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(settings, Path(folder) / "prompt_construction_settings.json")
        scenarios["legalbench"].get_legalbench_prompt_settings = lambda subset, _: read(subset, folder)
        root = Path(folder) / "small"
        conftest["write_all"](root)
        golden = {
            "adapters": _adapters(scenarios),
            "instances": _instances(scenarios, root, Path(folder) / "out"),
        }
    text = json.dumps(golden, indent=1, ensure_ascii=False, sort_keys=True)
    (HERE / "helm_golden.json").write_text(text + "\n", encoding="utf-8")


def _adapters(scenarios: dict[str, Any]) -> dict[str, Any]:
    classic = importlib.import_module("helm.benchmark.run_specs.classic_run_specs")
    lite = importlib.import_module("helm.benchmark.run_specs.lite_run_specs")
    scenarios["raft"].get_raft_instructions = lambda subset, cache: f"[{subset}]"
    separate, calibrated = "multiple_choice_separate_original", "multiple_choice_separate_calibrated"
    specs = {
        "mmlu:subject=us_foreign_policy": lite.get_mmlu_spec("us_foreign_policy"),
        "mmlu:subject=anatomy,method=multiple_choice_separate": lite.get_mmlu_spec("anatomy", separate),
        "hellaswag": lite.get_commonsense_spec("hellaswag", "multiple_choice_joint"),
        "hellaswag:method=multiple_choice_separate": lite.get_commonsense_spec("hellaswag", separate),
        "openbookqa:method=multiple_choice_separate_calibrated": lite.get_commonsense_spec(
            "openbookqa", calibrated
        ),
        "truthful_qa": classic.get_truthful_qa_spec("mc_single"),
        "boolq": classic.get_boolq_spec(),
        "narrative_qa": lite.get_narrativeqa_spec(),
        "natural_qa:mode=closedbook": lite.get_natural_qa_spec("closedbook"),
        "natural_qa:mode=openbook_longans": lite.get_natural_qa_spec("openbook_longans"),
        "quac": classic.get_quac_spec(),
        "msmarco_regular": classic.get_msmarco_spec("regular"),
        "msmarco_trec": classic.get_msmarco_spec("trec"),
        "summarization_cnndm": classic.get_cnndm_summarization_spec(),
        "summarization_xsum": classic.get_xsum_summarization_spec(),
        "imdb": classic.get_imdb_spec(),
        "civil_comments": classic.get_civil_comments_spec("all"),
        "raft:subset=overruling": classic.get_raft_spec("overruling"),
        "wmt_14:language_pair=de-en": lite.get_wmt_14_spec("de-en"),
        "wmt_14:language_pair=en-ru": lite.get_wmt_14_spec("en-ru"),
        **{f"legalbench:subset={name}": lite.get_legalbench_spec(name) for name in LEGALBENCH},
    }
    return {name: _plain(spec.adapter_spec) for name, spec in specs.items()}


def _plain(spec: Any) -> dict[str, Any]:
    names = "method global_prefix instructions input_prefix input_suffix reference_prefix reference_suffix"
    names += (
        " output_prefix output_suffix instance_prefix max_train_instances num_outputs temperature max_tokens"
    )
    return {name: getattr(spec, name) for name in names.split()} | {
        "stop_sequences": list(spec.stop_sequences)
    }


def _instances(scenarios: dict[str, Any], root: Path, out: Path) -> dict[str, Any]:
    made: dict[str, Any] = {}

    def run(name: str, scenario: Any, files: dict[str, Path]) -> None:
        folder = out / name.replace("/", "_")
        for target, source in files.items():
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / target)
        made[name] = [_instance(instance) for instance in scenario.get_instances(str(folder))]

    s = scenarios
    run("mmlu:subject=anatomy", s["mmlu"].MMLUScenario("anatomy"), {"data": root / "mmlu"})
    boolq = {f"data/{part}": root / f"boolq/{part}.jsonl" for part in ("train", "dev")}
    boolq["data/boolq_perturbed.jsonl"] = root / "boolq/boolq_perturbed.json"
    run("boolq", s["boolq"].BoolQScenario(), boolq)
    run("boolq:only_contrast=True", s["boolq"].BoolQScenario(only_contrast=True), boolq)
    swag = {
        f"data/hellaswag_{part}.jsonl": root / f"hellaswag/hellaswag_{part}.jsonl"
        for part in ("train", "val")
    }
    run("hellaswag", s["commonsense"].HellaSwagScenario(), swag)
    book = {
        f"data/OpenBookQA-V1-Sep2018/Data/Main/{part}.jsonl": root / f"openbookqa/{part}.jsonl"
        for part in ("train", "test")
    }
    run("openbookqa", s["commonsense"].OpenBookQA(), book)
    run(
        "narrative_qa",
        s["narrativeqa"].NarrativeQAScenario(),
        {"data/narrativeqa-master": root / "narrativeqa"},
    )
    quac = {f"data/{part}.json": root / f"quac/{part}_v0.2.json" for part in ("train", "val")}
    run("quac", s["quac"].QuACScenario(), quac)
    for mode in ("closedbook", "openbook_longans", "openbook_wiki"):
        pages = {
            f"data/nq-dev-{n:02d}.jsonl.gz": root / f"natural_questions/nq-dev-{n:02d}.jsonl.gz"
            for n in range(5)
        }
        run(f"natural_qa:mode={mode}", s["natural_qa"].NaturalQAScenario(mode), pages)
    comments = {"wilds_civil_comments.csv": root / "civil_comments/all_data_with_identities.csv"}
    for who in ("all", "male"):
        run(f"civil_comments:demographic={who}", s["civil_comments"].CivilCommentsScenario(who), comments)
    for track in ("regular", "trec"):
        names = [
            ("documents", "document"),
            *((f"{p}_{k}", f"{p}_{k}") for p in ("train", track) for k in ("queries", "qrels", "topk")),
        ]
        files = {f"data/{helm}.tsv": root / f"msmarco/passage_{ours}.tsv" for helm, ours in names}
        for topk in (None, 12):
            name = f"msmarco_{track}" + (f":valid_topk={topk}" if topk else "")
            run(name, s["msmarco"].MSMARCOScenario(track, topk), files)
    for ours, helm in (("cnn_dailymail", "cnn-dm"), ("xsum", "xsum")):
        made[f"summarization_{'cnndm' if helm == 'cnn-dm' else 'xsum'}"] = _summaries(
            s["summarization"], root / ours, helm
        )
    for subset in LEGALBENCH[:2]:
        made[f"legalbench:subset={subset}"] = _legalbench(s["legalbench"], root, subset)
    made["raft:subset=semiconductor_org_types"] = _raft(s["raft"], root)
    for name in ("de-en", "en-de"):
        made[f"wmt_14:language_pair={name}"] = _wmt14(s["wmt_14"], root, name)
    return made


def _summaries(module: Any, folder: Path, name: str) -> list[Any]:
    scenario = module.SummarizationScenario(name, 50, 150, 512)
    data = {
        part: [
            json.loads(line) for line in (folder / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        for part in ("train", "validation", "test")
    }
    keys = ("article", "highlights") if name == "cnn-dm" else ("document", "summary")
    scenario._load_dataset = lambda *_: (data, *keys)
    return [_instance(instance) for instance in scenario.get_instances("")]


def _legalbench(module: Any, root: Path, subset: str) -> list[Any]:
    import datasets

    load = datasets.load_dataset

    def rows(_: str, subset: str, *, split: str, **__: Any) -> Any:
        file = str(root / f"legalbench/{subset}/{split}.tsv")
        return load("csv", data_files=file, delimiter="\t", split="train")

    module.datasets.load_dataset = rows
    try:
        return [_instance(instance) for instance in module.LegalBenchScenario(subset).get_instances("")]
    finally:
        module.datasets.load_dataset = load


class _Unshuffled(list[Any]):
    """HELM draws 20,000 pairs; here they stay in their order."""

    def shuffle(self, seed: int) -> dict[str, list[Any]]:
        return _Sliced({"translation": [row["translation"] for row in self]})  # type: ignore[return-value]


class _Sliced(dict[str, Any]):
    def __getitem__(self, key: Any) -> Any:
        return _Sliced(self) if isinstance(key, slice) else super().__getitem__(key)


def _wmt14(module: Any, root: Path, name: str) -> list[Any]:
    def rows(_: str, subset: str, **__: Any) -> dict[str, Any]:
        return {
            split: _Unshuffled(
                json.loads(line)
                for line in (root / f"wmt14/{subset}/{split}.jsonl").read_text("utf-8").splitlines()
            )
            for split in ("train", "validation", "test")
        }

    module.load_dataset = rows
    return [_instance(instance) for instance in module.WMT14Scenario(*name.split("-")).get_instances("")]


def _raft(module: Any, root: Path) -> list[Any]:
    import datasets

    subset = "semiconductor_org_types"
    table = datasets.load_dataset("csv", data_files=str(root / f"raft/{subset}/train.csv"), split="train")
    labels = datasets.ClassLabel(names=["Unlabeled", "company", "research institute", "university"])
    table = table.cast_column("Label", labels)
    module.datasets.load_dataset = lambda *_, **__: table
    module.get_raft_prompt_settings = lambda *_: (["Organization name", "Paper title"], "")
    with tempfile.TemporaryDirectory() as folder:
        return [_instance(instance) for instance in module.RAFTScenario(subset).get_instances(folder)]


def shortened(text: str) -> str:
    """Long texts by their hash: the file is for machines to compare."""
    return text if len(text) < 500 else "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _instance(instance: Any) -> dict[str, Any]:
    made = {
        "input": shortened(instance.input.text),
        "split": instance.split,
        "references": [[r.output.text, "correct" in r.tags] for r in instance.references],
    }
    if instance.contrast_inputs:
        made["contrasts"] = [
            [given.text, [r.output.text for r in references]]
            for given, references in zip(instance.contrast_inputs, instance.contrast_references, strict=True)
        ]
    if instance.sub_split:
        made["subset"] = instance.sub_split
    return made


if __name__ == "__main__":
    main(Path(sys.argv[1]))
