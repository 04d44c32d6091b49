"""The system calls that a jailed program may not make, as a seccomp filter (a classic BPF program).

The namespaces already keep a program from what is outside; the filter keeps it from parts of the kernel that programs
of models never need and in which most of the known ways out were found: other processes' memory, mounts, namespaces,
keys, modules, BPF, io_uring, clocks, and sockets of other kinds than local and internet ones (a virtual machine's vsock
is behind no network namespace). Refused calls fail with EPERM, as they would without a privilege.

For x86-64 and 64-bit ARM; :func:`bpf` gives none for another machine. Numbers: Linux, ``asm/unistd_64.h`` and
``asm-generic/unistd.h``; form: ``linux/filter.h``, ``linux/seccomp.h``.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NAMESPACES = 0x7E020000  # CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6
_CLONE3 = 435
_X32 = 0x40000000

_ALIKE = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "quotactl_fd": 443,
}
"""The newer calls have one number everywhere."""

_X86_64 = {
    "ptrace": 101,
    "syslog": 103,
    "personality": 135,
    "vhangup": 153,
    "modify_ldt": 154,
    "pivot_root": 155,
    "adjtimex": 159,
    "chroot": 161,
    "acct": 163,
    "settimeofday": 164,
    "mount": 165,
    "umount2": 166,
    "swapon": 167,
    "swapoff": 168,
    "reboot": 169,
    "sethostname": 170,
    "setdomainname": 171,
    "iopl": 172,
    "ioperm": 173,
    "init_module": 175,
    "delete_module": 176,
    "quotactl": 179,
    "clock_settime": 227,
    "kexec_load": 246,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "unshare": 272,
    "perf_event_open": 298,
    "fanotify_init": 300,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "clock_adjtime": 305,
    "setns": 308,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "kcmp": 312,
    "finit_module": 313,
    "kexec_file_load": 320,
    "bpf": 321,
    "userfaultfd": 323,
}
_ARM_64 = {
    "umount2": 39,
    "mount": 40,
    "pivot_root": 41,
    "chroot": 51,
    "vhangup": 58,
    "quotactl": 60,
    "acct": 89,
    "personality": 92,
    "unshare": 97,
    "kexec_load": 104,
    "init_module": 105,
    "delete_module": 106,
    "clock_settime": 112,
    "syslog": 116,
    "ptrace": 117,
    "reboot": 142,
    "sethostname": 161,
    "setdomainname": 162,
    "settimeofday": 170,
    "adjtimex": 171,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "swapon": 224,
    "swapoff": 225,
    "perf_event_open": 241,
    "fanotify_init": 262,
    "name_to_handle_at": 264,
    "open_by_handle_at": 265,
    "clock_adjtime": 266,
    "setns": 268,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "kcmp": 272,
    "finit_module": 273,
    "bpf": 280,
    "userfaultfd": 282,
    "kexec_file_load": 294,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """``architecture`` is the kernel's word for it (``linux/audit.h``); ``refused`` are calls by name."""

    architecture: int
    clone: int
    socket: int
    refused: Mapping[str, int]


MACHINES: Mapping[str, Machine] = {
    "x86_64": Machine(architecture=0xC000003E, clone=56, socket=41, refused={**_X86_64, **_ALIKE}),
    "aarch64": Machine(architecture=0xC00000B7, clone=220, socket=198, refused={**_ARM_64, **_ALIKE}),
}


def bpf(machine: str | None = None) -> bytes:
    """The filter for a machine, by default for this one; b"" where none is known."""
    known = MACHINES.get(machine or platform.machine())
    return b"".join(_program(known)) if known else b""


def _program(machine: Machine) -> Iterator[bytes]:
    refuse = _ERROR | errno.EPERM
    yield _step(_LOAD, _ARCHITECTURE)
    yield _step(_EQUAL, machine.architecture, 1, 0)
    yield _step(_RETURN, _KILL)
    yield _step(_LOAD, _NUMBER)
    yield _step(_AT_LEAST, _X32, 0, 1)
    yield _step(_RETURN, refuse)
    for number in sorted(machine.refused.values()):
        yield _step(_EQUAL, number, 0, 1)
        yield _step(_RETURN, refuse)
    yield _step(_EQUAL, _CLONE3, 0, 1)  # its flags are out of a filter's sight: libraries then use clone
    yield _step(_RETURN, _ERROR | errno.ENOSYS)
    yield _step(_EQUAL, machine.clone, 0, 4)
    yield _step(_LOAD, _FIRST_ARGUMENT)
    yield _step(_ANY_BIT, _NAMESPACES, 0, 1)
    yield _step(_RETURN, refuse)
    yield _step(_RETURN, _ALLOW)
    yield _step(_EQUAL, machine.socket, 0, 2 + len(_FAMILIES))
    yield _step(_LOAD, _FIRST_ARGUMENT)
    for left, family in zip(range(len(_FAMILIES), 0, -1), _FAMILIES, strict=True):
        yield _step(_EQUAL, family, left, 0)
    yield _step(_RETURN, _ERROR | errno.EAFNOSUPPORT)
    yield _step(_RETURN, _ALLOW)


def _step(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction; the jumps count the instructions that are passed over."""
    return struct.pack("=HBBI", code, if_true, if_false, operand)
