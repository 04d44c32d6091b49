"""A whole hub, wired and running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_hub import Whole

from commonweal.app import HubSettings, build, first_start
from commonweal.core.blobs import Blobs
from commonweal.core.clock import SystemClock
from commonweal.core.database import Database
from served_app import serving


@pytest.fixture
def whole(database: Database, blobs: Blobs, tmp_path: Path) -> Iterator[Whole]:
    settings = HubSettings(folder=tmp_path, tick_seconds=0.1)
    keys = first_start(database, settings, SystemClock())
    assert keys is not None
    with serving(build(database, blobs, {}, settings)) as url:
        yield Whole(url, keys, blobs, tmp_path)
