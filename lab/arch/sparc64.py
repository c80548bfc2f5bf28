# SPDX-License-Identifier: GPL-2.0-or-later
"""sparc64: big-endian UltraSPARC on QEMU sun4u, 8K pages, one CPU."""

from types import MappingProxyType

from lab.arch.record import Arch, Limit
from lab.core.sizes import KIB, MIB

FRAGMENTS = {
    "arch-sparc64": """\
CONFIG_64BIT=y
CONFIG_SERIAL_SUNSU=y
CONFIG_SERIAL_SUNSU_CONSOLE=y
CONFIG_HZ_100=y
CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y
CONFIG_NR_CPUS=4
# The architecture has none of these.
# CONFIG_RSEQ is not set
""",
}

FIXES = {
    # Seen with 6.12.117: fs/fcntl.c stops the build (BUILD_BUG_ON in fcntl_init), since 1 << 25 is __O_TMPFILE here.
    "FMODE_NONOTIFY has the bit of sparc's O_TMPFILE": """\
--- a/include/linux/fs.h
+++ b/include/linux/fs.h
@@ -180,9 +180,9 @@
  */
-#define FMODE_NONOTIFY		((__force fmode_t)(1 << 25))
+#define FMODE_NONOTIFY		((__force fmode_t)(1 << 26))
 
 /*
  * Together with FMODE_NONOTIFY defines which fsnotify events shouldn't be
  * generated (see below)
  */
-#define FMODE_NONOTIFY_PERM	((__force fmode_t)(1 << 26))
+#define FMODE_NONOTIFY_PERM	((__force fmode_t)(1 << 25))
 
""",  # noqa: W293 (a context line that is empty)
}

ARCH = Arch(
    name="sparc64",
    aliases=("sun4u",),
    uname="sparc64",
    config_marks=("CONFIG_SPARC64=y",),
    boot_mark=r"ARCH: SUN4[UV]|PROMLIB: Sun IEEE Boot Prom",
    cpuinfo_marks=(("type", r"sun4.*"),),
    bits=64,
    elf_machine=43,
    byteorder="big",
    kernel_arch="sparc64",
    cross="sparc64-linux-gnu-",
    packages=("gcc-sparc64-linux-gnu", "libc6-dev-sparc64-cross", "qemu-system-sparc"),
    kernel_flavours=("sparc64", "sparc64-smp"),
    image_target="vmlinux",
    image="vmlinux",
    fragments=MappingProxyType(FRAGMENTS),
    fixes=MappingProxyType(FIXES),
    page_sizes=MappingProxyType({8 * KIB: ""}),
    presets=("debug-vm", "lockdep"),
    # The kernel lists 256M and 2G too, which this CPU's MMU does not have.
    hugepages=MappingProxyType({8 * KIB: (64 * KIB, 8 * MIB)}),
    qemu="qemu-system-sparc64",
    libvirt_arch="sparc64",
    machine="sun4u",
    cpu="TI-UltraSparc-IIi",
    libvirt_cpus=False,
    console="ttyS0",
    net_options="bus=pciB,romfile=",
    max_vcpus=1,
    no_numa="QEMU's sun4u has one CPU and refuses -numa",
    notes=MappingProxyType(
        {
            "sigbus": "a system call that meets the end of an object fails with EFAULT and sends SIGBUS too (6.12)",
            "colours": "MAP_FIXED and MREMAP_FIXED of shared mappings agree with the object modulo 16K, else EINVAL",
        }
    ),
    limits=(
        Limit(
            name="no snapshots",
            reason="QEMU's sun4u dies while it is being saved",
            seen="7.2",
            mended="10.0",
            no_save=True,
        ),
        # "VQ 2 size 0x400 Guest index 0x0 inconsistent with Host index"
        Limit(
            name="no restored guests",
            reason="QEMU finds the queues of sun4u's virtio devices inconsistent while it loads what it saved",
            seen="10.0",
            no_save=True,
        ),
    ),
)
