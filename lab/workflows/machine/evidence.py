# SPDX-License-Identifier: GPL-2.0-or-later
"""Look up the statements about one machine, the most reliable first, and collect what is reported. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from lab.core.sizes import MIB
from lab.core.untrusted import one_line
from lab.formats.machine.statements import DAMAGE, NOTE, Statement
from lab.formats.machine.texts import MachineTexts, Omission
from lab.workflows.machine.described import Choices, EvidenceRow

RANKS = (
    *("sysfs", "node meminfo", "uname", "getconf", "numactl -H", "/proc/cpuinfo", "lscpu", "lscpu -J"),
    *("/proc/meminfo", "lscpu -Je", "lscpu -e", "lscpu -p", "numastat -m", "lstopo", "lsmem", "free", "dmesg"),
    "distances",
)
"""Sources, the most reliable first: if two state the same thing, the earlier one here is used."""
OF_LINUX = frozenset(("sysfs", "node meminfo", "numactl -H", "/proc/cpuinfo", "lscpu -J", "/proc/meminfo", "dmesg"))
"""Sources that no other system has."""
NAMES = ("arch", "model", "release")
"""Keys that alone describe no machine."""
UNREADABLE = frozenset(("AIX", "HP-UX", "Solaris", "Windows", "VMware ESXi"))
"""Systems of whose tools nothing is read; sysctl of others is."""
MISSING = "not in the text"


class MachineEvidence:
    """The statements about one machine, and the table, notes and problems that result from them."""

    def __init__(self, texts: MachineTexts, statements: Sequence[Statement], choices: Choices) -> None:
        self.texts = texts
        self.choices = choices
        ranks = {source: rank for rank, source in enumerate(RANKS)}
        self.statements = sorted(
            statements, key=lambda statement: (bool(statement.guess), ranks.get(statement.source, len(RANKS)))
        )
        self.rows: list[EvidenceRow] = []
        self.notes: list[str] = []
        self.problems: list[str] = []
        self.hint = ""
        self.by_key: dict[tuple[str, int | None], Statement] = {}
        self.by_node: dict[int, list[Statement]] = {}
        for statement in self.statements:
            if (statement.key, statement.node) in self.by_key:
                continue
            self.by_key[statement.key, statement.node] = statement
            if statement.node is not None:
                self.by_node.setdefault(statement.node, []).append(statement)

    # Looking up.

    def find(self, key: str, node: int | None = None) -> Statement | None:
        """Return the most reliable statement of a key; None if there is none."""
        return self.by_key.get((key, node))

    def text(self, key: str) -> str:
        """Return the value of a key as text; empty if it is not stated."""
        statement = self.find(key)
        if statement is None:
            return ""
        return str(statement.value)

    def number(self, key: str, node: int | None = None) -> int:
        """Return the value of a key that is one number; 0 if it is not stated."""
        statement = self.find(key, node)
        if statement is None or not isinstance(statement.value, int):
            return 0
        return statement.value

    def numbers(self, key: str, node: int | None = None) -> tuple[int, ...]:
        """Return the value of a key that is a list of numbers; empty if it is not stated."""
        statement = self.find(key, node)
        if statement is None or not isinstance(statement.value, tuple):
            return ()
        return statement.value

    def states(self, key: str, node: int | None = None) -> bool:
        """Return whether a key is stated."""
        return (key, node) in self.by_key

    def cpu_count(self) -> tuple[int, Statement | None]:
        """Return the number of CPUs online, else of all, and the statement of it; (0, None) if there is none."""
        for key in ("online", "cpu_count", "processors"):
            statement = self.find(key)
            if statement is not None:
                return len(self.numbers(key)) or self.number(key), statement
        return 0, None

    def describes_a_machine(self) -> bool:
        """Return whether anything is stated but remarks and names, of which no machine can be made."""
        return any(not statement.key.startswith(("fact ", NOTE, "model")) for statement in self.statements)

    # Reporting.

    def row(self, what: str, value: str, where: str) -> None:
        """Add a row to the table."""
        self.rows.append(EvidenceRow(what=what, value=one_line(value, 70), where=where))

    def stated(self, what: str, value: str, statement: Statement) -> None:
        """Add a row to the table, with the place of the statement that it comes from."""
        where = f"{place(statement)}, {statement.source}"
        if statement.guess:
            where += f"; guess: {statement.guess}"
        self.row(what, value, where)

    def shown_text(self, key: str) -> str:
        """Return the value of a key as text, and add a row to the table if it is stated."""
        statement = self.find(key)
        if statement is not None:
            self.stated(key, str(statement.value), statement)
        return self.text(key)

    def shown_number(self, key: str, what: str) -> int:
        """Return the value of a key that is one number, and add a row to the table if it is stated."""
        statement = self.find(key)
        if statement is not None:
            self.stated(what, str(statement.value), statement)
        return self.number(key)

    def problem(self, text: str) -> None:
        """Report that something is missing; with --partial, add only a note."""
        if self.choices.partial:
            self.notes.append(f"{text}; the rest is taken for the whole (--partial)")
            return
        self.problems.append(text)
        self.hint = self.hint or "--partial takes the rest for the whole machine"

    def report_damage(self) -> None:
        """Report the notes of the readers, damaged statements, and omissions."""
        for statement in sorted(self.statements, key=lambda statement: statement.line):
            text = f"{place(statement)}: {statement.value}"
            if statement.key == NOTE or (statement.key == DAMAGE and str(statement.value).startswith("distances")):
                self.notes.append(text)
            elif statement.key == DAMAGE:
                self.problem(text)
        self._report_omissions()

    def report_foreign(self) -> None:
        """Report a text that is of another system than Linux, or is a topology already."""
        if topology := self.find("topology"):
            self.problems.append(f"{place(topology)}: this is a topology already, which needs no capture")
            self.hint = "give its file to -t"
        system = self.find("system")
        of_linux = any(stated.source in OF_LINUX and stated.key not in NAMES for stated in self.statements)
        if system is None or of_linux:
            return
        known = any(statement.key not in ("system", *NAMES) for statement in self.statements)
        if known and system.value not in UNREADABLE:
            self.notes.append(f"{place(system)}: this is {system.value}: what Linux makes of the machine is a guess")
            return
        self.problems.append(f"{place(system)}: this is {system.value}, and only what Linux shows of a machine is read")
        self.hint = "boot Linux there and run the script of --script"

    def _report_omissions(self) -> None:
        for omission in self.texts.omissions[:8]:
            what = one_line(omission.text, 40)
            self.notes.append(f"{place(omission)}: {what!r} stands for something that was left out")


def place(what: Statement | Omission) -> str:
    """Return the place of something in the text: `line 3`, or `lscpu.json:3` if there are several files."""
    if what.file:
        return f"{what.file}:{what.line}"
    return f"line {what.line}"


def amount(size: int) -> str:
    """Return a size of real memory, rounded: `754G` from 10 GiB on, below that in MiB, `8192M`."""
    if size >= 10 << 30:
        return f"{size / (1 << 30):.0f}G"
    return f"{size / MIB:.0f}M"
