# SPDX-License-Identifier: GPL-2.0-or-later
"""loongarch64: QEMU virt, booted without firmware, with pages of 4, 16 and 64 KiB.

Debian 13 is the first release with a C library for its cross compiler. With its QEMU 10.0 guests with pages of 16 KiB
were verified; those with 4 and 64 KiB have not been booted.
"""

from types import MappingProxyType

from lab.arch.record import Arch
from lab.core.sizes import KIB, MIB

FRAGMENTS = {
    "arch-loongarch64": """\
CONFIG_64BIT=y
CONFIG_CPU_HAS_FPU=y
# Debian's C library uses 128-bit vectors: without them init dies of SIGILL.
CONFIG_CPU_HAS_LSX=y
CONFIG_SERIAL_8250=y
CONFIG_SERIAL_8250_CONSOLE=y
CONFIG_SERIAL_OF_PLATFORM=y
CONFIG_PCI_HOST_GENERIC=y
CONFIG_NR_CPUS=64
CONFIG_HZ_100=y

CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y

# Left out because it costs build or boot time under emulation and tests nothing here.
# CONFIG_CPU_HAS_LBT is not set
# CONFIG_RANDOMIZE_BASE is not set
# The PFN-mapping guards want to map physical memory.
# CONFIG_STRICT_DEVMEM is not set
""",
    "loongarch64-4k": "CONFIG_4KB_3LEVEL=y\n",
    "loongarch64-16k": "CONFIG_16KB_3LEVEL=y\n",
    "loongarch64-64k": "CONFIG_64KB_3LEVEL=y\n",
}

FIXES = {
    # Seen with 6.12.117: kernel BUG in vmap_range_noflush, before there is a console. virtio needs no I/O space.
    "QEMU's PCI I/O space begins at 16 KiB, within a page of 64 KiB": """\
--- a/drivers/pci/pci.c
+++ b/drivers/pci/pci.c
@@ -4189,2 +4189,3 @@
-	if (res->end > IO_SPACE_LIMIT)
+	if (res->end > IO_SPACE_LIMIT ||
+	    !PAGE_ALIGNED(vaddr | phys_addr | resource_size(res)))
 		return -EINVAL;
""",  # noqa: E101 (the kernel's tabs)
}

ARCH = Arch(
    name="loongarch64",
    aliases=("loongarch", "loong64"),
    uname="loongarch64",
    config_marks=("CONFIG_LOONGARCH=y",),
    srat_cpus=("CPU",),
    boot_mark=r"64-bit Loongson Processor probed",
    cpuinfo_marks=(("CPU Family", r".*Loongson.*"),),
    bits=64,
    elf_machine=258,
    byteorder="little",
    kernel_arch="loongarch",
    cross="loongarch64-linux-gnu-",
    packages=("gcc-loongarch64-linux-gnu", "libc6-dev-loong64-cross", "qemu-system-misc"),
    kernel_flavours=("loong64",),
    debian_since=13,
    image_target="vmlinux",
    image="vmlinux",
    fragments=MappingProxyType(FRAGMENTS),
    page_sizes=MappingProxyType({4 * KIB: "loongarch64-4k", 16 * KIB: "loongarch64-16k", 64 * KIB: "loongarch64-64k"}),
    usual_page_size=16 * KIB,
    presets=("debug-vm", "ubsan"),
    fixes=MappingProxyType(FIXES),
    hugepages=MappingProxyType({4 * KIB: (2 * MIB,), 16 * KIB: (32 * MIB,), 64 * KIB: (512 * MIB,)}),
    qemu="qemu-system-loongarch64",
    libvirt_arch="loongarch64",
    machine="virt",
    cpu="la464",
    libvirt_cpus=False,
    console="ttyS0",
    early_console="earlycon",
    net_options="romfile=",
    # Bounce buffers, which it does not need, take 64M of every machine (arch_mem_init in setup.c, 6.12).
    cmdline=("swiotlb=noforce",),
    max_vcpus=4,
    no_numa="its kernel reads nodes from ACPI, which QEMU's virt has with firmware alone",
)
