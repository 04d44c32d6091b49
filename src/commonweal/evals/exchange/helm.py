"""HELM's own output becomes runs here.

Two forms are read: run directories as ``helm-run`` writes them (run_spec.json, scenario_state.json,
per_instance_stats.json), with every prompt; and packed ones (run_specs_per_run.jsonl, predictions.jsonl), which hold
the outputs and numbers of each instance, but neither prompts nor splits: those may be given. HELM's stats are not taken
over: a run's stats are aggregated here from its per-instance numbers, so that they can be compared with what HELM made
of the same.

Source of the form: crfm-helm, ``helm.benchmark.runner`` and ``helm.benchmark.adaptation``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from commonweal.core.completion import Choice, Completion, Request, Timing, Token
from commonweal.core.errors import ConfigError, DataError, NotFound
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Reference, Split
from commonweal.evals.sample import Ask, Failure, Sample
from commonweal.evals.sample_record import Asked
from commonweal.evals.spec import RunSpec

RUN_SPEC, STATE, PER_INSTANCE = "run_spec.json", "scenario_state.json", "per_instance_stats.json"
PACKED_SPECS, PACKED = "run_specs_per_run.jsonl", "predictions.jsonl"

MEDIA = "media"
"""What an instance keeps of its pictures and sounds: the media type of each."""

Key = tuple[str, str, int]
Scores = Mapping[str, float]
Splits = Callable[[RunSpec, str], Split | None]
"""The split of an instance of a run, by its id; None where it is not known."""

_NAMES = {
    "shots": "max_train_instances",
    "trials": "num_train_trials",
    "outputs": "num_outputs",
    "stop": "stop_sequences",
}
"""Our settings of an adaptation that HELM calls otherwise."""

_METHODS = {
    "multiple_choice_separate_original": "multiple_choice_separate",
    "multiple_choice_joint_chain_of_thought": "multiple_choice_joint",
    "chat": "generation",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One sample with HELM's numbers of it."""

    sample: Sample
    asked: tuple[Asked, ...]
    scores: Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class HelmRun:
    """One run of HELM. ``samples`` reads them anew each time; ``note`` says what is not there."""

    name: str
    spec: RunSpec
    groups: tuple[str, ...]
    source: Path
    samples: Callable[[], Iterator[Imported]]
    note: str = ""


def read_helm(path: Path, splits: Splits | None = None) -> list[HelmRun]:
    """All runs of HELM below ``path``, complete ones before packed ones of the same name.

    ``splits`` tells the splits that the packed form did not keep; an instance that it does not know, and all of them
    without it, count as test. Raises NotFound, DataError.
    """
    if not path.exists():
        raise NotFound(f"{path}: no such folder", hint="give a folder that helm-run has written")
    found = {run.name: run for run in _packed(path, splits)}
    for file in sorted(path.rglob(RUN_SPEC)):
        run = _complete(file.parent)
        found[run.name] = run
    if not found:
        raise NotFound(
            f"{path}: nothing of HELM there",
            hint=f"expected folders with {RUN_SPEC} and {STATE} (helm-run's output)",
        )
    return [found[name] for name in sorted(found)]


def read_splits(path: Path) -> Splits:
    """Splits from JSON lines with ``id``, ``split`` and, where the runs have one, ``subject``. Raises DataError."""
    known: dict[tuple[str, str], Split] = {}
    for number, row in enumerate(_lines(path), 1):
        try:
            known[(row.get("subject", ""), row["id"])] = _split(row["split"])
        except KeyError as error:
            raise DataError(f"{path}:{number}: no {error}", hint="a row has id, split, subject") from None
    return lambda spec, id_: known.get((spec.args.get("subject", ""), id_))


def run_spec(helm: Mapping[str, Any], metric: str = "exact_match") -> RunSpec:
    """HELM's run spec as ours; what we have no word for is left to HELM's own file."""
    name, adapter = str(helm["name"]), helm["adapter_spec"]
    scenario, _, rest = name.partition(":")
    args = dict(part.partition("=")[::2] for part in rest.split(",") if part)
    args.pop("model", None)
    if args.get("method") == "multiple_choice_joint":
        del args["method"]  # the method that multiple choice has where none is named, here and there
    return RunSpec(
        scenario=scenario,
        args=args,
        model=str(adapter["model"]),
        adaptation=_adaptation(adapter),
        metrics=tuple(sorted({n for m in helm["metric_specs"] for n in m.get("args", {}).get("names", ())})),
        main_metric=metric,
        max_instances=adapter.get("max_eval_instances") or 0,
    )


def _adaptation(adapter: Mapping[str, Any]) -> Adaptation:
    values: dict[str, Any] = {}
    for field in fields(Adaptation):
        value = adapter.get(_NAMES.get(field.name, field.name))
        if value is not None:
            values[field.name] = tuple(value) if isinstance(value, list) else value
    values["method"] = _METHODS.get(values.get("method", ""), values.get("method", "generation"))
    values.setdefault("outputs", 1)
    try:
        return Adaptation(**values)
    except ValueError as error:
        raise ConfigError(f"HELM's adapter spec: {error}") from None


def _complete(folder: Path) -> HelmRun:
    helm = _json(folder / RUN_SPEC)
    return HelmRun(
        name=helm["name"],
        spec=run_spec(helm),
        groups=tuple(helm.get("groups", ())),
        source=folder,
        samples=lambda: _complete_samples(folder),
    )


def _complete_samples(folder: Path) -> Iterator[Imported]:
    """The request states of a run, those of one instance together."""
    adaptation = _adaptation(_json(folder / RUN_SPEC)["adapter_spec"])
    numbers = {_place(entry): _means(entry["stats"]) for entry in _json(folder / PER_INSTANCE)}
    states: dict[Key, list[Mapping[str, Any]]] = {}
    for state in _json(folder / STATE)["request_states"]:
        instance = state["instance"]
        key = (instance["id"], _perturbation(instance), state["train_trial_index"])
        states.setdefault(key, []).append(state)
    for key, some in states.items():
        yield _imported(key, some, adaptation, numbers.get(key, {}))


def _imported(key: Key, states: list[Mapping[str, Any]], adaptation: Adaptation, scores: Scores) -> Imported:
    instance = _instance(states[0]["instance"])
    asked = tuple(_asked(state) for state in states)
    first = asked[0]
    failure, output, chosen = first.failure, "", None
    if first.completion is not None:
        output = first.completion.text.strip()
        mapping = states[0].get("output_mapping") or {}
        output = mapping.get(output, output)
        chosen = next((i for i, r in enumerate(instance.references) if mapping and r.text == output), None)
    sample = Sample(
        instance=instance,
        adaptation=adaptation,
        trial=key[2],
        answers=(),
        output=output,
        outputs=(output,) if output else (),
        chosen=chosen,
        failure=failure,
    )
    return Imported(sample=sample, asked=asked, scores=scores)


def _instance(helm: Mapping[str, Any]) -> Instance:
    references = tuple(
        Reference(text=reference["output"]["text"], correct="correct" in reference["tags"])
        for reference in helm["references"]
    )
    return Instance(
        id=helm["id"],
        input=helm["input"]["text"],
        references=references,
        split=_split(helm.get("split")),
        subset=helm.get("sub_split") or "",
        extra=_media(helm["input"]),
        perturbation=_perturbation(helm),
    )


def _media(helm: Mapping[str, Any]) -> Mapping[str, Any]:
    """HELM tells where a picture of an input lay on its machine; the bytes are not in its output."""
    objects = (helm.get("multimedia_content") or {}).get("media_objects") or ()
    named = [str(one.get("content_type", "")) for one in objects if one.get("location")]
    return {MEDIA: named} if named else {}


def _split(helm: str | None) -> Split:
    return "train" if helm == "train" else "valid" if helm == "valid" else "test"


def _perturbation(helm: Mapping[str, Any]) -> str:
    perturbation = helm.get("perturbation")
    return str(perturbation["name"]) if perturbation else ""


def _asked(state: Mapping[str, Any]) -> Asked:
    request, index = state["request"], state.get("reference_index")
    role = "output" if index is None else f"{state.get('request_mode') or 'reference'} {index}"
    ask = Ask(
        role=role,
        index=-1 if index is None else index,
        shots=state.get("num_train_instances", 0),
        request=Request(
            model=request["model"],
            prompt=request["prompt"],
            max_tokens=request["max_tokens"],
            temperature=request["temperature"],
            top_p=request["top_p"],
            n=request["num_completions"],
            stop=tuple(request["stop_sequences"]),
            logprobs=request["top_k_per_token"],
        ),
    )
    result = state.get("result") or {}
    if not result.get("success"):
        return Asked(ask=ask, failure=Failure(kind="error", message=str(result.get("error") or "no result")))
    return Asked(ask=ask, completion=_completion(result, request["model"]))


def _completion(result: Mapping[str, Any], model: str) -> Completion:
    choices = tuple(
        Choice(
            text=one["text"],
            finish="length" if (one.get("finish_reason") or {}).get("reason") == "length" else "stop",
            logprob=one.get("logprob"),
            tokens=tuple(Token(text=t["text"], logprob=t.get("logprob")) for t in one.get("tokens", ())),
        )
        for one in result["completions"]
    )
    timing = Timing(total=result.get("request_time") or 0.0)
    return Completion(choices=choices, model=model, timing=timing, cached=bool(result.get("cached")))


def _packed(path: Path, splits: Splits | None) -> Iterator[HelmRun]:
    """The runs of the packed form, where ``path`` holds one."""
    if not (path / PACKED_SPECS).exists() or not (path / PACKED).exists():
        return
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in _lines(path / PACKED):
        rows.setdefault(row["run"], []).append(row)
    for helm in _lines(path / PACKED_SPECS):
        spec, mine = run_spec(helm), rows.get(helm["name"], [])
        yield HelmRun(
            name=helm["name"],
            spec=spec,
            groups=tuple(helm.get("groups", ())),
            source=path / PACKED,
            samples=_samples_of(mine, spec, splits),
            note="imported from HELM's predictions: inputs and prompts were not kept there"
            + ("" if splits else ", nor splits: validation and test are taken together"),
        )


def _samples_of(
    rows: Iterable[Mapping[str, Any]], spec: RunSpec, splits: Splits | None
) -> Callable[[], Iterator[Imported]]:
    def samples() -> Iterator[Imported]:
        for row in rows:
            output = row.get("mapped_output") or row.get("predicted_text") or ""
            sample = Sample(
                instance=Instance(
                    id=row["instance_id"],
                    input="",
                    split=(splits and splits(spec, row["instance_id"])) or "test",
                    perturbation=_perturbation(row),
                ),
                adaptation=spec.adaptation,
                trial=row["train_trial_index"],
                answers=(),
                output=output,
                outputs=(output,),
            )
            yield Imported(sample=sample, asked=(), scores=row["stats"])

    return samples


def _place(entry: Mapping[str, Any]) -> Key:
    return (entry["instance_id"], _perturbation(entry), entry["train_trial_index"])


def _means(stats: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """HELM's numbers of one instance, by name; those of perturbations stand in entries of their own."""
    return {s["name"]["name"]: s["sum"] / s["count"] for s in stats if s["count"]}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file", hint="HELM writes it with each run; is the run finished?"
        ) from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from None


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}:{number}: not JSON: {error}") from None
