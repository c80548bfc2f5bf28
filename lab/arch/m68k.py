# SPDX-License-Identifier: GPL-2.0-or-later
"""m68k: big-endian 32-bit 68040 on QEMU virt, whose devices are virtio-mmio and Goldfish."""

from types import MappingProxyType

from lab.arch.record import Arch, Limit
from lab.core.sizes import KIB

FRAGMENTS = {
    "arch-m68k": """\
CONFIG_MMU=y
CONFIG_M68KCLASSIC=y
CONFIG_M68040=y
CONFIG_VIRT=y
CONFIG_GOLDFISH_TTY=y
CONFIG_VIRTIO_MMIO=y
# One processor, and no PCI.
# CONFIG_SMP is not set
# CONFIG_CPUSETS is not set
# CONFIG_RCU_CPU_STALL_TIMEOUT is not set
# CONFIG_PCI is not set
# CONFIG_PCI_MSI is not set
# CONFIG_PCIEASPM is not set
# CONFIG_VGA_ARB is not set
# CONFIG_VIRTIO_PCI is not set
# The architecture has none of these.
# CONFIG_HUGETLBFS is not set
# CONFIG_CGROUP_HUGETLB is not set
# CONFIG_PERF_EVENTS is not set
# CONFIG_RSEQ is not set
# What a userland with 32 bits of time_t calls.
CONFIG_COMPAT_32BIT_TIME=y
# The PFN-mapping guards want to map physical memory.
# CONFIG_STRICT_DEVMEM is not set
""",
}

UNMARKED_PAGES = Limit(
    name="modified pages",
    reason="a page that was read first is not always marked as modified by a write, and loses that when swapped out",
    seen="7.2",
)

ARCH = Arch(
    name="m68k",
    aliases=("68k",),
    uname="m68k",
    config_marks=("CONFIG_M68K=y",),
    cpuinfo_marks=(("CPU", r"680\d0"),),
    bits=32,
    elf_machine=4,
    byteorder="big",
    kernel_arch="m68k",
    cross="m68k-linux-gnu-",
    packages=("gcc-m68k-linux-gnu", "libc6-dev-m68k-cross", "qemu-system-misc"),
    kernel_flavours=("m68k",),
    image_target="vmlinux",
    image="vmlinux",
    fragments=MappingProxyType(FRAGMENTS),
    page_sizes=MappingProxyType({4 * KIB: ""}),
    presets=("debug-vm",),
    hugepages=MappingProxyType({4 * KIB: ()}),
    qemu="qemu-system-m68k",
    libvirt_arch="m68k",
    machine="virt",
    cpu="m68040",
    libvirt_cpus=False,
    console="ttyGF0",
    net_device="virtio-net-device",
    disk_device="virtio-blk-device",
    max_vcpus=1,
    no_numa="QEMU's machines for m68k have one CPU",
    limits=(UNMARKED_PAGES,),
)
