"""The energy counters of processors (RAPL), as Linux shows them below ``/sys/class/powercap``.

A package domain counts all that is on a processor: cores, caches, and where it is built so, the memory controller. Of
the domains, packages alone are summed: cores and graphics lie within them, and ``psys`` around them. Counters are in
microjoules and begin again at 0 when they have reached ``max_energy_range_uj`` (after an hour or so at full load), so
they must be read more often than that. Since Linux 5.10 only root may read them as a rule (CVE-2020-8694).

Source: the kernel's Documentation/power/powercap/powercap.rst.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from commonweal.evals.energy.meter import Energy

POWERCAP = Path("/sys/class/powercap")
_PACKAGE = re.compile(r"intel-rapl:\d+")
"""AMD's processors have this name as well; ``intel-rapl-mmio`` is the same counter by another way."""


class Domain:
    """One counter. ``range`` is the value after which it begins again."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"
        self._range = _number(folder / "max_energy_range_uj")
        self._last = _number(self._file)

    def taken(self) -> int:
        """Microjoules since it was read last. Raises OSError."""
        now = _number(self._file)
        taken, self._last = now - self._last, now
        return taken if taken >= 0 else taken + self._range


class Rapl:
    """The sum of all package domains."""

    method = "RAPL (the processors' packages)"

    def __init__(self, domains: Sequence[Domain]) -> None:
        self._domains = tuple(domains)
        self._microjoules = 0

    def joules(self) -> float:
        self._microjoules += sum(domain.taken() for domain in self._domains)
        return self._microjoules / 1e6


def rapl(root: Path = POWERCAP) -> Rapl | Energy:
    """The processors' meter, or why there is none."""
    folders = [folder for folder in sorted(root.glob("intel-rapl:*")) if _is_package(folder)]
    if not folders:
        return Energy(reason="no energy meter: the system shows no RAPL counters of its processors")
    try:
        return Rapl([Domain(folder) for folder in folders])
    except PermissionError:
        return Energy(
            reason="the energy meter may not be read: an administrator must allow reading"
            " /sys/class/powercap/intel-rapl:*/energy_uj"
        )
    except OSError as error:
        return Energy(reason=f"the energy meter cannot be read: {error.strerror or error}")


def _is_package(folder: Path) -> bool:
    try:
        name = (folder / "name").read_text()
    except OSError:
        return False
    return bool(_PACKAGE.fullmatch(folder.name)) and name.startswith("package")


def _number(file: Path) -> int:
    text = file.read_text()
    try:
        return int(text)
    except ValueError:
        raise OSError(f"{file.name} has no number") from None
