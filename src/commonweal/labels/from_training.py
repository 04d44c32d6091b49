"""The facts that follow from a training job of the pool: its specification, its data's provenance, its rounds and what
the books paid for them. Pure.

Energy is not measured by members: it is estimated from the hours that their machines worked, at a power that is stated
(:data:`ASSUMED_WATTS`). Operations are estimated from parameters and tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from commonweal.labels.facts import Fact, Record, as_far_as_told, not_applicable, told
from commonweal.labels.from_data import data_facts, is_text
from commonweal.labels.records import Training, member_names
from commonweal.labels.wording import (
    counted,
    data_size,
    energy,
    hours,
    lasted,
    power_of_ten,
    rounded,
    short,
)
from commonweal.ledger.amounts import shown

ASSUMED_WATTS = 100.0
"""What a machine at work is taken to need: a desktop PC with its processor busy takes some 60 to 150 W."""


def training_facts(training: Training, *, watts: float = ASSUMED_WATTS) -> Iterator[Fact]:
    """All that the job itself says. Of a job on examples the data are those of its last stage."""
    yield from _model(training)
    yield from data_facts(training.spec.provenance, records_for(training)["data"])
    yield from compute_facts(training, watts=watts)
    yield from _method(training)


def records_for(training: Training) -> dict[str, Record]:
    """The records of a job, each with its hash and its place on the hub."""
    job, where = training.job, f"/pool/v1/jobs/{training.job}"
    provenance = training.spec.provenance
    return {
        "job": Record(kind="job", id=job, hash=training.spec_hash, address=where),
        "rounds": Record(kind="rounds", id=job, hash=training.rounds_hash, address=f"{where}/rounds"),
        "books": Record(kind="books", id=job, hash=training.books_hash, address="/pool/v1/credits/export"),
        "data": Record(kind="data", id=job, hash=str(provenance.get("hash", "")), address=where),
        "machines": Record(kind="machines", id=job, hash=training.machines_hash, address="/pool/v1/members"),
    }


def state_named(training: Training) -> str:
    """The state that the model is."""
    return training.weights or training.state.theta


def weights_record(training: Training) -> Record:
    """That a model's weights are the state that the rounds led to: proved by the weights alone."""
    return Record(kind="weights", id=training.job, hash=state_named(training))


def _model(training: Training) -> Iterator[Fact]:
    yield from as_far_as_told(_network(training), _built_from(training))
    yield told(
        "model.weights",
        f"state {state_named(training)[:16]}... after {counted(len(training.rounds), 'round')}",
        weights_record(training),
        records_for(training)["rounds"],
        value=state_named(training),
        method="the SHA-256 of all its parameters as 32-bit numbers, in the order of the job",
    )


def _network(training: Training) -> Iterator[Fact]:
    record, config = records_for(training)["job"], training.spec.model
    yield told("model.input", "text", record)
    yield told("model.output", "text", record)
    if config.get("model_type"):
        yield told("model.architecture", _architecture(config), record, value=_shape(config))
    if isinstance(window := config.get("max_position_embeddings"), int):
        yield told("model.window", f"{window:,} tokens", record, value=window)


def _built_from(training: Training) -> Iterator[Fact]:
    record, settings = records_for(training)["job"], training.settings.model
    number = training.spec.parameters
    if settings.lora is None:
        yield told("model.size", f"{rounded(number)} ({number:,})", record, value=number)
        yield told("model.parts", "one network and its tokenizer", record)
    if settings.checkpoint is None:
        yield told("model.base", "no other model: it began from random numbers", record)


_SIZES = (
    ("num_hidden_layers", "layers"),
    ("hidden_size", "wide"),
    ("num_attention_heads", "heads"),
    ("vocab_size", "entries in its vocabulary"),
)


def _shape(config: Mapping[str, Any]) -> dict[str, Any]:
    known = ("model_type", *(name for name, _ in _SIZES))
    return {name: config[name] for name in known if name in config}


def _architecture(config: Mapping[str, Any]) -> str:
    sizes = [f"{config[name]:,} {word}" for name, word in _SIZES if isinstance(config.get(name), int)]
    family = short(config["model_type"])
    return f"{family}: {', '.join(sizes)}" if sizes else family


def compute_facts(training: Training, *, watts: float = ASSUMED_WATTS) -> Iterator[Fact]:
    """What it took, by the records of its rounds and by the books."""
    return as_far_as_told(_computed(training, watts), _paid(training))


def _computed(training: Training, watts: float) -> Iterator[Fact]:
    records = records_for(training)
    rounds = records["rounds"]
    names = member_names(training.rounds)
    if not training.rounds:
        return
    tokens = training.rounds[-1].record.tokens
    worked = sum(m.seconds for one in training.rounds for m in one.record.members) / 3600
    yield told("compute.members", counted(len(names), "member"), rounds, value=len(names))
    yield told(
        "compute.hours",
        hours(worked),
        rounds,
        value=round(worked, 6),
        method="from lease to submission, refused work and waiting for the network included",
    )
    yield told("compute.tokens", f"{tokens:,}", rounds, value=tokens)
    yield _operations(training, rounds)
    took = training.rounds[-1].at - training.created
    yield told(
        "compute.duration",
        lasted(took),
        records["job"],
        rounds,
        value=round(took, 3),
        method="from the submission of the job to its last round",
    )
    yield from _hardware(training, len(names), records["machines"])
    kwh = worked * watts / 1000
    yield told(
        "compute.energy",
        f"about {energy(kwh)}",
        rounds,
        value={"kwh": round(kwh, 6), "estimated": True, "watts": watts},
        method=f"estimated: member hours x {watts:g} W a machine, a usual desktop PC at work; nobody measured it",
    )
    moved = sum(one.record.up_bytes + one.record.down_bytes for one in training.rounds)
    yield told("compute.network", data_size(moved), rounds, value=moved)


def _paid(training: Training) -> Iterator[Fact]:
    records = records_for(training)
    if training.payments is None:
        spent, job = training.microcredits, records["job"]
        yield told("compute.paid", f"{shown(spent)} credits", job, value=spent, method="as the job counts it")
    else:
        paid = sum(one.microcredits for one in training.payments)
        yield told(
            "compute.paid",
            f"{shown(paid)} credits in {counted(len(training.payments), 'journal')}",
            records["books"],
            value=paid,
        )


def _operations(training: Training, record: Record) -> Fact:
    tokens, parameters = training.rounds[-1].record.tokens, training.spec.parameters
    if training.settings.model.lora is not None:
        return Fact(key="compute.operations")  # who knows the base's size says it
    return told(
        "compute.operations",
        power_of_ten(6 * parameters * tokens),
        record,
        value=float(6 * parameters * tokens),
        method="estimated: 6 x parameters x tokens (Kaplan et al. 2020), of accepted work",
    )


def _hardware(training: Training, members: int, record: Record) -> Iterator[Fact]:
    if not training.machines:
        return
    kinds = Counter(_machine(machine) for machine in training.machines.values())
    lost = members - len(training.machines)
    yield told(
        "compute.hardware",
        "; ".join(f"{number} x {kind}" for kind, number in kinds.most_common()),
        record,
        value=dict(kinds.most_common()),
        method="what each machine told of itself when it joined",
        missing=f"{counted(lost, 'machine')} that are not known any more" if lost else "",
    )
    owners = {machine.get("owner") for machine in training.machines.values()} - {None, ""}
    yield told(
        "compute.owners",
        f"the members' own: {counted(len(training.machines), 'machine')} lent under "
        f"{counted(max(1, len(owners)), 'account')}",
        record,
        value={"machines": len(training.machines), "accounts": max(1, len(owners))},
    )


def _machine(machine: Mapping[str, Any]) -> str:
    if machine.get("gpu"):
        return str(machine["gpu"])
    parts = [str(machine[name]) for name in ("machine", "system") if machine.get(name)]
    cores = machine.get("cores")
    return " ".join(parts or ["unknown machine"]) + (f", {counted(cores, 'core')}" if cores else "")


def _method(training: Training) -> Iterator[Fact]:
    return as_far_as_told(
        _staged(training),
        _set(training),
        _checked(training),
        _result(training),
        _frameworks(training, records_for(training)["data"]),
    )


def _staged(training: Training) -> Iterator[Fact]:
    """Of a job on text: its one stage, and that it knows nothing of instructions."""
    records, settings = records_for(training), training.settings
    job, rounds = records["job"], records["rounds"]
    if settings.model.checkpoint is None:
        yield told("method.dependencies", "nothing besides data, machines and code", job)
    if not is_text(training.spec.provenance):
        return
    begun = f"further training of {settings.model.checkpoint}" if settings.model.checkpoint else "training"
    stage = f"one: {begun} on text, in {counted(len(training.rounds), 'round')} over the pool"
    claimed = "that this job made these weights is its publisher's word until they are compared (--check)"
    how = claimed if training.word == "publisher" else ""
    yield told("method.stages", stage, job, rounds, value=["training"], method=how)
    yield told("method.objectives", "cross-entropy of the next token", job)
    yield not_applicable("alignment.instructions", "it learned from text only, not from instructions", job)
    yield not_applicable("alignment.feedback", "it learned from text only, not from feedback", job)
    for key in ("people", "consent", "pay", "guidance"):
        yield not_applicable(f"alignment.{key}", "nobody was asked for instructions or feedback", job)


def _set(training: Training) -> Iterator[Fact]:
    settings = training.settings
    train, meet = settings.train, settings.rounds
    yield told(
        "method.settings",
        f"{train.optimizer}, learning rate {train.lr:g}, {train.batch_size} x {train.seq_len} tokens a step; "
        f"members meet after {meet.first_inner_steps} to {meet.last_inner_steps} steps, sent as {meet.codec_up}",
        records_for(training)["job"],
        value={"train": training.spec.settings["train"], "rounds": training.spec.settings["rounds"]},
    )


def _checked(training: Training) -> Iterator[Fact]:
    records = records_for(training)
    scored = training.settings.checks.score
    refused = sum(m.verdict != "ok" for one in training.rounds for m in one.record.members)
    handed = sum(len(one.record.members) for one in training.rounds)
    how = "scored on held-out text and clipped" if scored else "clipped by its size"
    yield told(
        "method.checks",
        f"each contribution was {how}: {refused:,} of {handed:,} refused",
        records["job"],
        records["rounds"],
        value={"contributions": handed, "refused": refused},
    )


def _measured(training: Training) -> list[float]:
    """Held-out bits per byte, where it was measured."""
    begun = training.state.losses.bits_before
    later = [one.record.bits_per_byte for one in training.rounds if one.record.bits_per_byte is not None]
    return [bits for bits in (begun, *later) if bits is not None]


def _result(training: Training) -> Iterator[Fact]:
    record, found = records_for(training)["rounds"], _measured(training)
    losses = [one.record.loss for one in training.rounds if one.record.loss is not None]
    if len(found) > 1:
        unit = "bits a byte" if is_text(training.spec.provenance) else "bits"
        said = f"on held-out data {found[0]:.3f} {unit} before and {found[-1]:.3f} after"
        value = {"before": found[0], "after": found[-1], "unit": unit}
        yield told("method.result", said, record, value=value)
    elif losses:
        yield told("method.result", f"training loss {losses[-1]:.3f} nats a token", record, value=losses[-1])


def _frameworks(training: Training, record: Record) -> Iterator[Fact]:
    libraries = training.spec.provenance.get("libraries") or {}
    kept = {short(name)[:40]: short(version)[:40] for name, version in sorted(libraries.items())[:12]}
    named = "".join(f", {name} {version}" for name, version in kept.items())
    yield told("method.frameworks", f"PyTorch, transformers{named}", record, value=kept or None)
