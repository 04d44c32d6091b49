"""What the hub's own tools take: a query in the sandbox, and a search among passages.

    python bench/serve_tools.py [--quick]

Queries run as a chat's do, each in a process of its own (jailed where the machine has bubblewrap), on a SQLite file of
100,000 rows. The documents are the standard library's source, as text; the questions are words of it. Prints JSON;
``make bench-serve`` uses it.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from commonweal.core.blobs import Blobs, open_blobs
from commonweal.core.clock import SystemClock
from commonweal.core.database import connect, start_embedded
from commonweal.core.sandbox import find_sandbox
from commonweal.serve.files import shelf
from commonweal.serve.retrieval.library import Library
from commonweal.serve.tools.databases import Databases

ACCOUNT = "user:bench"
ROWS = 100_000
DOCUMENT_BYTES = 2 * 2**20
QUERIES = {
    "SELECT 1": "select 1",
    "a sum by group over 100,000 rows": "select place, sum(amount) from sales group by place order by 2",
}
QUESTIONS = (
    "How is a zip file opened?",
    "event loop policy",
    "parse the arguments of a command",
    "decimal rounding",
    "which exception does a socket raise when it times out",
)


def timed(work: Callable[[], object], times: int) -> dict[str, float]:
    """Milliseconds of wall time, and of this process's own processor time."""
    taken, own = [], time.process_time()
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(1e3 * (time.perf_counter() - began))
    own = 1e3 * (time.process_time() - own) / times
    return {"median_ms": statistics.median(taken), "best_ms": min(taken), "own_cpu_ms": own}


def measure_queries(blobs: Blobs, folder: Path, times: int) -> dict[str, Any]:
    file = folder / "sales.sqlite"
    with sqlite3.connect(file) as made:
        made.execute("create table sales (place text, amount integer)")
        made.executemany("insert into sales values (?, ?)", ((f"place {n % 50}", n) for n in range(ROWS)))
    blob, sandbox = blobs.put(file.read_bytes()), find_sandbox()
    databases = Databases(blobs, sandbox)
    try:
        found = {}
        for name, sql in QUERIES.items():
            assert databases.query(blob, sql).status == "ok"
            found[name] = timed(lambda sql=sql: databases.query(blob, sql), times)  # type: ignore[misc]
    finally:
        databases.close()
    return {"sandbox": "in a jail" if sandbox else "in a plain child process", "queries": found}


def measure_searches(blobs: Blobs, folder: Path, documents: int, times: int) -> dict[str, Any]:
    database = connect(start_embedded(folder / "postgres"))
    library = Library(database=database, blobs=blobs, clock=SystemClock())
    text = b"\n\n".join(file.read_bytes() for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")))
    files, size = [], 0
    for number in range(documents):
        part = (
            text[number * DOCUMENT_BYTES : (number + 1) * DOCUMENT_BYTES].decode("utf-8", "ignore").encode()
        )
        if not part:
            break
        size += len(part)
        file = shelf.new_file(
            owner=ACCOUNT,
            filename=f"part-{number}.txt",
            purpose="user_data",
            size=len(part),
            blob=blobs.put(part),
            now=time.time(),
        )
        with database.transaction() as connection:
            files.append(shelf.add(connection, file, most=None))
    began = time.perf_counter()
    for file in files:
        library.index(file)
    indexed = time.perf_counter() - began
    ids = [file.id for file in files]
    searched = [
        timed(lambda q=question: library.passages(ACCOUNT, q, files=ids, most=8), times)  # type: ignore[misc]
        for question in QUESTIONS
    ]
    with database.transaction() as connection:
        passages = connection.exec_driver_sql("select count(*) from document_passages").scalar_one()
    database.close()
    return {
        "bytes": size,
        "passages": passages,
        "index_seconds": indexed,
        "best_median_ms": min(one["median_ms"] for one in searched),
        "worst_median_ms": max(one["median_ms"] for one in searched),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="commonweal-bench-tools-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # a jail's user must get to what lies in it
        blobs = open_blobs(str(folder / "store"))
        found = measure_queries(blobs, folder, 5 if quick else 25)
        found["search"] = measure_searches(blobs, folder, 1 if quick else 5, 1 if quick else 5)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
