# SPDX-License-Identifier: GPL-2.0-or-later
"""Read the user's settings: defaults for options, and directories in addition to the lab's own.

# ~/.config/pagelab/config.yaml
topologies: [~/lab/machines]       # directories; relative ones are relative to this file
kernels: [~/lab/kernels]
scenarios: [~/lab/tests]
campaigns: [~/lab/campaigns]
cache_remote: ssh://files.example.org/srv/pagelab    # a store of built kernels, userlands and programs
reports: [~/lab/reports]
defaults:
  every: {connect: "qemu:///session"}        # every verb that has this option
  run: {jobs: 2, memory: 8G}
  exec: {topology: x86_64-4k, kernel: baseline}
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from lab.core.errors import InputError
from lab.core.paths import user_path
from lab.specs.load import YamlDocument, is_empty, read
from lab.specs.model import OneLine, Spec, got

FILE = Path("pagelab", "config.yaml")
EVERY = "every"

Value = str | int | float


def _value(value: object) -> object:
    """Accept the value of an option, as on the command line: text, a number, true or false, or a list of them."""
    many = tuple(value) if isinstance(value, list) else (value,)
    if not all(isinstance(one, str | int | float) for one in many):
        raise ValueError(f"expected text, a number, true, false, or a list of them, got {got(value)}")
    return many if isinstance(value, list) else value


Options = dict[str, Annotated[Any, PlainValidator(_value)]]
"""Long name of an option -> a Value, or a tuple of Values."""


class Settings(Spec):
    """The settings of a user. `name` is the file's stem and is not used."""

    name: str = "config"
    topologies: tuple[OneLine, ...] = ()
    kernels: tuple[OneLine, ...] = ()
    scenarios: tuple[OneLine, ...] = ()
    campaigns: tuple[OneLine, ...] = ()
    cache_remote: OneLine = ""
    """A directory or URL of a cache that several hosts share; empty for none."""
    reports: tuple[OneLine, ...] = ()
    defaults: dict[str, Options] = Field(default_factory=dict)
    """Verb or `every` -> long name of an option -> its value."""


DIRECTORIES: Mapping[str, str] = {
    "topologies": ".yaml",
    "kernels": ".yaml",
    "scenarios": ".c",
    "campaigns": ".yaml",
    "reports": ".yaml",
}
"""Key -> the suffix of the files in its directories."""


def settings_path() -> Path:
    """Return the path of this user's settings, which need not exist."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base).absolute() / FILE


class Own:
    """A user's settings with the file that they come from, for messages that name its lines."""

    def __init__(self, document: YamlDocument | None = None) -> None:
        self._document = document
        self.settings = document.build(Settings) if document else Settings()

    @property
    def defaults(self) -> Mapping[str, Mapping[str, Any]]:
        return self.settings.defaults

    def error(self, where: tuple[str | int, ...], expected: str, nearest: str | None = None) -> InputError:
        """Return the error for one of the settings."""
        if self._document is None:
            raise AssertionError("nothing is wrong with settings that are not there")
        return self._document.error(where, expected, nearest=nearest)

    def directories(self, key: str, taken: Mapping[str, Path]) -> tuple[Path, ...]:
        """Return the user's directories of a kind; InputError for one that is not a directory, or has a `taken` name.

        If two files had one name, the order of directories would decide between them.
        """
        seen = dict(taken)
        found = []
        for index, word in enumerate(getattr(self.settings, key)):
            directory = self._directory((key, index), word)
            found.append(directory)
            for path in sorted(directory.glob(f"*{DIRECTORIES[key]}")):
                if other := seen.get(path.stem):
                    raise self.error((key, index), f"{path} has the name of {other}: rename it")
                seen[path.stem] = path
        return tuple(found)

    def _directory(self, where: tuple[str | int, ...], word: str) -> Path:
        assert self._document is not None
        path = (self._document.path.parent / user_path(word)).absolute()
        if not path.is_dir():
            got = "a file" if path.exists() else "nothing there"
            raise self.error(where, f"expected a directory, got {got}: {path}")
        return path


def load(path: Path | None = None) -> Own:
    """Return the user's settings, empty without a file or with one of comments alone.

    InputError with file, line and key for an error in it.
    """
    path = path or settings_path()
    if not path.exists() or is_empty(path):
        return Own()
    return Own(read(path))
