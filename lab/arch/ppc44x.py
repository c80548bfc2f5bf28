# SPDX-License-Identifier: GPL-2.0-or-later
"""ppc44x: big-endian 32-bit PowerPC 440EP on QEMU bamboo, with pages of 256K."""

from types import MappingProxyType

from lab.arch.record import Arch, Limit
from lab.core.sizes import KIB

FRAGMENTS = {
    "arch-ppc44x": """\
CONFIG_44x=y
CONFIG_BAMBOO=y
# CONFIG_EBONY is not set
CONFIG_SERIAL_8250=y
CONFIG_SERIAL_8250_CONSOLE=y
CONFIG_SERIAL_OF_PLATFORM=y
CONFIG_HZ_100=y
# One processor.
# CONFIG_SMP is not set
# CONFIG_CPUSETS is not set
# CONFIG_RCU_CPU_STALL_TIMEOUT is not set
# CONFIG_HUGETLBFS is not set
# CONFIG_CGROUP_HUGETLB is not set
# CONFIG_SERIAL_8250_PCI is not set
# CONFIG_SERIAL_8250_EXAR is not set
# The block layer refuses a disk whose largest request (255 sectors by default) is less than a page.
# CONFIG_ZRAM is not set
# What a userland with 32 bits of time_t calls.
CONFIG_COMPAT_32BIT_TIME=y
# The PFN-mapping guards want to map physical memory.
# CONFIG_STRICT_DEVMEM is not set
""",
    "ppc44x-256k": """\
CONFIG_PPC_256K_PAGES=y
""",
}

FIXES = {
    # Seen with 6.12.117: the first instruction of init misses the TLB for ever. Hardware ignores the bits below the
    # page size in an entry's effective page number, QEMU 7.2 compares them, and the handler clears 16 of the 18.
    "effective page number of a 256K TLB entry is not clean": """\
--- a/arch/powerpc/kernel/head_44x.S
+++ b/arch/powerpc/kernel/head_44x.S
@@ -530,5 +530,5 @@
 	 */
 	li	r11,PPC44x_TLB_VALID | PPC44x_TLBE_SIZE
 	/* Insert valid and page size */
-	rlwimi	r10,r11,0,PPC44x_PTE_ADD_MASK_BIT,31
+	rlwimi	r10,r11,0,32-PAGE_SHIFT,31
 	tlbwe	r10,r13,PPC44x_TLB_PAGEID	/* Write PAGEID */
""",  # noqa: E101 (the kernel's tabs)
}

ARCH = Arch(
    name="ppc44x",
    aliases=("ppc440", "bamboo"),
    uname="ppc",
    config_marks=("CONFIG_44x=y",),
    cpuinfo_marks=(("cpu", r"440.*"),),
    bits=32,
    elf_machine=20,
    byteorder="big",
    kernel_arch="powerpc",
    cross="powerpc-linux-gnu-",
    # A page must not hold the end of one segment and the start of the next; the linker's default is for 64K.
    ldflags=("-Wl,-z,max-page-size=0x40000",),
    packages=("gcc-powerpc-linux-gnu", "libc6-dev-powerpc-cross", "qemu-system-ppc"),
    kernel_flavours=("powerpc", "powerpc-smp"),
    image_target="vmlinux",
    image="vmlinux",
    fragments=MappingProxyType(FRAGMENTS),
    fixes=MappingProxyType(FIXES),
    page_sizes=MappingProxyType({256 * KIB: "ppc44x-256k"}),
    presets=("debug-vm", "lockdep", "ubsan"),
    hugepages=MappingProxyType({256 * KIB: ()}),
    qemu="qemu-system-ppc",
    libvirt_arch="ppc",
    machine="bamboo",
    cpu="440epb",
    libvirt_cpus=False,
    console="ttyS0",
    net_options="romfile=",
    max_vcpus=1,
    no_numa="QEMU's bamboo has one CPU",
    limits=(
        # QEMU 10.0 loads it; whether the guest then works has not been tried, and one of alpha does not.
        Limit(
            name="no snapshots",
            reason="QEMU cannot load what it saved of a 440 ('Missing section footer for cpu')",
            seen="7.2",
            mended="10.0",
            no_save=True,
        ),
        Limit(
            name="no restored guests",
            reason="a 440 that QEMU has loaded does not answer over its network",
            seen="10.0",  # "SSH to the guest failed: SSHException: No existing session"
            no_save=True,
        ),
    ),
)
