"""Hostile programs in the real jail."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from commonweal.core.sandbox import Limits, Sandbox, bubblewrap, find_sandbox


def test_an_honest_program_reads_its_input_and_its_files(box: Sandbox) -> None:
    program = b"import sys; print(sys.stdin.read().upper() + open('/box/more.txt').read()); print('!', file=sys.stderr)"
    ran = box.run(program, stdin=b"hello ", files={"more.txt": b"there"})
    assert (ran.status, ran.stdout, ran.stderr, ran.code) == ("ok", b"HELLO there\n", b"!\n", 0)


def test_a_failing_program_says_so(box: Sandbox) -> None:
    ran = box.run(b"raise SystemExit(3)")
    assert (ran.status, ran.code) == ("failed", 3)


def test_another_command(box: Sandbox) -> None:
    assert box.run(b"echo $((6 * 7))", argv=("/bin/sh", bubblewrap.PROGRAM)).stdout == b"42\n"


def test_no_network_not_even_our_own_loopback(box: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ran = box.run(f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)".encode())
    assert ran.status == "failed"
    assert b"refused" in ran.stderr
    outside = box.run(b"import socket; socket.create_connection(('192.0.2.1', 80), 2)")
    assert outside.status == "failed"
    assert b"unreachable" in outside.stderr


def test_an_endless_loop_is_ended(box: Sandbox) -> None:
    ran = box.run(b"print('so far', flush=True)\nwhile True: pass", seconds=0.5)
    assert (ran.status, ran.stdout) == ("timeout", b"so far\n")
    assert ran.seconds < 3


def test_a_program_that_sleeps_and_ignores_signals_is_ended(box: Sandbox) -> None:
    program = (
        b"import signal, time\nfor s in range(1, 32):\n try: signal.signal(s, signal.SIG_IGN)\n except OSError: pass\n"
        b"time.sleep(60)"
    )
    ran = box.run(program, seconds=0.5)
    assert ran.status == "timeout"
    assert ran.seconds < 3


FORK_BOMB = b"import os\nwhile True:\n try: os.fork()\n except OSError: pass"
COUNTED = (
    b"import os, time\nn = 0\ntry:\n while n < 1000:\n  if os.fork() == 0: time.sleep(9)\n  n += 1\n"
    b"except OSError: pass\nprint(n, flush=True); os.kill(0, 9)"
)


def test_a_fork_bomb_is_held_small_and_ended(box: Sandbox) -> None:
    ran = box.run(FORK_BOMB, seconds=1.0)
    assert ran.status in ("timeout", "processes")
    assert jailed() == 0
    counted = box.run(COUNTED, limits=Limits(processes=16))
    assert 1 <= int(counted.stdout) <= 16


def test_ten_gigabytes_are_not_to_be_had(box: Sandbox) -> None:
    assert box.run(b"x = bytearray(10 * 2**30)").status == "memory"


def test_memory_counts_for_all_processes_together(box: Sandbox) -> None:
    program = (
        b"import os, time\nfor _ in range(6):\n if os.fork() == 0:\n  x = b'x' * (60 << 20); time.sleep(20)\n"
        b"time.sleep(20)"
    )
    ran = box.run(program, limits=Limits(seconds=10, memory=200 << 20))
    assert ran.status == "memory"
    assert ran.seconds < 5


@pytest.mark.parametrize(
    "path", ["/usr/x", "/etc/x", "/x", "/box/x", "/dev/x", "/home/x", "/proc/sys/kernel/hostname"]
)
def test_nothing_outside_can_be_written(box: Sandbox, path: str) -> None:
    ran = box.run(f"open({path!r}, 'w').write('x')".encode())
    assert ran.status == "failed"
    assert any(word in ran.stderr for word in (b"Read-only", b"No such file", b"denied"))


def test_the_folders_in_memory_are_small(box: Sandbox) -> None:
    limits = Limits(folder=1 << 20, file_size=10 << 20)
    for folder in ("/tmp", "/dev/shm"):
        ran = box.run(f"open('{folder}/x', 'wb').write(bytes(5 << 20))".encode(), limits=limits)
        assert ran.status == "failed", folder
        assert b"No space left" in ran.stderr


def test_a_file_is_of_limited_size(box: Sandbox) -> None:
    program = b"import signal; signal.signal(25, signal.SIG_IGN)\nopen('/tmp/x', 'wb').write(bytes(5 << 20))"
    ran = box.run(program, limits=Limits(file_size=1 << 20))
    assert ran.status == "failed"
    assert b"too large" in ran.stderr


def test_what_was_written_is_gone_afterwards(box: Sandbox) -> None:
    name = "commonweal-left-behind"
    assert box.run(f"open('/tmp/{name}', 'w')".encode()).status == "ok"
    assert not (Path("/tmp") / name).exists()
    assert box.run(f"open('/tmp/{name}')".encode()).status == "failed"


def test_home_folder_and_environment_are_not_there(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONWEAL_TEST_SECRET", "hunter2")
    home = os.path.expanduser("~")
    ran = box.run(
        f"import os; print(sorted(os.environ)); os.listdir({home!r}); open({os.path.join(home, '.profile')!r})".encode()
    )
    assert b"COMMONWEAL_TEST_SECRET" not in ran.stdout
    assert ran.status == "failed"
    ran = box.run(b"print(open('/proc/1/environ').read())")
    assert b"hunter2" not in ran.stdout


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/etc/shadow", "/root/.ssh", "/home", "/var", str(Path(__file__))]
)
def test_files_of_the_machine_are_not_there(box: Sandbox, path: str) -> None:
    assert box.run(f"import os; os.stat({path!r})".encode()).status == "failed"


def test_other_processes_are_not_seen(box: Sandbox) -> None:
    ran = box.run(b"import os; print(sum(name.isdigit() for name in os.listdir('/proc')))")
    assert int(ran.stdout) <= 5
    assert box.run(f"import os; os.kill({os.getpid()}, 0)".encode()).status == "failed"


def test_no_capabilities_and_no_new_namespaces(box: Sandbox) -> None:
    ran = box.run(b"print([l.split()[1] for l in open('/proc/self/status') if l.startswith('CapEff')])")
    assert ran.stdout == b"['0000000000000000']\n"
    made = box.run(b"", argv=("/usr/bin/unshare", "--user", "--map-root-user", "/bin/true"))
    assert made.status == "failed"


def test_a_flood_of_output_is_cut(box: Sandbox) -> None:
    ran = box.run(b"while True: print('x' * 10000)", limits=Limits(output=100_000))
    assert ran.status == "output"
    assert len(ran.stdout) <= 100_000
    both = box.run(
        b"import sys\nwhile True: print('x' * 1000); print('y' * 1000, file=sys.stderr)",
        limits=Limits(output=100_000),
    )
    assert both.status == "output"
    assert len(both.stdout) + len(both.stderr) <= 100_000


def test_a_program_that_leaves_a_child_behind_does_not_hang(box: Sandbox) -> None:
    program = b"import os, time\nif os.fork() == 0:\n time.sleep(60)\nprint('done')"
    ran = box.run(program, seconds=2.0)
    assert ran.stdout == b"done\n"
    assert ran.seconds < 4


def test_a_file_name_with_folders_is_refused(box: Sandbox) -> None:
    with pytest.raises(ValueError, match="plain name"):
        box.run(b"", files={"../x": b""})


def test_without_bubblewrap_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        bubblewrap.shutil, "which", lambda name: None if name == "bwrap" else "/usr/bin/" + name
    )
    assert find_sandbox() is None


def test_a_bubblewrap_that_cannot_make_namespaces_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap.shutil, "which", lambda name: "/bin/false")
    assert find_sandbox() is None


def test_a_wrapper_that_jails_nothing_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A 'bwrap' that just runs the program is found out by its network and its process number."""
    fake = tmp_path / "bwrap"
    fake.write_text('#!/bin/sh\nwhile [ "$1" != /usr/bin/prlimit ]; do shift; done\nexec "$@"\n')
    fake.chmod(0o755)
    tmp_path.chmod(0o755)
    monkeypatch.setattr(
        bubblewrap.shutil, "which", lambda name: str(fake) if name == "bwrap" else "/usr/bin/prlimit"
    )
    assert find_sandbox() is None


def jailed() -> int:
    """Programs in a jail that are still there (zombies are not)."""
    found = 0
    for folder in Path("/proc").iterdir():
        try:
            found += (
                folder.name.isdigit() and bubblewrap.PROGRAM.encode() in (folder / "cmdline").read_bytes()
            )
        except OSError:
            continue
    return found
