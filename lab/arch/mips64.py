# SPDX-License-Identifier: GPL-2.0-or-later
"""mips64: big-endian MIPS64 release 2 on QEMU malta, with 4K, 16K or 64K pages; and what both byte orders share."""

from types import MappingProxyType
from typing import Literal

from lab.arch.record import Arch, Limit
from lab.core.sizes import KIB, MIB

COMMON = """\
CONFIG_MIPS_MALTA=y
CONFIG_CPU_MIPS64_R2=y
CONFIG_64BIT=y
CONFIG_CPU_{byteorder}_ENDIAN=y
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
"""

# The default order is too low for a huge page of 16K pages: mm/huge_memory.c refuses to compile (6.12).
PAGES = {
    "4k": """\
CONFIG_PAGE_SIZE_4KB=y
CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y
""",
    "16k": """\
CONFIG_PAGE_SIZE_16KB=y
CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y
CONFIG_ARCH_FORCE_MAX_ORDER=11
""",
    "64k": """\
CONFIG_PAGE_SIZE_64KB=y
CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y
CONFIG_ARCH_FORCE_MAX_ORDER=13
""",
    # The number was that of orders, one more than the highest, until 6.4.
    "16k-before-6.4": "CONFIG_ARCH_FORCE_MAX_ORDER=12\n",
    "64k-before-6.4": "CONFIG_ARCH_FORCE_MAX_ORDER=14\n",
}


def malta(
    name: str, byteorder: Literal["little", "big"], aliases: tuple[str, ...], flavours: tuple[str, ...] = ()
) -> Arch:
    """The record of one byte order; `name` is Debian's and QEMU's, too, `flavours` its kernels'."""
    fragments = {f"arch-{name}": COMMON.format(byteorder=byteorder.upper())}
    fragments |= {f"{name}-{page}": text for page, text in PAGES.items()}
    return Arch(
        name=name,
        aliases=aliases,
        uname="mips64",
        config_marks=("CONFIG_MIPS=y", "CONFIG_64BIT=y", f"CONFIG_CPU_{byteorder.upper()}_ENDIAN=y"),
        bits=64,
        elf_machine=8,
        byteorder=byteorder,
        kernel_arch="mips",
        cross=f"{name}-linux-gnuabi64-",
        packages=(f"gcc-{name}-linux-gnuabi64", f"libc6-dev-{name}-cross", "qemu-system-mips"),
        kernel_flavours=flavours,
        image_target="vmlinux",
        image="vmlinux",
        fragments=MappingProxyType(fragments),
        page_sizes=MappingProxyType({4 * KIB: f"{name}-4k", 16 * KIB: f"{name}-16k", 64 * KIB: f"{name}-64k"}),
        presets=("debug-vm", "lockdep", "ubsan"),
        hugepages=MappingProxyType({4 * KIB: (2 * MIB,), 16 * KIB: (32 * MIB,), 64 * KIB: (512 * MIB,)}),
        qemu=f"qemu-system-{name}",
        libvirt_arch=name,
        machine="malta",
        cpu="MIPS64R2-generic",
        libvirt_cpus=False,
        console="ttyS0",
        net_options="romfile=",
        max_vcpus=1,
        no_numa="QEMU refuses -numa for malta",
        limits=(
            Limit(
                name="no restored guests",
                reason="a timer of a guest that QEMU has loaded may fire 20 s late",
                seen="7.2",
                no_save=True,
            ),
        ),
    )


ARCH = malta("mips64", "big", ("mips64eb",))
