# SPDX-License-Identifier: GPL-2.0-or-later
"""ppc64: big-endian POWER9 on QEMU pseries, with 64K pages, radix or hash MMU; and what both orders share."""

from types import MappingProxyType
from typing import Literal

from lab.arch.record import NO_TIMERS, Arch, Mmu
from lab.core.sizes import GIB, KIB, MIB

COMMON = """\
# Tells by /proc/PID/pagemap which pages a program has written since it last asked.
CONFIG_MEM_SOFT_DIRTY=y
CONFIG_PPC64=y
CONFIG_PPC_BOOK3S_64=y
CONFIG_CPU_{byteorder}_ENDIAN=y
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
"""

# What a page size asks for, and its huge pages with the radix and with the hash MMU.
PAGES = {
    4 * KIB: ("CONFIG_PPC_4K_PAGES=y\n", (2 * MIB, GIB), (16 * MIB,)),
    64 * KIB: ("CONFIG_PPC_64K_PAGES=y\n", (2 * MIB, GIB), (16 * MIB, 16 * GIB)),
}


def pseries(
    name: str,
    byteorder: Literal["little", "big"],
    aliases: tuple[str, ...],
    debian: str,
    page_sizes: tuple[int, ...],
    processors: str,
    boot_mark: str = "",
) -> Arch:
    """The record of one byte order; `name` is the kernel's, `debian` the distribution's.

    `processors`: which names in /proc/cpuinfo are of machines that run this byte order.
    """
    named = {size: f"{name}-{size // KIB}k" for size in page_sizes}
    fragments = {f"arch-{name}": COMMON.format(byteorder=byteorder.upper())}
    fragments |= {named[size]: PAGES[size][0] for size in page_sizes}
    cross = aliases[0]
    return Arch(
        name=name,
        aliases=aliases,
        uname=name,
        boot_mark=boot_mark,
        config_marks=(r"CONFIG_PPC(?:_BOOK3S_)?64=y", f"CONFIG_CPU_{byteorder.upper()}_ENDIAN=y"),
        cpuinfo_marks=(("cpu", processors),),
        bits=64,
        elf_machine=21,
        byteorder=byteorder,
        kernel_arch="powerpc",
        cross=f"{cross}-linux-gnu-",
        packages=(f"gcc-{cross}-linux-gnu", f"libc6-dev-{debian}-cross", "qemu-system-ppc"),
        kernel_flavours=(cross, f"{cross}-64k"),
        image_target="vmlinux",
        image="vmlinux",
        fragments=MappingProxyType(fragments),
        page_sizes=MappingProxyType(named),
        usual_page_size=64 * KIB,
        mmus=MappingProxyType(
            {
                "radix": Mmu(description="radix page tables (ISA 3.0)", cpuinfo=("MMU", "Radix")),
                "hash": Mmu(
                    description="hashed page tables",
                    cmdline=("disable_radix",),
                    cpuinfo=("MMU", "Hash"),
                    hugepages=MappingProxyType({size: PAGES[size][2] for size in page_sizes}),
                ),
            }
        ),
        presets=("debug-vm", "kasan", "lockdep", "ubsan"),
        hugepages=MappingProxyType({size: PAGES[size][1] for size in page_sizes}),
        qemu="qemu-system-ppc64",
        libvirt_arch=name,
        machine="pseries",
        cpu_only_machine="pseries-5.0",
        node_grain=256 * MIB,  # "... is not aligned to 256 MiB", says QEMU
        cpu="POWER9",
        # The mitigations are KVM's: with their defaults TCG's machine refuses to start. VOF, QEMU's own small
        # firmware, starts the kernel at once; SLOF is emulated code that takes three quarters of the time to the ready
        # line (40 and 56 s against 12 and 14 s, hash and radix, on a host with 50 processes for 2 cores).
        # Huge pages of the hash MMU are 16M, which the machine does not offer by default. An environment makes QEMU
        # format the NVRAM, as SLOF would: "WARNING: nvram corruption detected" otherwise.
        qemu_args=(
            *("-machine", "cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-hpt-max-page-size=16M,x-vof=on"),
            *("-prom-env", "pagelab=1"),
        ),
        console="hvc0",
        net_options="romfile=",
        min_memory=256 * MIB,
        limits=(NO_TIMERS,),
    )


ARCH = pseries("ppc64", "big", ("powerpc64",), "ppc64", (64 * KIB,), processors=r"PPC970.*")
