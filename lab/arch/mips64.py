# SPDX-License-Identifier: GPL-2.0-or-later
"""mips64: big-endian MIPS64 release 2 on QEMU malta, with 4K, 16K or 64K pages."""

from types import MappingProxyType

from lab.arch.record import KIB, MIB, Arch

FRAGMENTS = {
    "arch-mips64": """\
CONFIG_MIPS_MALTA=y
CONFIG_CPU_MIPS64_R2=y
CONFIG_64BIT=y
CONFIG_CPU_BIG_ENDIAN=y
# Without it a program with hard floating point, which init is, dies of SIGILL.
CONFIG_MIPS_FP_SUPPORT=y
CONFIG_SERIAL_8250=y
CONFIG_SERIAL_8250_CONSOLE=y
CONFIG_HZ_100=y
# QEMU's malta has several CPUs only with cores of another release of the architecture.
# CONFIG_SMP is not set
# CONFIG_CPUSETS is not set
# CONFIG_RCU_CPU_STALL_TIMEOUT is not set
# The architecture has no verbose BUG().
# CONFIG_DEBUG_BUGVERBOSE is not set

# Left out because it costs build or boot time under emulation and tests nothing here.
# CONFIG_MIPS_CPS is not set
# CONFIG_MIPS_VPE_LOADER is not set
# CONFIG_SERIAL_8250_PCI is not set
# CONFIG_SERIAL_8250_EXAR is not set
# The PFN-mapping guards want to map physical memory.
# CONFIG_STRICT_DEVMEM is not set
""",
    "mips64-4k": """\
CONFIG_PAGE_SIZE_4KB=y
CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y
""",
    # The default order is too low for a huge page of 16K pages: mm/huge_memory.c refuses to compile (6.12).
    "mips64-16k": """\
CONFIG_PAGE_SIZE_16KB=y
CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y
CONFIG_ARCH_FORCE_MAX_ORDER=11
""",
    "mips64-64k": """\
CONFIG_PAGE_SIZE_64KB=y
CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y
CONFIG_ARCH_FORCE_MAX_ORDER=13
""",
}

ARCH = Arch(
    name="mips64",
    aliases=("mips64eb",),
    uname="mips64",
    bits=64,
    byteorder="big",
    kernel_arch="mips",
    cross="mips64-linux-gnuabi64-",
    packages=("gcc-mips64-linux-gnuabi64", "libc6-dev-mips64-cross", "qemu-system-mips"),
    image_target="vmlinux",
    image="vmlinux",
    fragments=MappingProxyType(FRAGMENTS),
    page_sizes=MappingProxyType({4 * KIB: "mips64-4k", 16 * KIB: "mips64-16k", 64 * KIB: "mips64-64k"}),
    presets=("debug-vm", "lockdep", "ubsan"),
    hugepages=MappingProxyType({4 * KIB: (2 * MIB,), 16 * KIB: (32 * MIB,), 64 * KIB: (512 * MIB,)}),
    qemu="qemu-system-mips64",
    libvirt_arch="mips64",
    machine="malta",
    cpu="MIPS64R2-generic",
    libvirt_cpus=False,
    console="ttyS0",
    net_options="romfile=",
    max_vcpus=1,
    no_numa="QEMU refuses -numa for malta",
)
