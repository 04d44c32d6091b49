"""Where the pool's pages lie, beside those of the evaluations, and where the news of each come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from commonweal.pool.public import Which

OVERVIEW = "pool/index.html"
JOIN = "pool/join.html"
YOURS = "pool/yours.html"
STATIC = "pool/static"


def machines(which: Which, number: int) -> str:
    return f"pool/machines/{which}-{number}.html"


def machine(member: str) -> str:
    return f"pool/machines/{member}.html"


def jobs(number: int) -> str:
    return f"pool/jobs/page-{number}.html"


def job(job_id: str) -> str:
    return f"pool/jobs/{job_id}.html"


def rounds(job_id: str, number: int) -> str:
    """All rounds of a job, so many a page, the first ones first."""
    return f"pool/jobs/{job_id}/rounds-{number}.html"


def news(path: str) -> str:
    """The stream of what changes on a page.

    >>> news("pool/index.html")
    'pool/index.events'
    """
    return path.removesuffix(".html") + ".events"
