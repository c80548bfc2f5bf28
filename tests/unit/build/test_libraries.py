# SPDX-License-Identifier: GPL-2.0-or-later
"""The libraries that suites link with: which a collection names, and how they are built from source packages."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab.arch.record import Arch
from lab.build import debian, toolchain
from lab.build.debian import PackageVersion
from lab.build.suites import kselftest, libraries
from lab.core.cache import Cache
from lab.formats.patches.patch import Content
from lab.specs import suite
from lab.specs.arches import ARCHES

NATIVE = next((arch for arch in ARCHES.values() if toolchain.is_native(arch)), None)
pytestmark = pytest.mark.skipif(
    NATIVE is None or not all(map(shutil.which, ("gcc", "make"))), reason="no native compiler the lab knows, or no make"
)

TOP = "headers:\n\t@mkdir -p $(O)/usr/include\n"
SELFTESTS = """\
TARGETS = mm
install:
	+$(MAKE) --keep-going -C mm OUTPUT=$(O)/kselftest/mm
	mkdir -p $(KSFT_INSTALL_PATH)/mm
	cp $(O)/kselftest/mm/* $(KSFT_INSTALL_PATH)/mm
	echo mm:nodes > $(KSFT_INSTALL_PATH)/kselftest-list.txt
"""
COLLECTION = """\
TEST_GEN_PROGS = nodes
all: $(OUTPUT)/nodes
$(OUTPUT)/nodes: nodes.c
	mkdir -p $(OUTPUT)
	sh ./probe.sh $(CC)
	$(CC) -o $@ $< -lnuma
"""
PROBE = "echo '#include <numa.h>' > probe.c\n$1 -fsyntax-only probe.c\n"
NODES = "#include <numa.h>\nint main(void) { return number_of_nodes() != 7; }\n"


class Packages:
    """Source packages in place of the distribution's."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.source = '#include "numa.h"\nint number_of_nodes(void) { return 7; }\n'
        self.version = "2.0.16-1"

    def find(self, package: str, cache: Cache, **_: object) -> PackageVersion:
        return PackageVersion(package=package, version=self.version, suite="stable")

    def fetch(self, package: str, into: Path, **_: object) -> Path:
        self.fetched.append(package)
        tree = into / package
        tree.mkdir(parents=True)
        (tree / "Makefile.am").write_text("libnuma_la_SOURCES = nodes.c \\\n\tnuma.h\n")
        (tree / "nodes.c").write_text(self.source)
        (tree / "numa.h").write_text("int number_of_nodes(void);\n")
        for name in ("numaif.h", "numacompat1.h"):
            (tree / name).write_text("")
        return tree


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Packages:
    toy = Packages()
    monkeypatch.setattr(debian, "find_source", toy.find)
    monkeypatch.setattr(debian, "fetch_source", toy.fetch)
    return toy


@pytest.fixture
def native() -> Arch:
    assert NATIVE is not None
    return NATIVE


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    mm = tmp_path / "linux" / suite.SELFTESTS / "mm"
    mm.mkdir(parents=True)
    (tmp_path / "linux" / "Makefile").write_text(TOP)
    (mm.parent / "Makefile").write_text(SELFTESTS)
    (mm / "Makefile").write_text(COLLECTION)
    (mm / "probe.sh").write_text(PROBE)
    (mm / "nodes.c").write_text(NODES)
    return tmp_path / "linux"


class Notes:
    """What was reported."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, detail: str, *, done: float | None = None) -> None:
        self.lines.append(detail)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("$(OUTPUT)/ksm_tests: LDLIBS += -lnuma", ("numa",)),
        ("mlock: LDLIBS += -lcap\nmigration: LDLIBS += -lnuma -lm", ("numa", "cap")),
        ('echo "IOURING_EXTRA_LIBS = -luring" > $OUTPUT', ("uring",)),
        ("LDLIBS += -lcap-ng -lrt -lpthread", ()),
        ("OPTIONS = --lcap x-lnuma", ()),
    ],
)
def test_a_collection_names_its_libraries(text: str, names: tuple[str, ...]) -> None:
    assert libraries.wanted([text]) == names


def test_a_program_is_linked_with_a_library_that_is_built_once(
    tree: Path, native: Arch, cache: Cache, packages: Packages
) -> None:
    notes = Notes()
    found = kselftest.build(suite.parse("kselftest-mm"), tree, {}, native, source="toy", cache=cache, progress=notes)
    assert dict(found.not_built) == {}
    assert (found.tree / "mm" / "nodes").read_bytes()[:4] == b"\x7fELF"
    libraries.build(["numa"], native, cache=cache, progress=notes)
    assert packages.fetched == ["numactl"]


def test_another_version_of_the_package_builds_the_suite_anew(
    tree: Path, native: Arch, cache: Cache, packages: Packages
) -> None:
    keys = []
    for version in ("2.0.16-1", "2.0.19-1"):
        packages.version = version
        word = suite.parse("kselftest-mm")
        keys.append(kselftest.build(word, tree, {}, native, source="toy", cache=cache, progress=Notes()).key)
    assert keys[0] != keys[1]


def test_a_library_that_does_not_build_leaves_its_programs_not_built(
    tree: Path, native: Arch, cache: Cache, packages: Packages
) -> None:
    packages.source = "this is no C\n"
    notes = Notes()
    found = kselftest.build(suite.parse("kselftest-mm"), tree, {}, native, source="toy", cache=cache, progress=notes)
    assert f"libnuma does not build for {native.name}: programs that link with it are not built" in notes.lines
    assert f"libnuma does not build for {native.name}" in found.not_built["nodes"], "the host's own is not used"


def test_a_series_that_takes_the_library_away_builds_none(
    tree: Path, native: Arch, cache: Cache, packages: Packages
) -> None:
    name = f"{suite.SELFTESTS}/mm/Makefile"
    changed = {name: Content(COLLECTION.replace("-lnuma", "").encode())}
    kselftest.build(suite.parse("kselftest-mm"), tree, changed, native, source="toy", cache=cache, progress=Notes())
    assert packages.fetched == []
