"""The label of a model that a hub serves, from the hub's records of it. Pure.

What records say comes first; what its publisher stated fills the rest, and is marked as that. A model that was made of
another has the other's answers where it has none of its own; where both count, what the other does not tell is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from commonweal.core.hashing import record_hash
from commonweal.labels.facts import Base, Fact, Facts, Label, Record, as_far_as_told, not_applicable, told
from commonweal.labels.from_training import (
    ASSUMED_WATTS,
    compute_facts,
    records_for,
    training_facts,
    weights_record,
)
from commonweal.labels.inheritance import inherit
from commonweal.labels.publisher import BY, KEY, account_told, publisher_stated, publisher_told
from commonweal.labels.records import ModelRecords, Training
from commonweal.labels.stated import stated_facts
from commonweal.labels.wording import counted, moment, power_of_ten, rounded
from commonweal.serve.catalogue import LATEST
from commonweal.serve.community.datasets import DataSet

LABEL_PATH = "/v1/models/{}/label"
_METHODS = {
    "supervised": ("instructions (supervised)", "cross-entropy of the answers' tokens"),
    "dpo": ("preferences (DPO)", "direct preference optimization (Rafailov et al. 2023)"),
    "kto": ("judgements (KTO)", "Kahneman-Tversky optimization (Ethayarajh et al. 2024)"),
}


def from_hub(found: ModelRecords, *, watts: float = ASSUMED_WATTS) -> Label:
    """The label, without evaluations."""
    facts = Facts()
    facts.add(*_catalogue(found))
    if found.tuning is not None:
        facts.add(*_tuning(found, watts))
    elif found.training is not None:
        facts.add(*map(_claimed(found.training), training_facts(found.training, watts=watts)))
    facts.add(*_release(found))
    facts.add(*stated_facts(found.stated, by=BY))
    label = Label(model=found.model.name, source="hub", facts=facts.all(), base=_base(found))
    if found.parent_name is None:
        return label
    return inherit(label, from_hub(found.parent, watts=watts) if found.parent is not None else None)


def _base(found: ModelRecords) -> Base | None:
    if found.parent_name is None:
        return None
    if found.parent is None:
        return Base(name=found.parent_name)
    return Base(
        name=found.parent_name,
        identity=found.parent.model.identity,
        label=LABEL_PATH.format(found.parent_name),
    )


def _claimed(training: Training) -> Callable[[Fact], Fact]:
    """What rests on a publisher's word that a job made its files has the proof of that among its records."""

    def marked(fact: Fact) -> Fact:
        if training.word == "hub" or not fact.records:
            return fact
        return replace(fact, records=tuple(dict.fromkeys((*fact.records, weights_record(training)))))

    return marked


def catalogue_record(found: ModelRecords) -> Record:
    model = found.model
    return Record(kind="model", id=model.name, hash=model.identity, address=f"/v1/models/{model.name}")


def _catalogue(found: ModelRecords) -> Iterator[Fact]:
    model, record = found.model, catalogue_record(found)
    fronted = model.kind == "fronted"
    how = "its publisher's word: its server is its owner's" if fronted else ""
    size = f"{rounded(model.parameters)} ({model.parameters:,})"
    yield told("model.size", size, record, value=model.parameters, method=how)
    yield told("model.window", f"{model.window:,} tokens", record, value=model.window, method=how)
    yield told(
        "model.precision", _precision(model.quantization), record, value=model.quantization, method=how
    )
    if not fronted:
        files = {name: str(blob) for name, blob in sorted(model.files.items())}
        yield told(
            "model.weights",
            f"{counted(len(files), 'file')}, identity {model.identity[:16]}...",
            record,
            *(Record(kind="file", id=name, hash=blob) for name, blob in files.items()),
            value={"identity": model.identity, "files": files},
            method="a hash over all files, the base and the precision",
        )
    if found.parent_name is not None:
        yield told("model.base", found.parent_name, record)
        yield told("method.dependencies", f"the model {found.parent_name}", record)
    if model.kind == "adapter":
        yield told("model.parts", f"adapters (LoRA) on {model.base}, and its tokenizer", record)
    elif model.kind == "full":
        yield told("model.parts", "one network and its tokenizer", record)
    yield from _use(found, record)
    yield publisher_stated(model) or told(KEY, account_told(model.owner), record)


def _precision(quantization: str) -> str:
    return {"none": "as its files are", "int8": "8 bits a weight"}.get(quantization, quantization)


def _use(found: ModelRecords, record: Record) -> Iterator[Fact]:
    model = found.model
    who = "everybody with a key of this hub" if model.public else "its publisher alone"
    yield told("use.users", who, record, value="public" if model.public else "private")
    yield told("use.channels", "this hub", record)
    if not model.public:
        return
    yield told(
        "use.access", f"with any OpenAI client at this hub's /v1, as {model.name}; or at /chat", record
    )
    if model.kind != "fronted":
        yield told("use.files", "GET /serve/v1/models names its files, /pool/v1/blobs/ has them", record)


def _tuning(found: ModelRecords, watts: float) -> Iterator[Fact]:
    """Of a model that a fine-tuning job made."""
    job = found.tuning
    assert job is not None
    name, objective = _METHODS[job.recipe.method]
    record = Record(kind="tuning", id=job.id, address=f"/v1/fine_tuning/jobs/{job.id}")
    training = found.training
    own: dict[str, Fact] = {}
    if training is not None:
        own = {fact.key: fact for fact in training_facts(training, watts=watts)}
        yield from compute_facts(training, watts=watts)
        for key in ("method.settings", "method.checks", "method.result", "method.frameworks"):
            if key in own:
                yield own[key]
        yield from as_far_as_told(_operations(found, training))
    stages = f"fine-tuning on {name}, from {job.recipe.model}"
    yield told("method.stages", stages, record, value=[job.recipe.method])
    yield told("method.objectives", objective, record)
    if found.dataset is not None:
        yield from _feedback(found.dataset, record)
    counts = {} if training is None else training.spec.provenance
    yield from as_far_as_told(_examples(found, record, counts))
    for key in ("model.architecture", "model.input", "model.output"):
        if key in own:
            yield own[key]


def _operations(found: ModelRecords, training: Training) -> Iterator[Fact]:
    lora = training.settings.model.lora is not None
    factor, words = (4, "4 x") if lora else (6, "6 x")
    tokens = training.rounds[-1].record.tokens if training.rounds else 0
    number = factor * found.model.parameters * tokens
    why = "; of a base that is kept as it is no gradients of weights are computed" if lora else ""
    yield told(
        "compute.operations",
        power_of_ten(number),
        records_for(training)["rounds"],
        value=float(number),
        method=f"estimated: {words} parameters x tokens (after Kaplan et al. 2020){why}",
    )


def _examples(found: ModelRecords, record: Record, counts: Mapping[str, Any]) -> Iterator[Fact]:
    """The data of a fine-tuning job: a file of its owner's, or a data set of feedback."""
    job = found.tuning
    assert job is not None
    recipe = job.recipe
    data = Record(kind="data", id=job.id, hash=recipe.training, address=record.address)
    yield told(
        "data.hashes", f"the file: {recipe.training[:16]}...", data, value={"training": recipe.training}
    )
    size = f"{int(counts['examples']):,} examples, {int(counts['tokens']):,} tokens" if counts else ""
    if found.dataset is None:
        yield told("data.sources", "a file of examples of its owner's", data, value=["file"])
        what = f"a file of its owner's: {size}" if size else "a file of its owner's"
        yield told("alignment.instructions", what, data, value={"sha256": recipe.training})
        yield not_applicable(
            "alignment.feedback", "it learned from a file of examples, not from feedback", record
        )
    if counts:
        named = {name: int(counts[name]) for name in ("examples", "tokens", "epochs")}
        yield told("data.size", f"{size}, read {counted(named['epochs'], 'time')}", data, value=named)
        if counts.get("licence"):
            yield told("data.licences", str(counts["licence"])[:400], data)
        held = int(counts["held_out"])
        yield told("data.held_out", counted(held, "example"), data, value=held)


def _feedback(dataset: DataSet, job: Record) -> Iterator[Fact]:
    """The data set of feedback that was learned from; of people only how many they were."""
    manifest, record = dataset.manifest, dataset_record(dataset)
    yield told("data.sources", "feedback of this hub's users", record, job, value=["feedback"])
    yield not_applicable("alignment.instructions", "it learned from feedback; see there", record)
    yield told("alignment.pay", "nothing: feedback is given, and the books have no payment for it", record)
    yield from as_far_as_told(
        _pieces(dataset, record),
        _people(manifest, record),
        _consents(manifest, record),
        _kept(manifest, record),
    )


def _pieces(dataset: DataSet, record: Record) -> Iterator[Fact]:
    manifest, gone = dataset.manifest, len(dataset.withdrawn)
    pieces, kinds = len(manifest["feedback"]), dict(manifest.get("by_kind", {}))
    said = counted(pieces, "piece") + " of feedback"
    if "conversations" in manifest:
        said += f" on {counted(manifest['conversations'], 'conversation')}"
    if kinds:
        said += ": " + ", ".join(counted(n, kind) for kind, n in kinds.items())
    if gone:
        said += f"; {counted(gone, 'piece')} withdrawn since"
    yield told(
        "alignment.feedback", said, record, value={"pieces": pieces, "by_kind": kinds, "withdrawn": gone}
    )


def _people(manifest: Mapping[str, Any], record: Record) -> Iterator[Fact]:
    number = int(manifest["accounts"])
    said = f"users of this hub: {counted(number, 'account')}"
    yield told("alignment.people", said, record, value={"accounts": number})


def _consents(manifest: Mapping[str, Any], record: Record) -> Iterator[Fact]:
    yield told("data.licences", ", ".join(manifest["licences"]), record, value=dict(manifest["licences"]))
    consents: Mapping[str, int] = manifest["consents"]
    each = "; ".join(f"'{name}' ({_meaning(name)}) for {n:,}" for name, n in consents.items())
    yield told("alignment.consent", f"each piece was given for this: {each}", record, value=dict(consents))


def _meaning(consent: str) -> str:
    """What a consent allows, in a few words."""
    return {"improve": "to train and measure models here", "publish": "to be published too"}.get(
        consent, consent
    )


def _kept(manifest: Mapping[str, Any], record: Record) -> Iterator[Fact]:
    scrubbed: Mapping[str, int] = manifest["scrubbed"]
    found = ", ".join(f"{name.lower()} {n:,}" for name, n in scrubbed.items()) or "nothing was found"
    yield told(
        "data.privacy", f"names and numbers of people were taken out: {found}", record, value=dict(scrubbed)
    )
    left_out: Mapping[str, int] = manifest["left_out"]
    out = ", ".join(f"{n:,} {why}" for why, n in left_out.items()) or "nothing"
    yield told(
        "data.curation", f"by rules, near duplicates too; left out: {out}", record, value=dict(left_out)
    )


def dataset_record(dataset: DataSet) -> Record:
    return Record(
        kind="dataset",
        id=dataset.id,
        hash=record_hash(dict(dataset.manifest)),
        address=f"/v1/community/datasets/{dataset.id}",
    )


def _release(found: ModelRecords) -> Iterator[Fact]:
    model, record = found.model, catalogue_record(found)
    said = f"published {moment(model.created)} by {publisher_told(model)}"
    records = [record]
    if found.improvement is not None:
        improvement = found.improvement
        verdict = (improvement.decision or {}).get("reason") or f"the improvement {improvement.state}"
        said += f"; {verdict}"
        records.append(
            Record(
                kind="improvement",
                id=improvement.id,
                hash=record_hash(improvement.decision) if improvement.decision else "",
                address=f"/v1/community/improvements/{improvement.id}",
            )
        )
    yield told("accountability.release", said, *records)
    yield told(
        "accountability.versions",
        "a name means these files for ever (their hash is its identity); "
        f"{(found.parent_name or model.name)}{LATEST} is the version that was promoted last",
        record,
        value=model.identity,
    )
    yield _changes(found)
    yield told(
        "accountability.feedback",
        "thumbs, better answers and comments on the page /chat, and /v1/community/",
        record,
    )


def _changes(found: ModelRecords) -> Fact:
    """The promotions of its own name, or those that made it the latest of another."""
    name = found.model.name
    own = [(name, one) for one in found.versions] or list(found.latest_of)
    if not own:
        return not_applicable(
            "accountability.changes", "no other version was promoted in its place", catalogue_record(found)
        )
    lines = [f"{moment(one.at)}: {of}{LATEST} became {one.model}" for of, one in own[:5]]
    more = f" and {len(own) - 5} more" if len(own) > 5 else ""
    records = [
        Record(
            kind="promotion",
            id=f"{of}{LATEST} {one.model}",
            hash=record_hash(dict(one.record)),
            address=f"/serve/v1/promotions/{of}",
        )
        for of, one in own[:5]
    ]
    told_of = [{"at": one.at, "name": of, "model": one.model, "by": account_told(one.by)} for of, one in own]
    return told("accountability.changes", "; ".join(lines) + more, *records, value=told_of)
