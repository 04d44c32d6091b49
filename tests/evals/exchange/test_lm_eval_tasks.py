"""Task files of lm-evaluation-harness as scenarios: the mapping against a task made by hand, and, where the package is
installed, files read by the package, prompts and scores against its own."""

from __future__ import annotations

import importlib.util
import json
import math
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from commonweal.core.completion import Abilities, Choice, Completion, Request, Token
from commonweal.core.errors import ConfigError, DataError, NotFound
from commonweal.evals.adapters.registry import make_adapter
from commonweal.evals.adapters.shots import choose_examples
from commonweal.evals.exchange.lm_eval_metrics import measures
from commonweal.evals.exchange.lm_eval_tasks import load_task, scenario_of
from commonweal.evals.instance import Instance
from commonweal.evals.loading import DataLoader
from commonweal.evals.metrics.registry import families
from commonweal.evals.sample import Answer, Sample
from commonweal.evals.scenario import Scenario

needs_lm_eval = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None, reason="lm_eval is not installed (the extra lm-eval)"
)
ABLE = Abilities(score=True, logprobs=True, complete=True)
PATH = Path("task.yaml")


_UNSET: tuple[str, ...] = (
    "task_alias",
    "dataset_name",
    "tag",
    "metric_list",
    "filter_list",
    "metadata",
    "generation_kwargs",
)
_UNSET += (
    "dataset_kwargs",
    "process_results",
    "num_fewshot",
    "doc_to_choice",
    "validation_split",
    "gen_prefix",
)


class ByHand:
    """What ConfigurableTask shows of itself, over rows; templates are ``str.format`` here."""

    def __init__(
        self, asked: Sequence[Mapping[str, Any]], shown: Sequence[Mapping[str, Any]] = (), **more: Any
    ):
        few = {"split": None, "samples": None, "sampler": "default", "fewshot_delimiter": "\n\n"}
        few |= {"doc_to_text": None, "doc_to_choice": None, "doc_to_target": None, **more.pop("few", {})}
        config: dict[str, Any] = dict.fromkeys(_UNSET)
        config |= {"task": "by hand", "dataset_path": "json", "description": "", "target_delimiter": " "}
        config |= {"doc_to_text": "{q}", "doc_to_target": "a", "repeats": 1, "test_split": "test"}
        config |= {"training_split": "train" if shown else None, **more}
        self.config, self.fewshot_cfg = SimpleNamespace(**config), SimpleNamespace(**few)
        self.eval_docs: Iterable[Mapping[str, Any]] = asked
        self._shown = shown

    def fewshot_docs(self) -> Iterable[Mapping[str, Any]]:
        return self._shown

    def doc_to_text(self, doc: Mapping[str, Any], doc_to_text: Any = None) -> Any:
        text = doc_to_text or self.config.doc_to_text
        return text if isinstance(text, int) else text.format(**doc)

    def doc_to_choice(self, doc: Mapping[str, Any], doc_to_choice: Any = None) -> Any:
        return doc[doc_to_choice or self.config.doc_to_choice]

    def doc_to_target(self, doc: Mapping[str, Any], doc_to_target: Any = None) -> Any:
        return doc[doc_to_target or self.config.doc_to_target]

    def doc_to_prefix(self, doc: Mapping[str, Any]) -> str | None:
        prefix: str | None = self.config.gen_prefix
        return prefix


class Nothing:
    """A loader: such a task brings its data."""

    seed = 0

    def rows(self, *origins: Any) -> Any:
        raise AssertionError

    def path(self, local: Any) -> Any:
        raise AssertionError


def read(scenario: Scenario) -> tuple[list[Instance], list[Instance]]:
    found = list(scenario.read(Nothing(), {}))
    return [one for one in found if one.is_train], [one for one in found if not one.is_train]


def asked(scenario: Scenario, place: int = 0) -> list[Request]:
    train, test = read(scenario)
    adapter = make_adapter(scenario.adaptation, model="m", abilities=ABLE)
    examples = choose_examples(train, scenario.adaptation, 0)
    return [ask.request for ask in adapter.asks(test[place], examples, ())]


def text_of(request: Request) -> str:
    assert request.prompt is not None
    return request.prompt


CHOICES: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_choice": "c",
    "doc_to_text": "Q: {q}\nA:",
}


def rows(count: int, word: str = "q") -> list[dict[str, Any]]:
    return [{"q": f"{word}{i}", "c": ["red", "blue"], "a": i % 2} for i in range(count)]


def test_multiple_choice() -> None:
    task = ByHand(
        rows(3), rows(2, "s"), num_fewshot=2, few={"sampler": "first_n"}, description="Colours.\n", **CHOICES
    )
    scenario = scenario_of(task, PATH)
    assert (scenario.name, scenario.main_metric) == ("by_hand", "likeliest_option")
    assert scenario.note == ""
    train, test = read(scenario)
    assert (len(train), len(test)) == (2, 3)
    assert [reference.correct for reference in test[1].references] == [False, True]
    told = [(text_of(request), request.continuation) for request in asked(scenario)]
    prompt = "Colours.\nQ: s0\nA: red\n\nQ: s1\nA: blue\n\nQ: q0\nA:"
    assert told == [(prompt, " red"), (prompt, " blue")]


def test_several_targets_and_a_target_by_its_text() -> None:
    _, test = read(scenario_of(ByHand([{"q": "x", "c": ["a", "b", "c"], "a": [0, 2]}], **CHOICES), PATH))
    assert test[0].correct == ("a", "c")
    _, test = read(scenario_of(ByHand([{"q": "x", "c": ["a", "b"], "a": "b"}], **CHOICES), PATH))
    assert test[0].correct == ("b",)
    with pytest.raises(DataError, match="document 0 of test: ValueError: the target 2 is none of 2 choices"):
        read(scenario_of(ByHand([{"q": "x", "c": ["a", "b"], "a": 2}], **CHOICES), PATH))
    with pytest.raises(DataError, match="'q'"):
        read(scenario_of(ByHand([*rows(1), {"c": [], "a": 1}], **CHOICES), PATH))


def test_generation() -> None:
    kwargs = {"until": ["\n", "Q:"], "max_gen_toks": 7, "temperature": 0.7, "do_sample": True}
    task = ByHand(
        [{"q": "2+2?", "a": ["4", "four"]}],
        [{"q": "1+1?", "a": "2"}],
        output_type="generate_until",
        generation_kwargs=kwargs,
        num_fewshot=1,
        metadata={"version": 3.0},
        tag="sums",
    )
    scenario = scenario_of(task, PATH)
    adaptation = scenario.adaptation
    assert (adaptation.max_tokens, adaptation.temperature, adaptation.stop) == (7, 0.7, ("\n", "Q:"))
    assert (scenario.version, scenario.tags, scenario.main_metric) == (3, ("lm_eval", "sums"), "exact_match")
    assert "the same examples" in scenario.note
    [request] = asked(scenario)
    assert text_of(request) == "1+1? 2\n\n2+2?"
    assert read(scenario)[1][0].correct == ("4", "four")
    greedy = ByHand(
        [{"q": "", "a": "x"}], output_type="generate_until", generation_kwargs={**kwargs, "do_sample": False}
    )
    assert scenario_of(greedy, PATH).adaptation.temperature == 0.0
    assert (
        scenario_of(ByHand([{"q": "", "a": "x"}], output_type="generate_until"), PATH).adaptation.max_tokens
        == 256
    )


def test_likelihoods_of_a_text() -> None:
    target = scenario_of(ByHand([{"q": "the cat", "a": " sat"}], output_type="loglikelihood"), PATH)
    assert (target.main_metric, target.needs) == ("perplexity", ("logprobs",))
    [request] = asked(target)
    assert (request.prompt, request.continuation) == ("the cat", " sat")
    whole = scenario_of(ByHand([{"q": "", "a": "all of it"}], output_type="loglikelihood_rolling"), PATH)
    assert (whole.main_metric, whole.needs) == ("bits_per_byte", ("logprobs",))
    [request] = asked(whole)
    assert (request.prompt, request.continuation) == ("", "all of it")


def test_examples_from_the_asked_documents_are_not_asked() -> None:
    scenario = scenario_of(ByHand(rows(5), num_fewshot=2, few={"sampler": "first_n"}, **CHOICES), PATH)
    train, test = read(scenario)
    assert [one.input for one in train] == ["Q: q0\nA:", "Q: q1\nA:"]
    assert [one.id for one in test] == ["test-2", "test-3", "test-4"]
    assert "the first 2 documents are the examples and are not asked" in scenario.note


def test_metrics_say_what_is_measured_otherwise() -> None:
    found = measures("multiple_choice", [{"metric": "acc_norm"}, {"metric": "mcc"}])
    assert (found.main, found.notes) == ("likeliest_option_per_character", ("not measured: mcc",))
    found = measures("generate_until", [{"metric": "exact_match", "ignore_case": True}])
    assert (found.main, found.notes) == (
        "quasi_exact_match",
        ("quasi_exact_match in place of exact_match with ignore_case",),
    )
    with pytest.raises(ConfigError, match="none of chrf is measured here"):
        measures("generate_until", [{"metric": "chrf"}])
    for kind in ("multiple_choice", "generate_until", "loglikelihood", "loglikelihood_rolling"):
        found = measures(kind, None)
        assert found.main in {d.name for family in families(found.families) for d in family.definitions}


def steps(*names: str) -> list[dict[str, Any]]:
    return [{"name": "n", "filter": [{"function": name} for name in names]}]


def test_filters() -> None:
    def of(target: str, *names: str) -> Scenario:
        task = ByHand([{"q": "", "a": target}], output_type="generate_until", filter_list=steps(*names))
        return scenario_of(task, PATH)

    assert of("x", "remove_whitespace", "take_first").main_metric == "exact_match"
    assert of("so it is\n#### 1,234", "regex", "take_first").main_metric == "final_number_exact_match"
    assert of("x", "lowercase").main_metric == "quasi_exact_match"
    for target, name in (("words", "regex"), ("3", "majority_vote")):
        with pytest.raises(ConfigError, match=f"task.yaml: filter_list: nothing here does what {name} does"):
            of(target, name)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"process_results": len}, "process_results"),
        ({"doc_to_image": "i"}, "pictures"),
        ({"doc_to_text": 1}, "several inputs"),
        ({"output_type": "sing"}, "output_type: 'sing' is not known"),
    ],
)
def test_what_has_no_counterpart_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        scenario_of(ByHand(rows(2), **{**CHOICES, **more}), PATH)
    with pytest.raises(ConfigError, match="no documents"):
        scenario_of(ByHand([], **CHOICES), PATH)


def test_without_the_package_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    (tmp_path / "a.yaml").write_text("task: a\n")
    with pytest.raises(ConfigError) as caught:
        load_task(tmp_path / "a.yaml")
    assert "needs the package lm_eval" in caught.value.message
    assert caught.value.hint == "pip install 'commonweal[lm-eval]'"
    with pytest.raises(NotFound):
        load_task(tmp_path / "none.yaml")


# Against the package.


def write_task(folder: Path, lines: str, test: Sequence[Any], train: Sequence[Any]) -> Path:
    for name, docs in (("test", test), ("train", train)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    head = (
        f"task: made\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    train: {folder}/train.jsonl\n"
    )
    head += f"    test: {folder}/test.jsonl\ntraining_split: train\ntest_split: test\n"
    head += "fewshot_config:\n  sampler: first_n\n"
    path = folder / "made.yaml"
    path.write_text(head + lines)
    return path


def theirs(path: Path) -> Any:
    from lm_eval.tasks import TaskManager

    [task] = TaskManager(include_defaults=False).load(str(path))["tasks"].values()
    return task


def likelihood(context: str, text: str) -> float:
    """The same for both, and different for each pair."""
    return -1.0 - 9 * random.Random(f"{context}|{text}").random() * math.sqrt(len(text))


def pieces(name: str, count: int) -> list[dict[str, Any]]:
    draw = random.Random(name)
    return [
        {
            "q": f"{name} {i} ",
            "c": ["x" * draw.randint(1, 9) + str(k) for k in range(4)],
            "a": draw.randrange(4),
        }
        for i in range(count)
    ]


@needs_lm_eval
@pytest.mark.parametrize("shots", [0, 3])
@pytest.mark.parametrize("prefix", ["", 'gen_prefix: "So:"\n'])
def test_multiple_choice_asks_and_scores_as_the_package(tmp_path: Path, shots: int, prefix: str) -> None:
    lines = 'output_type: multiple_choice\ndescription: "Choose. "\ndoc_to_text: "Q: {{q}}?\\nA:"\ndoc_to_choice: c\n'
    lines += f"doc_to_target: a\nnum_fewshot: {shots}\nmetric_list:\n"
    lines += "  - metric: acc\n  - metric: acc_norm\n" + prefix
    path = write_task(tmp_path, lines, pieces("t", 40), pieces("s", 5))
    task, (scenario, _) = theirs(path), load_task(path)
    train, test = read(scenario)
    adapter = make_adapter(scenario.adaptation, model="m", abilities=ABLE)
    examples = choose_examples(train, scenario.adaptation, 0)
    [metric] = [
        family.make() for family in families(["option_likelihood"]) if family.name == "option_likelihood"
    ]
    right = []
    for doc, instance in zip(task.eval_docs, test, strict=True):
        context = task.fewshot_context(doc, num_fewshot=shots, gen_prefix=task.doc_to_prefix(doc))
        requests = [one.args for one in task.construct_requests(doc, context, metadata=("made", 0, 1))]
        asks = adapter.asks(instance, examples, ())
        ours = [(text_of(ask.request), ask.request.continuation) for ask in asks]
        assert [a + b for a, b in ours] == [a + b for a, b in requests]
        values = [likelihood(*pair) for pair in requests]
        answers = tuple(
            Answer(
                ask=ask,
                completion=Completion(choices=(Choice(text="", tokens=(Token(text="", logprob=value),)),)),
            )
            for ask, value in zip(asks, values, strict=True)
        )
        scores = metric.score(adapter.sample(instance, 0, answers))  # type: ignore[union-attr]
        want = task.process_results(doc, [(value, False) for value in values])
        assert scores["likeliest_option"] == want["acc"]
        assert scores["likeliest_option_per_character"] == want["acc_norm"]
        right.append((want["acc"], want["acc_norm"]))
    assert len(set(right)) > 2  # the two choose differently, and not always well


@needs_lm_eval
@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("prefix", ["", 'gen_prefix: "So:"\n'])
def test_generation_asks_and_scores_as_the_package(tmp_path: Path, shots: int, prefix: str) -> None:
    lines = 'output_type: generate_until\ndescription: "Add.\\n\\n"\ndoc_to_text: "{{q}} ="\ndoc_to_target: "{{a}}"\n'
    lines += f'num_fewshot: {shots}\ngeneration_kwargs:\n  until: ["\\n"]\n  max_gen_toks: 9\n'
    lines += "metric_list:\n  - metric: exact_match\n" + prefix
    docs = [{"q": f"{i} + {i}", "a": str(2 * i)} for i in range(6)]
    path = write_task(tmp_path, lines, docs, docs[::-1])
    task, (scenario, _) = theirs(path), load_task(path)
    [metric] = [family.make() for family in families(["exact_match"]) if family.name == "exact_match"]
    _, test = read(scenario)
    for place, doc in enumerate(task.eval_docs):
        context = task.fewshot_context(doc, num_fewshot=shots, gen_prefix=task.doc_to_prefix(doc))
        [request] = asked(scenario, place)
        assert text_of(request) == context
        assert (list(request.stop), request.max_tokens) == (["\n"], 9)
        for output in (str(2 * place), "7"):
            sample = Sample(
                instance=test[place], adaptation=scenario.adaptation, trial=0, answers=(), output=output
            )
            want = task.process_results(doc, [output])["exact_match"]
            assert metric.score(sample)["exact_match"] == want  # type: ignore[union-attr]


@needs_lm_eval
def test_likelihoods_are_asked_as_the_package_asks(tmp_path: Path) -> None:
    docs = [{"q": "the cat", "a": " sat on"}, {"q": "a dog", "a": " ran"}]
    lines = 'output_type: loglikelihood\ndoc_to_text: "{{q}}"\ndoc_to_target: "{{a}}"\n'
    path = write_task(tmp_path, lines, docs, docs)
    task = theirs(path)
    for place, doc in enumerate(task.eval_docs):
        [request] = asked(load_task(path)[0], place)
        want = task.construct_requests(doc, task.fewshot_context(doc, num_fewshot=0), metadata=("made", 0, 1))
        assert (request.prompt, request.continuation) == want.args
    path.write_text(path.read_text().replace("loglikelihood", "loglikelihood_rolling"))
    task = theirs(path)
    [request] = asked(load_task(path)[0])
    assert (request.continuation,) == task.construct_requests(docs[0], "", metadata=("made", 0, 1)).args


@needs_lm_eval
def test_a_file_that_the_package_cannot_read(tmp_path: Path) -> None:
    path = write_task(
        tmp_path, "output_type: multiple_choice\nmetric_list: [{metric: nonsense}]\n", [{"q": 1}], [{"q": 1}]
    )
    with pytest.raises(ConfigError, match=r"made\.yaml: lm_eval cannot read it"):
        load_task(path)
    (tmp_path / "test.jsonl").unlink()
    with pytest.raises((NotFound, ConfigError), match=r"made\.yaml"):
        load_task(path)


def test_a_note_of_the_scenario_is_in_the_plan() -> None:
    from commonweal.evals.plan import Wishes, plan

    scenario = replace(scenario_of(ByHand(rows(3), **CHOICES), PATH), note="as lm_eval's, but: x")
    [run] = plan(
        Wishes(model="m", scenarios=("a",)),
        model="m",
        resolve=lambda name: (scenario, {}),
        suite=lambda name: (),
        perturbations=lambda names: (),
        extra=lambda adaptation: (),
        settle=lambda adaptation: (adaptation, "y"),
        has=lambda need: "",
    )
    assert run.note == "as lm_eval's, but: x; y"


def test_the_data_that_were_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text('{"q": "x", "a": "y"}\n')
    task = ByHand(
        [{"q": "x", "a": "y"}],
        output_type="generate_until",
        dataset_kwargs={"data_files": {"test": str(tmp_path / "own.jsonl")}, "revision": "v1"},
    )
    url = "hf://datasets/org/set@0123456789abcdef0123456789abcdef01234567/test.parquet"
    info = SimpleNamespace(download_checksums={url: {"num_bytes": 1, "checksum": None}})
    task.dataset = {"test": SimpleNamespace(info=info)}  # type: ignore[attr-defined]
    scenario, loader = scenario_of(task, PATH), DataLoader(None, tmp_path / "cache", offline=True)
    assert len(list(scenario.read(loader, {}))) == 1
    hub, file = loader.sources
    assert (hub.path, hub.revision) == ("org/set", "0123456789abcdef0123456789abcdef01234567")
    assert (Path(file.path).name, len(file.sha256)) == ("own.jsonl", 64)
    assert scenario.source == "json at v1"
    loader = DataLoader(None, tmp_path / "cache", offline=True)
    assert (
        len(
            list(
                scenario_of(ByHand([{"q": "x", "a": "y"}], output_type="generate_until"), PATH).read(
                    loader, {}
                )
            )
        )
        == 1
    )
    assert loader.sources == []
