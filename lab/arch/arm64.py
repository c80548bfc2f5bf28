# SPDX-License-Identifier: GPL-2.0-or-later
"""arm64: QEMU virt, booted from the device tree."""

from types import MappingProxyType

from lab.arch.record import Arch, Mmu
from lab.core.sizes import GIB, KIB, MIB

FRAGMENTS = {
    "arch-arm64": """\
# arm64 on QEMU virt, booted from its device tree. The page size is in a fragment of its own.
CONFIG_SERIAL_AMBA_PL011=y
CONFIG_SERIAL_AMBA_PL011_CONSOLE=y
CONFIG_PCI_HOST_GENERIC=y
CONFIG_NR_CPUS=64
CONFIG_HZ_100=y

# Nodes and distances come from the device tree.
CONFIG_NUMA=y

CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y

# Left out because it costs build or boot time under emulation and tests nothing here.
# CONFIG_RANDOMIZE_BASE is not set
# CONFIG_EFI is not set
# CONFIG_CAVIUM_ERRATUM_23144 is not set
# CONFIG_HW_RANDOM_ARM_SMCCC_TRNG is not set
# CONFIG_ARM64_SVE is not set
# CONFIG_ARM64_PTR_AUTH is not set
# The PFN-mapping guards want to map physical memory.
# CONFIG_STRICT_DEVMEM is not set
""",
    "arm64-4k": """\
# 4 KiB pages.
CONFIG_ARM64_4K_PAGES=y
# The same address space for every page size; the default of 4K (39 bits) would not hold a mapping of 1 TiB.
CONFIG_ARM64_VA_BITS_48=y
CONFIG_ARM64_PA_BITS_48=y
""",
    "arm64-16k": """\
# 16 KiB pages.
CONFIG_ARM64_16K_PAGES=y
# The same address space for every page size; the default of 4K (39 bits) would not hold a mapping of 1 TiB.
CONFIG_ARM64_VA_BITS_48=y
CONFIG_ARM64_PA_BITS_48=y
""",
    "arm64-64k": """\
# 64 KiB pages.
CONFIG_ARM64_64K_PAGES=y
# The same address space for every page size; the default of 4K (39 bits) would not hold a mapping of 1 TiB.
CONFIG_ARM64_VA_BITS_48=y
CONFIG_ARM64_PA_BITS_48=y
""",
    "arm64-va39": """\
# CONFIG_ARM64_VA_BITS_48 is not set
CONFIG_ARM64_VA_BITS_39=y
""",
    "arm64-va42": """\
# CONFIG_ARM64_VA_BITS_48 is not set
CONFIG_ARM64_VA_BITS_42=y
""",
    "arm64-va47": """\
# CONFIG_ARM64_VA_BITS_48 is not set
CONFIG_ARM64_VA_BITS_47=y
""",
    "arm64-va52": """\
# CONFIG_ARM64_VA_BITS_48 is not set
CONFIG_ARM64_VA_BITS_52=y
""",
}

MMUS = {
    "": Mmu(description="48 bits of address", address_bits=48, user_bits=48),
    "va39": Mmu(
        description="39 bits of address", fragment="arm64-va39", address_bits=39, user_bits=39, page_sizes=(4 * KIB,)
    ),
    "va42": Mmu(
        description="42 bits of address", fragment="arm64-va42", address_bits=42, user_bits=42, page_sizes=(64 * KIB,)
    ),
    "va47": Mmu(
        description="47 bits of address", fragment="arm64-va47", address_bits=47, user_bits=47, page_sizes=(16 * KIB,)
    ),
    "va52": Mmu(
        description="52 bits of address, where a program asks for them",
        fragment="arm64-va52",
        address_bits=52,
        user_bits=52,
        page_sizes=(64 * KIB,),
    ),
}

ARCH = Arch(
    name="arm64",
    aliases=("aarch64",),
    uname="aarch64",
    config_marks=(r"CONFIG_ARM64(?:_\w+)?=y",),
    srat_cpus=("MPIDR",),
    boot_mark=r"Booting Linux on physical CPU 0x[0-9a-f]{10}|GICv[34]:|pstate: [0-9a-f]{8} \("
    r"|\"arm,(?:cortex-[ax](?:3[45]|5\d|[67]\d|\d{3})\w*|neoverse-\w+|armv8)\"",
    cpuinfo_marks=(("CPU architecture", r"8\b.*|AArch64.*"),),
    bits=64,
    elf_machine=183,
    byteorder="little",
    kernel_arch="arm64",
    cross="aarch64-linux-gnu-",
    packages=("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-system-arm"),
    kernel_flavours=("arm64", "arm64-16k"),
    native_packages=("gcc", "libc6-dev", "qemu-system-arm"),
    image_target="Image",
    image="arch/arm64/boot/Image",
    fragments=MappingProxyType(FRAGMENTS),
    page_sizes=MappingProxyType({4 * KIB: "arm64-4k", 16 * KIB: "arm64-16k", 64 * KIB: "arm64-64k"}),
    mmus=MappingProxyType(MMUS),
    presets=("debug-vm", "fault-injection", "init-stack-pattern", "kasan", "kcsan", "lockdep", "ubsan"),
    hugepages=MappingProxyType(
        {
            4 * KIB: (64 * KIB, 2 * MIB, 32 * MIB, GIB),
            16 * KIB: (2 * MIB, 32 * MIB, GIB),
            64 * KIB: (2 * MIB, 512 * MIB, 16 * GIB),
        }
    ),
    qemu="qemu-system-aarch64",
    libvirt_arch="aarch64",
    machine="virt",
    cpu_only_machine="virt-5.0",
    kernel_nodes=16,
    # The default interrupt controller (GICv2) has eight CPU interfaces.
    plain_vcpus=8,
    more_vcpus_args=("-machine", "gic-version=3"),
    cpu="max",
    console="ttyAMA0",
    early_console="earlycon",
    net_options="romfile=",
    notes=MappingProxyType(
        {"thp": "with 64K pages shmem cannot have PMD-sized huge pages: order 13 is above MAX_PAGECACHE_ORDER (11)"}
    ),
)
