# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels that exist already: a bootable image of this host, or a distribution's package. Nothing is compiled.

    image:DIR/boot/vmlinuz-X        with DIR/boot/config-X and the modules in DIR/lib/modules/X
    debian:linux-image-...          the package, for the machine's architecture; a package without an image names one

Modules that a guest of the lab needs are put into the initramfs with what they depend on; the others stay away.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from lab.arch.record import Arch
from lab.build import programs
from lab.build.roots import apt
from lab.build.roots.apt import AptRoot
from lab.build.roots.packed import unpack
from lab.core import paths, proc
from lab.core.cache import Cache, digest, file_digest, write_atomic
from lab.core.errors import InfraError, LabError, UsageError, did_you_mean
from lab.core.paths import IMAGE, user_path
from lab.core.progress import Progress, silent
from lab.evidence.metadata import Provenance
from lab.formats import cpio, elf, kconfig, kernel_image
from lab.specs import arches, kernel_packages
from lab.specs.model import Kernel, Topology

MODULES = "modules.cpio"
WANTED = (
    *("virtio_pci", "virtio_mmio", "virtio_ccw", "virtio_net", "virtio_blk", "virtio_rng"),
    *("squashfs", "overlay", "zram", "ext4"),
)
"""Modules for a guest's devices and roots; what is built into the kernel has no file."""
MAX_MODULE = 64 << 20
NETWORK = "VIRTIO_NET"
COMPILER = re.compile(r"^CONFIG_CC_VERSION_TEXT=\"(.*)\"$", re.MULTILINE)


def key_of(kernel: Kernel, arch: Arch, cache: Cache) -> str | None:
    """Return the key of its entry in the cache; None if the package must be looked up first."""
    if kernel.source.startswith(IMAGE):
        image, config, modules = _files_of_image(kernel.source)
        return digest("prebuilt-1", arch.name, file_digest(image), file_digest(config), _digest_of_modules(modules))
    try:
        return str(json.loads(_memo(kernel.source, arch, cache).read_text())["key"])
    except (OSError, ValueError, KeyError):
        return None


def fill(kernel: Kernel, arch: Arch, cache: Cache, progress: Progress = silent) -> str:
    """Put a kernel into the cache unless it is there, and return its key.

    UsageError for an image that no guest can be verified with: without a build id, a banner or a configuration.
    """
    if (key := key_of(kernel, arch, cache)) and cache.has("kernel", key):
        return key
    if kernel.source.startswith(IMAGE):
        image, config, modules = _files_of_image(kernel.source)
        key = key_of(kernel, arch, cache)
        assert key is not None
        made = _Contents(kernel=kernel, arch=arch, cache=cache, origin=str(image), version="")
        cache.entry("kernel", key, lambda into: made.write(into, image, config, modules))
        return key
    return _fill_from_package(kernel, arch, cache, progress)


def _fill_from_package(kernel: Kernel, arch: Arch, cache: Cache, progress: Progress) -> str:
    package = kernel.source.removeprefix("debian:")
    root, package = _find(package, arch, cache, progress)
    (version,) = root.versions([package])
    key = digest("prebuilt-1", arch.name, version, root.release)

    def make(into: Path) -> None:
        with cache.scratch("linux-image") as scratch:
            deb = root.download_alone(package, scratch, progress)
            progress(f"unpacking {package}")
            tree = scratch / "tree"
            proc.run(["dpkg-deb", "--extract", str(deb), str(tree)], timeout_s=900)
            images = sorted((tree / "boot").glob("vmlinu[xz]-*"))
            if not images:
                raise UsageError(f"{package} has no image in /boot")
            made = _Contents(
                kernel=kernel, arch=arch, cache=cache, origin=f"{version} of {root.release}", version=version
            )
            made.write(into, *_beside(images[0], f"{package}"))

    cache.entry("kernel", key, make)
    write_atomic(_memo(kernel.source, arch, cache), json.dumps({"key": key, "version": version}).encode())
    return key


def _find(package: str, arch: Arch, cache: Cache, progress: Progress) -> tuple[AptRoot, str]:
    """Return the release that has a package, the host's own first; a package of packages is followed to the image."""
    if why := kernel_packages.other_machine(package, arch):
        raise UsageError(why)
    tried: list[str] = []
    failures: list[str] = []
    known: list[str] = []
    for release in apt.releases_from():
        try:
            root = apt.open_release(release, arch, cache, progress)
        except LabError as error:
            failures.append(error.message)
            continue
        tried.append(release)
        known += root.names(kernel_packages.KERNEL_IMAGE)
        if root.versions([package]):
            for name in root.depends(package):
                if name.startswith(kernel_packages.KERNEL_IMAGE):
                    return root, name
            return root, package
    left_out = "".join(f"; {failure}" for failure in failures[:2])
    near = did_you_mean(package, known)
    raise UsageError(
        f"no package {package} for {arch.debian}{near}", hint=f"tried: {', '.join(tried) or 'none'}{left_out}"
    )


def _memo(source: str, arch: Arch, cache: Cache) -> Path:
    return cache.root / "debian" / f"image-{arch.name}-{source.removeprefix('debian:')}.json"


def _files_of_image(source: str) -> tuple[Path, Path, Path | None]:
    image = user_path(source.removeprefix(IMAGE))
    if not image.is_file():
        raise UsageError(f"source {source}: no such file")
    return _beside(image, source)


def _digest_of_modules(directory: Path | None) -> str:
    """Return a digest of all modules in a directory by their names and contents; empty without a directory."""
    if directory is None:
        return ""
    parts: list[str] = []
    for name, path in sorted(_module_files(directory).items()):
        parts += [name, file_digest(path)]
    return digest("modules-1", *parts)


def _beside(image: Path, what: str) -> tuple[Path, Path, Path | None]:
    """Return an image, its configuration and the directory of its modules, None if it has none.

    The names are those of a package, the image's own or, if it is a link, that of the file which it leads to; a file
    that is called `config` or `.config`; and the `.config` of the tree in which the image was built.
    """
    for each in dict.fromkeys((image, image.resolve())):
        name = each.name.partition("-")[2]
        for config in _configs(each, name):
            if config.is_file():
                for path in (image, config):
                    _check_readable(path, what)
                return image, config, _modules_of(each, name)
    wanted = " or ".join(path.name for path in _configs(image, image.name.partition("-")[2])[:2])
    raise UsageError(f"{what}: no {wanted} beside {image.name}, so nothing says how it was configured")


def _check_readable(path: Path, what: str) -> None:
    """Raise UsageError for a file that only root may read, as some distributions install their kernels."""
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise UsageError(f"{what}: {path}: {error.strerror}", hint="name a copy that this user may read") from None


def _configs(image: Path, name: str) -> tuple[Path, ...]:
    """Return where the configuration of an image may be; the tree of arch/X/boot/IMAGE is three directories above."""
    if name:
        return (image.with_name(f"config-{name}"),)
    built = image.parents[3:4] if image.parent.name == "boot" else ()
    return (image.with_name("config"), image.with_name(".config"), *(tree / ".config" for tree in built))


def _modules_of(image: Path, name: str) -> Path | None:
    for base in ("lib", "usr/lib"):
        modules = image.parent.parent / base / "modules" / name
        if name and modules.is_dir():
            return modules
    return None


class _Contents:
    """What is written into the entry of one kernel."""

    def __init__(self, *, kernel: Kernel, arch: Arch, cache: Cache, origin: str, version: str) -> None:
        self.kernel, self.arch, self.cache, self.origin, self.version = kernel, arch, cache, origin, version

    def write(self, into: Path, image: Path, config: Path, modules: Path | None) -> None:
        """Fill an empty entry from the files of a kernel."""
        packed = image.read_bytes()
        try:
            unpacked = kernel_image.unpacked(packed, self._unpack)
            note = kernel_image.build_id_note(unpacked)
            release = kernel_image.release(unpacked)
            build_id = elf.build_id(note, self.arch.byteorder)
            machine = kernel_image.machine(unpacked)
        except ValueError as error:
            raise UsageError(f"{self.kernel.source}: guests with it cannot be verified: {error}") from None
        if machine is not None and machine != self.arch.elf_header:
            known = arches.of_program(machine)
            other = known.name if known else f"ELF machine {machine[2]}"
            raise UsageError(f"{self.kernel.source} is a kernel for {other}, not for {self.arch.name}")
        text = config.read_text(errors="replace")
        archive = self._archive(modules)
        self._check_network(text, image, modules)
        boots = packed
        if self.arch.image_target == "Image":  # QEMU of Debian 12 unpacks no zimg
            boots = unpacked
        files = {"image": boots, "config": text.encode(), "notes": note, "System.map": b"", "build.log": b""}
        for name, data in files.items():
            (into / name).write_bytes(data)
        (into / MODULES).write_bytes(archive)
        compiler = COMPILER.search(text)
        facts = {
            "arch": self.arch.name,
            "image": "image",
            "source": self.kernel.source,
            "source_version": self.version or release,
            "source_sha256": hashlib.sha256(packed).hexdigest(),
            "source_origin": self.origin,
            "compiler": compiler[1] if compiler else "not recorded",
            "build_id": build_id,
            "release": release,
            "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
        (into / "build.json").write_text(json.dumps(facts, indent=1) + "\n")

    def _check_network(self, config: str, image: Path, modules: Path | None) -> None:
        """Raise UsageError if guests with the kernel would have no network, by which the lab reaches them."""
        value = kconfig.parse_config(config).get(NETWORK)
        if value == "y" or (value == "m" and modules and "virtio_net" in _module_files(modules)):
            return
        why = f"CONFIG_{NETWORK} is not set"
        if value == "m":
            where = f"not in {modules}" if modules else f"in no directory lib/modules/X for {image.name}"
            why = f"CONFIG_{NETWORK}=m, and virtio_net.ko is {where}"
        raise UsageError(f"{self.kernel.source}: {why}: the lab could not reach a guest with it")

    def _archive(self, directory: Path | None) -> bytes:
        """Return the part of an initramfs with the modules and what loads them; empty if no module is needed."""
        files = _module_files(directory) if directory else {}
        order: dict[str, bytes] = {}
        for name in WANTED:
            self._add(name, files, order)
        if not order:
            return b""
        loader = programs.compile_one(self.arch, paths.images() / "probes" / "modules.c", self.cache)
        listed = "".join(f"/lib/modules/{name}.ko\n" for name in order)
        nodes = [cpio.file(f"lib/modules/{name}.ko", data) for name, data in order.items()]
        nodes.append(cpio.file("lib/modules/list", listed.encode()))
        nodes.append(cpio.file("lib/modules/load", loader.read_bytes(), 0o755))
        return cpio.archive(nodes)

    def _unpack(self, program: str, data: bytes) -> bytes:
        """Unpack data with zstd or lz4; ValueError if it is damaged or too large when unpacked."""
        with self.cache.scratch("packed-kernel") as scratch:
            (scratch / "packed").write_bytes(data)
            unpack(program, scratch / "packed", scratch / "unpacked", limit=kernel_image.MAX_KERNEL)
            return (scratch / "unpacked").read_bytes()

    def _add(self, name: str, files: Mapping[str, Path], order: dict[str, bytes]) -> None:
        """Add a module behind what it depends on; what has no file is built into the kernel."""
        path = files.get(name)
        if path is None or name in order:
            return
        if path.stat().st_size > MAX_MODULE:
            raise UsageError(f"{path.name} is larger than {MAX_MODULE >> 20} MiB")
        try:
            module = kernel_image.unpacked_module(path.name, path.read_bytes(), self._unpack)
            needed = kernel_image.depends(module)
        except ValueError as error:
            kind = UsageError if self.kernel.source.startswith(IMAGE) else InfraError
            raise kind(
                f"{self.kernel.source}: {path.name}: {str(error).removeprefix(path.name).lstrip(': ')}"
            ) from None
        for other in needed:
            self._add(other.replace("-", "_"), files, order)
        order[name] = module


def _module_files(directory: Path) -> dict[str, Path]:
    """Return name -> file of every module, with `_` for `-` in names as the kernel has them."""
    modules = {}
    for path in directory.rglob("*.ko*"):
        if path.is_file() and not path.is_symlink():
            modules[path.name.partition(".ko")[0].replace("-", "_")] = path
    return modules


def provenance(entry: Path, key: str, source: str) -> Provenance:
    """Return what a finished entry was made from, as the evidence of a run has it. `source`: how it is named now."""
    facts = json.loads((entry / "build.json").read_text())
    wanted = ("source_version", "source_sha256", "source_origin", "compiler", "build_id", "release")
    return Provenance(
        key=key,
        source=source,
        series=None,
        series_sha256="",
        config_sha256=facts["config_sha256"],
        build_s=0.0,
        cpu_s=None,
        full_build=False,
        patches=(),
        config_changes=(),
        fixes=(),
        refused=(),
        **{name: facts[name] for name in wanted},
    )


def check_machine(kernel: Kernel, topology: Topology, config: str) -> None:
    """Raise UsageError if a kernel's configuration is for another page size than the machine's."""
    values = kconfig.parse_config(config)
    fragment = topology.architecture.page_sizes[topology.page_size]
    for line in topology.architecture.fragments.get(fragment, "").splitlines():
        symbol, _, value = line.removeprefix("CONFIG_").partition("=")
        if value == "y" and re.search(r"PAGE", symbol) and values.get(symbol) != "y":
            raise UsageError(
                f"{kernel.name} has no pages of {topology.page_size >> 10} KiB, as {topology.name} asks: "
                f"CONFIG_{symbol} is not set in its configuration"
            )
