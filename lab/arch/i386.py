# SPDX-License-Identifier: GPL-2.0-or-later
"""i386: 32-bit x86 on QEMU q35, with plain two-level page tables or with PAE and highmem."""

from types import MappingProxyType

from lab.arch.record import Arch, Mmu
from lab.core.sizes import KIB, MIB

FRAGMENTS = {
    "arch-i386": """\
# CONFIG_64BIT is not set
CONFIG_M686=y
CONFIG_SERIAL_8250=y
CONFIG_SERIAL_8250_CONSOLE=y
CONFIG_NR_CPUS=8
# System calls with 32 bits of time, futex among them: what a C library of 32 bits still calls first.
CONFIG_COMPAT_32BIT_TIME=y
CONFIG_HZ_100=y
CONFIG_ACPI=y
CONFIG_X86_LOCAL_APIC=y
# Without it the clock has the 10 ms of a jiffy: under TCG the TSCs differ, and the ACPI timer fails the check of
# its rate that 32-bit kernels make.
CONFIG_HPET_TIMER=y

# Left out because it costs build or boot time under emulation and tests nothing here.
# CONFIG_CPU_MITIGATIONS is not set
# CONFIG_X86_MCE is not set
# CONFIG_X86_MPPARSE is not set
# CONFIG_PERF_EVENTS_INTEL_UNCORE is not set
# CONFIG_PERF_EVENTS_INTEL_RAPL is not set
# CONFIG_PERF_EVENTS_INTEL_CSTATE is not set
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
# CONFIG_HW_RANDOM_GEODE is not set
# CONFIG_SERIAL_8250_PCI is not set
# CONFIG_SERIAL_8250_EXAR is not set
# CONFIG_SERIAL_8250_PERICOM is not set
# CONFIG_SERIAL_8250_LPSS is not set
# CONFIG_SERIAL_8250_MID is not set
CONFIG_KERNEL_GZIP=y
CONFIG_UNWINDER_FRAME_POINTER=y
# The PFN-mapping guards want to map physical memory.
# CONFIG_STRICT_DEVMEM is not set
""",
    "i386-nopae": """\
CONFIG_HIGHMEM4G=y
""",
    "i386-pae": """\
CONFIG_HIGHMEM64G=y
CONFIG_X86_BIGSMP=y
CONFIG_NUMA=y
CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y
""",
}

ARCH = Arch(
    name="i386",
    aliases=("i686", "x86_32", "x86-32"),
    uname="i686",
    config_marks=("CONFIG_X86_32=y",),
    boot_mark=r"Linux version \d\S{0,60}[-.]i?[3-6]86\b|\bEIP: (?:00[67][0-9a-f]:|\w+\+0x)",
    cpuinfo_marks=(("flags", r"fpu (?!(?:.* )?(?:lm|pdpe1gb|rdtscp)\b)(?!.*\.\.).*"),),
    bits=32,
    elf_machine=3,
    byteorder="little",
    kernel_arch="i386",
    cross="i686-linux-gnu-",
    packages=("gcc-i686-linux-gnu", "libc6-dev-i386-cross", "qemu-system-x86"),
    kernel_flavours=("686", "686-pae"),
    image_target="bzImage",
    image="arch/x86/boot/bzImage",
    fragments=MappingProxyType(FRAGMENTS),
    page_sizes=MappingProxyType({4 * KIB: ""}),
    mmus=MappingProxyType(
        {
            "nopae": Mmu(
                description="2 levels of page tables, highmem up to 4 GiB",
                fragment="i386-nopae",
                no_numa="a 32-bit x86 kernel has nodes only with HIGHMEM64G (arch/x86/Kconfig): mmu: pae",
            ),
            "pae": Mmu(
                description="3 levels of page tables (PAE), highmem up to 64 GiB",
                fragment="i386-pae",
                hugepages=MappingProxyType({4 * KIB: (2 * MIB,)}),
            ),
        }
    ),
    presets=("debug-vm", "lockdep", "ubsan"),
    hugepages=MappingProxyType({4 * KIB: (4 * MIB,)}),
    qemu="qemu-system-i386",
    libvirt_arch="i686",
    machine="q35",
    cpu="max",
    # In qemu-system-i386 `max` is an Athlon of family 6: the kernel warns at boot that it is not made for several CPUs.
    # These are the numbers that `max` has in qemu-system-x86_64.
    cpu_args=tuple(
        word for name in ("family=15", "model=107", "stepping=1") for word in ("-global", f"max-i386-cpu.{name}")
    ),
    console="ttyS0",
    early_console="earlycon=uart8250,io,0x3f8",
    net_options="romfile=",
    features=("acpi", "apic"),
    cmdline=("lpj=26000000", "no_timer_check"),  # as on x86_64
    max_vcpus=8,
    max_nodes=8,
    nodes_with_cpus_first=True,
)
