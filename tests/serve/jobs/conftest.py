"""The routes of long-running work, served on a fresh database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from job_api import Api, running_api

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database


@pytest.fixture
def api(database: Database, blobs: Blobs) -> Iterator[Api]:
    with running_api(database, blobs) as running:
        yield running
