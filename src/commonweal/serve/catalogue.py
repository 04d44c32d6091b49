"""The models that the pool serves: published from a Hugging Face folder's files, by a fine-tuning job, or fronted by a
member's own server.

``NAME:latest`` is the version of NAME that was promoted last, or NAME itself while none was.

A model is its files: ``identity`` is a hash over them, over the base's identity and over the quantization, so two names
of one identity answer alike and a worker that serves another thing under a name can be found out. Files are blobs; that
a row names them keeps them.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from commonweal.core.errors import Conflict, NotFound, UserError
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.serve.schema import promotions, served_models

Kind = Literal["full", "adapter", "fronted"]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,119}")
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")

LATEST = ":latest"
PRICE_FLOOR = 100
"""Micro-credits per 1,000 tokens of the smallest model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """``prices`` are micro-credits per 1,000 tokens of prompt and of completion."""

    name: str
    kind: Kind
    owner: str
    files: Mapping[str, BlobHash]
    identity: str
    parameters: int
    window: int
    price_in: int
    price_out: int
    created: float
    base: str | None = None
    public: bool = True
    quantization: str = "none"
    lineage: Mapping[str, Any] = field(default_factory=dict)
    retired: float | None = None

    def when_idle(self) -> ServedModel:
        """The model at half its prices: for who does not wait for an answer (batches)."""
        return replace(self, price_in=-(-self.price_in // 2), price_out=-(-self.price_out // 2))

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Micro-credits for so many tokens, rounded up."""
        return -(-(prompt_tokens * self.price_in + completion_tokens * self.price_out) // 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """``model`` became the latest; ``record`` says why."""

    model: str
    by: str
    at: float
    record: Mapping[str, Any]


def identity_of(files: Mapping[str, BlobHash], *, base: str | None, quantization: str = "none") -> str:
    """The hash that stands for a model: of its files, its base's identity, and its quantization."""
    text = json.dumps([sorted(files.items()), base, quantization])
    return content_hash(text.encode())


def prices_of(parameters: int) -> tuple[int, int]:
    """What 1,000 tokens of prompt and of completion cost, in micro-credits: by size, and reading is three times as
    cheap as writing (it is done in parallel)."""
    out = PRICE_FLOOR + parameters // 10_000
    return -(-out // 3), out


def publish(connection: sa.Connection, model: ServedModel) -> ServedModel:
    """Enter a model. The same again changes nothing. Raises UserError for a name that cannot be one, NotFound for a
    base that is not there, and Conflict if the name is another model's."""
    if not NAME.fullmatch(model.name) or "//" in model.name or ".." in model.name:
        raise UserError(
            f"'{model.name[:130]}' cannot be a model's name",
            hint="letters, digits and . _ : / -, at most 120",
        )
    for name in model.files:
        if not FILE_NAME.fullmatch(name):
            raise UserError(
                f"'{name[:130]}' cannot be a model file's name", hint="plain file names, no folders"
            )
    if model.base is not None:
        find(connection, model.base, model.owner)
    row = asdict(model) | {"files": dict(model.files), "lineage": dict(model.lineage)}
    made = connection.execute(
        insert(served_models).values(row).on_conflict_do_nothing().returning(served_models.c.name)
    ).first()
    if made is None:
        there = _by_name(connection, model.name)
        if there is None or there.identity != model.identity or there.owner != model.owner:
            raise Conflict(
                f"'{model.name}' is another model's name",
                hint="choose another name, or retire that model first",
            )
        return there
    return model


def find(connection: sa.Connection, name: str, account: str) -> ServedModel:
    """A model by name (or NAME:latest), if this account may use it. Raises NotFound with the near names."""
    found = _by_name(
        connection, _latest(connection, name.removesuffix(LATEST)) if name.endswith(LATEST) else name
    )
    if found is None or found.retired is not None or not (found.public or found.owner == account):
        near = difflib.get_close_matches(name, [m.name for m in every(connection, account)], n=3, cutoff=0.4)
        hint = "did you mean " + ", ".join(near) + "?" if near else "GET /v1/models lists them"
        raise NotFound(f"the model '{name[:120]}' does not exist", hint=hint)
    return found


def every(connection: sa.Connection, account: str) -> tuple[ServedModel, ...]:
    """The models that this account may use, by name."""
    mine = sa.or_(served_models.c.public, served_models.c.owner == account)
    statement = (
        sa.select(served_models).where(served_models.c.retired.is_(None), mine).order_by(served_models.c.name)
    )
    return tuple(_model(row) for row in connection.execute(statement))


def publishers(connection: sa.Connection, identity: str) -> frozenset[str]:
    """The accounts that published exactly this model, under whatever name."""
    statement = sa.select(served_models.c.owner).where(served_models.c.identity == identity)
    return frozenset(connection.execute(statement).scalars())


def promote(
    connection: sa.Connection, name: str, model: str, account: str, record: Mapping[str, Any], now: float
) -> None:
    """From now on ``name``:latest is ``model``. Only the owner of ``name`` may. Raises NotFound, and UserError for a
    model that others than its owner may not use in the place of one that they may."""
    before, found = find(connection, name, account), find(connection, model, account)
    if before.owner != account:
        raise NotFound(
            f"the model '{name[:120]}' is not yours", hint="only who published a model promotes a version"
        )
    if before.public and not found.public:
        raise UserError(f"'{model[:120]}' is private, and '{name[:120]}' is not", hint="publish it first")
    row = {"name": name, "model": found.name, "by": account, "at": now, "record": dict(record)}
    connection.execute(insert(promotions).values(row))


def versions(connection: sa.Connection, name: str) -> tuple[Promotion, ...]:
    """Every promotion of a model, the newest first."""
    rows = connection.execute(
        sa.select(promotions).where(promotions.c.name == name).order_by(promotions.c.number.desc())
    )
    return tuple(Promotion(model=row.model, by=row.by, at=row.at, record=row.record) for row in rows)


def open_to_all(connection: sa.Connection, name: str, account: str) -> None:
    """Let everybody use a model that was its owner's alone. Raises NotFound, also for another's model."""
    if find(connection, name, account).owner != account:
        raise NotFound(f"the model '{name[:120]}' is not yours", hint="only who published a model opens it")
    connection.execute(sa.update(served_models).where(served_models.c.name == name).values(public=True))


def retire(connection: sa.Connection, name: str, account: str, now: float) -> ServedModel:
    """Serve a model no more. Its row stays, so that what was said by it can be traced; another may not take its name.
    Raises NotFound, also for another's model."""
    found = find(connection, name, account)
    if found.owner != account:
        raise NotFound(f"the model '{name[:120]}' is not yours", hint="only who published a model retires it")
    connection.execute(sa.update(served_models).where(served_models.c.name == name).values(retired=now))
    return found


def named_blobs(connection: sa.Connection) -> frozenset[BlobHash]:
    """The files of all models, retired ones too: the collection of garbage leaves them."""
    rows = connection.execute(sa.select(served_models.c.files)).scalars()
    return frozenset(BlobHash(blob) for files in rows for blob in files.values())


def _latest(connection: sa.Connection, name: str) -> str:
    statement = (
        sa.select(promotions.c.model)
        .join(served_models, served_models.c.name == promotions.c.model)
        .where(promotions.c.name == name, served_models.c.retired.is_(None))
        .order_by(promotions.c.number.desc())
        .limit(1)
    )
    return connection.execute(statement).scalar() or name


def _by_name(connection: sa.Connection, name: str) -> ServedModel | None:
    row = connection.execute(sa.select(served_models).where(served_models.c.name == name)).first()
    return None if row is None else _model(row)


def _model(row: Any) -> ServedModel:
    return ServedModel(**row._mapping)
