# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs for the shell that `lab` is typed in: completion, and the manual."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """What makes a shell complete verbs, options, and the names of machines, kernels, scenarios, campaigns and cells.

    \b
    lab completion bash > ~/.local/share/bash-completion/completions/lab
    lab completion zsh > ~/.zfunc/_lab
    lab completion fish > ~/.config/fish/completions/lab.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    print(found(context.find_root().command, {}, "lab", "_LAB_COMPLETE").source())


@click.command()
@click.pass_context
def man(context: click.Context) -> None:
    """The manual page of all verbs, for man(1).

    \b
    lab man | man -l -
    lab man > ~/.local/share/man/man1/lab.1
    """
    from lab import __version__
    from lab.verbs import manual

    group = context.find_root().command
    assert isinstance(group, click.Group)
    print(manual.page(group, "lab", __version__), end="")
