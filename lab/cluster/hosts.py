# SPDX-License-Identifier: GPL-2.0-or-later
"""hosts.yaml: the hosts of a team, how a worker is started on each, and the store that they share.

store: ssh://files.example.org/srv/pagelab     # a directory that all hosts have, or a URL that fsspec knows
listen: tls://10.0.0.1:8786                    # where the lab's scheduler listens while a campaign runs
certs: ~/.config/pagelab/certs/laptop          # of `lab cluster certs`
hosts:
  big: {start: ssh big}
  arm: {start: ssh root@10.0.0.7, lab: /opt/pagelab/.venv/bin/lab, guests: 16}

A class of Dask's may start the workers instead:

store: /nfs/pagelab
deploy: {cluster: dask_jobqueue.SLURMCluster, workers: 8, options: {queue: lab, cores: 32, memory: 64GB}}
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from lab.cluster.engine import check_address
from lab.core.errors import UsageError
from lab.core.paths import user_path
from lab.specs import load
from lab.specs.load import NAME
from lab.specs.model import OneLine, Spec

CERTS = "~/.config/pagelab/certs"
SSH = "ssh"


class HostEntry(Spec):
    """A host, and how a worker is started there."""

    start: OneLine = ""
    """A command that runs what follows it on the host; `ssh NAME` if it is left out."""
    lab: OneLine = "lab"
    """The lab's command on the host."""
    certs: OneLine = CERTS
    """The directory of its certificate there."""
    store: OneLine = ""
    """How the host reaches the store, if by another URL."""
    guests: Annotated[int, Field(ge=1, le=1024, strict=True)] | None = None
    """How many guests may run there at once."""

    def command(self, name: str, address: str) -> Sequence[str]:
        """Return the command that starts a worker there. ssh gets it as one word, for the shell at the other end."""
        words = [*shlex.split(self.lab), "worker", address, "--name", name, "--certs", self.certs]
        if self.store:
            words += ["--store", self.store]
        if self.guests:
            words += ["--guests", str(self.guests)]
        start = shlex.split(self.start) or [SSH, "-o", "BatchMode=yes", name]
        if Path(start[0]).name == SSH:
            return [*start, " ".join(map(_quoted_for_shell, words))]
        return [*start, *words]


class Deployment(Spec):
    """A cluster that a class of Dask's starts. `name` means nothing."""

    name: str = "deploy"
    cluster: Annotated[OneLine, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]
    """MODULE.CLASS, such as dask_jobqueue.SLURMCluster."""
    workers: Annotated[int, Field(ge=1, le=10_000, strict=True)] | None = None
    """How many workers it is scaled to; those that its options name if it is left out."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What the class is called with."""


class HostsFile(Spec):
    """A file of hosts, which the lab starts workers on, or of a deployment of Dask's. `name` means nothing."""

    name: str = "hosts"
    store: OneLine = ""
    listen: OneLine = ""
    certs: OneLine = CERTS
    hosts: dict[OneLine, HostEntry] = Field(default_factory=dict)
    deploy: Deployment | None = None


def read(path: Path) -> HostsFile:
    """Read a file of hosts; InputError with file, line and key for what is wrong in it."""
    document = load.read(path)
    file = document.build(HostsFile)
    own = {"listen": file.listen, "hosts": file.hosts}
    for key, given in own.items():
        if not given and not file.deploy:
            raise document.error((key,), "is required, and missing; or `deploy:` for a cluster that Dask starts")
        if given and file.deploy:
            raise document.error((key,), "expected either `listen:` and `hosts:`, or `deploy:`")
    if file.deploy:
        return file
    try:
        check_address(file.listen)
    except UsageError as error:
        raise document.error(("listen",), str(error)) from None
    for name, entry in file.hosts.items():
        if not NAME.fullmatch(name):
            raise document.error(("hosts", name), "expected a name of letters, digits and . _ + -")
        for key in ("start", "lab"):
            try:
                shlex.split(getattr(entry, key))
            except ValueError as error:
                raise document.error(("hosts", name, key), f"expected a command: {error}") from None
    return file


def directory(word: str) -> Path:
    """Return the directory of certificates that a word of hosts.yaml or of a command line names."""
    return user_path(word)


def _quoted_for_shell(word: str) -> str:
    """Quote a word for a shell, which expands a `~` at its beginning."""
    if word.startswith("~/"):
        return f"~/{shlex.quote(word[2:])}"
    return shlex.quote(word)
