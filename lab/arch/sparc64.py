# SPDX-License-Identifier: GPL-2.0-or-later
"""sparc64: big-endian UltraSPARC on QEMU sun4u, 8K pages, one CPU."""

from types import MappingProxyType

from lab.arch.record import KIB, MIB, Arch

FRAGMENTS = {
    "arch-sparc64": """\
CONFIG_64BIT=y
CONFIG_SERIAL_SUNSU=y
CONFIG_SERIAL_SUNSU_CONSOLE=y
CONFIG_HZ_100=y
CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y
CONFIG_NR_CPUS=4
# The architecture has none of these.
# CONFIG_RSEQ is not set
""",
}

ARCH = Arch(
    name="sparc64",
    aliases=("sun4u",),
    uname="sparc64",
    bits=64,
    byteorder="big",
    kernel_arch="sparc64",
    cross="sparc64-linux-gnu-",
    packages=("gcc-sparc64-linux-gnu", "libc6-dev-sparc64-cross", "qemu-system-sparc"),
    image_target="vmlinux",
    image="vmlinux",
    fragments=MappingProxyType(FRAGMENTS),
    page_sizes=MappingProxyType({8 * KIB: ""}),
    hugepages=MappingProxyType({8 * KIB: (64 * KIB, 8 * MIB, 256 * MIB)}),
    qemu="qemu-system-sparc64",
    libvirt_arch="sparc64",
    machine="sun4u",
    cpu="TI-UltraSparc-IIi",
    console="ttyS0",
    net_options="romfile=",
    max_vcpus=1,
    no_numa="QEMU's sun4u has one CPU and refuses -numa",
)
