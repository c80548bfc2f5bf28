# SPDX-License-Identifier: GPL-2.0-or-later
"""The plain QEMU command of a machine, and the script that runs it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab.guests.domain import command_line
from lab.guests.qemu_command import qemu_command, script
from tests.unit.fixtures.machines import machine


def test_the_command_names_every_node_and_distance() -> None:
    command = qemu_command(machine("x86_64-2node"))
    text = " ".join(command)
    assert "-numa node,nodeid=0,memdev=ram0,cpus=0,cpus=1" in text
    assert "-numa node,nodeid=1,memdev=ram1,cpus=2,cpus=3" in text
    assert "-numa dist,src=0,dst=1,val=20" in text
    assert "-numa dist,src=1,dst=0,val=20" in text
    assert command[command.index("-append") + 1] == " ".join(command_line(machine("x86_64-2node").topology))


def test_the_command_has_links_and_nodes_without_memory() -> None:
    text = " ".join(qemu_command(machine("hmat")))
    assert "-M q35,hmat=on" in text
    assert "-numa node,nodeid=2,memdev=ram2,initiator=0" in text
    assert text.count("hmat-lb") == 24
    text = " ".join(qemu_command(machine("cpu-only-node")))
    assert "-M virt-5.0 " in text
    assert "-numa node,nodeid=1,cpus=2,cpus=3 " in text
    assert "ram1" not in text


def test_sparse_memory_is_a_shared_file_without_a_name() -> None:
    command = qemu_command(machine("sparse"))
    assert "memory-backend-memfd,share=on,id=ram0,size=1048576M" in command
    assert command[command.index("-M") + 1] == "virt,memory-backend=ram0"


def test_a_clock_that_counts_instructions() -> None:
    command = qemu_command(machine("counted"))
    assert command[command.index("-icount") + 1] == "shift=0"
    assert "-icount" not in qemu_command(machine("one-node-options"))


def test_the_console_is_the_one_that_the_kernel_is_told_to_use() -> None:
    assert "-serial stdio" in " ".join(qemu_command(machine("riscv64-2node")))
    command = " ".join(qemu_command(machine("s390x-4k")))
    assert "-chardev stdio,id=console -device sclplmconsole,chardev=console" in command
    assert "-serial" not in command


def test_what_every_machine_of_an_architecture_needs_comes_along() -> None:
    command = qemu_command(machine("ppc64le-64k"))
    assert "cap-cfpc=broken" in command[command.index("-machine") + 1]


def test_the_script_runs_the_emulator_with_files_of_ones_choice(tmp_path: Path) -> None:
    emulator = tmp_path / "emulator"
    emulator.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    emulator.chmod(0o755)
    path = tmp_path / "reproduce.sh"
    path.write_text(script(machine("one-node-options")))
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "KERNEL": "/my kernel"}
    done = subprocess.run(["sh", str(path)], env=environment, capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    assert said[said.index("-kernel") + 1] == "/my kernel"
    assert said[said.index("-initrd") + 1] == "/initrd"
    assert said[said.index("-M") + 1] == "virt-7.2"
    assert said[-2:] == ["-device", "virtio-rng-pci"]
