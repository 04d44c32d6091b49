"""The energy counter of an NVIDIA GPU, through the driver's own library: nothing is installed for it.

``nvmlDeviceGetTotalEnergyConsumption`` counts the millijoules of the whole board since the driver was loaded, on
Volta and later; it moves every 20 to 100 ms. Source: NVIDIA's NVML API reference.
"""

from __future__ import annotations

import ctypes
from typing import Any

from commonweal.evals.energy.meter import Energy

LIBRARY = "libnvidia-ml.so.1"
_NOT_SUPPORTED, _NO_PERMISSION = 3, 4


class Nvml:
    """The counter of one GPU. ``library`` is NVML, begun; ``device`` its handle there."""

    method = "NVML (the GPU's board)"

    def __init__(self, library: Any, device: ctypes.c_void_p) -> None:
        self._library, self._device = library, device
        self._first = self._millijoules()

    def joules(self) -> float:
        return (self._millijoules() - self._first) / 1e3

    def _millijoules(self) -> int:
        counted = ctypes.c_ulonglong()
        _check(self._library.nvmlDeviceGetTotalEnergyConsumption(self._device, ctypes.byref(counted)))
        return counted.value


def nvml(uuid: str, library: Any = None) -> Nvml | Energy:
    """The meter of the GPU that NVML calls ``uuid`` (``GPU-...``), or why there is none."""
    try:
        library = library or ctypes.CDLL(LIBRARY)
    except OSError:
        return Energy(reason=f"no energy meter: the GPU's {LIBRARY} is not installed")
    device = ctypes.c_void_p()
    try:
        _check(library.nvmlInit_v2())
        _check(library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(device)))
        return Nvml(library, device)
    except PermissionError:
        return Energy(reason="the energy meter of the GPU may not be read")
    except (OSError, AttributeError) as error:
        return Energy(reason=f"no energy meter of the GPU: {error}")


def _check(code: int) -> None:
    """Raises PermissionError, or OSError for whatever else is wrong."""
    if code == _NO_PERMISSION:
        raise PermissionError(f"NVML: error {code}")
    if code == _NOT_SUPPORTED:
        raise OSError("this GPU has no counter of its energy")
    if code:
        raise OSError(f"NVML: error {code}")
