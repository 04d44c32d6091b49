"""Serving, measured part by part, each by a script of its own:

    engine    serve_engine.py   one engine alone, beside its peers; adapters mixed and in turn
    through   serve_through.py  the same through hub and worker, by turns with the engine alone
    api       serve_api.py      what the API costs in front of a mock engine
    whole     serve_whole.py    API, books, router and a member's connection together
    hub       serve_hub.py      what hub and router add; two processes; a killed worker
    tuning    serve_tuning.py   fine-tuning: exact match before and after, bytes a round
    audit     serve_audit.py    what an audit costs and finds
    tools     serve_tools.py    queries in the sandbox, searches among passages

    python bench/serve.py --out bench/data/serve.json [--only engine,api] [--quick]

What was measured before and is not run again is kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import Record

HERE = Path(__file__).parent
PARTS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "engine": (("--tokens", "64", "--peer"), ("--tokens", "16", "--adapters", "0")),
    "through": (("--tokens", "64"), ("--tokens", "16", "--streams", "1,4")),
    "api": ((), ("--quick",)),
    "whole": ((), ("--quick",)),
    "hub": ((), ("--quick",)),
    "tuning": ((), ("--steps", "60", "--examples", "200", "--epochs", "4")),
    "audit": ((), ("--answers", "8", "--steps", "60")),
    "tools": ((), ("--quick",)),
}
"""Arguments, whole and quick."""
_WRITE_A_FILE = frozenset({"api", "whole", "hub"})


def measured(part: str, *, quick: bool) -> dict[str, Any]:
    """What a part's script found. Raises CalledProcessError if it failed."""
    whole, short = PARTS[part]
    command = [sys.executable, str(HERE / f"serve_{part}.py"), *(short if quick else whole)]
    with tempfile.TemporaryDirectory(prefix="commonweal-bench-serve-") as folder:
        out = Path(folder) / "found.json"
        if part in _WRITE_A_FILE:
            subprocess.run([*command, "--out", str(out)], check=True)
            text = out.read_text()
        else:
            text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(text)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("bench/data/serve.json"))
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--quick", action="store_true", help="small sizes, a few minutes in all")
    arguments = parser.parse_args()
    record = Record("serving", {"quick": arguments.quick})
    found = json.loads(arguments.out.read_text()).get("parts", {}) if arguments.out.exists() else {}
    for part in arguments.only.split(","):
        print(part, flush=True)
        found[part] = measured(part, quick=arguments.quick)
        record.save(arguments.out, {"parts": found})


if __name__ == "__main__":
    main()
