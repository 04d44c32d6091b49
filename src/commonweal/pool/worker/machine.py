"""The machine as the hub is told of it: measured, not claimed. The hub schedules by what it sees; this is for
people to read, and for choosing a device.

torch is looked for late, and only here: a member without it (or with a broken one) measures with numpy.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import psutil

from commonweal.core.errors import UserError

_DEVICES = ("auto", "cpu", "cuda", "mps")
_BENCHMARK_SECONDS = 0.3


def choose_device(wish: str) -> str:
    """The device to compute on: ``wish``, or the fastest there is for 'auto'. Raises UserError if it is not here.

    >>> choose_device("cpu")
    'cpu'
    """
    kind = wish.split(":")[0]
    if kind not in _DEVICES:
        raise UserError(f"--device: '{wish[:40]}' is unknown", hint="use one of " + ", ".join(_DEVICES))
    if kind == "cpu":
        return "cpu"
    here = _accelerators()
    if kind == "auto":
        return here[0] if here else "cpu"
    if kind not in here:
        raise UserError(
            f"--device: no {kind} device can be used here",
            hint="use --device auto, or install a build of torch that supports it",
        )
    return wish


def measure(device: str, threads: int | None) -> dict[str, Any]:
    """What the machine is and can do, as small JSON. Takes about half a second."""
    facts: dict[str, Any] = {
        "system": platform.system(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cores": os.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
        "device": device,
        "threads": threads,
        "gflops": round(gflops(device, threads), 1),
    }
    if device.startswith("cuda"):
        properties = _torch().cuda.get_device_properties(device)
        facts |= {"gpu": properties.name, "gpu_memory_bytes": properties.total_memory}
    return facts


def gflops(device: str, threads: int | None, seconds: float = _BENCHMARK_SECONDS) -> float:
    """Billions of float32 operations a second, in a matrix product of the size that training has."""
    size = 512 if device == "cpu" else 4096
    product = _product(size, device, threads)
    product()  # the first one pays for the start-up
    count, begun = 0, time.perf_counter()
    while (taken := time.perf_counter() - begun) < seconds or count == 0:
        product()
        count += 1
    return count * 2 * size**3 / max(taken, 1e-9) / 1e9


def use_threads(threads: int | None) -> None:
    """Keep torch to so many threads. In every thread: torch hands the number on to those that begin later."""
    if threads is not None and (torch := _torch()) is not None:
        torch.set_num_threads(threads)


def give_way() -> None:
    """Let everything else on the machine go first, as far as the system allows it."""
    try:
        process = psutil.Process()
        process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else max(10, process.nice()))
    except (psutil.Error, OSError):
        pass


def free_memory(device: str, cap: int | None) -> int:
    """Bytes that the next unit may use. What this process holds already counts as free: it holds it for work."""
    if device.startswith("cuda"):
        torch = _torch()
        free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    else:
        free = psutil.virtual_memory().available + psutil.Process().memory_info().rss
    return int(free if cap is None else min(free, cap))


def bound_memory(device: str, most: int | None) -> None:
    """Keep torch to so many bytes of a GPU. There is no such bound on main memory: it is watched, see
    :func:`own_memory`."""
    if most is not None and device.startswith("cuda"):
        torch = _torch()
        index = torch.device(device).index or 0
        total = torch.cuda.get_device_properties(index).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, most / total), index)


def own_memory(processes: Iterable[psutil.Process]) -> int:
    """Bytes of main memory that ``processes`` hold. What they share is counted for each of them."""
    held = 0
    for process in processes:
        with suppress(psutil.Error):  # it has ended
            held += process.memory_info().rss
    return held


def return_memory() -> None:
    """Give back to the system what is not used any more. glibc alone would keep much of it for this process."""
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError, TypeError):  # another C library, or another system
        ctypes.CDLL(None).malloc_trim(0)


def _product(size: int, device: str, threads: int | None) -> Callable[[], object]:
    torch = _torch()
    if torch is None:
        import numpy

        b = numpy.ones((size, size), dtype=numpy.float32)
        return lambda: numpy.matmul(b, b)
    use_threads(threads)
    a = torch.ones(size, size, device=device)
    return lambda: float(torch.matmul(a, a)[0, 0])  # reading one number waits for the device


def _torch() -> Any:
    """The module, or None where it is not installed or does not load."""
    try:
        import torch
    except (ImportError, OSError):
        return None
    return torch


def _accelerators() -> list[str]:
    torch = _torch()
    if torch is None:
        return []
    here = ["cuda"] if torch.cuda.is_available() else []
    return here + (["mps"] if torch.backends.mps.is_available() else [])
