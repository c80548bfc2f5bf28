# SPDX-License-Identifier: GPL-2.0-or-later
"""s390x: big-endian, channel I/O instead of PCI."""

from types import MappingProxyType

from lab.arch.record import GIB, KIB, MIB, Arch

FRAGMENTS = {
    "arch-s390x": """\
CONFIG_MARCH_Z13=y
CONFIG_S390_GUEST=y
CONFIG_SCLP_TTY=y
CONFIG_SCLP_CONSOLE=y
CONFIG_NR_CPUS=64
CONFIG_HZ_100=y
# Channel devices need no PCI.
# CONFIG_PCI is not set
# CONFIG_PCI_MSI is not set
# CONFIG_PCIEASPM is not set
# CONFIG_VGA_ARB is not set
# CONFIG_VIRTIO_PCI is not set
CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y
CONFIG_KERNEL_GZIP=y
# The PFN-mapping guards want to map physical memory.
# CONFIG_STRICT_DEVMEM is not set
""",
}

ARCH = Arch(
    name="s390x",
    aliases=("s390",),
    uname="s390x",
    bits=64,
    byteorder="big",
    kernel_arch="s390",
    cross="s390x-linux-gnu-",
    packages=("gcc-s390x-linux-gnu", "libc6-dev-s390x-cross", "qemu-system-misc"),
    image_target="bzImage",
    image="arch/s390/boot/bzImage",
    fragments=MappingProxyType(FRAGMENTS),
    page_sizes=MappingProxyType({4 * KIB: ""}),
    presets=("debug-vm", "kasan", "lockdep", "ubsan"),
    hugepages=MappingProxyType({4 * KIB: (MIB, 2 * GIB)}),
    qemu="qemu-system-s390x",
    libvirt_arch="s390x",
    machine="s390-ccw-virtio",
    cpu="max",
    console="ttysclp0",
    console_target="sclp",
    net_device="virtio-net-ccw",
    max_vcpus=8,
    no_numa="QEMU refuses -numa for s390-ccw-virtio",
)
