# SPDX-License-Identifier: GPL-2.0-or-later
"""alpha: EV67 on QEMU clipper, 8K pages."""

from types import MappingProxyType

from lab.arch.record import KIB, Arch

FRAGMENTS = {
    "arch-alpha": """\
CONFIG_ALPHA_DP264=y
CONFIG_ALPHA_EV67=y
CONFIG_SERIAL_8250=y
CONFIG_SERIAL_8250_CONSOLE=y
CONFIG_NR_CPUS=4
# The architecture has none of these.
# CONFIG_HUGETLBFS is not set
# CONFIG_PERF_EVENTS is not set
# CONFIG_RSEQ is not set
# CONFIG_DEBUG_BUGVERBOSE is not set
""",
}

ARCH = Arch(
    name="alpha",
    uname="alpha",
    bits=64,
    byteorder="little",
    kernel_arch="alpha",
    cross="alpha-linux-gnu-",
    packages=("gcc-alpha-linux-gnu", "libc6.1-dev-alpha-cross", "qemu-system-misc"),
    image_target="vmlinux",
    image="vmlinux",
    fragments=MappingProxyType(FRAGMENTS),
    page_sizes=MappingProxyType({8 * KIB: ""}),
    hugepages=MappingProxyType({8 * KIB: ()}),
    qemu="qemu-system-alpha",
    libvirt_arch="alpha",
    machine="clipper",
    cpu="ev67",
    console="ttyS0",
    net_options="romfile=",
    max_vcpus=4,
    no_numa="QEMU refuses -numa for clipper",
)
