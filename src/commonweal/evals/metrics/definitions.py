"""Finding a stat's definition by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from commonweal.evals.metrics.metric import Definition

_AT_K = re.compile(r"(?P<name>.+)@(?P<k>\d+)\Z")


def find(name: str, known: Mapping[str, Definition]) -> Definition | None:
    """The definition of a stat. ``name@k``, which metrics give where k outputs were asked for, is made from
    ``name``'s: the best of the k outputs."""
    if name in known:
        return known[name]
    match = _AT_K.match(name)
    if match is None or match["name"] not in known:
        return None
    one = known[match["name"]]
    return replace(
        one,
        name=name,
        title=f"{one.title}, best of {match['k']}",
        description=f"{one.description} The best of {match['k']} outputs of each instance counts.",
    )
