"""The way to the pool's pages."""

from __future__ import annotations

from commonweal.web.pool import addresses
from commonweal.web.site.page import Link

POOL = Link(text="Pool", path=addresses.OVERVIEW)
JOBS = Link(text="Jobs", path=addresses.jobs(1))
MACHINES = Link(text="Machines", path=addresses.machines("here", 1))
