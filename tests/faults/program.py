# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest side: programs that mean harm, as a scenario between two that do not. The campaign goes on after each."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.fault import Expect, Fault
from tests.faults.place import AFTER, BEFORE, Done, FaultDirectory


def runs(way: str, isolation: str = "shared") -> Callable[[FaultDirectory], Done]:
    """A campaign in which the hostile program goes its way."""

    def inject(place: FaultDirectory) -> Done:
        return place.campaign(BEFORE, f"hostile.{way}", AFTER, isolation=isolation)

    return inject


def fault(
    way: str,
    what: str,
    outcome: str,
    says: str,
    *,
    status: int = 2,
    quick: bool = False,
    isolation: str = "shared",
    also: dict[str, str] | None = None,
    disk: int = 8,
) -> Fault:
    """One way, the outcome of its case, and words of the reason; the scenarios around it pass."""
    return Fault(
        name=way.replace("_", "-"),
        what=what,
        inject=runs(way, isolation),
        expect=Expect(
            status=status,
            cell="OK",
            cases={f"hostile.{way}": outcome, **(also or {}), BEFORE: "PASS", AFTER: "PASS"},
            says=says,
            disk=disk,
        ),
        quick=quick,
    )


LEAK = {"hostile.leak": "LEAK"}
"""A process or a file that is left behind is memory that did not come back."""
FLOOD = "flood: the program wrote more"
SILENT = "deadline: the (program still ran|guest did not answer)"

FAULTS = (
    fault("flood_stdout", "writes to stdout without end", "BROKEN", FLOOD, quick=True),
    fault("flood_stderr", "writes to stderr without end", "BROKEN", FLOOD),
    fault("flood_console", "writes to the console without end", "HANG|BROKEN", "deadline|flood", status=1, disk=80),
    fault("flood_kmsg", "writes to the kernel's log without end", "HANG|BROKEN", "deadline|flood", status=1, disk=80),
    fault("flood_quietly", "leaves a child that floods the console", "PASS", "", status=1, also=LEAK, disk=80),
    fault("long_line", "a line of three megabytes", "PASS", "", status=0),
    fault("ten_megabyte_line", "a line of ten megabytes", "BROKEN", FLOOD),
    fault("drip", "says something every now and then, for ever", "HANG", "not done within", status=1),
    fault(
        "forged_plan",
        "a second plan, for a million cases",
        "PASS",
        "plan line repeated",
        also={"hostile.run": "BROKEN"},
    ),
    fault("no_plan", "a result without a plan", "PASS", "no plan line", also={"hostile.run": "BROKEN"}),
    fault(
        "forged_results",
        "results of other scenarios and of the lab's own",
        "PASS",
        "not declared",
        also={"hostile.i01_memfd": "BROKEN"},
        quick=True,
    ),
    fault("second_thoughts", "two results for one case", "BROKEN", "2 result lines for one case"),
    fault("many_results", "sixty thousand results", "BROKEN", "no result line"),
    fault("dotdot_names", "results named ../../../etc", "PASS", "not declared"),
    fault("torn_result", "ends in the middle of its result", "BROKEN", "breaks off in the middle of a line"),
    fault("lying_status", "exit status 1 when all is well", "PASS", "does not fit", also={"hostile.run": "BROKEN"}),
    fault("silent", "says nothing and ends well", "BROKEN", "no plan line"),
    fault("listing", "answers as to --list", "BROKEN", "status 77"),
    fault("nested_deep", "thousands of nested documents", "PASS", "no KTAP", also={"hostile.run": "BROKEN"}),
    fault("escapes", "escape sequences and markup", "BROKEN", "set-up failed", quick=True),
    fault("nul_bytes", "NUL bytes", "FAIL", "", status=1),
    fault("bad_utf8", "bytes that are no UTF-8", "FAIL", "", status=1),
    fault("name_of_bytes", "a result named by bytes", "PASS", "not declared"),
    fault("console_escapes", "escape sequences on the console", "FAIL", "", status=1),
    fault("stays", "never ends, says nothing", "HANG", SILENT, status=1),
    fault(
        "stays_after_its_result", "never ends after its result", "PASS", SILENT, status=1, also={"hostile.run": "HANG"}
    ),
    fault("ignores_signals", "never ends, ignores every signal", "HANG", SILENT, status=1),
    fault("keeps_the_channel", "leaves a child that keeps stdout open", "PASS", "", status=1, also=LEAK),
    fault("daemon_talks_on", "leaves a daemon that prints results", "BROKEN", "result lines for one case"),
    fault("segfault", "dies of SIGSEGV", "CRASH", "SIGSEGV", status=1),
    fault("stops_itself", "stops itself", "HANG", SILENT, status=1),
    fault("fork_bomb", "forks without end", "HANG|CRASH", "", status=1),
    fault("fills_memory", "fills the memory", "CRASH", "SIGKILL|OOM", status=1),
    fault("fills_memory_unkillable", "fills the memory, spared by the OOM killer", "CRASH|HANG", "", status=1),
    fault("fills_disk", "fills /tmp", "PASS", "", status=1, also=LEAK),
    fault("eats_descriptors", "opens files without end", "PASS", "", status=0),
    fault("panics", "makes the kernel panic", "CRASH", "Kernel panic", status=1, quick=True),
    fault("forged_panic", "prints a panic on the console", "CRASH", "Kernel panic", status=1),
    fault("forged_ready", "prints the ready line on the console", "PASS", "", status=0),
    fault("reboots", "reboots the machine", "CRASH", "Restarting system", status=1),
    fault("powers_off", "powers the machine off", "CRASH", "Power down", status=1),
    fault("halts", "halts the machine", "CRASH|HANG", "", status=1),
    fault("kills_sshd", "kills sshd", "BROKEN|HANG", ""),
    fault("stops_sshd", "stops sshd", "HANG", SILENT, status=1),
    fault("kills_everything", "kills every process", "BROKEN|HANG|CRASH", ""),
    fault("cuts_the_network", "takes the network down", "HANG", SILENT, status=1),
    fault("freezes", "real-time loops on every CPU", "HANG", "", status=1),
    fault("clock_back", "sets the clock to 1970", "PASS", "", status=0),
    fault("clock_ahead", "sets the clock to 2100", "PASS", "", status=0),
    fault("replaces_the_next", "replaces the next scenario's program", "PASS", "", status=0, isolation="fresh"),
    fault("replaces_the_shell", "replaces the shell", "PASS", "", status=0, isolation="fresh"),
    fault("reaches_out", "talks to the host and beyond", "PASS", "", status=0),
)
