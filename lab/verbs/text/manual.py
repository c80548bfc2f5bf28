# SPDX-License-Identifier: GPL-2.0-or-later
"""The manual page, made from the click objects that parse the command line."""

from __future__ import annotations

from collections.abc import Iterator

import click

ENVIRONMENT = {
    "ARCH": "Restricts campaigns and globs to machines of this architecture, but not a machine that is named in full.",
    "CROSS_COMPILE": "Prefix of the compiler for kernels of the architecture in ARCH; ignored without ARCH.",
    "LD_LIBRARY_PATH": "Where exec and pages look first for a program's libraries, without --sysroot and --root.",
    "LLVM": "1, -SUFFIX or /PREFIX/: builds kernels with clang and lld; programs for guests always use gcc.",
    "NO_COLOR": "If set, nothing is printed in colour.",
    "PAGELAB_CACHE": "Directory of built kernels and work trees [$XDG_CACHE_HOME/pagelab, or ~/.cache/pagelab].",
    "PAGELAB_PATIENCE": "Factor for every deadline in guests, above 1 for a busy host [1].",
    "PAGELAB_SCENARIOS": "Directories of further scenarios (C files), separated by colons [none].",
}
FILES = {
    "~/.config/pagelab/config.yaml": "Your defaults for options; directories of your own machines, kernels and tests.",
    "results/": "One directory for each run; results/latest is a link to the newest one.",
}
STATUS = {
    "0": "Every expectation was met.",
    "1": "One or more were not.",
    "2": "The lab or its host failed, or the run is incomplete.",
    "64": "Bad input: nothing was built, started or deleted.",
    "125": "exec only: the lab failed, not the program.",
    "130": "Interrupted.",
}


def page(group: click.Group, name: str, version: str) -> str:
    """Return the whole manual as roff, for man(1)."""
    with click.Context(group, info_name=name) as context:
        verbs = sorted(group.commands.items())
        lines = [
            f'.TH {name.upper()} 1 "" "pagelab {version}" "User Commands"',
            ".SH NAME",
            f"{name} \\- {_plain(group.get_short_help_str(200))}",
            ".SH SYNOPSIS",
            f".B {name}",
            "[OPTIONS] VERB [ARGS]...",
            ".SH DESCRIPTION",
            *_paragraphs(group.help or ""),
            ".SH VERBS",
            *(line for verb, command in verbs for line in _verb(name, verb, command, context)),
            *_list("ENVIRONMENT", ENVIRONMENT),
            *_list("FILES", FILES),
            *_list("EXIT STATUS", STATUS),
        ]
    return "\n".join(lines) + "\n"


def _verb(name: str, verb: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    with click.Context(command, info_name=verb, parent=parent) as context:
        usage = " ".join(command.collect_usage_pieces(context))
        yield from (f".SS {name} {verb} {_plain(usage)}", *_paragraphs(command.help or ""))
        for option in command.get_params(context):
            if isinstance(option, click.Option) and (record := option.get_help_record(context)):
                yield from (".TP", f".B {_plain(record[0])}", _plain(record[1]))


def _paragraphs(text: str) -> Iterator[str]:
    """Yield help text as roff: its paragraphs are filled, those that begin with \\b keep their lines."""
    for paragraph in text.replace("\r", "").strip().split("\n\n"):
        lines = [line.strip() for line in paragraph.strip().splitlines()]
        if lines and lines[0] == "\b":
            yield from (".PP", ".RS", ".nf", *map(_plain, lines[1:]), ".fi", ".RE")
        else:
            yield from (".PP", *map(_plain, lines))


def _list(title: str, entries: dict[str, str]) -> Iterator[str]:
    yield f".SH {title}"
    for name, text in entries.items():
        yield from (".TP", f".B {_plain(name)}", _plain(text))


def _plain(text: str) -> str:
    """Escape what roff would interpret."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\`")
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe
