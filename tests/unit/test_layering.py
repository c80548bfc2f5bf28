# SPDX-License-Identifier: GPL-2.0-or-later
"""The shape of lab/: which room imports which, one door per outside thing, and architectures in their records alone."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from lab.specs.arches import ARCHES

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

IMPORTERS = {
    "libvirt": "guests.vm",
    "libvirt_qemu": "guests.vm",
    "paramiko": "guests.ssh",
    "yaml": "specs.load",
    "subprocess": "core.proc",
}
"""Outside things with exactly one door."""

FORMAT_PARSERS = {
    "formats.c_mutations": frozenset({"tree_sitter", "tree_sitter_c"}),
    "formats.elf_program": frozenset({"elftools"}),
}
"""The modules of lab/formats that use a parser from another package, each the one door to it."""

FILE_OPENERS = {"open", "fdopen", "read_text", "read_bytes", "write_text", "write_bytes"}

PRINTERS = {"cli", "verbs", "report"}
SLEEPERS = {"core.deadline", "guests.reaper"}
"""Time is a deadline; the reaper is a process of its own, which imports nothing of the lab."""

MODULES = sorted((ROOT / "lab").rglob("*.py"))


def dotted(path: Path) -> str:
    """The module's name below lab, "" for lab itself: lab/report/text.py -> `report.text`."""
    return ".".join(path.relative_to(ROOT / "lab").with_suffix("").parts).removesuffix("__init__").rstrip(".")


def top(name: str) -> str:
    return name.partition(".")[0]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


KNOWN = {dotted(path) for path in MODULES}


def imports(path: Path) -> Iterator[str]:
    """Every module imported anywhere in a file, also inside functions; the lab's own as they are named below lab."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: write imports in full: from lab.x import y"
            yield from (_imported(str(node.module), alias.name) for alias in node.names)


def _imported(module: str, name: str) -> str:
    """`from lab.core import proc` imports lab.proc; `from lab.proc import run` imports lab.proc."""
    whole = f"{module}.{name}"
    return whole if module.startswith("lab") and whole.removeprefix("lab.") in KNOWN else module


def of_the_lab(path: Path) -> set[str]:
    return {name.removeprefix("lab.") for name in imports(path) if name.startswith("lab.")}


def each_module(test: object) -> object:
    named = [pytest.param(path, id=dotted(path) or "lab") for path in MODULES]
    return pytest.mark.parametrize("path", named)(test)


def test_a_room_imports_only_from_the_rooms_below_it() -> None:
    """The contract is in pyproject.toml, under [tool.importlinter]; import-linter names each import that breaks it."""
    done = subprocess.run(["lint-imports"], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_make_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        graph[dotted(path)] = of_the_lab(path)
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"import circle: {' -> '.join((*trail, name))}"
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize(("outside", "owner"), IMPORTERS.items())
def test_an_outside_thing_has_one_door(outside: str, owner: str) -> None:
    found = {dotted(path) for path in MODULES if outside in {top(name) for name in imports(path)}}
    assert found == {owner}, f"{outside} is imported by {owner} alone"


@pytest.mark.parametrize("path", sorted((ROOT / "lab/formats").rglob("*.py")), ids=dotted)
def test_a_format_needs_only_the_standard_library_and_opens_no_file(path: Path) -> None:
    allowed = sys.stdlib_module_names | {"lab"} | FORMAT_PARSERS.get(dotted(path), frozenset())
    outside = {top(name) for name in imports(path)} - allowed
    assert not outside, f"{path}: formats has no door to {', '.join(sorted(outside))}"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
            assert name not in FILE_OPENERS, (
                f"{path}:{node.lineno}: a format takes text or bytes, its caller opens files"
            )


@each_module
def test_no_process_without_the_door(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            assert node.attr not in {"system", "popen", "spawnv", "spawnvp"}, (
                f"{path}:{node.lineno}: run it with lab/core/proc.py"
            )


@each_module
def test_only_the_command_line_and_reports_print(path: Path) -> None:
    if top(dotted(path)) in PRINTERS:
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{path}:{node.lineno}: library code does not print"


@each_module
def test_nobody_sleeps(path: Path) -> None:
    if dotted(path) in SLEEPERS:
        return
    for node in ast.walk(tree(path)):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        assert name != "sleep", f"{path}:{getattr(node, 'lineno', 0)}: wait with lab/core/deadline.py"


def test_the_reaper_imports_nothing_of_the_lab() -> None:
    assert not of_the_lab(ROOT / "lab/guests/reaper.py")


def _told_apart(node: ast.AST) -> Iterator[ast.expr]:
    """The values that a piece of code compares with or chooses by."""
    match node:
        case ast.Compare():
            yield from (node.left, *node.comparators)
        case ast.MatchValue():
            yield node.value
        case ast.Dict():
            yield from (key for key in node.keys if key is not None)
        case ast.Call(func=ast.Attribute(attr="startswith" | "endswith")):
            yield from node.args


ARCH_WORDS = {
    word for arch in ARCHES.values() for word in (arch.name, arch.uname, arch.libvirt_arch, arch.qemu, *arch.aliases)
}


@each_module
def test_architectures_are_told_apart_in_their_records_alone(path: Path) -> None:
    if dotted(path).startswith("arch."):
        return
    for node in ast.walk(tree(path)):
        for value in _told_apart(node):
            inside = value.elts if isinstance(value, ast.Tuple | ast.List | ast.Set) else [value]
            words = {each.value for each in inside if isinstance(each, ast.Constant)} & ARCH_WORDS
            assert not words, f"{path}:{value.lineno}: a quirk of {words} is a field of lab/arch/record.py"


def test_no_test_module_is_imported_by_another() -> None:
    """What two tests need stands in a module without test_ in its name: fakes.py, toy.py, fixtures/."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        borrowed = {name for name in imports(path) if name.startswith("tests.") and ".test_" in name}
        assert not borrowed, f"{path}: {borrowed}"


@pytest.mark.parametrize("path", sorted((ROOT / "lab").glob("*/**/__init__.py")), ids=dotted)
def test_a_rooms_package_holds_nothing_but_its_sentence(path: Path) -> None:
    (statement,) = tree(path).body
    assert isinstance(statement, ast.Expr)
    assert ast.get_docstring(tree(path))
