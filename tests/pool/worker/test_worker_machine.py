"""The machine's measurements, its devices, the service, the signals, and what works without torch."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.clock import SystemClock
from commonweal.core.errors import UserError
from commonweal.pool.worker import machine, service
from commonweal.pool.worker.signals import stop_on_signals
from commonweal.pool.worker.surroundings import Machine


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
