"""Identifiers: a short prefix that says what it names, and 80 random bits in Crockford's base 32."""

from __future__ import annotations

import secrets
from typing import Literal, NewType

MemberId = NewType("MemberId", str)
JobId = NewType("JobId", str)
UnitId = NewType("UnitId", str)

Kind = Literal[
    "mem",
    "job",
    "unit",
    "key",
    "jrn",
    "req",
    "file",
    "upload",
    "part",
    "ftjob",
    "ftevent",
    "ftckpt",
    "batch",
    "conv",
    "msg",
    "fdb",
    "cmp",
    "rev",
    "vs",
    "imp",
]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(kind: Kind) -> str:
    """A new identifier such as ``job_7k3m9q2x5c8t1w4z``."""
    bits = secrets.randbits(80)
    return f"{kind}_" + "".join(_ALPHABET[(bits >> shift) & 31] for shift in range(75, -5, -5))


def new_secret(prefix: str) -> str:
    """A secret of 160 random bits, with a prefix that says what it opens."""
    return f"{prefix}-{secrets.token_urlsafe(20)}"
