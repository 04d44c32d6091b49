"""The note in a model's folder that says which job of the pool made it: ``train --out`` leaves it, ``models publish``
reads it. It is the word of who publishes; the hub shows it beside its own record of the job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from commonweal.core.errors import DataError
from commonweal.pool import wire

NOTE = "commonweal.json"
_LARGEST = 65_536


def note(view: wire.JobView) -> bytes:
    """What the note in the folder of a model with the latest weights of a job says."""
    told = {"job": view.id, "state": view.state["theta"], "step": view.state["step"]}
    return (json.dumps(told, indent=1) + "\n").encode()


def read(folder: Path) -> dict[str, Any]:
    """The note, empty where there is none. Raises DataError for one that cannot be read."""
    file = folder / NOTE
    if not file.is_file():
        return {}
    try:
        if file.stat().st_size > _LARGEST:
            raise ValueError("it is too large")
        found = json.loads(file.read_text(encoding="utf-8"))
        job, state, step = (found[name] for name in ("job", "state", "step"))
        if not (isinstance(job, str) and isinstance(state, str) and type(step) is int):
            raise ValueError("job, state and step are two texts and a number")
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(
            f"{file}: does not say where the model comes from: {error}", hint="delete it, or train again"
        ) from None
    return {"job": job, "state": state, "step": step}
