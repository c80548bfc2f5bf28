# SPDX-License-Identifier: GPL-2.0-or-later
"""Assign the statements of a text to the machines that it describes; two machines are never merged. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from lab.core.errors import UsageError
from lab.formats.machine.statements import DAMAGE, NOTE, Statement, Value
from lab.formats.machine.texts import MachineTexts
from lab.specs.arches import find

IDENTITY = frozenset(
    (
        *("arch", "cpus", "memory", "distance", "nodes", "node_count", "cpu_count", "processors", "online"),
        "page_size",
    )
)
"""Keys whose values are constant on a machine: a different value means another machine (or another time)."""
TOLERANCE = 0.12
"""Accepted relative difference of two sources about memory: firmware, the kernel's own memory, rounding."""
SMALL = 160 << 20
"""Accepted absolute difference about memory in bytes."""

Key = tuple[str, int | None]


@dataclass(slots=True, kw_only=True)
class _Block:
    """The statements from one output of one command."""

    statements: list[Statement] = field(default_factory=list)
    host: str = ""


@dataclass(slots=True, kw_only=True)
class _Machine:
    """A machine: blocks that do not contradict each other."""

    blocks: list[_Block] = field(default_factory=list)
    known: dict[Key, list[Statement]] = field(default_factory=dict)
    sources: set[tuple[str, Key]] = field(default_factory=set)
    host: str = ""
    repeated: int | None = None
    """Index of the first block that repeats a statement: if a later one contradicts, a new machine begins there."""

    def add(self, block: _Block) -> None:
        """Add a block that does not contradict the others."""
        stated = {(statement.source, key_of(statement)) for statement in block.statements if statement.key in IDENTITY}
        if not stated & self.sources:
            self.repeated = None
        elif self.repeated is None:
            self.repeated = len(self.blocks)
        self.sources |= stated
        self.blocks.append(block)
        self.host = self.host or block.host
        for statement in block.statements:
            if statement.key in IDENTITY and not statement.guess:
                self.known.setdefault(key_of(statement), []).append(statement)

    def contradicts(self, block: _Block) -> bool:
        """Return whether a block contradicts this machine's host name or statements."""
        if self.host and block.host and self.host != block.host:
            return True
        for statement in block.statements:
            if statement.guess:
                continue
            for known in self.known.get(key_of(statement), ())[:4]:
                if not _agree(known, statement):
                    return True
        return False

    def statements(self) -> list[Statement]:
        """Return the statements of all blocks."""
        statements: list[Statement] = []
        for block in self.blocks:
            statements += block.statements
        return statements

    def without_end(self) -> list[_Block]:
        """Remove and return the blocks that belong to the next machine."""
        if self.repeated is None:
            return []
        end = self.blocks[self.repeated :]
        del self.blocks[self.repeated :]
        return end


def key_of(statement: Statement) -> Key:
    """Return what a statement is about: its key and node."""
    return statement.key, statement.node


def block_of(statement: Statement) -> tuple[str, str, int]:
    """Return which output of a command a statement is from: file, source and block."""
    return statement.file, statement.source, statement.block


def alike_machines(texts: MachineTexts) -> list[list[Statement]]:
    """Return the statements of each machine, in the order of the text; a contradiction begins another machine."""
    machines: list[_Machine] = []
    for block in _blocks(texts):
        last = machines[-1] if machines else None
        if last is not None and not last.contradicts(block):
            last.add(block)
            continue
        fresh = _Machine()
        for moved in last.without_end() if last is not None else []:
            fresh.add(moved)
        fresh.add(block)
        machines.append(fresh)
    return [made.statements() for made in machines if made.blocks]


def _blocks(texts: MachineTexts) -> Iterable[_Block]:
    blocks: dict[tuple[str, str, int], _Block] = {}
    for statement in texts.statements:
        block = blocks.setdefault(block_of(statement), _Block())
        block.statements.append(statement)
        if statement.key in IDENTITY:
            block.host = block.host or texts.hosts.get(statement, "")
    return blocks.values()


def _agree(known: Statement, other: Statement) -> bool:
    """Return whether two statements about the same thing can be about one machine."""
    if known.key in (DAMAGE, NOTE):
        return True
    if known.key == "memory":
        return _close(known.value, other.value)
    if known.key == "distance":
        of_one_command = known.source == other.source
        return known.value == other.value or (not of_one_command and _length(known.value) != _length(other.value))
    if known.key == "cpu_count":
        return not (_of_lscpu(known) and _of_lscpu(other)) or known.value == other.value
    if known.key == "arch":
        return normal_arch(str(known.value)) == normal_arch(str(other.value))
    return known.value == other.value


def _of_lscpu(statement: Statement) -> bool:
    return statement.source.startswith("lscpu")


def _length(value: Value) -> int:
    return len(value) if isinstance(value, tuple) else 0


@lru_cache(maxsize=256)
def normal_arch(value: str) -> str:
    """Return an architecture's name as `uname -m` prints it if the lab has the architecture, else the name as given."""
    name = value
    if re.fullmatch(r"armv[5-8]\w*", name):
        name = "arm"
    if re.fullmatch(r"i[345]86", name):
        name = "i686"
    try:
        return find(name).uname
    except UsageError:
        return name


def _close(one: Value, other: Value) -> bool:
    if not isinstance(one, int) or not isinstance(other, int):
        return one == other
    return abs(one - other) <= max(SMALL, TOLERANCE * max(one, other))
