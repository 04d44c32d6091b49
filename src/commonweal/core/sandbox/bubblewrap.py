"""The jail: bubblewrap's namespaces around one program.

What a program finds inside: the system's libraries and one Python, read-only; its own files in ``/box``, read-only;
an empty ``/tmp`` in memory, of limited size; no network but a loopback of its own, no other process, no home folder, no
configuration of the machine, an empty environment, no capabilities, no way to get any (no new privileges) nor to make
further namespaces, and a kernel that refuses what such programs never need (:mod:`~commonweal.core.sandbox.seccomp`).

Where we are root, the jail is run as ``nobody``: the kernel neither counts root's processes nor keeps it from
``/proc/sys``, in a user namespace or not. A jail is tried out before it is used: user namespaces may be switched off
(some containers, hardened kernels), and then there is none.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path

from commonweal.core.sandbox.process import Limits, Ran, run_limited
from commonweal.core.sandbox.seccomp import bpf

log = logging.getLogger(__name__)

PROGRAM = "/box/program"
_TMP = "/tmp"  # noqa: S108 - inside the jail
NOBODY = 65534
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_LINKS = ("/etc/alternatives", "/etc/ld.so.cache")
_PROOF = b"import os\nprint(os.getpid() < 100, [line.split()[0] for line in list(open('/proc/net/dev'))[2:]])"
_PROVED = b"True ['lo:']\n"
_PACKAGES = "/packages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A jail that was tried out. ``python`` is the interpreter inside, ``readable`` what is shown read-only besides
    the system, as (outside, inside); ``uid`` under whom it runs, None for ourselves; ``filter`` the seccomp filter, b""
    for none."""

    bwrap: str
    prlimit: str
    python: str
    readable: tuple[tuple[str, str], ...] = ()
    uid: int | None = None
    limits: Limits = field(default_factory=Limits)
    filter: bytes = b""

    def run(
        self,
        program: bytes,
        *,
        argv: Sequence[str] = (),
        stdin: bytes = b"",
        files: Mapping[str, bytes] | None = None,
        seconds: float | None = None,
        limits: Limits | None = None,
    ) -> Ran:
        """Run ``program``, which lies at ``/box/program``; ``files`` lie beside it by their names. ``argv`` is the
        command, by default Python with it. Blocks: call it in a thread where others wait. Raises ValueError for
        a file name with a slash."""
        bounds = limits or self.limits
        if seconds is not None:
            bounds = replace(bounds, seconds=seconds)
        with (
            tempfile.TemporaryDirectory(prefix="commonweal-box-") as folder,
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as rules,
        ):
            _fill(Path(folder), {"program": program, **(files or {})})
            for file, data in ((given, stdin), (rules, self.filter)):
                file.write(data)
                file.seek(0)
            command = [
                *self._jail(folder, bounds, rules.fileno()),
                *(argv or (self.python, "-I", "-B", PROGRAM)),
            ]
            return run_limited(command, given, bounds, uid=self.uid, keep=(rules.fileno(),))

    @property
    def packages(self) -> str | None:
        """The folder inside where numpy can be imported from, None where it cannot."""
        return _PACKAGES if any(inside.startswith(_PACKAGES) for _, inside in self.readable) else None

    def _jail(self, folder: str, limits: Limits, rules: int) -> Iterator[str]:
        yield from (self.bwrap, "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent")
        yield from ("--new-session", "--clearenv", "--hostname", "box", "--uid", "65534", "--gid", "65534")
        yield from ("--cap-drop", "ALL", "--ro-bind", "/usr", "/usr")
        yield from _system()
        for outside, inside in self.readable:
            yield from ("--ro-bind", outside, inside)
        yield from ("--ro-bind", folder, "/box", "--proc", "/proc", "--dev", "/dev")
        for place in (_TMP, "/dev/shm"):  # noqa: S108 - inside the jail
            yield from ("--size", str(limits.folder), "--tmpfs", place)
        for place in ("/dev", "/proc", "/"):
            yield from ("--remount-ro", place)
        if self.filter:
            yield from ("--seccomp", str(rules))
        yield from ("--chdir", _TMP, "--")
        yield from (self.prlimit, f"--as={limits.memory}", f"--nproc={limits.processes}")
        yield from (f"--fsize={limits.file_size}", f"--cpu={math.ceil(limits.seconds)}", "--core=0")
        yield from ("--nofile=256", "--")


def find_sandbox(limits: Limits | None = None) -> Sandbox | None:
    """A jail that works here; None where there is none, and then the log says why."""
    bwrap, prlimit = shutil.which("bwrap"), shutil.which("prlimit")
    if bwrap is None or prlimit is None:
        log.info("no_sandbox missing=%s", "bwrap (package bubblewrap)" if bwrap is None else "prlimit")
        return None
    uid = NOBODY if os.geteuid() == 0 else None
    said = ""
    for (python, readable), rules in product(_pythons(), _filters()):
        box = Sandbox(
            bwrap=bwrap,
            prlimit=prlimit,
            python=python,
            readable=readable,
            uid=uid,
            limits=limits or Limits(),
            filter=rules,
        )
        try:
            ran = box.run(_PROOF)
        except OSError as error:  # nobody may not get at bwrap
            said = str(error)
            continue
        if ran.status == "ok" and ran.stdout == _PROVED:
            return box
        said = ran.stderr.decode(errors="replace").strip() or ran.status
    log.info("no_sandbox bwrap=%s said=%s", bwrap, said[-300:])
    return None


def _filters() -> tuple[bytes, ...]:
    """Filters to try: a kernel may be built without seccomp, or this kind of machine not be known."""
    rules = bpf()
    return (rules, b"") if rules else (b"",)


def _pythons() -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    """Interpreters to try, with the folders that each needs: ours with numpy, ours, the system's."""
    own = os.path.realpath(sys.executable)
    prefix = os.path.realpath(sys.base_prefix)
    needs = () if prefix == "/usr" or prefix.startswith("/usr/") else ((prefix, prefix),)
    numpy = _numpy()
    if numpy:
        yield own, needs + numpy
    yield own, needs
    if own != "/usr/bin/python3" and os.path.exists("/usr/bin/python3"):
        yield "/usr/bin/python3", ()


def _numpy() -> tuple[tuple[str, str], ...]:
    spec = find_spec("numpy")
    if spec is None or spec.origin is None:
        return ()
    package = Path(spec.origin).resolve().parent
    found = (package, package.with_name("numpy.libs"))
    return tuple((str(path), f"{_PACKAGES}/{path.name}") for path in found if path.is_dir())


def _system() -> Iterator[str]:
    """The top folders as they are on this machine: links into /usr, or folders of their own."""
    for path in _SYSTEM:
        if os.path.islink(path):
            yield from ("--symlink", os.readlink(path), path)
        elif os.path.isdir(path):
            yield from ("--ro-bind", path, path)
    for path in _LINKS:
        yield from ("--ro-bind-try", path, path)


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    """Files that anyone may read: inside, another user does."""
    folder.chmod(0o755)
    for name, data in files.items():
        if "/" in name or name in (".", "..", ""):
            raise ValueError(f"file name {name!r}: give a plain name, without folders")
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o444)
