# SPDX-License-Identifier: GPL-2.0-or-later
"""x86_64: QEMU q35."""

from types import MappingProxyType

from lab.arch.record import GIB, KIB, MIB, Arch

ARCH = Arch(
    name="x86_64",
    aliases=("x86-64", "amd64", "x86"),
    uname="x86_64",
    bits=64,
    byteorder="little",
    kernel_arch="x86",
    cross="x86_64-linux-gnu-",
    packages=("gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross", "qemu-system-x86"),
    native_packages=("gcc", "libc6-dev", "qemu-system-x86"),
    image_target="bzImage",
    image="arch/x86/boot/bzImage",
    page_sizes=MappingProxyType({4 * KIB: ""}),
    hugepages=MappingProxyType({4 * KIB: (2 * MIB, GIB)}),
    qemu="qemu-system-x86_64",
    libvirt_arch="x86_64",
    machine="q35",
    cpu="max",
    console="ttyS0",
    # The firmware would otherwise load and run an iPXE option ROM for the card: under TCG that is boot time.
    net_options="romfile=",
    features=("acpi", "apic"),
    # Loops per jiffy at 2.6 GHz and HZ=100; the value hardly matters, since no emulated device needs a delay. Without
    # it every CPU measures its own, 150 ms each and more on a busy host: 2.4 s of QEMU's CPU time to the ready line
    # against 1.5 s with it (6.12 under TCG, 4 CPUs).
    cmdline=("lpj=26000000",),
)
