# SPDX-License-Identifier: GPL-2.0-or-later
"""riscv64: QEMU virt, booted through OpenSBI, with 3, 4 or 5 levels of page tables from one kernel."""

from types import MappingProxyType

from lab.arch.record import NO_TIMERS, Arch, Limit, Mmu
from lab.core.sizes import GIB, KIB, MIB

FRAGMENTS = {
    "arch-riscv64": """\
CONFIG_64BIT=y
CONFIG_ARCH_RV64I=y
CONFIG_ARCH_VIRT=y
CONFIG_FPU=y
CONFIG_RISCV_SBI=y
# QEMU 7.2's device tree has no riscv,isa-base: without the fallback 6.12 finds no hart and hangs without a word.
CONFIG_RISCV_ISA_FALLBACK=y
CONFIG_SERIAL_8250=y
CONFIG_SERIAL_8250_CONSOLE=y
CONFIG_SERIAL_OF_PLATFORM=y
CONFIG_PCI_HOST_GENERIC=y
CONFIG_NR_CPUS=64
CONFIG_HZ_100=y

# Nodes and distances come from the device tree.
CONFIG_NUMA=y

CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y

# Left out because it costs build or boot time under emulation and tests nothing here.
# Off needs this on.
CONFIG_NONPORTABLE=y
# CONFIG_EFI is not set
# CONFIG_RISCV_ISA_V is not set
# CONFIG_RANDOMIZE_BASE is not set
# The PFN-mapping guards want to map physical memory.
# CONFIG_STRICT_DEVMEM is not set
""",
    # Without it 6.1 has no driver of the machine's interrupt controller, and no console. Later the architecture selects
    # that driver, and SOC_VIRT became ARCH_VIRT.
    "arch-riscv64-before-6.12": """\
CONFIG_SOC_VIRT=y
""",
}

ARCH = Arch(
    name="riscv64",
    aliases=("riscv",),
    uname="riscv64",
    config_marks=("CONFIG_RISCV=y",),
    srat_cpus=("HARTID",),
    boot_mark=r"SBI specification v|riscv: (?:base )?ISA|status: [0-9a-f]{16} badaddr: |riscv,isa(?:-base)? = \"rv64",
    cpuinfo_marks=(("isa", r"rv64.*"),),
    bits=64,
    elf_machine=243,
    byteorder="little",
    kernel_arch="riscv",
    cross="riscv64-linux-gnu-",
    packages=("gcc-riscv64-linux-gnu", "libc6-dev-riscv64-cross", "qemu-system-misc", "opensbi"),
    kernel_flavours=("riscv64",),
    image_target="Image",
    image="arch/riscv/boot/Image",
    fragments=MappingProxyType(FRAGMENTS),
    page_sizes=MappingProxyType({4 * KIB: ""}),
    mmus=MappingProxyType(
        {
            "sv39": Mmu(
                description="3 levels of page tables",
                cmdline=("no4lvl", "no5lvl"),
                cpuinfo=("mmu", "sv39"),
                address_bits=39,
                user_bits=38,
            ),
            "sv48": Mmu(
                description="4 levels of page tables",
                cmdline=("no5lvl",),
                cpuinfo=("mmu", "sv48"),
                address_bits=48,
                user_bits=47,
            ),
            "sv57": Mmu(description="5 levels of page tables", cpuinfo=("mmu", "sv57"), address_bits=57, user_bits=56),
        }
    ),
    presets=("debug-vm", "kasan", "lockdep", "ubsan"),
    hugepages=MappingProxyType({4 * KIB: (2 * MIB, GIB)}),
    qemu="qemu-system-riscv64",
    libvirt_arch="riscv64",
    machine="virt",
    cpu="rv64",
    libvirt_cpus=False,
    console="ttyS0",
    early_console="earlycon",
    net_options="romfile=",
    limits=(
        # With nodes the machine has an interrupt controller per node, and on the second one the network card is silent.
        Limit(
            name="interrupts",
            reason="with nodes the second PLIC never interrupts: machines have the advanced controller (APLIC)",
            seen="7.2",
            qemu_args=("-machine", "aia=aplic"),
        ),
        NO_TIMERS,
    ),
    max_vcpus=8,
    # QEMU's virt makes a node of each of its sockets, has four of them, and looks for the first CPU of each.
    max_nodes=4,
    no_memory_only="QEMU's virt wants a CPU on every node",
)
