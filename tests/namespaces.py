# SPDX-License-Identifier: GPL-2.0-or-later
"""Network namespaces as the hosts of a cluster: an address each on a bridge that exists in a namespace of its own.

Nothing outside the namespaces made here is touched. Tests that need them are skipped, with the reason, without root.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

NETWORK = "10.77.0"
HUB = "hub"
LOSS_S = 0.15
_made = itertools.count(1)


def unavailable() -> str:
    """Why there can be no namespaces here; empty if there can."""
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "no ip and tc (iproute2)"
    probe = f"pl{os.getpid()}x{next(_made)}-probe"
    done = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "delete", probe], capture_output=True, check=False)
    return done.stderr.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespaces:
    """Hosts by name, and the lab itself as the hub at .1, all on one bridge."""

    prefix: str
    names: tuple[str, ...]

    @property
    def hub(self) -> list[str]:
        """The command that runs what follows it at the hub."""
        return ["ip", "netns", "exec", f"{self.prefix}-{HUB}"]

    @property
    def hub_address(self) -> str:
        return f"{NETWORK}.1"

    def at(self, name: str) -> list[str]:
        """The command that runs what follows it on a host."""
        return ["ip", "netns", "exec", f"{self.prefix}-{name}"]

    def cut_off(self, name: str) -> None:
        """Take a host's link down: packets are lost without an answer."""
        _ip("-n", f"{self.prefix}-{HUB}", "link", "set", self._port(name), "down")

    def connect(self, name: str) -> None:
        """Bring a host's link up again."""
        _ip("-n", f"{self.prefix}-{HUB}", "link", "set", self._port(name), "up")

    def slow_down(self, name: str, rate: str) -> None:
        """Limit what is sent to a host and what it sends, such as `2mbit`."""
        for space, link in ((HUB, self._port(name)), (name, "eth0")):
            shaped = ["root", "tbf", "rate", rate, "burst", "32k", "latency", "200ms"]
            words = ["tc", "-n", f"{self.prefix}-{space}", "qdisc", "replace", "dev", link, *shaped]
            subprocess.run(words, check=True, capture_output=True)

    @contextmanager
    def losing_a_third(self, *names: str) -> Iterator[None]:
        """Lose the packets of hosts for a third of the time, in turns of LOSS_S, while the block runs."""
        over = threading.Event()

        def lose() -> None:
            while not over.wait(2 * LOSS_S):
                for name in names:
                    self.cut_off(name)
                over.wait(LOSS_S)
                for name in names:
                    self.connect(name)

        thread = threading.Thread(target=lose)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _port(self, name: str) -> str:
        return f"v{self.names.index(name) + 2}"


@contextmanager
def namespaces(*names: str) -> Iterator[Namespaces]:
    """Make the namespaces of some hosts; they are gone afterwards."""
    made = Namespaces(prefix=f"pl{os.getpid()}x{next(_made)}", names=names)
    spaces = [f"{made.prefix}-{each}" for each in (HUB, *names)]
    try:
        for space in spaces:
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
        hub = spaces[0]
        _ip("-n", hub, "link", "add", "br0", "type", "bridge")
        _ip("-n", hub, "addr", "add", f"{NETWORK}.1/24", "dev", "br0")
        _ip("-n", hub, "link", "set", "br0", "up")
        for number, space in enumerate(spaces[1:], start=2):
            port = f"v{number}"
            _ip("-n", hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("-n", hub, "link", "set", port, "master", "br0", "up")
            _ip("-n", space, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
        yield made
    finally:
        for space in spaces:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", space)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def command(prefix: Sequence[str], *words: str) -> str:
    """A command as hosts.yaml has it."""
    return " ".join([*prefix, *words])
