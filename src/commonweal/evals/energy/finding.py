"""Which meter measures a model in this process, by the device that it computes on."""

from __future__ import annotations

from commonweal.evals.energy.meter import Energy, Meter, Together
from commonweal.evals.energy.nvml import nvml
from commonweal.evals.energy.rapl import rapl


def find_meter(kind: str, uuid: str = "") -> Meter | Energy:
    """A meter for a device of torch's ``kind`` (cpu, cuda, mps), or why there is none. A GPU is known by its ``uuid``;
    with its energy goes that of the processors, where that can be read: they feed it."""
    if kind == "cpu":
        return rapl()
    if kind != "cuda" or not uuid:
        return Energy(reason=f"no energy meter for the device '{kind}' is known")
    gpu = nvml(uuid)
    if isinstance(gpu, Energy):
        return gpu
    processors = rapl()
    return gpu if isinstance(processors, Energy) else Together([gpu, processors])
