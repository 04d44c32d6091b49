"""Real hubs for the tests of the pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pool_hub import RunningHub, running_hub

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database


@pytest.fixture
def start_hub(database: Database, blobs: Blobs, tmp_path: Path) -> Iterator[Callable[..., RunningHub]]:
    """Start hubs on one database and one store; all are stopped at the end."""
    with ExitStack() as stack:

        def start(**options: Any) -> RunningHub:
            return stack.enter_context(running_hub(database, blobs, tmp_path, **options))

        yield start


@pytest.fixture
def hub(start_hub: Callable[..., RunningHub]) -> RunningHub:
    return start_hub()
