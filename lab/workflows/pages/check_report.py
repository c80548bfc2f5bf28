# SPDX-License-Identifier: GPL-2.0-or-later
"""What `lab pages --check` found as text, JSON, JUnit and HTML. Names of files are made printable first."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

from lab.core.sizes import KIB
from lab.core.untrusted import printable
from lab.workflows.pages import look, render
from lab.workflows.pages.look import Checked, LookedAt

TITLE = "lab pages --check"


def text(checked: Checked) -> str:
    """Return the files that cannot be loaded somewhere, what mends them, and what is left out."""
    return "".join(f"{printable(line)}\n" for line in look.render(checked.files, checked.left_out))


def as_json(checked: Checked) -> str:
    """Return the document; its keys are stable, sizes are in bytes."""
    files = []
    for file in checked.files:
        problems = {str(size): reason for size, reason in file.problems.items()}
        facts = {"name": file.name, "arch": file.arch, "align": file.align, "problems": problems, "mend": file.mend}
        files.append(facts)
    document = {"exit_status": checked.exit_status, "files": files, "left_out": checked.left_out}
    return json.dumps(document, indent=1) + "\n"


def junit(checked: Checked) -> str:
    """Return a test case per file: a failure where it cannot be loaded, skipped where it was left out."""
    suite = TestSuite(TITLE)
    for file in checked.files:
        case = TestCase(look.name_in_one_line(file.name), classname=f"pages.check.{file.arch}")
        if file.problems:
            failure = Failure(_problem(file))
            failure.text = _details(file)
            case.result = [failure]
        suite.add_testcase(case)
    for reason, names in checked.left_out.items():
        for name in names:
            case = TestCase(look.name_in_one_line(name), classname="pages.check")
            case.result = [Skipped(printable(reason))]
            suite.add_testcase(case)
    document: Any = JUnitXml(TITLE)
    document.add_testsuite(suite)
    document.update_statistics()
    return str(document.tostring().decode("utf-8")) + "\n"


def html(checked: Checked) -> str:
    """Return a page without a script that fetches nothing."""
    rows = [("file", "architecture", "aligned to", "cannot be loaded with pages of")]
    details = []
    for file in checked.files:
        name = look.name_in_one_line(file.name)
        sizes = ", ".join(f"{size // KIB}K" for size in file.problems)
        rows.append((name, file.arch, str(file.align), sizes))
        if file.problems:
            details.append((name, _details(file)))
    *_, sentence = look.render(checked.files)
    left_out = look.left_out_lines(checked.left_out)
    return render.page(
        TITLE,
        status=checked.exit_status,
        sentence=sentence,
        rows=rows,
        details=details,
        more=("Left out", printable("\n".join(left_out))),
    )


def _problem(file: LookedAt) -> str:
    sizes = ", ".join(f"{size // KIB}K" for size in file.problems)
    return f"cannot be loaded with pages of {sizes}"


def _details(file: LookedAt) -> str:
    return printable("\n".join([*dict.fromkeys(file.problems.values()), file.mend]))


FORMATS: Mapping[str, Callable[[Checked], str]] = MappingProxyType(
    {"text": text, "json": as_json, "junit": junit, "html": html}
)
