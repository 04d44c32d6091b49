"""Task files of lm-evaluation-harness (YAML) as scenarios.

The optional package ``lm_eval`` reads the file, loads the data and fills in the templates (``doc_to_text``,
``doc_to_choice``, ``doc_to_target``); here it becomes a :class:`Scenario`: train documents are the examples, the prompt
is the package's byte for byte, asking and scoring are ours. What is measured otherwise than the package would stands in
the scenario's ``note`` and so in every run. What has no counterpart (a Python ``process_results``, filters, groups,
pictures) is refused rather than measured as something else.

The package loads data by itself, at the newest revision where the file pins none (``dataset_kwargs: revision``); which
commit, or which files with which hashes, that was is told to the loader and so stands in ``run.json``.

A YAML file may name Python functions beside it (``!function``): reading a file runs them.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol, cast

from commonweal.core.errors import ConfigError, DataError, NotFound
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.exchange.lm_eval_metrics import Measures, filtered, measures
from commonweal.evals.instance import Instance, Reference, Split
from commonweal.evals.loading.loader import DataLoader, Source
from commonweal.evals.scenario import Args, Loader, Scenario
from commonweal.evals.scenarios.prompting import language_modeling

MAX_TOKENS = 256
"""What lm_eval lets a model write where a task does not say (``defaults.py``)."""

_TYPES = ("multiple_choice", "generate_until", "loglikelihood", "loglikelihood_rolling")
_HUB_FILE = re.compile(r"hf://datasets/([^@]+)@([0-9a-f]{7,40})/")
_NUMBER = re.compile(r"-?[\d,]+(\.\d+)?\Z")

Doc = Mapping[str, Any]


class Task(Protocol):
    """What is used of ``lm_eval.api.task.ConfigurableTask``."""

    config: Any
    fewshot_cfg: Any

    @property
    def eval_docs(self) -> Iterable[Doc]: ...
    def fewshot_docs(self) -> Iterable[Doc] | None: ...
    def doc_to_text(self, doc: Doc, doc_to_text: Any = None) -> Any: ...
    def doc_to_choice(self, doc: Doc, doc_to_choice: Any = None) -> Any: ...
    def doc_to_target(self, doc: Doc, doc_to_target: Any = None) -> Any: ...
    def doc_to_prefix(self, doc: Doc) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A task, and how many documents of those that are asked are taken for examples: only where it has no others."""

    task: Task
    kind: str
    path: Path
    borrowed: int


def load_task(path: Path) -> tuple[Scenario, Args]:
    """The scenario of a task file. Raises ConfigError (the package is not installed, the file or something in it cannot
    be used), NotFound (no file, no data)."""
    if not path.is_file():
        raise NotFound(f"{path}: no such file")
    return scenario_of(_loaded(path.resolve(), path.stat().st_mtime_ns), path), {}


def scenario_of(task: Task, path: Path) -> Scenario:
    """The scenario of a task that was read. Raises ConfigError, naming the file."""
    try:
        return _scenario(task, path)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint) from None


@lru_cache(maxsize=64)
def _loaded(path: Path, changed: int) -> Task:
    """The task in a file, read once as long as the file does not change."""
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise ConfigError(
            f"{path.name}: a task file of lm-evaluation-harness needs the package lm_eval ({error})",
            hint="pip install 'commonweal[lm-eval]'",
        ) from None
    try:
        with _quiet():
            tasks = TaskManager(include_defaults=False).load(str(path))["tasks"]
    except FileNotFoundError as error:
        raise NotFound(f"{path}: data not available: {error}") from None
    except Exception as error:  # whatever the package, its templates or the file's own functions raise
        raise ConfigError(
            f"{path}: lm_eval cannot read it: {type(error).__name__}: {str(error)[:300]}",
            hint="data sets are loaded by lm_eval itself: dataset_path, and dataset_kwargs.data_files",
        ) from error
    if len(tasks) != 1:
        raise ConfigError(f"{path}: {len(tasks)} tasks are there", hint="give the file of a single task")
    return cast(Task, next(iter(tasks.values())))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the package's warnings and the progress bars of its data sets."""
    import datasets

    before, bars = logging.root.manager.disable, datasets.is_progress_bar_enabled()
    logging.disable(max(before, logging.WARNING))
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logging.disable(before)
        if bars:
            datasets.enable_progress_bars()


def _scenario(task: Task, path: Path) -> Scenario:
    config = task.config
    kind = str(config.output_type)
    _check(task, kind)
    first = next(iter(task.eval_docs), None)
    if first is None:
        raise ConfigError("the task has no documents")
    if isinstance(task.doc_to_text(first), int):
        raise ConfigError("doc_to_text gives a number: tasks of several inputs are not read")
    made = measures(kind, config.metric_list)
    if kind == "generate_until":
        made = filtered(made, config.filter_list, number=_is_number(task.doc_to_target(first)))
    shots = int(config.num_fewshot or 0)
    borrowed = shots if _borrows(task) and kind != "loglikelihood_rolling" else 0
    source = " ".join(filter(None, (config.dataset_path, config.dataset_name)))
    if revision := (config.dataset_kwargs or {}).get("revision"):
        source += f" at {revision}"
    read = _Read(task=task, kind=kind, path=path, borrowed=borrowed)
    return Scenario(
        name=re.sub(r"[^\w.-]+", "_", str(config.task or path.stem)),
        title=str(config.task_alias or config.task or path.stem),
        description=f"A task of lm-evaluation-harness ({kind}).",
        source=source or path.name,
        licence="unknown",
        read=partial(_instances, read),
        adaptation=_adaptation(task, kind, shots, bool(task.doc_to_prefix(first))),
        main_metric=made.main,
        metrics=made.families,
        tags=("lm_eval", *_listed(config.tag)),
        needs=("logprobs",) if kind.startswith("loglikelihood") else (),
        version=_version(config.metadata),
        note=_note(task, kind, made, borrowed),
    )


def _check(task: Task, kind: str) -> None:
    config = task.config
    if kind not in _TYPES:
        raise ConfigError(f"output_type: '{kind}' is not known", hint=f"known: {', '.join(_TYPES)}")
    if config.process_results is not None and kind != "loglikelihood_rolling":
        raise ConfigError(
            "process_results: the task scores by a Python function of its own, which has no counterpart here",
            hint="write the scenario in TOML or Python (docs/evaluation.md)",
        )
    if getattr(config, "doc_to_image", None) or getattr(config, "doc_to_audio", None):
        raise ConfigError("doc_to_image, doc_to_audio: tasks with pictures or sound are not read")


def _adaptation(task: Task, kind: str, shots: int, prefixed: bool) -> Adaptation:
    """lm_eval's prompt: description, then for each example text, delimiter, target, delimiter; then the text."""
    config = task.config
    if kind == "loglikelihood_rolling":
        return language_modeling()
    delimiter = {"multiple_choice": config.target_delimiter, "loglikelihood": ""}.get(
        kind, " " if prefixed else config.target_delimiter
    )
    given = config.generation_kwargs or {} if kind == "generate_until" else {}
    return Adaptation(
        method="generation" if kind == "generate_until" else "multiple_choice_separate",
        instructions=_description(config),
        input_prefix="",
        input_suffix="",
        output_prefix=delimiter,
        output_suffix=task.fewshot_cfg.fewshot_delimiter,
        instance_prefix="",
        shots=shots,
        sample_train=task.fewshot_cfg.sampler != "first_n",
        temperature=_temperature(given),
        max_tokens=int(given.get("max_gen_toks", MAX_TOKENS)) if kind == "generate_until" else 0,
        stop=tuple(_listed(given.get("until"))),
    )


def _temperature(given: Mapping[str, Any]) -> float:
    """lm_eval draws only where ``do_sample`` says so, or where it is left out and a temperature is given."""
    temperature = float(given.get("temperature", 0.0))
    return temperature if given.get("do_sample", temperature > 0) else 0.0


def _description(config: Any) -> str:
    """The text before the examples; a template stands before each question instead (see ``_asked``)."""
    text = config.description or ""
    return "" if _is_template(text) else str(text)


def _is_template(text: Any) -> bool:
    return callable(text) or "{{" in str(text) or "{%" in str(text)


def _note(task: Task, kind: str, made: Measures, borrowed: int) -> str:
    config = task.config
    notes = list(made.notes)
    if config.num_fewshot and task.fewshot_cfg.sampler != "first_n":
        notes.append("all instances are shown the same examples, lm_eval draws others for each")
    if borrowed:
        notes.append(f"the first {borrowed} documents are the examples and are not asked")
    if (config.repeats or 1) > 1:
        notes.append(f"asked once, not {config.repeats} times")
    if kind == "generate_until" and str(config.target_delimiter).strip():
        notes.append("the delimiter before the target stands at the end of the prompt")
    if _is_template(config.description or ""):
        notes.append("the description is left out: it is another one for each document")
    return "as lm_eval's, but: " + "; ".join(notes) if notes else ""


def _borrows(task: Task) -> bool:
    """Whether the examples come from the documents that are asked."""
    config, cfg = task.config, task.fewshot_cfg
    if cfg.split is None and cfg.samples is not None:
        return False
    asked = config.test_split or config.validation_split
    return bool((cfg.split or config.training_split or config.validation_split or asked) == asked)


def _instances(read: _Read, loader: Loader, args: Args) -> Iterator[Instance]:
    """Examples first. With examples of its own, a task has all of them to draw from."""
    task = read.task
    if isinstance(loader, DataLoader):
        loader.sources.extend(data_read(task))
    if read.kind != "loglikelihood_rolling" and not _borrows(task):
        for number, doc in enumerate(task.fewshot_docs() or ()):
            yield _instance(read, doc, number, "train")
    for number, doc in enumerate(task.eval_docs):
        yield _instance(read, doc, number, "train" if number < read.borrowed else "test")


def data_read(task: Task) -> list[Source]:
    """Where the package read a task's data: data sets of the hub with their commits, local files with their hashes."""
    found = dict.fromkeys(
        Source(path=match[1], revision=match[2])
        for split in (getattr(task, "dataset", None) or {}).values()
        for url in getattr(getattr(split, "info", None), "download_checksums", None) or ()
        if (match := _HUB_FILE.match(url))
    )
    files = (task.config.dataset_kwargs or {}).get("data_files")
    for names in files.values() if isinstance(files, Mapping) else [files]:
        for file in map(Path, _listed(names)):
            if file.is_file():
                with file.open("rb") as data:
                    sha256 = hashlib.file_digest(data, "sha256").hexdigest()
                found[Source(path=str(file), sha256=sha256)] = None
    return list(found)


def _instance(read: _Read, doc: Doc, number: int, split: Split) -> Instance:
    task, where = read.task, f"{read.path}: document {number} of {split}"
    try:
        if read.kind == "loglikelihood_rolling":
            return Instance(id=f"{split}-{number}", input=str(task.doc_to_target(doc)), split=split)
        text = _asked(task, doc, shown=split == "train")
        references = _references(task, doc, read.kind, shown=split == "train")
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"{where}: {type(error).__name__}: {error}") from None
    return Instance(id=f"{split}-{number}", input=text, references=references, split=split)


def _asked(task: Task, doc: Doc, *, shown: bool) -> str:
    """The text of a document, with what the answer is to begin with."""
    text = str(task.doc_to_text(doc, task.fewshot_cfg.doc_to_text if shown else None))
    prefix = task.doc_to_prefix(doc)
    if not prefix:
        return text
    apart = text and not text[-1].isspace() and not prefix[0].isspace()
    return text + (task.config.target_delimiter if apart else "") + prefix


def _references(task: Task, doc: Doc, kind: str, *, shown: bool) -> tuple[Reference, ...]:
    cfg = task.fewshot_cfg
    target = task.doc_to_target(doc, cfg.doc_to_target if shown else None)
    choices: list[str] | None = None
    if task.config.doc_to_choice is not None:
        choices = [str(choice) for choice in task.doc_to_choice(doc, cfg.doc_to_choice if shown else None)]
    if kind == "multiple_choice":
        if not choices:
            raise ValueError("a multiple_choice task without doc_to_choice")
        right = {_place(one, choices) for one in (target if isinstance(target, list) else [target])}
        return tuple(Reference(text=text, correct=i in right) for i, text in enumerate(choices))
    texts = target if isinstance(target, list) else [target]
    return tuple(
        Reference(text=choices[one] if choices and isinstance(one, int) else str(one), correct=True)
        for one in texts
    )


def _place(target: Any, choices: Sequence[str]) -> int:
    place = choices.index(target) if isinstance(target, str) else int(target)
    if not 0 <= place < len(choices):
        raise ValueError(f"the target {target!r} is none of {len(choices)} choices")
    return place


def _is_number(target: Any) -> bool:
    """Whether the target's last word is a number: 42, or a worked solution that ends with one."""
    words = str(target).split()
    return bool(words) and bool(_NUMBER.match(words[-1].strip("$.")))


def _version(metadata: Any) -> int:
    try:
        return int(float((metadata or {}).get("version", 1)))
    except (TypeError, ValueError, AttributeError):
        return 1


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(one) for one in value]
