# SPDX-License-Identifier: GPL-2.0-or-later
"""armhf: 32-bit ARMv7 on QEMU virt, with short page table descriptors or with LPAE."""

from types import MappingProxyType

from lab.arch.record import Arch, Mmu
from lab.core.sizes import KIB, MIB

FRAGMENTS = {
    "arch-armhf": """\
CONFIG_MMU=y
CONFIG_ARCH_MULTI_V7=y
CONFIG_ARCH_VIRT=y
CONFIG_AEABI=y
CONFIG_VFP=y
CONFIG_NEON=y
CONFIG_HIGHMEM=y
CONFIG_SERIAL_AMBA_PL011=y
CONFIG_SERIAL_AMBA_PL011_CONSOLE=y
CONFIG_NR_CPUS=8
# System calls with 32 bits of time, futex among them: what a C library of 32 bits still calls first.
CONFIG_COMPAT_32BIT_TIME=y
CONFIG_HZ_100=y
# The card is on virtio-mmio: without LPAE a kernel does not reach the PCI window above 4 GiB.
CONFIG_VIRTIO_MMIO=y
# CONFIG_PCI is not set
# CONFIG_PCI_MSI is not set
# CONFIG_PCIEASPM is not set
# CONFIG_VGA_ARB is not set
# CONFIG_VIRTIO_PCI is not set
CONFIG_KERNEL_GZIP=y
# The PFN-mapping guards want to map physical memory.
# CONFIG_STRICT_DEVMEM is not set
""",
    "armhf-short": """\
# CONFIG_HUGETLBFS is not set
# CONFIG_CGROUP_HUGETLB is not set
""",
    "armhf-lpae": """\
CONFIG_ARM_LPAE=y
CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y
""",
}

ARCH = Arch(
    name="armhf",
    aliases=("arm", "armv7"),
    uname="armv7l",
    config_marks=("CONFIG_ARM=y",),
    cpuinfo_marks=(("CPU architecture", r"[5-7].*"),),
    bits=32,
    elf_machine=40,
    byteorder="little",
    kernel_arch="arm",
    cross="arm-linux-gnueabihf-",
    packages=("gcc-arm-linux-gnueabihf", "libc6-dev-armhf-cross", "qemu-system-arm"),
    kernel_flavours=("armmp", "armmp-lpae"),
    image_target="zImage",
    image="arch/arm/boot/zImage",
    fragments=MappingProxyType(FRAGMENTS),
    page_sizes=MappingProxyType({4 * KIB: ""}),
    mmus=MappingProxyType(
        {
            "short": Mmu(description="2 levels of page tables, no huge pages", fragment="armhf-short"),
            "lpae": Mmu(
                description="3 levels of page tables (LPAE)",
                fragment="armhf-lpae",
                hugepages=MappingProxyType({4 * KIB: (2 * MIB,)}),
            ),
        }
    ),
    presets=("debug-vm", "kasan", "lockdep", "ubsan"),
    hugepages=MappingProxyType({4 * KIB: ()}),
    qemu="qemu-system-arm",
    libvirt_arch="armv7l",
    machine="virt",
    cpu="cortex-a15",
    console="ttyAMA0",
    early_console="earlycon",
    net_device="virtio-net-device",
    disk_device="virtio-blk-device",
    max_vcpus=8,
    no_numa="arch/arm has no NUMA",
)
