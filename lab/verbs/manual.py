# SPDX-License-Identifier: GPL-2.0-or-later
"""The manual page, made of the very objects that parse the command line."""

from __future__ import annotations

from collections.abc import Iterator

import click

ENVIRONMENT = {
    "ARCH": "Campaigns and globs mean machines of this architecture alone; one named on the command line stays.",
    "CROSS_COMPILE": "Prefix of the compiler for kernels of the architecture that ARCH names; nothing without it.",
    "LLVM": "1, -SUFFIX or /PREFIX/: clang and lld build kernels. What runs in guests is always built with gcc.",
    "NO_COLOR": "No colours.",
    "PAGELAB_CACHE": "Where kernels and work trees are kept, instead of $XDG_CACHE_HOME/pagelab or ~/.cache/pagelab.",
    "PAGELAB_PATIENCE": "Multiplies every deadline in guests, for a host that is very busy.",
    "PAGELAB_SCENARIOS": "Directories of C files that are scenarios besides, colons between them.",
}
FILES = {
    "~/.config/pagelab/config.yaml": "Defaults for options; directories of machines, kernels and tests of one's own.",
    "results/": "A directory for every run; latest is the last one.",
}
STATUS = {
    "0": "Every expectation was met.",
    "1": "One was not.",
    "2": "The lab or its host failed, or the run is incomplete.",
    "64": "Bad input: nothing was built, started or deleted.",
    "125": "Of exec: the lab failed, not the program.",
    "130": "Interrupted.",
}


def page(group: click.Group, name: str, version: str) -> str:
    """The whole manual as roff, for man(1)."""
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
    """Help as click has it: paragraphs, and examples, which keep their lines, behind a \\b."""
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
    """Text that means nothing to roff."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\`")
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe
