# SPDX-License-Identifier: GPL-2.0-or-later
"""alpha: EV67 on QEMU clipper, 8K pages."""

from types import MappingProxyType

from lab.arch.record import Arch, Limit
from lab.core.sizes import KIB

FRAGMENTS = {
    "arch-alpha": """\
CONFIG_ALPHA_DP264=y
CONFIG_ALPHA_EV67=y
CONFIG_SERIAL_8250=y
CONFIG_SERIAL_8250_CONSOLE=y
CONFIG_NR_CPUS=4
# The architecture has none of these.
# CONFIG_HUGETLBFS is not set
# CONFIG_CGROUP_HUGETLB is not set
# CONFIG_PERF_EVENTS is not set
# CONFIG_RSEQ is not set
# CONFIG_DEBUG_BUGVERBOSE is not set
""",
}

FIXES = {
    # Seen with 6.12.117.
    "arch/alpha/mm/fault.c calls a function that the architecture does not have": """\
--- a/arch/alpha/mm/fault.c
+++ b/arch/alpha/mm/fault.c
@@ -241,3 +241,2 @@
 		lsb = hstate_index_to_shift(VM_FAULT_GET_HINDEX(fault));
-	show_signal_msg(regs, address, SIGBUS, "hardware memory error");
 	force_sig_mceerr(BUS_MCEERR_AR, (void __user *) address, lsb);
""",  # noqa: E101 (kernel text: tabs)
}

ARCH = Arch(
    name="alpha",
    uname="alpha",
    config_marks=("CONFIG_ALPHA=y",),
    cpuinfo_marks=(("cpu", r"Alpha.*"),),
    bits=64,
    elf_machine=0x9026,
    byteorder="little",
    kernel_arch="alpha",
    cross="alpha-linux-gnu-",
    # GNU ld 2.40 relaxes the offsets of thread-local variables in static programs to wrong ones: they lack the 16 bytes
    # of the thread's control block, so glibc reads a null pointer before main (__ctype_init).
    ldflags=("-Wl,--no-relax",),
    packages=("gcc-alpha-linux-gnu", "libc6.1-dev-alpha-cross", "qemu-system-misc"),
    kernel_flavours=("alpha-generic", "alpha-smp"),
    image_target="vmlinux",
    image="vmlinux",
    fragments=MappingProxyType(FRAGMENTS),
    fixes=MappingProxyType(FIXES),
    page_sizes=MappingProxyType({8 * KIB: ""}),
    presets=("debug-vm",),
    hugepages=MappingProxyType({8 * KIB: ()}),
    qemu="qemu-system-alpha",
    libvirt_arch="alpha",
    machine="clipper",
    cpu="ev67",
    libvirt_cpus=False,
    console="ttyS0",
    early_console="earlycon=uart8250,io,0x3f8",
    net_options="romfile=",
    max_vcpus=4,
    no_numa="QEMU refuses -numa for clipper",
    limits=(
        Limit(
            name="no snapshots",
            reason="QEMU's clipper dies while it is being saved",
            seen="7.2",
            mended="10.0",
            no_save=True,
        ),
        # What QEMU 10.0 loads answers an interrupt of the serial line, and prints nothing that a timer would wake.
        Limit(
            name="no restored guests",
            reason="a guest that QEMU's clipper has loaded gets no timer interrupts",
            seen="10.0",
            no_save=True,
        ),
    ),
)
