# SPDX-License-Identifier: GPL-2.0-or-later
"""A cluster while a lab uses it: connects to a scheduler, or starts one and the workers of hosts.yaml."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from lab.build.builder import Builder
from lab.cluster import engine, hosts
from lab.cluster.engine import SchedulerClient
from lab.cluster.hosts import HostEntry, HostsFile
from lab.cluster.members import Members
from lab.cluster.offer import Offer
from lab.cluster.place import ClusterPlace, opened
from lab.cluster.store import Store
from lab.core import proc
from lab.core.cache import Cache
from lab.core.deadline import Deadline
from lab.core.errors import DeadlineExceeded, InfraError, UsageError
from lab.evidence.write import RunDir
from lab.host import history
from lab.host.emulator import HostOffers
from lab.host.estimate import Packing
from lab.host.schedule import Budget

JOIN_S = 60.0
DEPLOY_S = 600.0
"""How long a batch system may take to start a worker."""
END_S = 15.0
LOG_TAIL = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterChoice:
    """Which cluster a command line names: a file of hosts, or the address of a scheduler."""

    hosts: Path | None = None
    address: str = ""
    certs: str = ""
    """The directory of certificates; empty for that of the file, or the usual one."""
    store: str = ""
    """The store, if the file names none: the settings' `cache_remote`."""

    def file(self) -> HostsFile | None:
        """Read the file of hosts; None if the command line names a scheduler."""
        return hosts.read(self.hosts) if self.hosts else None


@dataclass(slots=True, kw_only=True)
class Session:
    """A connection to a cluster, and the store that its hosts share."""

    members: Members
    store_url: str
    note: Callable[[str], object]
    _places: dict[str, ClusterPlace] = field(default_factory=dict)
    """The runs under way, by name."""

    uri = "cluster"
    """What metadata.json has as the connection."""

    def offers(self) -> dict[str, Offer | str]:
        """Return what every host offers, by name; a string says why it does not say."""
        offers: dict[str, Offer | str] = {}
        for name, member in self.members.present().items():
            offers[name] = member.offer or member.refused
        return offers

    def describe(self) -> Mapping[str, object]:
        """Return what metadata.json says of the hosts that are there now."""
        described = {}
        for name, offer in self.offers().items():
            if isinstance(offer, Offer):
                emulators = {arch: emulator.emulator for arch, emulator in offer.arches.items()}
                facts = {"machine": offer.machine, "kernel": offer.kernel, "cpus": offer.cpus, "memory": offer.memory}
                described[name] = {**facts, "lab": offer.lab, "emulators": emulators}
        return described

    def packing(self, cache: Cache) -> Packing:
        """Return the resources of all hosts together, for estimates; the schedule has a budget for each."""
        memory, cpus, guests = 0, 0.0, 0
        offers: list[HostOffers] = []
        for offer in self.members.usable().values():
            memory, cpus = memory + offer.budget.memory, cpus + offer.budget.cpus
            guests += offer.budget.guests
            offers.append(offer.offers)
        budget = Budget(memory=memory, cpus=max(1.0, cpus), guests=max(1, guests))
        return Packing(
            budget=budget,
            history=history.load(cache),
            hosts_offer=offers,
            build_memory=min(self.members.build_memory()),
        )

    def abort(self) -> None:
        """End every attempt that is under way."""
        for place in tuple(self._places.values()):
            place.abort()

    @contextmanager
    def place(self, workshop: Builder, run_dir: RunDir) -> Iterator[ClusterPlace]:
        """The hosts as the place of one run."""
        with workshop.cache.scratch("store") as scratch:
            made = ClusterPlace(
                members=self.members,
                store=Store(url=self.store_url, scratch=scratch, warn=self.note),
                builder=workshop,
                run_dir=run_dir,
                run_name=f"{run_dir.path.absolute().name[:80]}.{secrets.token_hex(4)}",
                note=self.note,
            )
            with opened(made) as place:
                self._places[place.run_name] = place
                try:
                    yield place
                finally:
                    del self._places[place.run_name]


@contextmanager
def session(
    choice: ClusterChoice, note: Callable[[str], object], *, lost_s: float = engine.LOST_S
) -> Iterator[Session]:
    """Connect to a cluster; with a file of hosts, its scheduler runs in this process and a worker on each host."""
    engine.require()
    file = choice.file()
    store = (file.store if file else "") or choice.store
    if not store:
        hint = "`store:` in hosts.yaml, or `cache_remote:` in the settings"
        raise UsageError("a cluster needs a store that its hosts share", hint=hint)
    certs = hosts.directory(choice.certs or (file.certs if file else hosts.CERTS))
    with ExitStack() as stack:
        address = choice.address
        if file and file.deploy:
            deploy = file.deploy
            made = engine.deployed(deploy.cluster, deploy.workers, deploy.options, certs, lost_s=lost_s)
            address = stack.enter_context(made)
        elif file:
            running = stack.enter_context(engine.scheduler(file.listen, certs, lost_s=lost_s))
            address = running.inside
            if running.dashboard:
                note(f"Dask's dashboard: {running.dashboard}")
        connection = stack.enter_context(engine.connected(address, certs, lost_s=lost_s))
        members = Members(connection=connection, note=note)
        if file and file.hosts:
            members.last_words = stack.enter_context(_workers(file, connection, note))
        if file and file.deploy:
            _wait_for_one(connection)
        stack.enter_context(members.followed())
        yield Session(members=members, store_url=store, note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class _StartedWorker:
    name: str
    process: proc.Process
    log: Path

    def last_words(self) -> str:
        """The last line that it printed."""
        with suppress(OSError):
            text = self.log.read_bytes()[-LOG_TAIL:].decode("utf-8", "replace").strip()
            return text.rpartition("\n")[2]
        return ""


@contextmanager
def _workers(
    file: HostsFile, connection: SchedulerClient, note: Callable[[str], object]
) -> Iterator[Callable[[str], str]]:
    """A worker on each host of a file, ended afterwards; hosts that do not join are left out, and named.

    Gives what says the last words of the worker of a host.
    """
    with tempfile.TemporaryDirectory(prefix="pagelab-hosts-") as logs, ExitStack() as stack:
        started = []
        for name, entry in file.hosts.items():
            started.append(_start(name, entry, file.listen, Path(logs)))
            stack.callback(proc.end, started[-1].process, END_S)
        missing = _wait_for(connection, set(file.hosts))
        for worker in started:
            if worker.name in missing:
                printed = worker.last_words() or "it printed nothing"
                note(f"host {worker.name} did not join within {JOIN_S:.0f} s: {printed}")
        if len(missing) == len(file.hosts):
            raise InfraError(f"no host joined: {started[0].last_words()}")
        by_name = {worker.name: worker for worker in started}
        yield lambda name: by_name[name].last_words() if name in by_name else ""


def _wait_for(connection: SchedulerClient, names: set[str]) -> set[str]:
    """Return the names of the hosts that have not joined in time."""
    missing = set(names)

    def all_joined() -> bool:
        missing.difference_update(connection.members().values())
        return not missing

    with suppress(DeadlineExceeded):
        Deadline.after(JOIN_S, "the hosts to join").wait_for(all_joined, interval_s=engine.POLL_S)
    return missing


def _wait_for_one(connection: SchedulerClient) -> None:
    """Wait for a worker of a deployment; others may join later. InfraError if none comes."""
    try:
        Deadline.after(DEPLOY_S, "a worker to join").wait_for(
            lambda: bool(connection.members()), interval_s=engine.POLL_S
        )
    except DeadlineExceeded:
        raise InfraError(f"no worker joined within {DEPLOY_S:.0f} s") from None


def _start(name: str, entry: HostEntry, address: str, logs: Path) -> _StartedWorker:
    log = logs / f"{name}.log"
    both = ["sh", "-c", 'exec "$@" 2>&1', "sh"]
    with log.open("wb") as file:
        process = proc.start([*both, *entry.command(name, address)], stdout=file.fileno())
    return _StartedWorker(name=name, process=process, log=log)
