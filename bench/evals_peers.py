"""The other harnesses: each installed into an environment of its own, and one run of theirs.

Their requirements conflict with each other, so each has its folder. Two need torch, which is 5 GB as their requirements
have it: their environments look into the one that this runs in (a ``.pth`` file) and install only what is missing there
or there in another version, at the torch that is there; that takes a minute. What cannot be installed is said not to be
there, with the reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from evals_runs import HERE, Child, Failed, run

BORROWED = ("torch", "transformers", "accelerate")
"""Kept at the version that is here, where a peer's environment looks into this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """``more`` is what it needs here and does not install by itself; ``borrows`` whether it looks into the environment
    that this runs in."""

    name: str
    version: str
    more: tuple[str, ...] = ()
    borrows: bool = True

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}"


PACKAGES = {
    "inspect_ai": Package(name="inspect_ai", version="0.3.285", more=("openai",), borrows=False),
    "lm_eval": Package(name="lm_eval", version="0.4.13", more=("accelerate", "tenacity")),
    "crfm_helm": Package(name="crfm-helm", version="0.5.16"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A harness in ``python``'s environment."""

    name: str
    python: Path

    @property
    def title(self) -> str:
        return PACKAGES[self.name].title

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


def find_peers(folder: Path, *, install: bool) -> tuple[list[Peer], dict[str, str]]:
    """The peers in ``folder``, and why each of the others is not there. With ``install`` those that are missing, or of
    another version, are installed first."""
    found, missing = list[Peer](), dict[str, str]()
    for name, package in PACKAGES.items():
        python = folder / name / "bin" / "python"
        there = _installed(python, package)
        if there != package.version and install:
            print(f"installing {package.title} into {folder / name}", file=sys.stderr, flush=True)
            why = _install(folder / name, package)
            there = _installed(python, package) or why
        if there == package.version:
            found.append(Peer(name=name, python=python))
        else:
            missing[package.title] = there or "not installed"
    return found, missing


def _installed(python: Path, package: Package) -> str:
    """The version in an environment, "" where there is none."""
    if not python.exists():
        return ""
    asked = f"from importlib.metadata import version; print(version({package.name!r}))"
    told = subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=False)
    return told.stdout.strip()


def _install(folder: Path, package: Package, seconds: float = 900.0) -> str:
    """Make the environment. The reason why there is none, "" where it was made."""
    python = folder / "bin" / "python"
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        return f"not installed: {made.stderr.strip().splitlines()[-1][:150]}"
    if package.borrows:
        asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
        told = subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=True)
        Path(told.stdout.strip(), "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.writelines(f"{line}\n" for line in (_kept() if package.borrows else ()))
        constraints.flush()
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-input"]
        command += ["--constraint", constraints.name, f"{package.name}=={package.version}", *package.more]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
        except subprocess.TimeoutExpired:
            return f"not installed: it took longer than {seconds:.0f} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["pip gave no reason"]
        return f"not installed: {lines[-1][:150]}"
    return ""


def _kept() -> Iterator[str]:
    """Constraints for what is borrowed; a local version (+cpu) satisfies its public one."""
    for name in BORROWED:
        try:
            yield f"{name}=={version(name).partition('+')[0]}"
        except PackageNotFoundError:
            continue
