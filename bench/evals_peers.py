"""The other harnesses: where they are installed, and one run of theirs. A peer that is not there is said not to be.

Each has an environment of its own under one folder (their requirements conflict), made by

    python3 -m venv PEERS/inspect_ai && PEERS/inspect_ai/bin/pip install inspect_ai==0.3.285 openai
    python3 -m venv PEERS/lm_eval && PEERS/lm_eval/bin/pip install lm_eval==0.4.13 torch==2.13.0 transformers accelerate
    python3 -m venv PEERS/crfm_helm && PEERS/crfm_helm/bin/pip install crfm-helm==0.5.16
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals_runs import HERE, Child, Failed, run

PACKAGES = {"inspect_ai": "inspect_ai", "lm_eval": "lm_eval", "crfm_helm": "crfm-helm"}
WANTED = {"inspect_ai": "0.3.285", "lm_eval": "0.4.13", "crfm_helm": "0.5.16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A harness in ``python``'s environment."""

    name: str
    version: str
    python: Path

    @property
    def title(self) -> str:
        return f"{PACKAGES[self.name]} {self.version}"

    def child(
        self, what: str, data: Path, instances: int, folder: Path, *more: str, seconds: float = 240.0
    ) -> Child:
        """One evaluation in a process of its own. Raises Failed, also where not all answers came."""
        command = [str(self.python), str(HERE / "evals_inside.py"), self.name, what, "--data", str(data)]
        child = run([*command, "--instances", str(instances), *more], folder, seconds=seconds)
        if said(child)["scored"] != instances:
            raise Failed(f"{said(child)['scored']} of {instances} answers came")
        return child


def said(child: Child) -> dict[str, Any]:
    """What the script inside has printed last."""
    found: dict[str, Any] = json.loads(child.said.strip().splitlines()[-1])
    return found


def find_peers(folder: Path, wanted: Sequence[str] = tuple(PACKAGES)) -> tuple[list[Peer], dict[str, str]]:
    """The peers of the wanted versions in ``folder``, and why each of the others is not there."""
    found, missing = list[Peer](), dict[str, str]()
    for name in wanted:
        python = folder / name / "bin" / "python"
        title = f"{PACKAGES[name]} {WANTED[name]}"
        if not python.exists():
            missing[title] = "not installed"
            continue
        asked = f"from importlib.metadata import version; print(version({PACKAGES[name]!r}))"
        told = subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=False)
        version = told.stdout.strip()
        if version == WANTED[name]:
            found.append(Peer(name=name, version=version, python=python))
        else:
            missing[title] = f"found {version}" if version else "not installed"
    return found, missing
