"""A hub in a process of its own, for tests that kill it: ``python hub_process.py DATABASE STORE FOLDER PORT``."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from pool_hub import FACTORIES

from commonweal.app import HubSettings, build
from commonweal.core.blobs import open_blobs
from commonweal.core.database import connect


def main(database: str, store: str, folder: str, port: str) -> None:
    settings = HubSettings(folder=Path(folder), tick_seconds=0.1)
    app = build(connect(database), open_blobs(store), dict(FACTORIES), settings)
    uvicorn.run(app, port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
