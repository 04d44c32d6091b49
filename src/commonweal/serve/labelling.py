"""What serving wants of labels: the label of a model that an account may use, as JSON. Who knows how to make one is
handed in by the application (``app.state.labels``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Labeler(Protocol):
    """Makes labels from the records of the hub."""

    def label_json(self, model: str, account: str) -> Mapping[str, Any]:
        """Raises NotFound for a model that this account may not use."""
        ...
