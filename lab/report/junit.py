# SPDX-License-Identifier: GPL-2.0-or-later
"""junit.xml: a suite per cell, for CI systems. An expectation that is not met is red; an expected failure is green.

This format has no one schema. The document is valid by Jenkins' junit-10.xsd, which has no `skipped` of the whole
document, and by surefire's, which requires a time for every test case, with at most three decimals.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from xml.etree import ElementTree

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from lab.core.outcome import CaseRecord, CellResult, CellStatus, Outcome
from lab.core.untrusted import printable
from lab.report import _words as words
from lab.verdicts.compare import Summary
from lab.verdicts.judge import cell_evidence
from lab.verdicts.power import Unproven
from lab.verdicts.reported import ReportResult

FILE = "junit.xml"
_TIMED = ("testsuites", "testsuite", "testcase")
_DECLARATION = '<?xml version="1.0" encoding="utf-8"?>'


def render(summary: Summary) -> str:
    """Return the document; text from guests is made printable first, so no character in it is illegal in XML."""
    document: Any = JUnitXml(words.campaign(summary))
    suites = summary.suites
    for (topology, kernel), guests in summary.repeats.items():
        suite = TestSuite(f"{topology}/{kernel}")
        accelerators = dict.fromkeys(guest.accelerator for guest in guests)
        suite.add_property("accelerator", printable(", ".join(accelerators)))
        bad = [_cell(guest) for guest in guests if guest.status is not CellStatus.OK]
        suite.add_testcases([*bad, *(_case(record, suites) for record in summary.of_cell(topology, kernel))])
        document.append(suite)  # add_testsuite() compares it with every suite before
    if summary.reported:
        section = TestSuite("REPORTS")
        section.add_property("about", f"reports that were reproduced: {words.reports_title(summary)}")
        section.add_testcases([*map(_report, summary.reported)])
        document.append(section)
    if summary.unproven:
        claims = TestSuite("NO POWER")
        claims.add_property("about", "features, suites and programs of which no case could fail")
        claims.add_testcases([*map(_claim, summary.unproven)])
        document.append(claims)
    document.update_statistics()
    return f"{_DECLARATION}\n{_accepted_everywhere(document.tostring())}\n"


def _report(result: ReportResult) -> TestCase:
    """A report: red if it is not as reported somewhere; its links are there in any case."""
    case = TestCase(printable(result.name), classname="reports")
    facts = printable("\n".join([result.report.title, *words.report_facts(result)]))
    if result.unmet:
        entry = Failure(result.state, "report")
        entry.text = facts
        case.result = [entry]
    elif result.missing_sides:
        case.result = [Skipped(printable(f"{result.state}; {' '.join(result.report.links)}"))]
    else:
        case.system_out = facts
    return case


def _accepted_everywhere(document: bytes) -> str:
    """Return the XML without what one of the schemas refuses, and with the times that another one wants."""
    root = ElementTree.fromstring(document)
    root.attrib.pop("skipped", None)
    for element in root.iter():
        if element.tag in _TIMED:
            seconds = float(element.get("time", "0"))
            element.set("time", f"{seconds:.3f}")
    return ElementTree.tostring(root, encoding="unicode")


def _cell(cell: CellResult) -> TestCase:
    """Return the entry of a guest that is not OK, which is red even if no case is declared."""
    again = f", repeat {cell.repeat}" if cell.repeat > 1 else ""
    case = TestCase(f"(the guest{again})", classname=f"{cell.topology}.{cell.kernel}")
    why = "; ".join([cell.why, *(str(mismatch) for mismatch in cell.mismatches)]).strip("; ")
    kind = Failure if cell.status is CellStatus.NO_BOOT else Error
    entry = kind(printable(f"{words.CELL_WORDS[cell.status]}: {why}"), cell.status.value)
    entry.text = printable("\n".join(cell_evidence(cell)))
    case.result = [entry]
    return case


def _claim(claim: Unproven) -> TestCase:
    """Return the entry of a claim about a kernel that no case could refute; it belongs to no machine."""
    case = TestCase(printable(f"({claim.subject})"), classname=claim.kernel)
    entry = Failure(printable(f"no power: {claim.reason}"), "NO POWER")
    entry.text = printable("\n".join(claim.cases))
    case.result = [entry]
    return case


def _case(record: CaseRecord, suites: Collection[str]) -> TestCase:
    name = f"{record.topology}.{record.kernel}.{record.scenario}"
    case = TestCase(printable(record.case), classname=name, time=record.duration_s)
    message = printable(f"{record.verdict}, expected {record.expected}: {record.reason}")
    if record.outcome is Outcome.SKIP:
        case.result = [Skipped(printable(record.reason))]
    elif record.met is False:
        kind = Error if record.outcome is Outcome.BROKEN else Failure
        entry = kind(message, record.outcome.value)
        entry.text = printable(record.excerpt)
        case.result = [entry]
    elif record.scenario in suites and record.outcome is not Outcome.PASS:
        why = "as" if record.met else "no verdict, for want of one"
        case.system_out = printable(f"{message}; {why} on the kernel that is compared with\n{record.excerpt}")
    elif record.outcome is Outcome.FAIL:
        case.system_out = printable(f"failed, as it must on this kernel\n{record.excerpt}")
    return case
