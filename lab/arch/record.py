# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab knows about an architecture: one frozen record, every field with its meaning.

A quirk of an architecture is a field here with its evidence, never a test of the architecture's name elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from lab.core.qemu_version import release
from lab.core.sizes import MIB

OLDER = "-before-"
"""In the name of a fragment for older kernels: NAME-before-X.Y."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What an emulator cannot do or gets wrong, the versions of QEMU for which that is known, and what the lab does."""

    name: str
    """What is limited, in a word or two."""
    reason: str
    seen: str
    """The latest version of QEMU that it was seen with, such as `7.2`."""
    mended: str | None = None
    """The first version of QEMU that was seen without it; None while none is known."""
    no_save: bool = False
    """Whether guests are not saved because of it, so that every guest has to boot."""
    cpu_without: tuple[str, ...] = ()
    """Features of the architecture's CPU model that are switched off because of it."""
    qemu_args: tuple[str, ...] = ()
    """QEMU's arguments that avoid it."""

    def holds(self, version: str) -> bool:
        """Return whether a version of QEMU has this limit; one that is not known has."""
        return self.mended is None or release(version) < release(self.mended)

    def __str__(self) -> str:
        return f"{self.reason} (seen with QEMU {self.seen})"


NO_TIMERS = Limit(
    name="no restored guests", reason="a timer of a guest that QEMU has loaded never fires", seen="7.2", no_save=True
)
"""Of several architectures: QEMU loads a guest without arming its timers."""


@dataclass(frozen=True, slots=True)
class BootImage:
    """A bootable image that kbuild makes."""

    target: str
    """make's target."""
    path: str
    """Where it lies below the build directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mmu:
    """One way in which kernels of an architecture translate addresses: levels of page tables, radix or hash, PAE."""

    description: str
    fragment: str = ""
    """The one of the record's `fragments` that builds this mode into the kernel; empty if every kernel has it."""
    cmdline: tuple[str, ...] = ()
    """Kernel arguments that choose it."""
    cpuinfo: tuple[str, str] | None = None
    """A key of /proc/cpuinfo and a word that its value contains in this mode; verified in the guest."""
    cpuinfo_without: tuple[str, str] | None = None
    """A key of /proc/cpuinfo and a word that its value must not have."""
    hugepages: Mapping[int, tuple[int, ...]] | None = None
    """The huge pages of this mode, as in the record; None if they are the record's."""
    no_numa: str = ""
    """Why a kernel in this mode cannot have several nodes although the architecture can; empty if it can."""
    virtual_bits: int = 0
    """Bits of an address, as lscpu prints them; 0 where it prints none."""
    address_bits: int = 0
    """Bits of a virtual address, by which a topology can choose the mode; 0 where there is no choice."""
    user_bits: int = 0
    """Of them those that a program has, with addresses from 0 on: one less where the upper half is the kernel's."""
    page_sizes: tuple[int, ...] = ()
    """The page sizes with which kernels have this mode; empty for all."""
    image: BootImage | None = None
    """What a machine in this mode boots, where that is not what the architecture's others boot."""


OTHER_CPUINFO = (("isa", r"rv32.*", "riscv32"), ("family", r".*Itanium.*", "ia64"))
"""The same as `cpuinfo_marks`, with its name, of architectures that machines have and the lab has not."""

PLAIN = Mmu(description="the only one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arch:
    """One architecture. Sizes are in bytes, times in seconds."""

    # Names.
    name: str
    """The lab's name; topologies and results use it."""
    aliases: tuple[str, ...] = ()
    """Other spellings that are accepted (kernel ARCH=, QEMU's, Debian's)."""
    uname: str
    """What `uname -m` prints in a guest; verified."""
    bits: Literal[32, 64]
    byteorder: Literal["little", "big"]
    elf_machine: int
    """Number of the machine (e_machine) in its programs."""
    srat_cpus: tuple[str, ...] = ()
    """What the kernel's log calls a CPU that ACPI's SRAT has, in capital letters."""
    boot_mark: str = ""
    """A regular expression that only lines of its kernels' log have; empty if none is known."""
    config_marks: tuple[str, ...] = ()
    """Regular expressions: a kernel is of this architecture if each is a whole line of its configuration."""
    cpuinfo_marks: tuple[tuple[str, str], ...] = ()
    """A key of /proc/cpuinfo, and a regular expression that its whole value matches on this architecture alone."""

    # Kernel and compiler.
    kernel_arch: str
    """ARCH= of the kernel's Makefile."""
    suite_arch: str = ""
    """ARCH= of tools/testing/selftests, where that is another: x86 is none of the names that mm's makefile knows."""
    cross: str
    """Prefix of the cross compiler, e.g. `aarch64-linux-gnu-`."""
    packages: tuple[str, ...]
    """Debian packages that compile for and emulate this architecture (on a host of another architecture)."""
    kernel_flavours: tuple[str, ...] = ()
    """What Debian's kernels for it are called behind `linux-image-`; empty if it has none."""
    debian_since: int = 12
    """The first release of Debian whose packages compile for and emulate this architecture."""
    ldflags: tuple[str, ...] = ()
    """Arguments for the compiler when it links programs for guests."""
    native_packages: tuple[str, ...] = ()
    """The same on a host of this architecture."""
    image_target: str
    """make target of the bootable image."""
    image: str
    """Where that image lies below the build directory."""
    fragments: Mapping[str, str]
    """Kconfig text by name, merged over images/config/base.config: `arch-<name>` is in every kernel of this
    architecture, the others are chosen by page size and MMU mode. `NAME-before-X.Y` is what kernels older than X.Y
    need otherwise where they have the fragment NAME."""
    page_sizes: Mapping[int, str]
    """Page size -> which of `fragments` selects it, '' when there is no choice."""
    usual_page_size: int = 0
    """The one that most distributions' kernels have, for a machine of which it is not known; 0 for the smallest."""
    fixes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Reason -> unified diff that some trees need to compile for this architecture or to boot on its emulator. It is
    applied to every tree to which it applies, for baseline and patched kernel alike; the build's provenance names the
    applied ones."""
    mmus: Mapping[str, Mmu] = field(default_factory=lambda: MappingProxyType({"": PLAIN}))
    """Name -> MMU mode; a topology that names none gets the first."""
    presets: tuple[str, ...] = ()
    """Debug presets (fragments in images/config) that its kernels can have, by Kconfig of 6.12: kasan needs
    HAVE_ARCH_KASAN (on powerpc with the radix MMU alone), ubsan ARCH_HAS_UBSAN, lockdep LOCKDEP_SUPPORT and a kernel
    that can be preempted, kcsan HAVE_ARCH_KCSAN."""
    hugepages: Mapping[int, tuple[int, ...]]
    """Base page size -> hugetlb page sizes that exist with it."""

    # Machine.
    qemu: str
    """Name of the emulator's binary."""
    libvirt_arch: str
    """<type arch=...> of the domain XML."""
    machine: str
    """<type machine=...>: QEMU's machine."""
    cpu: str
    """CPU model under TCG."""
    cpu_args: tuple[str, ...] = ()
    """QEMU's arguments that change properties of this model. Machines with another model do not get them."""
    libvirt_cpus: bool = True
    """Whether libvirt has a CPU driver for the architecture. Where it has none (9.0: "architecture is not supported by
    CPU driver") the domain has no <cpu>, and QEMU is told directly the model and the nodes, which are within it."""
    cpu_flags: tuple[str, ...] = ()
    """Flags of that model in /proc/cpuinfo that matter to memory management: MATTER in
    lab/workflows/machine/shrink.py."""
    console: str
    """console= on the kernel's command line."""
    early_console: str = ""
    """Kernel argument that shows messages from the first one on, before that console's driver is there; empty where the
    kernel shows them without it."""
    console_target: Literal["serial", "sclplm"] = "serial"
    """<target type=...> of the libvirt console device."""
    net_device: str = "virtio-net-pci"
    """QEMU's -device for the guest's network."""
    net_options: str = ""
    """Further properties of that device, e.g. `romfile=`."""
    disk_device: str = "virtio-blk-pci"
    """QEMU's -device for the disk with a guest's root; empty if the machine can have none."""
    cmdline: tuple[str, ...] = ()
    """Kernel arguments that every guest of this architecture needs."""
    qemu_args: tuple[str, ...] = ()
    """QEMU's arguments for every machine of this architecture, for what libvirt cannot express."""
    features: tuple[str, ...] = ()
    """Elements of the domain XML's <features>, e.g. `acpi`."""
    max_vcpus: int = 64
    min_memory: int = 64 * MIB
    """The least memory (bytes) with which a guest boots."""
    no_numa: str = ""
    """Why this architecture or its emulator cannot have several nodes; empty when it can."""
    max_nodes: int = 64
    """NUMA nodes that the emulator and the kernel can have."""
    kernel_nodes: int = 64
    """NUMA nodes that a kernel has without the fragment `many-nodes`: two to the power of NODES_SHIFT's default."""
    nodes_with_cpus_first: bool = False
    """Whether Linux numbers nodes with CPUs before those without, whatever the firmware's numbers are.

    On x86 a node gets its number where SRAT first names it, and the processors' entries are read before those of memory
    (acpi_numa_init, 6.12).
    """
    no_memory_only: str = ""
    """Why a node cannot be without CPUs; empty when it can."""
    node_grain: int = 64 * MIB
    """Bytes of which a node's memory is a multiple."""
    small_nodes_cmdline: tuple[str, ...] = ()
    """Kernel arguments for a machine that has nodes of less than a gibibyte, so that none is used up at boot."""
    plain_vcpus: int = 64
    """CPUs that the machine has without `more_vcpus_args`."""
    more_vcpus_args: tuple[str, ...] = ()
    """QEMU's arguments for a machine with more CPUs than `plain_vcpus`."""
    limits: tuple[Limit, ...] = ()
    """What QEMU cannot do or gets wrong, in the versions that each of them names."""
    cpu_only_machine: str = ""
    """QEMU's machine for a topology with a node without memory; empty if there is none.

    libvirt 9.0 gives every node a memory backend, also one of size 0, which QEMU refuses. For versions of a machine
    that still know `-numa node,mem=` (5.0 was the last) it uses that instead, and 0 is fine there.
    """
    no_hmat: str = "no ACPI tables reach its kernels"
    """Why guests cannot be told latencies and bandwidths of memory (ACPI's HMAT); empty when they can."""
    tcg_slowdown: float = 10.0
    """The factor from a deadline on hardware to one under TCG; generous, because hosts are busy."""
    notes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Limits that users should know and that no version of QEMU changes, name -> reason; shown by `lab list arches`."""

    def __post_init__(self) -> None:
        if not self.page_sizes or any(size & (size - 1) for size in self.page_sizes):
            raise ValueError(f"arch {self.name}: page sizes must be powers of two")
        if self.usual_page_size and self.usual_page_size not in self.page_sizes:
            raise ValueError(f"arch {self.name}: its usual page size is none of its page sizes")
        if set(self.hugepages) - set(self.page_sizes):
            raise ValueError(f"arch {self.name}: hugepages named for a page size it does not have")
        named = {self.config_fragment, *self.page_sizes.values(), *(mmu.fragment for mmu in self.mmus.values())} - {""}
        if lacking := named ^ {name.partition(OLDER)[0] for name in self.fragments}:
            raise ValueError(f"arch {self.name}: fragments without text, or text that nothing names: {lacking}")

    def limits_of(self, version: str) -> tuple[Limit, ...]:
        """Return the limits that a version of QEMU has, such as `7.2.22 (Debian ...)`; all if it is not known."""
        return tuple(limit for limit in self.limits if limit.holds(version))

    def no_save(self, version: str) -> str:
        """Return why that version of QEMU cannot save a guest and restore it; empty if it can."""
        return "; ".join(str(limit) for limit in self.limits_of(version) if limit.no_save)

    def cpu_without(self, version: str) -> tuple[str, ...]:
        """Return the features of the CPU model that are switched off with that version of QEMU."""
        return tuple(name for limit in self.limits_of(version) for name in limit.cpu_without)

    def arguments(self, version: str) -> tuple[str, ...]:
        """Return the arguments that every machine of this architecture gets with that version of QEMU."""
        return (*self.qemu_args, *(word for limit in self.limits_of(version) for word in limit.qemu_args))

    def packages_on(self, machine: str) -> tuple[str, ...]:
        """Debian packages that compile for and emulate this architecture on a host whose `uname -m` is `machine`."""
        return self.native_packages if machine == self.uname else self.packages

    @property
    def elf_header(self) -> tuple[int, int, int]:
        """Width, byte order and number of the machine, as the header of an ELF file has them."""
        widths = {32: 1, 64: 2}
        orders = {"little": 1, "big": 2}
        return widths[self.bits], orders[self.byteorder], self.elf_machine

    @property
    def debian(self) -> str:
        """Debian's name of the architecture, which the package of its C library for cross compilers has."""
        for package in self.packages:
            if match := re.fullmatch(r"libc6\S*-dev-(\S+)-cross", package):
                return match[1]
        raise ValueError(f"arch {self.name}: packages name no C library for cross compilers")

    @property
    def config_fragment(self) -> str:
        """The fragment that every kernel of this architecture merges."""
        return f"arch-{self.name}"
