"""What a fine-tuning job leaves beside its model: the metrics of its rounds, as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

FILENAME = "step_metrics.csv"
_COLUMNS = ("step", "train_loss", "valid_loss", "tokens", "members", "moved_bytes", "microcredits")


def metrics_csv(rounds: Iterable[Mapping[str, Any]]) -> bytes:
    """The data of metrics events, the earliest first, as a table.

    >>> metrics_csv([{"step": 4, "train_loss": 2.5, "tokens": 100}])
    b'step,train_loss,valid_loss,tokens,members,moved_bytes,microcredits\\r\\n4,2.5,,100,,,\\r\\n'
    """
    out = io.StringIO()
    table = csv.DictWriter(out, _COLUMNS, extrasaction="ignore", restval="")
    table.writeheader()
    table.writerows({name: "" if value is None else value for name, value in one.items()} for one in rounds)
    return out.getvalue().encode()
