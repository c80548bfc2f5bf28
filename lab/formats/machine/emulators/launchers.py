# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests in the words of what starts QEMU: Proxmox' configuration, virtme-ng's command line, OpenStack's flavours."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lab.formats.machine.emulators.guest_nodes import GuestNodes
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import Statement, size

_PROXMOX = re.compile(r"(sockets|cores|memory): (\d{1,9})")
_PROXMOX_NODE = re.compile(r"numa(\d{1,4}): (\S{1,400})")
_VIRTME = re.compile(r"(?:^|.*[\s/])(?:vng|virtme-ng|virtme-run)\s.*--?\w.*")
_VIRTME_OPTION = re.compile(r"(?:^|\s)(--cpus|-p|--memory|-m|--numa-distance|--numa|--append|-a)[ =]+(\"[^\"]*\"|\S+)")
_OPENSTACK = re.compile(r"\bhw:numa_(cpus|mem)\.(\d{1,4})(?:'?: ?|=)['\"]?([\d,-]{1,400})")
_SIZE = re.compile(r"(\d{1,9})([KMGT]?)B?", re.IGNORECASE)
_DISTANCE = re.compile(r"(\d{1,4}),(\d{1,4})=(\d{1,3})")


def read_proxmox(lines: Sequence[Line]) -> list[Statement]:
    """A guest's configuration in Proxmox: `cores: 4`, `memory: 8192` (MB), `numa0: cpus=0-3,memory=8192`."""
    guest = GuestNodes("Proxmox")
    counts: dict[str, int] = {}
    for line in lines:
        if match := _PROXMOX.fullmatch(line.text):
            guest.line = guest.line or line.number
            counts[match[1]] = int(match[2])
        elif match := _PROXMOX_NODE.fullmatch(line.text):
            _proxmox_node(guest, match[1], match[2], line.number)
    if "cores" not in counts or "memory" not in counts:
        return []
    guest.add("cpu_count", counts.get("sockets", 1) * counts["cores"], guest.line)
    guest.add("memory", size(str(counts["memory"]), "M"), guest.line)
    return list(guest.statements())


def _proxmox_node(guest: GuestNodes, number: str, text: str, line: int) -> None:
    values = dict(word.split("=", 1) for word in text.split(",") if "=" in word)
    node = guest.node(number, line)
    if node < 0:
        return
    guest.add_cpus(node, values.get("cpus", "").replace(";", ","), line)
    memory = values.get("memory", "")
    guest.memory[node] = size(memory, "M") if memory.isdecimal() and len(memory) < 10 else 0


def read_virtme(lines: Sequence[Line]) -> list[Statement]:
    """The command line of virtme-ng: `vng --cpus 4 --memory 4G --numa 2G,cpus=0-1 --numa 2G,cpus=2-3`."""
    guest = GuestNodes("virtme-ng")
    goes_on = False
    for line in lines:
        if _VIRTME.fullmatch(line.text) if not guest.line else goes_on or line.text.startswith("-"):
            guest.line = guest.line or line.number
            for match in _VIRTME_OPTION.finditer(line.text):
                _virtme_option(guest, match[1], match[2].strip('"'), line.number)
            goes_on = line.text.endswith("\\")
        elif guest.line:
            break
    return list(guest.statements())


def _virtme_option(guest: GuestNodes, name: str, text: str, line: int) -> None:
    if name in ("--cpus", "-p") and text.isdecimal() and len(text) < 6:
        guest.add("cpu_count", int(text), line)
    elif name in ("--memory", "-m") and (match := _SIZE.fullmatch(text)):
        guest.add("memory", size(match[1], match[2] or "M"), line)
    elif name in ("--append", "-a"):
        guest.add("cmdline", text, line)
    elif name == "--numa-distance" and (match := _DISTANCE.fullmatch(text)):
        guest.add_distance(match[1], match[2], match[3])
    elif name == "--numa":
        first, *others = text.split(",")
        node = guest.node(str(len(guest.lines)), line)
        if node >= 0 and (match := _SIZE.fullmatch(first)):
            guest.memory[node] = size(match[1], match[2] or "M")
        for word in others:
            if node >= 0 and word.startswith("cpus="):
                guest.add_cpus(node, word.removeprefix("cpus="), line)


def read_openstack(lines: Sequence[Line]) -> list[Statement]:
    """The properties of a flavour: `hw:numa_cpus.0='0,1', hw:numa_mem.0='2048'` (MB)."""
    guest = GuestNodes("OpenStack")
    for line in lines:
        for what, number, text in _OPENSTACK.findall(line.text):
            node = guest.node(number, line.number)
            if node >= 0 and what == "cpus":
                guest.add_cpus(node, text.rstrip(","), line.number)
            elif node >= 0 and text.isdecimal() and len(text) < 10:
                guest.memory[node] = size(text, "M")
    return list(guest.statements())
