# SPDX-License-Identifier: GPL-2.0-or-later
"""The lines of a listing on a web page, without the numbers that sites put beside them."""

from __future__ import annotations

import html
from collections.abc import Callable

import pytest

from lab.formats.machine.paste import web_page
from lab.formats.machine.paste.pasted import undecorated

SHOWN = [
    "$ cat /sys/devices/system/node/node*/cpulist",
    "0-3",
    "4-7",
    "$ numactl -H | grep -A9 distances",
    "node distances:",
    "node   0   1",
    "  0:  10  21",
    "  1:  21  10",
]
Form = Callable[[int, str], str]


def listing(form: Form, before: str = "", after: str = "", between: str = "\n") -> str:
    return before + between.join(form(number, html.escape(text)) for number, text in enumerate(SHOWN, 1)) + after


def numbers(form: str, between: str = "\n") -> str:
    return between.join(form.format(number) for number in range(1, len(SHOWN) + 1))


CODE = html.escape("\n".join(SHOWN))
PAGES = {
    "empty cell": listing(
        lambda n, text: (
            f'<tr>\n<td id="L{n}" class="blob-num js-line-number" data-line-number="{n}"></td>\n'
            f'<td id="LC{n}" class="blob-code js-file-line">{text}</td>\n</tr>'
        ),
        "<table>\n<tbody>\n",
        "\n</tbody>\n</table>",
    ),
    "cell": listing(
        lambda n, text: f'<tr><td class="blob-num">{n}</td><td class="blob-code">{text}</td></tr>',
        "<table>",
        "</table>",
        "",
    ),
    "two cells of a diff": listing(
        lambda n, text: (
            f'<tr><td class="blob-num">{n}</td><td class="blob-num blob-num-addition">{n + 7}</td>'
            f'<td class="blob-code"><span data-code-marker="+">{text}</span></td></tr>'
        )
    ),
    "column of divisions": (
        numbers('<div data-line-number="{0}" class="react-line-number">{0}</div>', "")
        + listing(lambda n, text: f'<div id="LC{n}">{text}</div>', between="")
    ),
    "column of links": (
        numbers('<a data-line-number="{0}">\n<i></i>\n{0}\n</a>')
        + listing(lambda n, text: f'<span id="LC{n}" class="line">{text}</span>', "<pre><code>", "</code></pre>")
    ),
    "link on lines of its own": listing(
        lambda n, text: (
            f'<div class="line-links"><a class="file-line-num" data-line-number="{n}">\n      {n}\n</a></div>'
            f'<div class="blob-line"><pre><code><span id="LC{n}">{text}</span></code></pre></div>'
        )
    ),
    "span in a cell": listing(
        lambda n, text: (
            f'<tr>\n<td class="lines-num"><span id="L{n}" data-line-number="{n}"></span></td>\n'
            f'<td rel="L{n}" class="lines-code"><code class="code-inner">{text}\n</code></td>\n</tr>'
        )
    ),
    "one cell of links": (
        "<table class='blob'>\n<tr><td class='linenumbers'><pre>"
        + numbers("<a id='n{0}' href='#n{0}'>{0}</a>")
        + f"\n</pre></td>\n<td class='lines'><pre><code>{CODE}\n</code></pre></td></tr></table>"
    ),
    "link and blanks that do not break": listing(
        lambda n, text: f'<div class="pre"><a id="l{n}" class="linenr">{n:4}</a> {text.replace(" ", "&nbsp;")}</div>'
    ),
    "span with blanks": listing(lambda n, text: f'<span class="linenos">{n:2} </span>{text}', "<pre>", "</pre>"),
    "span with the end of the line": (
        '<table class="lntable"><tr><td class="lntd"><pre>'
        + numbers('<span class="lnt">{0}\n</span>', "")
        + f"</pre></td><td><pre>{CODE}</pre></td></tr></table>"
    ),
    "items of a list": listing(lambda n, text: f"<li><div>{text}</div></li>", "<ol>", "</ol>"),
    "cell without a mark": listing(
        lambda n, text: f"<tr>\n<th>{n}</th>\n<td><pre>{text}</pre></td>\n</tr>", "<table>\n", "\n</table>"
    ),
    "tag on two lines": listing(lambda n, text: f'<tr><td\n data-line-number="{n}"></td><td>{text}</td></tr>'),
}


@pytest.mark.parametrize("form", PAGES)
@pytest.mark.parametrize("around", ["{}", "See below.\n{}\nThanks"])
def test_a_listing_has_the_lines_that_the_page_shows_and_no_numbers(form: str, around: str) -> None:
    made = undecorated(around.format(PAGES[form]))
    shown = [line.text for line in made.lines if line.text]
    ends = [text for text in around.format("\n").split("\n") if text]
    assert shown == [*ends[:1], *(text.strip() for text in SHOWN), *ends[1:]]


@pytest.mark.parametrize("head", ["", "From the page:\n"])
@pytest.mark.parametrize("form", ["{}\t{}", "{}\n{}", "{}\t\n{}"])
def test_what_is_copied_from_a_page_with_numbers_has_none(form: str, head: str) -> None:
    made = undecorated(head + "\n".join(form.format(n, text) for n, text in enumerate(SHOWN, 37)))
    assert [line.text for line in made.lines if line.text][-8:] == [text.strip() for text in SHOWN]
    assert "decoded: line numbers" in made.notes


def test_a_line_keeps_its_number_in_the_text() -> None:
    shown = web_page.shown(list(enumerate(PAGES["empty cell"].split("\n"), 1)))
    assert [number for number, _ in shown] == [5 + 4 * place for place in range(len(SHOWN))]


def test_an_empty_line_of_a_listing_stays_one() -> None:
    text = '<tr><td class="blob-num">1</td><td>a</td></tr><tr><td class="blob-num">2</td><td></td></tr>'
    assert web_page.shown([(1, text)]) == [(1, "a"), (1, "")]


def test_values_are_no_numbers_of_lines() -> None:
    highlighted = '<code>node <span class="hljs-number">0</span> cpus: <span class="mi">1</span></code>'
    assert web_page.shown([(1, highlighted)]) == [(1, "node 0 cpus: 1")]
    header = "<tr><th>node</th><th>cpus</th></tr>"
    table = "".join(f"<tr><td>{node}</td><td>{node}-{node}</td></tr>" for node in range(5))
    assert [text.split() for _, text in web_page.shown([(1, f"<table>{header}{table}</table>")])][1:3] == [
        ["|0", "|0-0"],
        ["|1", "|1-1"],
    ]


def test_scripts_and_styles_are_not_shown_and_other_tags_stay() -> None:
    rows = [(1, "<style>td { color: 1 }</style><script>var a;"), (2, "var b;</script><p>x</p>"), (3, '<cpu id="1">')]
    assert web_page.shown(rows) == [(2, "x"), (3, '<cpu id="1">')]


def test_a_distance_table_is_no_alternation_of_numbers_and_lines() -> None:
    text = "0\n10\n1\n20\n2\n30\n3\n40\n4\n50\n"
    assert [line.text for line in undecorated(text).lines][:4] == ["0", "10", "1", "20"]
