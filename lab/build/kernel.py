# SPDX-License-Identifier: GPL-2.0-or-later
"""Build kernels: source + series + configuration + compiler -> an image in the cache, keyed by these four.

A `Recipe` is everything that decides what comes out; constructing one validates, `build` acts. A cache entry
`kernel/<key>` holds the image, config, notes, System.map, build.log and build.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from lab.arch.record import OLDER, Arch, BootImage
from lab.build import prebuilt, series, source, toolchain, worktree
from lab.build.edits import stale_objects
from lab.build.edits.probes import Probes
from lab.build.edits.under_way import UnderWay
from lab.build.series import Patch, Series
from lab.build.source import Source
from lab.build.toolchain import Toolchain
from lab.build.worktree import WorkTree
from lab.core import paths, proc
from lab.core.cache import Cache, digest, write_atomic
from lab.core.errors import BuildError, InfraError, InputError, UsageError, unknown
from lab.core.paths import user_path
from lab.core.progress import Progress, silent
from lab.evidence.metadata import PatchRecord, Provenance
from lab.formats import build_log, elf, elf_program, kconfig
from lab.formats.kconfig import Lost, SymbolRequest
from lab.formats.patches.patch import Content
from lab.specs.model import Kernel, Topology

ENTRY = "kernel"
CONFIG_ENTRY = "kconfig"
GCOV = "gcov"
EMBEDDING = "embedding"
"""File of an O= directory: names of the C files of the tree that include binary files by `.incbin`, a line each."""
VERSIONS = "versions"
"""The directory of images/config with fragments that some versions of the kernel need."""
WISH, IN_TREE = "wish:", "tree:"
"""Prefixes of optional fragments: a symbol of theirs that the kernel lacks is no error."""
BUILD_S = 4 * 3600.0
CONFIGURE_S = 900.0
NICE = 10
"""Compilers run at a lower priority than guests, whose tests have deadlines."""

# What the kernel would otherwise take from the clock and the host, and print in its banner.
FIXED = {
    "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 2026",
    "KBUILD_BUILD_USER": "pagelab",
    "KBUILD_BUILD_HOST": "pagelab",
    "KBUILD_BUILD_VERSION": "1",
    "LOCALVERSION": "",
}
# kbuild compresses an image with gzip -9, which takes longer than all the compiling after a small edit. In no key: the
# kernel in the image is the same. Not for a walk, which compresses the configuration that is part of the kernel.
FAST_GZIP = {"KGZIP": "sh -c 'exec gzip -n -1' gzip"}
# Makefiles try with two compilers what only a kernel with gcov needs to know.
NO_GCOV = {"CFLAGS_GCOV": ""}
# How kbuild and the compiler name files of the source, seen from an O= directory in it.
_UP = re.compile(r"^(|.* from )\.\./", re.MULTILINE)
# How many steps kbuild announces when nobody has counted yet: 6.12, tinyconfig + images/config, x86_64.
TYPICAL_STEPS = {True: 1400, False: 60}
LINK_STEPS = 30
"""Of them those that link the objects and make an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltKernel:
    """A kernel in the cache: absolute paths of its files, and what it was built from."""

    image: Path
    config: Path
    notes: Path
    """The raw .notes section of vmlinux, which a guest shows as /sys/kernel/notes."""
    system_map: Path
    log: Path
    vmlinux: Path | None = None
    """With symbols, and debug information if the configuration asks for that; None if only a packed image was kept."""
    modules: Path | None = None
    """Of a kernel that was not built here: a part of an initramfs with its modules; empty if it needs none."""
    gcov: Path | None = None
    """The directory of the `.gcno` files, below it by the paths of their sources; None if no line is counted."""
    provenance: Provenance


PARALLEL = 0.85
"""How much of all CPUs a build keeps busy: configuration and linking are one process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that a built kernel depends on."""

    name: str
    arch: Arch
    source: Source
    series: Series
    requests: tuple[SymbolRequest, ...]
    toolchain: Toolchain
    wishes: tuple[SymbolRequest, ...] = ()
    """All optional requests, also those that another request excludes."""
    counted: tuple[str, ...] = ()
    """The C files whose lines gcov counts; empty in a kernel as users run it."""
    other_image: BootImage | None = None
    """What the machine boots in its MMU mode, where that is not the architecture's image."""

    @property
    def image(self) -> BootImage:
        """What make makes, and where."""
        return self.other_image or BootImage(self.arch.image_target, self.arch.image)

    @property
    def common(self) -> tuple[str, ...]:
        """What two kernels that differ only in their series have in common."""
        arch = self.arch
        facts = (arch.kernel_arch, arch.image_target, arch.image)
        fixes = (fix.sha256 for fix in self.fixes)
        gcov = ("gcov", *self.counted) if self.counted else ()
        return (*facts, self.toolchain.prefix, self.toolchain.version, kconfig.render(self.requests), *fixes, *gcov)

    @property
    def fixes(self) -> tuple[Patch, ...]:
        """The patches of the architecture's record for trees that do not compile for it."""
        return series.fixes_of(self.arch)

    @property
    def key(self) -> str:
        fixed = json.dumps(FIXED, sort_keys=True)
        other = ("image", self.image.target, self.image.path) if self.other_image else ()
        return digest("kernel-2", fixed, self.source.sha256, self.series.sha256, *self.common, *other)

    @property
    def build_name(self) -> str:
        """The name of the O= directory, which the kernels of a pair share, and all images of a configuration."""
        return f"{self.arch.name}-{digest(*self.common)[:12]}"

    def provenance(self) -> Provenance:
        """Return the part of a kernel's provenance that is known before the build."""
        return Provenance(
            key=self.key,
            source=self.source.spec,
            source_version=self.source.version,
            source_sha256=self.source.sha256,
            source_origin=self.source.origin,
            series=self.series.name,
            series_sha256=self.series.sha256,
            compiler=self.toolchain.version,
            patches=tuple(PatchRecord(name=patch.name, sha256=patch.sha256) for patch in self.series.patches),
        )


def build(
    kernel: Kernel, topology: Topology, *, cache: Cache, progress: Progress = silent, images: Path | None = None
) -> BuiltKernel:
    """Return the kernel for a machine; build it unless the cache has it.

    UsageError or InputError for what the user's files say wrongly (a source that is not there, a series that does not
    apply, a symbol that got lost), BuildError with the compiler's own words when it does not compile, InfraError when
    the host cannot build (tools missing, disk full).
    """
    if kernel.prebuilt:
        return _prebuilt(kernel, topology, cache, progress, images)
    recipe = recipe_of(kernel, topology, cache=cache, images=images)
    if recipe is None or not cache.obtain(ENTRY, recipe.key):
        if recipe:
            recipe.toolchain.require(f"kernel {kernel.name} for {topology.name} ({recipe.key})")
        resolved = source.resolve(kernel.source, cache=cache, progress=progress)
        recipe = _recipe(kernel, topology, resolved, images or paths.images(), cache)
    wanted = recipe

    def make(tell: Progress) -> None:
        cache.entry(
            ENTRY,
            wanted.key,
            lambda into: _Build(wanted, cache, tell).run(into),
            waiting=lambda: tell("waiting for another lab that builds this kernel"),
        )

    _under_way.do((cache.root, wanted.key), make, progress)
    return _load(cache.path(ENTRY, wanted.key), wanted)


_under_way = UnderWay()
"""The kernels that threads of this process build."""


def _prebuilt(
    kernel: Kernel, topology: Topology, cache: Cache, progress: Progress, images: Path | None = None
) -> BuiltKernel:
    """Return a kernel that exists already; fetch it unless the cache has it. What a suite wishes for is reported."""
    key = prebuilt.fill(kernel, topology.architecture, cache, progress)
    entry = cache.entry(ENTRY, key, _never)
    config = (entry / "config").read_text()
    prebuilt.check_machine(kernel, topology, config)
    wishes: list[SymbolRequest] = []
    for name in kernel.fragments:
        wishes += _wishes(name, (images or paths.images()) / "config", None)
    refused = kconfig.refused(wishes, kconfig.parse_config(config))
    provenance = prebuilt.provenance(entry, key, kernel.source)
    return BuiltKernel(**_files(entry), provenance=provenance.changed(refused=[str(lost.request) for lost in refused]))


def recipe_of(kernel: Kernel, topology: Topology, *, cache: Cache, images: Path | None = None) -> Recipe | None:
    """Return what `build` would build, without network; None if the source must be fetched first. Errors as in `build`.

    A configuration that a file of the source has a part in is not known before that is unpacked either.
    """
    if kernel.prebuilt:
        return None
    identified = source.identify(kernel.source, cache)
    inside = any(name.startswith(IN_TREE) for name in kernel.fragments)
    if identified is None or (inside and not cache.has(source.ENTRY, identified.key)):
        return None
    return _recipe(kernel, topology, identified, images or paths.images(), cache)


def key_of(kernel: Kernel, topology: Topology, *, cache: Cache, images: Path | None = None) -> str | None:
    """Return the cache key of what `build` would build; None if the source must be fetched first."""
    if kernel.prebuilt:
        return prebuilt.key_of(kernel, topology.architecture, cache)
    recipe = recipe_of(kernel, topology, cache=cache, images=images)
    return recipe.key if recipe else None


def is_built(kernel: Kernel, topology: Topology, *, cache: Cache, images: Path | None = None) -> bool:
    """Whether `build` would find it in the cache."""
    key = key_of(kernel, topology, cache=cache, images=images)
    return key is not None and cache.has(ENTRY, key)


def is_incremental(kernel: Kernel, topology: Topology, *, cache: Cache, images: Path | None = None) -> bool:
    """Whether `build` would compile only what differs from an earlier kernel of the same configuration."""
    recipe = recipe_of(kernel, topology, cache=cache, images=images)
    return recipe is not None and worktree.has_kernel(recipe.source, recipe.build_name, cache)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A build of a kernel that is in the cache: what for, from nothing or not, and the seconds it took, or would have
    taken on a free host."""

    arch: str
    full: bool
    seconds: float


def past_builds(cache: Cache) -> tuple[Past, ...]:
    """Return the builds whose kernels are in the cache, oldest first."""
    paths = sorted((cache.root / ENTRY).glob("*/build.json"), key=lambda path: path.stat().st_mtime)
    return tuple(past for path in paths if (past := _past(path)))


def _past(path: Path) -> Past | None:
    """Read the facts of one build; None if they are damaged: an estimate works without them."""
    try:
        facts = json.loads(path.read_text())
        return Past(arch=facts["arch"], full=facts["full_build"], seconds=_free_host_s(facts))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _free_host_s(facts: Mapping[str, Any]) -> float:
    """Return how long a build takes with all CPUs to itself; how long it took, if its CPU seconds were not counted."""
    spent, cpu_s = float(facts["build_s"]), facts.get("cpu_s")
    return min(spent, cpu_s / toolchain.jobs() / PARALLEL) if cpu_s else spent


def recorded(provenance: Provenance, cache: Cache) -> BuiltKernel | None:
    """Return the kernel whose provenance a run recorded; None if the cache does not have it any more.

    UsageError if the record is not complete.
    """
    key = provenance.key
    if not key.isalnum() or not cache.has(ENTRY, key):
        return None
    if lacking := [name for name in _REQUIRED if name not in provenance.model_fields_set]:
        hint = "recorded by another version of the lab?"
        raise UsageError(f"the record of kernel {key} lacks {lacking[0]!r}", hint=hint)
    return BuiltKernel(**_files(cache.entry(ENTRY, key, _never)), provenance=provenance)


def newest(arch: Arch, cache: Cache) -> BuiltKernel | None:
    """Return the kernel without a series that was built last for an architecture; None if the cache has none."""
    paths = sorted((cache.root / ENTRY).glob("*/build.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in paths:
        try:
            facts = json.loads(path.read_text())
            if facts["arch"] == arch.name and facts["series"] is None:
                provenance = Provenance(key=path.parent.name, build_id=facts["build_id"], release=facts["release"])
                return BuiltKernel(**_files(path.parent), provenance=provenance)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


_REQUIRED = tuple(name for name in Provenance.model_fields if name not in ("refused", "userland"))
"""What a run of this lab recorded of every kernel; `refused` is newer than the rest."""


def _never(_: Path) -> None:
    raise AssertionError("an entry that is there is not made")


def _files(entry: Path) -> dict[str, Any]:
    """Return the paths of the files of a finished entry."""
    image = json.loads((entry / "build.json").read_text())["image"]
    return {
        "image": entry / image,
        "config": entry / "config",
        "notes": entry / "notes",
        "system_map": entry / "System.map",
        "log": entry / "build.log",
        "vmlinux": entry / "vmlinux" if (entry / "vmlinux").is_file() else None,
        "modules": entry / prebuilt.MODULES if (entry / prebuilt.MODULES).is_file() else None,
        "gcov": entry / GCOV if (entry / GCOV).is_dir() else None,
    }


def fragments(
    topology: Topology, kernel: Kernel, directory: Path, *, version: str, tree: Path | None = None
) -> tuple[tuple[SymbolRequest, ...], ...]:
    """Return the config fragments that a machine and a kernel need, general first.

    A name with a slash is a path. The architecture's record has its own, unless `directory` has a file of that name.
    `wish:NAME`, a file of `directory`, and `tree:PATH`, one of the kernel's source, need not exist: theirs are wishes.
    The lab's own ones are for kernels of any version: a symbol that the source does not define is left out.
    """
    asked = []
    for name in (*topology.own_fragments, *_of_version(version, directory, topology)):
        own = _fragment(name, topology.architecture, directory)
        asked.append(tuple(replace(request, if_defined=True) for request in own))
    for name in (*topology.kernel_config, *kernel.fragments):
        wishes = name.startswith((WISH, IN_TREE))
        asked.append(_wishes(name, directory, tree) if wishes else _fragment(name, topology.architecture, directory))
    return tuple(asked)


def _of_version(version: str, directory: Path, topology: Topology) -> list[str]:
    """Return the names of the fragments for sources that are older than X.Y; the lowest X.Y last.

    `versions/before-X.Y` is for all machines, `NAME-before-X.Y` for those that have the architecture's fragment NAME.
    """
    names = [f"{VERSIONS}/{name}" for name in _version_fragments(directory / VERSIONS)]
    own = topology.own_fragments
    names += (name for name in topology.architecture.fragments if OLDER in name and name.partition(OLDER)[0] in own)
    older: list[tuple[tuple[int, ...], str]] = []
    source = _version_numbers(version)
    for name in names:
        bound = _version_numbers(name.rpartition("before-")[2])
        if source and source < bound:
            older.append((bound, name))
    return [name for _, name in sorted(older, reverse=True)]


def _version_fragments(directory: Path) -> list[str]:
    """Return the names of the fragments in a directory of them; InputError if one is not named before-X.Y."""
    paths = sorted(directory.glob("*.config"))
    for path in paths:
        if not re.fullmatch(r"before-\d+\.\d+", path.stem):
            raise InputError(path, None, None, "expected a name such as before-6.12.config, for older kernels")
    return [path.stem for path in paths]


def _version_numbers(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version such as `6.12.117` or `7.3-rc2`."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _wishes(name: str, directory: Path, tree: Path | None) -> tuple[SymbolRequest, ...]:
    """Return the requests of an optional fragment; empty if it does not exist."""
    path = directory / f"{name.removeprefix(WISH)}.config" if name.startswith(WISH) else None
    if name.startswith(IN_TREE) and tree:
        path = tree / name.removeprefix(IN_TREE)
    try:
        return kconfig.parse_wishes(path.read_text(errors="replace"), name) if path else ()
    except (FileNotFoundError, NotADirectoryError):
        return ()


def _fragment(name: str, arch: Arch, directory: Path) -> tuple[SymbolRequest, ...]:
    ours = name.startswith(f"{VERSIONS}/") or "/" not in name
    path = directory / f"{name}.config" if ours else user_path(name)
    if name in arch.fragments and not path.exists():
        return kconfig.parse_fragment(arch.fragments[name], f"{name} in lab/arch/{arch.name}.py")
    try:
        text = path.read_text()
    except FileNotFoundError:
        if "/" in name:
            raise InputError(path, None, None, "no such config fragment") from None
        raise unknown("config fragment", name, (file.stem for file in directory.glob("*.config"))) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, None, None, f"cannot read the config fragment: {error}") from error
    return kconfig.parse_fragment(text, path)


def _recipe(kernel: Kernel, topology: Topology, identified: Source, images: Path, cache: Cache) -> Recipe:
    toolchain.require_kernel_tools()
    tree = source.tree(identified.key, cache)
    asked = fragments(topology, kernel, images / "config", version=identified.version, tree=tree)
    patches = series.load(kernel.series, identified.version, root=images / "series")
    return Recipe(
        name=kernel.name,
        arch=topology.architecture,
        source=identified,
        series=patches,
        counted=tuple(sorted(name for name in patches.touched if name.endswith(".c"))) if kernel.coverage else (),
        requests=kconfig.merge(asked),
        wishes=tuple(request for fragment in asked for request in fragment if request.wish),
        other_image=topology.mode.image,
        toolchain=toolchain.for_kernels(topology.architecture),
    )


def _load(entry: Path, recipe: Recipe) -> BuiltKernel:
    """Return a finished entry. Names come from the recipe: the same content may have other names by now."""
    facts = json.loads((entry / "build.json").read_text())
    undefined = facts.get("undefined", ())
    # A user's request that equals one of the lab's has the same key, and the lab's is no error.
    for request in recipe.requests:
        if not request.if_defined and str(request) in undefined:
            raise _lost_one(Lost(request=request, got="n"), _undefined(recipe))
    known = recipe.provenance()
    config = kconfig.parse_config((entry / "config").read_text()) if recipe.wishes else {}
    refused = [str(lost.request) for lost in kconfig.refused(recipe.wishes, config)]
    provenance = Provenance(
        key=known.key,
        build_id=facts["build_id"],
        release=facts["release"],
        source=known.source,
        source_version=known.source_version,
        source_sha256=known.source_sha256,
        source_origin=known.source_origin,
        series=known.series,
        series_sha256=known.series_sha256,
        config_sha256=facts["config_sha256"],
        compiler=known.compiler,
        build_s=facts["build_s"],
        cpu_s=facts.get("cpu_s"),
        full_build=facts["full_build"],
        patches=known.patches,
        config_changes=facts["config_changes"],
        fixes=facts.get("fixes", ()),
        refused=(*refused, *undefined),
    )
    return BuiltKernel(**_files(entry), provenance=provenance)


def _embedding(directory: Path) -> Sequence[str] | None:
    """Return the C files with `.incbin` of an O= directory; None while nothing was compiled there."""
    listed = directory / EMBEDDING
    return listed.read_text().split() if listed.exists() else None


def _without_gcov(directory: Path) -> Mapping[str, str]:
    """Return the variables that keep makefiles from looking for gcov's options, unless the configuration has gcov."""
    return {} if "CONFIG_GCOV_KERNEL=y\n" in (directory / ".config").read_text() else NO_GCOV


def _list_embedding(tree: WorkTree, directory: Path, changed: Collection[str] | None) -> None:
    """Write the names of the C files with `.incbin` to the O= directory's EMBEDDING, a line each.

    `changed` are the files that differ from those of the last build there: only these are looked at then.
    """
    listed = directory / EMBEDDING
    if changed is None or not listed.exists():
        words = ["grep", "-rlF", "--include=*.c", "--exclude-dir=build-*", "incbin", "."]
        found = proc.run(words, cwd=tree.src, check=False, timeout_s=CONFIGURE_S)
        if found.status not in (0, 1):  # 1: there is none
            raise InfraError(f"cannot look for .incbin in {tree.src}: {found.output.strip()[-200:]}")
        names = {line.removeprefix("./") for line in found.output.splitlines()}
    else:
        names = set(listed.read_text().split())
        paths = {name: tree.src / name for name in changed if name.endswith(".c")}
        names |= {name for name, path in paths.items() if path.exists() and b"incbin" in path.read_bytes()}
    listed.write_text("".join(f"{name}\n" for name in sorted(names)))


def _children_cpu_s() -> float:
    """Return the CPU seconds of all processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(slots=True)
class _Build:
    """One build: its recipe, the cache, and where to report progress."""

    recipe: Recipe
    cache: Cache
    progress: Progress

    def run(self, into: Path) -> None:
        """Fill an empty cache entry."""
        pristine = source.tree(self.recipe.source.key, self.cache)
        original = partial(worktree.read_file, pristine)
        fixes = series.applicable(self.recipe.fixes, original)
        wanted = series.changed_files((*fixes, *self.recipe.series.patches), original)
        files = None if _decides_config(wanted) else wanted
        with (
            worktree.opened(self.recipe.source, files, cache=self.cache, progress=self.progress) as tree,
            tree.alone_in(self.recipe.build_name),
        ):
            started, cpu = time.monotonic(), _children_cpu_s()
            config, changes = self._configured(tree, wanted)
            full = self._compiled(tree, wanted, config)
            values = kconfig.parse_config(config)
            facts = {
                "build_s": round(time.monotonic() - started, 3),
                "cpu_s": round(_children_cpu_s() - cpu, 3),
                "full_build": full,
                "config_changes": changes,
                "fixes": [fix.name for fix in fixes],
                "undefined": [str(lost.request) for lost in kconfig.lost(self.recipe.requests, values)],
            }
            self._collect(tree, into, facts)

    # ---- Configuration ----------------------------------------------------------------------------------------------

    def _configured(self, tree: WorkTree, wanted: Mapping[str, Content | None]) -> tuple[str, tuple[str, ...]]:
        """Return the final .config, and its differences from that of the kernel without the series."""
        text = self._config(tree, wanted)
        if _decides_config(wanted):
            plain = self._config(tree, {})
            return text, kconfig.differences(kconfig.parse_config(plain), kconfig.parse_config(text))
        return text, ()

    def _config(self, tree: WorkTree, wanted: Mapping[str, Content | None]) -> str:
        """Return the final .config for a state of the source; cached by the files that it depends on."""
        key = digest("kconfig-2", self.recipe.source.sha256, *self.recipe.common, *_decides_config(wanted))

        def make(into: Path) -> None:
            tree.switch(wanted)
            (into / "config").write_text(self._make_config(tree))

        return (self.cache.entry(CONFIG_ENTRY, key, make) / "config").read_text()

    def _make_config(self, tree: WorkTree) -> str:
        recipe = self.recipe
        directory = tree.begin(recipe.build_name)
        self.progress("configuring")
        self._make(tree, "tinyconfig", timeout_s=CONFIGURE_S)
        config = directory / ".config"
        config.write_text(kconfig.override(config.read_text(), recipe.requests))
        self._make(tree, "olddefconfig", timeout_s=CONFIGURE_S)
        tree.settle(recipe.build_name)
        text = config.read_text()
        if lost := kconfig.lost(recipe.requests, kconfig.parse_config(text)):
            defined = _defined(tree.src, recipe.arch)
            lost = tuple(each for each in lost if not each.request.if_defined or each.request.symbol in defined)
        if lost:
            raise _lost_error(lost, tree.src, recipe, text)
        return text

    # ---- Compilation ------------------------------------------------------------------------------------------------

    def _compiled(self, tree: WorkTree, wanted: Mapping[str, Content | None], config: str) -> bool:
        """Run make for the image; return whether it was a full build."""
        recipe = self.recipe
        tree.switch(wanted)
        changed = tree.changed_since_made(recipe.build_name, wanted)
        directory = tree.begin(recipe.build_name)
        full = not (directory / "vmlinux").exists()
        in_place = directory / ".config"
        if not in_place.exists() or in_place.read_text() != config:
            in_place.write_text(config)
            changed = None
        _list_embedding(tree, directory, changed)
        self.progress("compiling")
        if changed is None or not self._without_walk(tree, wanted, changed):
            target = recipe.image.target
            steps = self._make(tree, target, timeout_s=BUILD_S, expected=self._expected(full))
            self._probes(tree).settle()
            write_atomic(self._counter(full), str(steps).encode())
        tree.settle(recipe.build_name, wanted)
        if in_place.read_text() != config:
            raise InfraError(f"make {recipe.image.target} changed the configuration it was given: {in_place}")
        return full

    def _without_walk(self, tree: WorkTree, wanted: Mapping[str, Content | None], changed: Collection[str]) -> bool:
        """Compile what an edit of C files made stale, and link; return False if that takes make's walk."""
        directory = tree.build_dir(self.recipe.build_name)
        if any(name in wanted and wanted[name] is None for name in changed):
            return False
        if not set(_embedding(directory) or ()).isdisjoint(changed):
            return False
        objects = stale_objects.find(tree.src, directory, changed)
        target, image = self.recipe.image.target, directory / self.recipe.image.path
        if (changed and not objects) or not image.exists():  # another image was made of these objects so far
            return False
        before_ns = image.stat().st_mtime_ns
        stale_objects.touch_archives(directory, objects)
        with ThreadPoolExecutor(1, "beside") as beside:
            elsewhere = beside.submit(stale_objects.are_read_elsewhere, directory, objects)
            beside.submit(elf_program.load)
            self._make(tree, target, timeout_s=BUILD_S, expected=len(objects) + LINK_STEPS, objects=objects)
        self._probes(tree).settle()
        if elsewhere.result() or not stale_objects.are_made(tree.src, directory, objects):
            return False
        stale_objects.date_archives(directory, objects)
        return not objects or image.stat().st_mtime_ns > before_ns

    def _counter(self, full: bool) -> Path:
        """Return the file with the number of steps of the last such build, of any version of the source."""
        kind = "full" if full else f"series-{digest(self.recipe.series.sha256)[:8]}"
        return self.cache.root / "steps" / f"{self.recipe.build_name}-{kind}"

    def _expected(self, full: bool) -> int:
        try:
            return max(int(self._counter(full).read_text()), 1)
        except (OSError, ValueError):
            return TYPICAL_STEPS[full]

    def _make(
        self,
        tree: WorkTree,
        target: str,
        *,
        timeout_s: float,
        expected: int = 0,
        objects: Sequence[str] | None = None,
    ) -> int:
        """Run make to its end and return how many steps it announced.

        With `objects` it makes these, if there are any, and the target of them and of all that is compiled already.
        """
        log_path = tree.root / "logs" / f"{self.recipe.build_name}-{target}.log"
        log_path.parent.mkdir(exist_ok=True)
        with log_path.open("w") as log:
            top = str(tree.build_dir(self.recipe.build_name))
            meter = _Meter(self.progress if expected else silent, expected, log, top)
            done = proc.run(
                [*self._argv(tree, objects), target],
                env={**self._environment(tree), **self._probing(tree, target, answered=objects is not None)},
                check=False,
                timeout_s=timeout_s,
                on_line=meter,
                pass_fds=[tree.lock],
                nice=NICE,
            )
        if done.status:
            raise self._failure(tree, target, log_path, done.status)
        return meter.steps

    def _argv(self, tree: WorkTree, objects: Sequence[str] | None) -> list[str]:
        """Return make's command line but for its target; for `objects` without a walk, in the O= directory itself."""
        chosen, directory = self.recipe.toolchain, tree.build_dir(self.recipe.build_name)
        where = ["--directory", str(tree.src), f"O={directory}"]
        if objects is not None:
            where = ["--directory", str(directory), "--file", "../Makefile", *stale_objects.options(objects)]
        variables = {
            "ARCH": self.recipe.arch.kernel_arch,
            "CROSS_COMPILE": chosen.prefix,
            **({"LLVM": chosen.llvm} if chosen.llvm else {}),
            "CC": chosen.kernel_cc(_embedding(directory)),
            **{f"GCOV_PROFILE_{Path(name).stem}.o": "y" for name in self.recipe.counted},
            **FIXED,
            **({} if objects is None else {**FAST_GZIP, **_without_gcov(directory)}),
        }
        # --output-sync keeps the lines of one command together, so that errors of two do not mix.
        options = [f"--jobs={toolchain.jobs()}", "--output-sync=target", "--no-print-directory"]
        return ["make", *where, *options, *(f"{name}={value}" for name, value in variables.items())]

    def _environment(self, tree: WorkTree) -> dict[str, str]:
        """Return the variables for plain quotes in messages, and for a ccache that works from any directory."""
        # kbuild drops LC_ALL from the environment.
        return {"LC_ALL": "C", "LANG": "C", **toolchain.ccache_environment(tree.src)}

    def _probes(self, tree: WorkTree) -> Probes:
        asked_by = digest(self.recipe.toolchain.version, self.recipe.image.target)[:8]
        return Probes(tree.root / "probes" / f"{self.recipe.build_name}-{asked_by}")

    def _probing(self, tree: WorkTree, target: str, *, answered: bool) -> Mapping[str, str]:
        """Return the variables by which a make without a walk has the answers of the compiler that a walk got."""
        if target != self.recipe.image.target:
            return {}
        return self._probes(tree).environment(self.recipe.toolchain.cached_cc[0], answered=answered)

    def _failure(self, tree: WorkTree, target: str, log: Path, status: int) -> BuildError | InfraError:
        """Return the error for a failed make. Unless the host is at fault, the files that make wrote are whole."""
        lines = log.read_text(errors="replace").splitlines()
        hint = f"full log: {log}"
        what = f"kernel {self.recipe.name} for {self.recipe.arch.name}"
        if fault := build_log.host_fault(lines):
            return InfraError(f"{what}: {fault.what} during make {target}", hint=f"{fault.hint}; {hint}")
        if status < 0:
            return InfraError(f"{what}: make {target} was killed by signal {-status}", hint=hint)
        tree.give_up(self.recipe.build_name)
        return BuildError(f"{what}: make {target} failed", hint=hint, excerpt=_UP.sub(r"\1", build_log.excerpt(lines)))

    # ---- Products ---------------------------------------------------------------------------------------------------

    def _collect(self, tree: WorkTree, into: Path, facts: Mapping[str, object]) -> None:
        recipe, directory = self.recipe, tree.build_dir(self.recipe.build_name)
        image = Path(recipe.image.path).name
        log = tree.root / "logs" / f"{recipe.build_name}-{recipe.image.target}.log"
        products = {
            image: directory / recipe.image.path,
            "config": directory / ".config",
            "System.map": directory / "System.map",
            "build.log": log,
        }
        if "CONFIG_DEBUG_INFO=y\n" in (directory / ".config").read_text():
            products["vmlinux"] = directory / "vmlinux"
        for name, origin in products.items():
            if not origin.is_file():
                raise InfraError(f"make {recipe.image.target} succeeded without making {origin}")
            shutil.copyfile(origin, into / name)
        for name in recipe.counted:
            _copy_notes_of_gcov(directory, into / GCOV, Path(name).with_suffix(".gcno"))
        notes = _notes(directory / "vmlinux")
        (into / "notes").write_bytes(notes)
        all_facts = {
            "arch": recipe.arch.name,
            **recipe.provenance().document(),
            **facts,
            "image": image,
            "build_id": elf.build_id(notes, recipe.arch.byteorder),
            "release": (directory / "include/config/kernel.release").read_text().strip(),
            "config_sha256": hashlib.sha256((into / "config").read_bytes()).hexdigest(),
        }
        (into / "build.json").write_text(json.dumps(all_facts, indent=1) + "\n")


@dataclass(slots=True)
class _Meter:
    """Handle every line of make's output: write it to the log, count steps, report their directory."""

    progress: Progress
    expected: int
    log: TextIO
    top: str
    """The directory that is built in."""
    steps: int = 0

    def __call__(self, line: str) -> None:
        self.log.write(f"{line}\n")
        if step := build_log.parse_step(line):
            self.steps += 1
            done = min(self.steps / self.expected, 0.99) if self.expected else None
            self.progress(step.directory(self.top), done=done)


# Files of a tree that decide what `make tinyconfig` and `make olddefconfig` give: menus, presets, and what probes the
# compiler.
_CONFIG_FILES = re.compile(
    r"(?:.*/)?Kconfig[^/]*|Makefile|arch/[^/]+/Makefile[^/]*|scripts/.*|(?:arch/[^/]+|kernel)/configs/.*"
)


def _decides_config(wanted: Mapping[str, Content | None]) -> tuple[str, ...]:
    """Return the name and hash of every changed file that the configuration may depend on; empty for most series."""
    chosen = ((name, content) for name, content in sorted(wanted.items()) if _CONFIG_FILES.fullmatch(name))
    return tuple(f"{name} {digest(content.data) if content else 'gone'}" for name, content in chosen)


def _lost_error(lost: Sequence[Lost], tree: Path, recipe: Recipe, config: str) -> InputError:
    """Return the error for requests that the final .config does not have, with the dependencies of the first."""
    first, values = lost[0], kconfig.parse_config(config)
    depends = _dependencies(tree, recipe.arch, first.request.symbol)
    if depends is None:
        why = _undefined(recipe)
    elif depends:
        states = (f"{name}={values.get(name, 'n')}" for name in kconfig.symbols_in(depends))
        why = f"it depends on {' && '.join(depends)} ({', '.join(states)})"
    else:
        why = "it depends on nothing; another symbol selects it, or it has no prompt or another type"
    others = "".join(f"; also lost: {symbol}" for symbol in lost[1:])
    return _lost_one(first, why + others)


def _lost_one(lost: Lost, why: str) -> InputError:
    request = lost.request
    expected = f"asked for {request.value}, got {lost.got} in the final .config: {why}"
    return InputError(request.path, request.line, f"CONFIG_{request.symbol}", expected)


def _undefined(recipe: Recipe) -> str:
    return f"kernel {recipe.source.version} has no such symbol on {recipe.arch.name}"


def _dependencies(tree: Path, arch: Arch, symbol: str) -> tuple[str, ...] | None:
    """Return what a symbol depends on in all Kconfig files of this architecture; None if none defines it."""
    every: list[str] | None = None
    for path in _kconfig_files(tree, arch.kernel_arch):
        depends = kconfig.depends_on(path.read_text(errors="replace"), symbol)
        if depends is not None:
            every = [*(every or []), *depends]
    return None if every is None else tuple(dict.fromkeys(every))


def _defined(tree: Path, arch: Arch) -> frozenset[str]:
    """Return the symbols that the Kconfig files of this architecture define."""
    files = _kconfig_files(tree, arch.kernel_arch)
    return frozenset().union(*(kconfig.defined_in(path.read_text(errors="replace")) for path in files))


def _kconfig_files(tree: Path, kernel_arch: str) -> Iterator[Path]:
    for place, directories, names in os.walk(tree):
        path = Path(place)
        if path == tree:
            directories[:] = [name for name in directories if not name.startswith("build-")]
        elif path == tree / "arch":
            directories[:] = [kernel_arch] if kernel_arch in directories else []
        yield from (path / name for name in names if name.startswith("Kconfig"))


def _copy_notes_of_gcov(build: Path, into: Path, name: Path) -> None:
    """Keep what the compiler wrote beside an object for gcov. A file that the configuration leaves out has none."""
    if (build / name).is_file():
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(build / name, into / name)
    else:
        into.mkdir(exist_ok=True)


def _notes(vmlinux: Path) -> bytes:
    """Return the .notes section of a kernel."""
    with vmlinux.open("rb") as file:
        return elf_program.section(file, ".notes")
