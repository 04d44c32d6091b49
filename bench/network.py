"""A street of home links on one machine: network namespaces on a bridge, each behind a link of its own.

Rates are set with ``tc tbf`` on both ends of every link; it may be set, changed and removed while connections are
open. Latency is ``netem``'s business, which many small kernels lack, so a relay adds it: it holds every Ethernet
frame to and from the hub for a fixed time. Needs root, and takes everything down again.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

MTU_FRAME = 2048
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
_CLONE_NEWNET = 0x40000000


class NoNetwork(Exception):
    """Namespaces or traffic control cannot be had here; the text says what is missing."""


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise NoNetwork(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


@dataclass(slots=True)
class Street:
    """A bridge in a namespace of its own, a hub and members on it, and this machine's way to it.

    ``number`` makes addresses and names unique: 10.213.``number``.0/24.
    """

    number: int
    members: int
    round_trip_seconds: float = 0.0
    _relay: subprocess.Popen[bytes] | None = None
    _namespaces: list[str] = field(default_factory=list)

    @property
    def tag(self) -> str:
        return f"cwb{os.getpid() % 100_000}s{self.number}"

    @property
    def hub_address(self) -> str:
        return f"10.213.{self.number}.1"

    @property
    def hub_namespace(self) -> str:
        return f"{self.tag}h"

    def member_namespace(self, index: int) -> str:
        return f"{self.tag}m{index}"

    def member_address(self, index: int) -> str:
        return f"10.213.{self.number}.{10 + index}"

    def build(self) -> None:
        """Raises NoNetwork with what is missing."""
        if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("tc"):
            raise NoNetwork("network namespaces need root, and the ip and tc commands (iproute2)")
        bridge = self._namespace(f"{self.tag}b")
        _run("ip", "-n", bridge, "link", "add", "name", "street0", "type", "bridge")
        _run("ip", "-n", bridge, "link", "set", "street0", "up")
        self._cable(self._namespace(self.hub_namespace), "hub", self.hub_address, delayed=True)
        for index in range(self.members):
            namespace = self._namespace(self.member_namespace(index))
            self._cable(namespace, f"m{index}", self.member_address(index))
        self._door()

    def _namespace(self, name: str) -> str:
        _run("ip", "netns", "add", name)
        self._namespaces.append(name)
        _run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def _cable(self, namespace: str, port: str, address: str, *, delayed: bool = False) -> None:
        """``eth0`` in ``namespace``, its other end ``port`` on the bridge."""
        bridge = f"{self.tag}b"
        if delayed and self.round_trip_seconds:
            self._relayed(namespace, bridge, port)
        else:
            _run(
                *("ip", "-n", bridge, "link", "add", "name", port, "type", "veth"),
                *("peer", "name", "eth0", "netns", namespace),
            )
        _run("ip", "-n", bridge, "link", "set", port, "master", "street0", "up")
        _run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        _run("ip", "-n", namespace, "link", "set", "eth0", "up")

    def _relayed(self, namespace: str, bridge: str, port: str) -> None:
        half = str(self.round_trip_seconds / 2)
        ends = [namespace, "eth0", bridge, port]
        self._relay = subprocess.Popen(
            [sys.executable, __file__, *ends, "--delay", half], stdout=subprocess.PIPE
        )
        assert self._relay.stdout is not None
        if self._relay.stdout.readline() != b"ready\n":
            raise NoNetwork("the relay that adds latency did not start (/dev/net/tun is needed)")

    def _door(self) -> None:
        """This machine's own way onto the street, without a limit."""
        outside, inside = f"{self.tag}o", "door"
        bridge = f"{self.tag}b"
        _run("ip", "link", "add", "name", outside, "type", "veth", "peer", "name", inside, "netns", bridge)
        _run("ip", "-n", bridge, "link", "set", inside, "master", "street0", "up")
        _run("ip", "addr", "add", f"10.213.{self.number}.254/24", "dev", outside)
        _run("ip", "link", "set", outside, "up")

    def limit(self, bytes_per_second: float) -> None:
        """Hold every member's link to a rate, up and down."""
        rate = f"{round(8 * bytes_per_second)}bit"
        burst = str(max(6000, round(bytes_per_second / 100)))
        for index in range(self.members):
            for namespace, device in (
                (self.member_namespace(index), "eth0"),
                (f"{self.tag}b", f"m{index}"),
            ):
                shape = ("root", "tbf", "rate", rate, "burst", burst, "latency", "200ms")
                _run("tc", "-n", namespace, "qdisc", "replace", "dev", device, *shape)

    def wire_bytes(self) -> dict[str, int]:
        """What all members' links carried so far, headers and everything else included."""
        up = down = 0
        for index in range(self.members):
            said = _run("ip", "-n", self.member_namespace(index), "-s", "-j", "link", "show", "eth0")
            found = json.loads(said)[0]["stats64"]
            up, down = up + found["tx"]["bytes"], down + found["rx"]["bytes"]
        return {"up": up, "down": down}

    def close(self) -> None:
        if self._relay is not None:
            self._relay.kill()
            self._relay.wait()
        with contextlib.suppress(NoNetwork):
            _run("ip", "link", "del", f"{self.tag}o")
        for name in reversed(self._namespaces):
            with contextlib.suppress(NoNetwork):
                _run("ip", "netns", "del", name)


@contextmanager
def street(number: int, members: int, round_trip_seconds: float) -> Iterator[Street]:
    """A street that is taken down at the end, whatever happens."""
    made = Street(number, members, round_trip_seconds)
    try:
        made.build()
        yield made
    finally:
        made.close()


def _tap(namespace: str, device: str) -> int:
    """A new Ethernet device in ``namespace`` whose frames this process reads and writes."""
    with Path(f"/run/netns/{namespace}").open() as there:
        if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH", device.encode(), _IFF_TAP | _IFF_NO_PI))
    return tap


def relay(one: int, other: int, delay: float) -> None:
    """Carry frames between two devices, each ``delay`` seconds late, for ever."""
    ways = {one: other, other: one}
    held: deque[tuple[float, int, bytes]] = deque()
    while True:
        patience = max(0.0, held[0][0] - time.monotonic()) if held else None
        ready, _, _ = select.select([one, other], [], [], patience)
        for source in ready:
            with contextlib.suppress(BlockingIOError):
                while True:
                    held.append((time.monotonic() + delay, ways[source], os.read(source, MTU_FRAME)))
        now = time.monotonic()
        while held and held[0][0] <= now:
            _, target, frame = held.popleft()
            with contextlib.suppress(OSError):  # a device that is down loses frames, as cables do
                os.write(target, frame)


def main() -> None:
    parser = argparse.ArgumentParser(description="Carry frames between two namespaces, late.")
    parser.add_argument("ends", nargs=4, help="namespace, device, namespace, device")
    parser.add_argument("--delay", type=float, required=True)
    arguments = parser.parse_args()
    one, one_device, other, other_device = arguments.ends
    first, second = _tap(one, one_device), _tap(other, other_device)
    print("ready", flush=True)
    relay(first, second, arguments.delay)


if __name__ == "__main__":
    main()
