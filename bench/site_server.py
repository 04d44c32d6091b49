"""Serves the live site of a folder on a free port of loopback, which it prints.

python bench/site_server.py RUNS
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from commonweal.core.clock import SystemClock
from commonweal.web.site.routes import LiveSite, router_of


def main() -> None:
    app = FastAPI()
    app.include_router(router_of(LiveSite([Path(sys.argv[1])], SystemClock())))
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(sockets=[listening])


if __name__ == "__main__":
    main()
