# SPDX-License-Identifier: GPL-2.0-or-later
"""ppc64le: little-endian POWER9 on QEMU pseries, with 4K or 64K pages and the radix or the hash MMU."""

from types import MappingProxyType

from lab.arch.record import GIB, KIB, MIB, Arch, Mmu

FRAGMENTS = {
    "arch-ppc64le": """\
CONFIG_PPC64=y
CONFIG_PPC_BOOK3S_64=y
CONFIG_CPU_LITTLE_ENDIAN=y
CONFIG_PPC_PSERIES=y
# CONFIG_PPC_POWERNV is not set
# CONFIG_PPC_MAPLE is not set
# CONFIG_PPC_PASEMI is not set
# CONFIG_PPC_PS3 is not set
# CONFIG_PPC_CELL is not set
# CONFIG_PPC_IBM_CELL_BLADE is not set
# CONFIG_PPC_PMAC is not set
CONFIG_ALTIVEC=y
CONFIG_VSX=y
CONFIG_PPC_RADIX_MMU=y
CONFIG_PPC_RADIX_MMU_DEFAULT=y
CONFIG_PPC_64S_HASH_MMU=y
# Firmware is asked through Open Firmware's client interface; without this the first thing a kernel does is a trap.
CONFIG_PPC_OF_BOOT_TRAMPOLINE=y
CONFIG_HVC_CONSOLE=y
CONFIG_NR_CPUS=64
CONFIG_HZ_100=y
# gcc 12 warns of a stack frame in mm/book3s64/slice.c with 64K pages.
CONFIG_PPC_DISABLE_WERROR=y

# Nodes and distances come from the device tree.
CONFIG_NUMA=y

CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y

# The PFN-mapping guards want to map physical memory.
# CONFIG_STRICT_DEVMEM is not set
""",
    "ppc64le-4k": "CONFIG_PPC_4K_PAGES=y\n",
    "ppc64le-64k": "CONFIG_PPC_64K_PAGES=y\n",
}

ARCH = Arch(
    name="ppc64le",
    aliases=("powerpc64le", "ppc64el"),
    uname="ppc64le",
    bits=64,
    byteorder="little",
    kernel_arch="powerpc",
    cross="powerpc64le-linux-gnu-",
    packages=("gcc-powerpc64le-linux-gnu", "libc6-dev-ppc64el-cross", "qemu-system-ppc"),
    image_target="vmlinux",
    image="vmlinux",
    fragments=MappingProxyType(FRAGMENTS),
    page_sizes=MappingProxyType({4 * KIB: "ppc64le-4k", 64 * KIB: "ppc64le-64k"}),
    mmus=MappingProxyType(
        {
            "radix": Mmu(description="radix page tables (ISA 3.0)", cpuinfo=("MMU", "Radix")),
            "hash": Mmu(
                description="hashed page tables",
                cmdline=("disable_radix",),
                cpuinfo=("MMU", "Hash"),
                hugepages=MappingProxyType({4 * KIB: (16 * MIB,), 64 * KIB: (16 * MIB, 16 * GIB)}),
            ),
        }
    ),
    presets=("debug-vm", "kasan", "lockdep", "ubsan"),
    hugepages=MappingProxyType({4 * KIB: (2 * MIB, GIB), 64 * KIB: (2 * MIB, GIB)}),
    qemu="qemu-system-ppc64",
    libvirt_arch="ppc64le",
    machine="pseries",
    cpu_only_machine="pseries-5.0",
    cpu="POWER9",
    # The mitigations are KVM's: with their defaults TCG's machine refuses to start. VOF, QEMU's own small firmware,
    # starts the kernel at once; SLOF is emulated code that takes three quarters of the time to the ready line (40 and
    # 56 s against 12 and 14 s, hash and radix, on a host with 50 processes for 2 cores).
    # Huge pages of the hash MMU are 16M, which the machine does not offer by default. An environment makes QEMU format
    # the NVRAM, as SLOF would: "WARNING: nvram corruption detected" otherwise.
    qemu_args=(
        *("-machine", "cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-hpt-max-page-size=16M,x-vof=on"),
        *("-prom-env", "pagelab=1"),
    ),
    console="hvc0",
    net_options="romfile=",
    min_memory=256 * MIB,
)
