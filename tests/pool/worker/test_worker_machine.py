"""The machine's measurements, its devices, the service, the signals, and what works without torch."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.clock import ManualClock, SystemClock
from commonweal.core.errors import UserError
from commonweal.pool.worker import machine, service, surroundings
from commonweal.pool.worker.signals import stop_on_signals
from commonweal.pool.worker.surroundings import Machine, family


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_torch", lambda: None)


@pytest.mark.usefixtures("no_torch")
def test_a_machine_without_torch_is_measured() -> None:
    assert machine.choose_device("auto") == "cpu"
    facts = machine.measure("cpu", threads=1)
    assert facts["gflops"] > 0
    assert facts["memory_bytes"] > 2**20
    assert len(facts) <= 32


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize("wish", ["cuda", "cuda:1", "mps", "abacus", ""])
def test_devices_that_are_not_here(wish: str) -> None:
    with pytest.raises(UserError, match="--device"):
        machine.choose_device(wish)


def test_free_memory_is_capped() -> None:
    assert machine.free_memory("cpu", None) > 2**20
    assert machine.free_memory("cpu", 1000) == 1000


def test_conditions_of_this_machine() -> None:
    around = Machine(SystemClock())
    conditions = around.conditions()
    assert 0 <= conditions.minute < 24 * 60
    assert around.conditions() is conditions  # looked at seconds ago


def test_memory_is_that_of_the_process_and_its_children() -> None:
    mine = machine.own_memory([psutil.Process()])
    code = "x = b'x' * 60_000_000; print(flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    try:
        assert Machine(SystemClock()).conditions().own_memory > mine + 50_000_000
        ended = family()
    finally:
        child.communicate(b"\n")
    assert machine.own_memory(ended) > 0, "whoever has ended holds nothing"
    assert Machine(SystemClock(), on_gpu=True).conditions().own_memory == 0


def test_memory_is_looked_at_more_often_than_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(1000.0)
    around = Machine(clock)
    first = around.conditions()
    monkeypatch.setattr(surroundings, "own_memory", lambda processes: first.own_memory + 1)
    assert around.conditions() is first
    clock.sleep(1.0)
    second = around.conditions()
    assert second == replace(first, own_memory=first.own_memory + 1)
    assert around.conditions() is second


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries have their own ways")
def test_memory_that_is_not_used_goes_back_to_the_system() -> None:
    pieces = [b"x" * 100_000 for _ in range(2000)]  # too small to be mapped one by one, so glibc keeps them
    before = machine.own_memory([psutil.Process()])
    keep = pieces[::100]
    del pieces
    machine.return_memory()
    assert keep
    assert machine.own_memory([psutil.Process()]) < before - 100_000_000


@pytest.mark.parametrize(
    ("device", "most", "bound"),
    [
        ("cpu", 10, None),
        ("cuda", None, None),
        ("cuda", 10, (0.25, 0)),
        ("cuda:1", 10, (0.25, 1)),
        ("cuda", 99, (1.0, 0)),
    ],
)
def test_torch_is_bound_on_a_gpu(
    device: str, most: int | None, bound: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    cuda = SimpleNamespace(
        get_device_properties=lambda index: SimpleNamespace(total_memory=40),
        set_per_process_memory_fraction=lambda share, index: told.append((share, index)),
    )
    index = int(device.partition(":")[2]) if ":" in device else None
    torch = SimpleNamespace(cuda=cuda, device=lambda name: SimpleNamespace(index=index))
    monkeypatch.setattr(machine, "_torch", lambda: torch)
    machine.bound_memory(device, most)
    assert told == ([] if bound is None else [bound])


def test_the_client_needs_no_torch() -> None:
    code = (
        "import sys, pkgutil, importlib, commonweal.pool.worker as w\n"
        "for m in pkgutil.iter_modules(w.__path__): importlib.import_module(f'{w.__name__}.{m.name}')\n"
        "assert not {'torch', 'transformers', 'sqlalchemy', 'fastapi'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_service_is_a_good_unit(tmp_path: Path) -> None:
    command = ["/usr/bin/env", "commonweal", "join", "https://hub.example", "--state", "/home/a b/50% $HOME"]
    written = service.write_service(command, tmp_path / "systemd" / "user", hub="https://hub.example")
    text = written.path.read_text()
    assert (
        'ExecStart=/usr/bin/env commonweal join https://hub.example --state "/home/a b/50%% $$HOME"' in text
    )
    assert any("enable --now commonweal.service" in line for line in written.commands)
    checker = shutil.which("systemd-analyze")
    if checker is None:
        pytest.skip("no systemd here: the unit's text was checked, its syntax was not")
    checked = subprocess.run([checker, "--user", "verify", str(written.path)], capture_output=True, text=True)
    assert "commonweal.service" not in checked.stderr, checked.stderr


@pytest.mark.parametrize("command", [[], ["commonweal"], ["/bin/x", "a\nExecStartPre=/bin/evil"]])
def test_services_that_cannot_be(tmp_path: Path, command: list[str]) -> None:
    with pytest.raises(UserError):
        service.write_service(command, tmp_path)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
def test_quoted_words_read_back(word: str) -> None:
    quoted = service.quoted(word)
    inner = quoted[1:-1] if quoted.startswith('"') else quoted
    plain = inner.replace("%%", "%").replace("$$", "$")
    if quoted.startswith('"'):
        out, letters = [], iter(plain)
        for letter in letters:
            out.append(next(letters) if letter == "\\" else letter)
        plain = "".join(out)
    assert plain == word


def test_first_signal_asks_second_orders() -> None:
    before = signal.getsignal(signal.SIGINT)
    stop = threading.Event()
    with stop_on_signals(stop):
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(1)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
