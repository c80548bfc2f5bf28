# SPDX-License-Identifier: GPL-2.0-or-later
"""arm64: QEMU virt, booted from the device tree."""

from types import MappingProxyType

from lab.arch.record import GIB, KIB, MIB, Arch

ARCH = Arch(
    name="arm64",
    aliases=("aarch64",),
    uname="aarch64",
    bits=64,
    byteorder="little",
    kernel_arch="arm64",
    cross="aarch64-linux-gnu-",
    packages=("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-system-arm"),
    native_packages=("gcc", "libc6-dev", "qemu-system-arm"),
    image_target="Image",
    image="arch/arm64/boot/Image",
    page_sizes=MappingProxyType({4 * KIB: "arm64-4k", 16 * KIB: "arm64-16k", 64 * KIB: "arm64-64k"}),
    hugepages=MappingProxyType(
        {
            4 * KIB: (64 * KIB, 2 * MIB, 32 * MIB, GIB),
            16 * KIB: (2 * MIB, 32 * MIB, GIB),
            64 * KIB: (2 * MIB, 512 * MIB, 16 * GIB),
        }
    ),
    qemu="qemu-system-aarch64",
    libvirt_arch="aarch64",
    machine="virt",
    cpu="max",
    console="ttyAMA0",
    net_options="romfile=",
    notes=MappingProxyType(
        {"thp": "with 64K pages shmem cannot have PMD-sized huge pages: order 13 is above MAX_PAGECACHE_ORDER (11)"}
    ),
)
