# SPDX-License-Identifier: GPL-2.0-or-later
"""s390x: big-endian, channel I/O instead of PCI."""

from types import MappingProxyType

from lab.arch.record import Arch, Limit
from lab.core.sizes import KIB

FRAGMENTS = {
    "arch-s390x": """\
# Tells by /proc/PID/pagemap which pages a program has written since it last asked.
CONFIG_MEM_SOFT_DIRTY=y
# Not z13: such a kernel wants the vector facility, see `limits`.
CONFIG_MARCH_ZEC12=y
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
# On by default, for what a virtio machine does not have.
# CONFIG_KVM is not set
# CONFIG_DASD is not set
# CONFIG_CTCM is not set
# CONFIG_NETIUCV is not set
# CONFIG_SMSGIUCV is not set
# CONFIG_HVC_IUCV is not set
# CONFIG_VMLOGRDR is not set
# CONFIG_MONREADER is not set
# CONFIG_AFIUCV is not set
# CONFIG_IUCV is not set
# The PFN-mapping guards want to map physical memory.
# CONFIG_STRICT_DEVMEM is not set
""",
}

ARCH = Arch(
    name="s390x",
    aliases=("s390",),
    uname="s390x",
    config_marks=("CONFIG_S390=y",),
    boot_mark=r"setup: Linux is running (?:as a z/VM|natively in|under KVM in|as a guest under)|Krnl PSW : ",
    cpuinfo_marks=(("vendor_id", r"IBM/S390.*"),),
    bits=64,
    elf_machine=22,
    byteorder="big",
    kernel_arch="s390",
    cross="s390x-linux-gnu-",
    packages=("gcc-s390x-linux-gnu", "libc6-dev-s390x-cross", "qemu-system-misc"),
    kernel_flavours=("s390x",),
    image_target="bzImage",
    image="arch/s390/boot/bzImage",
    fragments=MappingProxyType(FRAGMENTS),
    page_sizes=MappingProxyType({4 * KIB: ""}),
    presets=("debug-vm", "kasan", "lockdep", "ubsan"),
    hugepages=MappingProxyType({4 * KIB: ()}),
    qemu="qemu-system-s390x",
    libvirt_arch="s390x",
    machine="s390-ccw-virtio",
    cpu="max",
    # The kernel's SCLP_CONSOLE is the line-mode one; libvirt's plain `sclp` is another driver's (SCLP_VT220_CONSOLE).
    console="ttyS0",
    console_target="sclplm",
    # No early console: what earlyprintk prints here has lost its brackets, and reports in it would not be recognised.
    net_device="virtio-net-ccw",
    disk_device="virtio-blk-ccw",
    max_vcpus=8,
    no_numa="QEMU refuses -numa for s390-ccw-virtio",
    limits=(
        # 6.12 sums packets with vector instructions, and TCG gets the sum wrong: every TCP segment is dropped
        # (InCsumErrors). Without the facility the kernel uses CKSM.
        Limit(
            name="vector facility",
            reason="switched off: TCG computes wrong checksums with it",
            seen="7.2",
            mended="10.0",
            cpu_without=("vx", "vxeh", "vxeh2"),
        ),
        Limit(
            name="huge pages",
            reason="none, hugetlb or transparent: they need EDAT, which TCG does not have",
            seen="10.0",  # query-cpu-model-expansion of `max`: edat is false, vx is true
        ),
    ),
)
