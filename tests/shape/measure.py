# SPDX-License-Identifier: GPL-2.0-or-later
"""Count what makes lab/ easy or hard to read. Pure: `ast` over the sources, nothing of the lab is imported."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
LAB = ROOT / "lab"
README_LINES = 150
FILES_IN_A_FOLDER = 16
COMPREHENSIONS, CONDITIONALS = 2.5, 1.5
"""At most so many in 100 lines."""
FUNCTION_LINES = 70

_COMPREHENSION = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What was counted in one room, or in all of them."""

    name: str
    files: int
    lines: int
    comprehensions: int
    conditionals: int
    functions: tuple[int, ...]
    """Lines of each function."""

    @property
    def density(self) -> tuple[float, float]:
        """Comprehensions and conditional expressions, each in 100 lines, to one decimal."""
        return round(self.comprehensions * 100 / self.lines, 1), round(self.conditionals * 100 / self.lines, 1)

    @property
    def typical(self) -> float:
        """The median length of a function, in lines."""
        return median(self.functions or (0,))


def table(rooms: Iterable[Room]) -> str:
    """Return a line for each room, below a line with the names of the columns."""
    lines = [
        f"{'room':<12}{'files':>6}{'lines':>7}{'functions':>11}{'median':>8}{'longest':>9}{'compr.':>8}{'cond.':>7}"
    ]
    for room in rooms:
        comprehensions, conditionals = room.density
        lines.append(
            f"{room.name:<12}{room.files:>6}{room.lines:>7}{len(room.functions):>11}{room.typical:>8.0f}"
            f"{max(room.functions, default=0):>9}{comprehensions:>8.1f}{conditionals:>7.1f}"
        )
    return "\n".join(lines)


def sources() -> tuple[Path, ...]:
    """Every Python file of lab/."""
    return tuple(sorted(LAB.rglob("*.py")))


def rooms() -> tuple[Room, ...]:
    """What was counted in each room; files that lie in lab/ itself are the room `.`."""
    by_room: dict[str, list[Path]] = defaultdict(list)
    for path in sources():
        parts = path.relative_to(LAB).parts
        room = parts[0] if len(parts) > 1 else "."
        by_room[room].append(path)
    return tuple(count(name, paths) for name, paths in sorted(by_room.items()))


def count(name: str, paths: list[Path] | tuple[Path, ...]) -> Room:
    """What is in some files, as one room."""
    lines = comprehensions = conditionals = 0
    functions: list[int] = []
    for path in paths:
        text = path.read_text("utf-8")
        lines += len(text.splitlines())
        for node in ast.walk(ast.parse(text)):
            comprehensions += isinstance(node, _COMPREHENSION)
            conditionals += isinstance(node, ast.IfExp)
            if isinstance(node, ast.FunctionDef):
                functions.append((node.end_lineno or node.lineno) - node.lineno + 1)
    return Room(
        name=name,
        files=len(paths),
        lines=lines,
        comprehensions=comprehensions,
        conditionals=conditionals,
        functions=tuple(functions),
    )


def largest_folder() -> tuple[str, int]:
    """The folder of lab/ with most Python files, and how many it has beside `__init__.py`."""
    files = Counter(str(path.parent.relative_to(LAB)) for path in sources() if path.name != "__init__.py")
    return files.most_common(1)[0]


def shared_class_names() -> dict[str, tuple[str, ...]]:
    """Class names, type aliases among them, that are defined in two modules or more -> those modules."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in sources():
        for name in _types(ast.parse(path.read_text("utf-8"))):
            places[name].append(str(path.relative_to(ROOT)))
    return {name: tuple(paths) for name, paths in sorted(places.items()) if len(set(paths)) > 1}


def _types(tree: ast.Module) -> Iterator[str]:
    """The classes that a module defines, and the aliases of types: `Name = tuple[...]`."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
            target = node.targets[0]
            if isinstance(target, ast.Name) and target.id[:1].isupper() and not target.id.isupper():
                yield target.id


def metadata_lookups() -> tuple[str, ...]:
    """Where metadata.json is read by a key that is a text: `file:line` of `metadata["x"]` and `metadata.get("x")`.

    What counts is a subscript or a `.get` on a name or attribute called `metadata` (or `recorded`, `meta`).
    """
    found = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if _looks_up(node):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")  # type: ignore[attr-defined]
    return tuple(found)


def _looks_up(node: ast.AST) -> bool:
    if isinstance(node, ast.Subscript):
        return _is_metadata(node.value) and _is_text(node.slice)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        return _is_metadata(node.func.value) and bool(node.args) and _is_text(node.args[0])
    return False


def _is_metadata(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in {"metadata", "meta", "recorded"}


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
