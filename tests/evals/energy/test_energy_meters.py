"""Meters of energy on made-up machines: counters that begin again, that may not be read, that are not there."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import pytest

from commonweal.core.completion import Choice, Completion
from commonweal.evals.energy import finding
from commonweal.evals.energy.finding import find_meter
from commonweal.evals.energy.meter import ELSEWHERE, Energy
from commonweal.evals.energy.nvml import LIBRARY, Nvml, nvml
from commonweal.evals.energy.rapl import Rapl, rapl
from commonweal.evals.energy.sharing import metering, shared

RANGE = 1_000_000_000


def domain(root: Path, zone: str, name: str, microjoules: int = 0) -> Path:
    folder = root / zone
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder / "energy_uj"


def meter(root: Path) -> Rapl:
    found = rapl(root)
    assert isinstance(found, Rapl)
    return found


def test_packages_are_summed_and_nothing_within_or_around_them(tmp_path: Path) -> None:
    first = domain(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    second = domain(tmp_path, "intel-rapl:1", "package-1", 7)
    others = [
        domain(tmp_path, "intel-rapl:0:0", "core"),
        domain(tmp_path, "intel-rapl:2", "psys"),
        domain(tmp_path, "intel-rapl-mmio:0", "package-0"),
    ]
    (tmp_path / "intel-rapl").mkdir()
    made = meter(tmp_path)
    assert made.joules() == 0.0
    first.write_text("8000000\n")
    second.write_text("500007\n")
    for other in others:
        other.write_text("900000000\n")
    assert made.joules() == pytest.approx(3.5)
    assert made.joules() == pytest.approx(3.5), "nothing was taken since"


def test_a_counter_that_begins_again_has_not_gone_back(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", RANGE - 2_000_000)
    made = meter(tmp_path)
    counter.write_text("1000000\n")
    assert made.joules() == pytest.approx(3.0)
    counter.write_text(f"{RANGE - 1}\n")
    before = made.joules()
    counter.write_text("0\n")
    assert made.joules() == pytest.approx(before, abs=1e-5), (
        "the end of the range is one step before its beginning"
    )


def test_no_counter_no_meter(tmp_path: Path) -> None:
    reason = "no energy meter: the system shows no RAPL counters of its processors"
    assert rapl(tmp_path) == rapl(tmp_path / "none") == Energy(reason=reason)
    domain(tmp_path, "intel-rapl:0", "psys")
    assert rapl(tmp_path) == Energy(reason=reason)


def test_a_counter_that_may_not_be_read_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0")
    counter.chmod(0)
    if os.access(counter, os.R_OK):  # root may read everything
        read = Path.read_text

        def refused(path: Path, *args: Any, **kwargs: Any) -> str:
            if path.name == "energy_uj":
                raise PermissionError(13, "Permission denied")
            return read(path, *args, **kwargs)

        monkeypatch.setattr(Path, "read_text", refused)
    found = rapl(tmp_path)
    assert isinstance(found, Energy)
    assert found.reason.startswith("the energy meter may not be read")


def test_a_counter_without_a_number_is_no_meter(tmp_path: Path) -> None:
    domain(tmp_path, "intel-rapl:0", "package-0").write_text("broken")
    assert rapl(tmp_path) == Energy(reason="the energy meter cannot be read: energy_uj has no number")


class FakeNvml:
    """The driver's library: one GPU, whose counter stands at ``millijoules``."""

    def __init__(self, *, code: int = 0, counter_code: int = 0) -> None:
        self.code, self.counter_code = code, counter_code
        self.millijoules = 1_000_000_000_000
        self.asked = b""

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return self.code

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: Any) -> int:  # noqa: N802
        self.asked = uuid
        handle._obj.value = 7
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, device: ctypes.c_void_p, counted: Any) -> int:  # noqa: N802
        assert device.value == 7
        counted._obj.value = self.millijoules
        return self.counter_code


def test_a_gpu_is_measured_by_its_uuid() -> None:
    library = FakeNvml()
    made = nvml("GPU-1", library)
    assert isinstance(made, Nvml)
    assert (library.asked, made.joules()) == (b"GPU-1", 0.0)
    library.millijoules += 2500
    assert made.joules() == 2.5


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        (FakeNvml(code=9), "no energy meter of the GPU: NVML: error 9"),
        (FakeNvml(code=4), "the energy meter of the GPU may not be read"),
        (FakeNvml(counter_code=3), "no energy meter of the GPU: this GPU has no counter of its energy"),
        (object(), "no energy meter of the GPU: 'object' object has no attribute 'nvmlInit_v2'"),
    ],
)
def test_a_gpu_without_a_counter_says_why(library: Any, reason: str) -> None:
    assert nvml("GPU-1", library) == Energy(reason=reason)


def test_a_machine_without_the_drivers_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert nvml("GPU-1") == Energy(reason=f"no energy meter: the GPU's {LIBRARY} is not installed")


class Counts:
    def __init__(self, method: str, *joules: float) -> None:
        self.method, self._joules = method, list(joules)

    def joules(self) -> float:
        if not self._joules:
            raise OSError("gone")
        return self._joules.pop(0)


def test_a_gpus_energy_goes_with_its_processors_where_both_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "nvml", lambda uuid: Counts(f"gpu {uuid}", 2.0))
    monkeypatch.setattr(finding, "rapl", lambda: Counts("cpu", 1.0))
    both = find_meter("cuda", "GPU-1")
    assert not isinstance(both, Energy)
    assert (both.method, both.joules()) == ("gpu GPU-1 + cpu", 3.0)
    monkeypatch.setattr(finding, "rapl", lambda: Energy(reason="no"))
    alone = find_meter("cuda", "GPU-1")
    assert not isinstance(alone, Energy)
    assert alone.method == "gpu GPU-1"


def test_the_processors_alone_never_stand_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "rapl", lambda: Counts("cpu", 1.0))
    monkeypatch.setattr(finding, "nvml", lambda uuid: Energy(reason="none"))
    assert find_meter("cuda", "GPU-1") == Energy(reason="none")
    assert find_meter("mps") == Energy(reason="no energy meter for the device 'mps' is known")
    assert isinstance(find_meter("cpu"), Counts)


def completion(read: int | None, written: int | None) -> Completion:
    return Completion(choices=(Choice(text="x"),), prompt_tokens=read, completion_tokens=written)


def test_a_batch_is_divided_by_tokens() -> None:
    made = shared([completion(6, 2), completion(1, 1), completion(None, 0)], 20.0)
    assert [one.joules for one in made] == [16.0, 4.0, 0.0]
    assert [one.joules for one in shared([completion(None, None)] * 2, 3.0)] == [1.5, 1.5]
    assert shared([], 1.0) == []


def test_only_what_passes_while_a_batch_is_computed_counts() -> None:
    compute = metering(lambda n: [completion(n, 0)] * 2, Counts("m", 10.0, 14.0, 100.0, 101.0))
    assert [one.joules for one in compute(3)] == [2.0, 2.0]
    assert [one.joules for one in compute(3)] == [0.5, 0.5]
    assert [one.joules for one in compute(3)] == [None, None], "a meter that is gone tells nothing"


def test_what_is_said_of_it() -> None:
    assert str(Energy(method="RAPL")) == "RAPL"
    assert str(ELSEWHERE).startswith("not measured: no energy is told: the model runs elsewhere")
