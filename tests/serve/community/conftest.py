"""A hub with the community loop for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from community_hub import CommunityHub, publish, running

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from tuning_fakes import FakeTrainer


@pytest.fixture
def hub(database: Database, blobs: Blobs) -> Iterator[CommunityHub]:
    publish(database, "small")
    publish(database, "large", price_out=3000)
    publish(database, "tuned", kind="adapter", base="small")
    with running(database, blobs, trainer=FakeTrainer(blobs)) as hub:
        yield hub
