# SPDX-License-Identifier: GPL-2.0-or-later
"""x86_64: QEMU q35."""

from types import MappingProxyType

from lab.arch.record import Arch, BootImage, Mmu
from lab.core.sizes import GIB, KIB, MIB

FRAGMENTS = {
    "arch-x86_64": """\
# Tells by /proc/PID/pagemap which pages a program has written since it last asked.
CONFIG_MEM_SOFT_DIRTY=y
# x86_64 on QEMU q35, with TCG or KVM.
CONFIG_64BIT=y
# Machines choose on the command line: both depths of page tables from one kernel.
CONFIG_X86_5LEVEL=y
CONFIG_SERIAL_8250=y
CONFIG_SERIAL_8250_CONSOLE=y
CONFIG_NR_CPUS=64
CONFIG_HZ_100=y

# Nodes and distances come from ACPI's SRAT, SLIT and HMAT.
CONFIG_ACPI=y
CONFIG_NUMA=y
CONFIG_ACPI_NUMA=y
CONFIG_X86_64_ACPI_NUMA=y
CONFIG_ACPI_HMAT=y

CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y

# PVH lets QEMU start vmlinux without firmware; the rest is a stable clock when KVM works.
CONFIG_HYPERVISOR_GUEST=y
CONFIG_PARAVIRT=y
CONFIG_KVM_GUEST=y
CONFIG_PVH=y

# Left out because it costs build or boot time under emulation and tests nothing here.
# CONFIG_CPU_MITIGATIONS is not set
# CONFIG_X86_MCE is not set
# CONFIG_X86_MPPARSE is not set
# CONFIG_X86_VSYSCALL_EMULATION is not set
# CONFIG_AMD_NUMA is not set
# CONFIG_PERF_EVENTS_INTEL_UNCORE is not set
# CONFIG_PERF_EVENTS_INTEL_RAPL is not set
# CONFIG_PERF_EVENTS_INTEL_CSTATE is not set
# This one selects CPU_FREQ, and that ACPI's processor, thermal and idle drivers.
# CONFIG_SCHED_MC_PRIO is not set
# CONFIG_CPU_FREQ is not set
# CONFIG_CPU_IDLE is not set
# CONFIG_ACPI_AC is not set
# CONFIG_ACPI_BATTERY is not set
# CONFIG_ACPI_PROCESSOR is not set
# CONFIG_ACPI_TABLE_UPGRADE is not set
# CONFIG_INTEL_MEI is not set
# CONFIG_THERMAL is not set
# CONFIG_HW_RANDOM_INTEL is not set
# CONFIG_HW_RANDOM_AMD is not set
# CONFIG_HW_RANDOM_VIA is not set
# CONFIG_SERIAL_8250_PCI is not set
# CONFIG_SERIAL_8250_EXAR is not set
# CONFIG_SERIAL_8250_PERICOM is not set
# CONFIG_SERIAL_8250_LPSS is not set
# CONFIG_SERIAL_8250_MID is not set
# CONFIG_X86_KERNEL_IBT is not set
# tinyconfig's xz is slow to unpack under emulation. Frame pointers make the stacks of an oops reliable.
CONFIG_KERNEL_GZIP=y
CONFIG_UNWINDER_FRAME_POINTER=y
# The PFN-mapping guards want to map physical memory.
# CONFIG_STRICT_DEVMEM is not set
""",
}

ARCH = Arch(
    name="x86_64",
    aliases=("x86-64", "amd64", "x86"),
    uname="x86_64",
    config_marks=("CONFIG_X86_64=y",),
    srat_cpus=("APIC", "X2APIC"),
    boot_mark=r"\be820: ?\[mem|BIOS-e820:|x86/PAT:|x86/fpu:|\bRIP: 00[13][0-9a-f]:",
    cpuinfo_marks=(("flags", r"fpu (?:.* )?lm\b.*"),),
    bits=64,
    elf_machine=62,
    byteorder="little",
    kernel_arch="x86",
    suite_arch="x86_64",
    cross="x86_64-linux-gnu-",
    packages=("gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross", "qemu-system-x86"),
    kernel_flavours=("amd64",),
    native_packages=("gcc", "libc6-dev", "qemu-system-x86"),
    # By PVH QEMU starts vmlinux itself: nothing is packed after a link, and nothing unpacked at boot. From QEMU's start
    # to the kernel's first line 0.30 s instead of 0.63 s, 0.15 s of QEMU's CPU time instead of 0.4 s (6.12 under TCG).
    image_target="vmlinux",
    image="vmlinux",
    fragments=MappingProxyType(FRAGMENTS),
    page_sizes=MappingProxyType({4 * KIB: ""}),
    mmus=MappingProxyType(
        {
            "4level": Mmu(
                description="4 levels of page tables",
                cmdline=("no5lvl",),
                cpuinfo_without=("flags", "la57"),
                virtual_bits=48,
                address_bits=48,
                user_bits=47,
            ),
            "la57": Mmu(
                description="5 levels of page tables",
                # The code that unpacks a bzImage is what switches to 5 levels; a kernel that PVH starts stays at 4.
                image=BootImage("bzImage", "arch/x86/boot/bzImage"),
                cpuinfo=("flags", "la57"),
                virtual_bits=57,
                address_bits=57,
                user_bits=56,
            ),
        }
    ),
    presets=("debug-vm", "fault-injection", "init-stack-pattern", "kasan", "kcsan", "lockdep", "ubsan"),
    hugepages=MappingProxyType({4 * KIB: (2 * MIB, GIB)}),
    qemu="qemu-system-x86_64",
    libvirt_arch="x86_64",
    machine="q35",
    cpu_only_machine="pc-q35-5.0",
    nodes_with_cpus_first=True,
    # With memory above 4G the bounce buffers take 64M of the node at the end of what is below it (pci_swiotlb_detect,
    # 6.12): "memory of node 7: asked 256M, got 187 MiB".
    small_nodes_cmdline=("swiotlb=noforce",),
    no_hmat="",
    cpu="max",
    cpu_flags=("pdpe1gb", "pku"),
    console="ttyS0",
    early_console="earlycon=uart8250,io,0x3f8",
    # The firmware would otherwise load and run an iPXE option ROM for the card: under TCG that is boot time.
    net_options="romfile=",
    features=("acpi", "apic"),
    # Loops per jiffy at 2.6 GHz and HZ=100; the value hardly matters, since no emulated device needs a delay. Without
    # it every CPU measures its own, 150 ms each and more on a busy host: 2.4 s of QEMU's CPU time to the ready line
    # against 1.5 s with it (6.12 under TCG, 4 CPUs).
    # On a host with 28 processes for 2 cores ten ticks of the emulated timer came too late: "IO-APIC + timer doesn't
    # work!", panic. The check guards against broken mainboards.
    cmdline=("lpj=26000000", "no_timer_check"),
)
