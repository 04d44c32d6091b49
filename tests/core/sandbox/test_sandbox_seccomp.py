"""The filter of system calls: its decisions by an interpreter of such programs, and in the real jail."""

from __future__ import annotations

import errno
import struct

import pytest

from commonweal.core.sandbox import Sandbox
from commonweal.core.sandbox.seccomp import MACHINES, bpf

ALLOWED = 0x7FFF0000
KILLED = 0x80000000


def decided(program: bytes, architecture: int, number: int, first: int = 0) -> int:
    """What the kernel decides of a call (``kernel/seccomp.c``: one accumulator, jumps forward)."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, first, 0, 0, 0, 0, 0)
    steps = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        code, if_true, if_false, operand = steps[at]
        at += 1
        match code:
            case 0x20:
                [accumulator] = struct.unpack_from("=I", data, operand)
            case 0x06:
                return int(operand)
            case _:
                holds = {
                    0x15: accumulator == operand,
                    0x35: accumulator >= operand,
                    0x45: bool(accumulator & operand),
                }
                at += if_true if holds[code] else if_false


def refused(number: int) -> int:
    return 0x00050000 | number


@pytest.mark.parametrize("name", MACHINES)
def test_what_is_refused_and_what_is_not(name: str) -> None:
    machine, program = MACHINES[name], bpf(name)

    def of(number: int, first: int = 0) -> int:
        return decided(program, machine.architecture, number, first)

    assert {of(number) for number in machine.refused.values()} == {refused(errno.EPERM)}
    assert of(435) == refused(errno.ENOSYS)
    assert of(machine.clone, 0x003D0F00) == ALLOWED  # a thread
    assert of(machine.clone, 0x10000000 | 17) == refused(errno.EPERM)
    assert [of(machine.socket, family) for family in (1, 2, 10)] == [ALLOWED] * 3
    assert {of(machine.socket, family) for family in (0, 16, 17, 38, 40)} == {refused(errno.EAFNOSUPPORT)}
    others = set(range(450)) - {*machine.refused.values(), 435, machine.clone, machine.socket}
    assert {of(number) for number in others} == {ALLOWED}
    assert of(0x40000000 + 1) == refused(errno.EPERM)
    assert decided(program, 0x40000003, 1) == KILLED  # the 32-bit calls have other numbers


def test_numbers_are_told_apart() -> None:
    for machine in MACHINES.values():
        assert len(set(machine.refused.values())) == len(machine.refused)
    assert bpf("pdp11") == b""


PROGRAM = b"""
import ctypes, errno, socket, subprocess, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
for number in map(int, sys.stdin.read().split()):
    ctypes.set_errno(0)
    print(errno.errorcode.get(ctypes.get_errno() if libc.syscall(number, 0, 0, 0, 0, 0) < 0 else 0))
try:
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
except OSError as error:
    print(errno.errorcode[error.errno])
socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
thread = threading.Thread(target=print, args=("thread",))
thread.start()
thread.join()
print(subprocess.run(["/bin/echo", "child"], capture_output=True, text=True).stdout.strip())
print(*[line.split()[1] for line in open("/proc/self/status") if line.startswith(("NoNewPrivs", "Seccomp:"))])
"""


def test_in_the_jail_the_kernel_refuses_and_threads_and_children_work(box: Sandbox) -> None:
    if not box.filter:
        pytest.skip("no seccomp here, or not this kind of machine")
    machine = next(one for name, one in MACHINES.items() if bpf(name) == box.filter)
    calls = [
        machine.refused[name] for name in ("ptrace", "bpf", "mount", "unshare", "io_uring_setup", "keyctl")
    ]
    ran = box.run(PROGRAM, stdin=" ".join(map(str, calls)).encode())
    assert ran.stdout.decode().split() == [
        *["EPERM"] * len(calls),
        "EAFNOSUPPORT",
        "thread",
        "child",
        *("1", "2"),
    ], ran.stderr
