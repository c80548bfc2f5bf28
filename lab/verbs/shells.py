# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs for the shell in which `lab` is typed: its completion, and the manual page."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete `lab`.

    It completes verbs, options, and the names of machines, kernels, scenarios, campaigns and cells.

    \b
    lab completion bash > ~/.local/share/bash-completion/completions/lab
    lab completion zsh > ~/.zfunc/_lab
    lab completion fish > ~/.config/fish/completions/lab.fish
    """
    completion_class = get_completion_class(shell)
    assert completion_class is not None
    print(completion_class(context.find_root().command, {}, "lab", "_LAB_COMPLETE").source())


@click.command()
@click.pass_context
def man(context: click.Context) -> None:
    """Print the manual page of all verbs, for man(1).

    \b
    lab man | man -l -
    lab man > ~/.local/share/man/man1/lab.1
    """
    from lab import __version__
    from lab.verbs.text import manual

    group = context.find_root().command
    assert isinstance(group, click.Group)
    print(manual.page(group, "lab", __version__), end="")
