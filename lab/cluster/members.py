# SPDX-License-Identifier: GPL-2.0-or-later
"""The hosts of a cluster while a lab uses it: who is there, what each offers, one budget for each over all runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from lab.cluster import worker
from lab.cluster.offer import Offer
from lab.core.errors import LabError, UsageError
from lab.host import doctor
from lab.host.estimate import build_offer, host_offer
from lab.host.schedule import Budget, Schedule
from lab.run.gate import Turns
from lab.specs.arches import ARCHES
from lab.specs.load import NAME

CLIENT = "this-lab"
"""The name of the computer that runs the lab itself: it builds, and runs no cell."""
FOLLOW_S = 1.0


class RemoteLike(Protocol):
    """A task under way; `lab.cluster.engine.Remote` is the real one."""

    def result(self, alive: Callable[[str], bool]) -> bytes: ...


class ConnectionLike(Protocol):
    """A connection to the hosts; `lab.cluster.engine.SchedulerClient` is the real one."""

    @property
    def address(self) -> str: ...
    def members(self) -> dict[str, str]: ...
    def alive(self, address: str) -> bool: ...
    def submit(self, function: Callable[[bytes], bytes], document: bytes, address: str, key: str) -> RemoteLike: ...
    def tell(self, function: Callable[..., Any], word: str) -> None: ...
    def follow(self, topic: str, heard: Callable[[Mapping[str, Any]], None]) -> None: ...
    def unfollow(self, topic: str) -> None: ...


@dataclass(slots=True, kw_only=True)
class Member:
    """A host of the cluster."""

    address: str
    offer: Offer | None = None
    refused: str = ""
    """Why it is given nothing."""


@dataclass(slots=True, kw_only=True)
class Members:
    """The hosts of a connection, and the schedule in which each has its budget. Methods may be called from any thread.

    All runs of a lab share it, so that two runs at once do not overcommit a host.
    """

    connection: ConnectionLike
    note: Callable[[str], object]
    """Called with a line for the user."""
    last_words: Callable[[str], str] = lambda _: ""
    """What the worker of a host printed last, as far as that is known here."""
    client: Budget = field(default_factory=lambda: Budget(memory=doctor.available_memory(), cpus=1.0, guests=0))
    turns: Turns = field(default_factory=lambda: Turns(Schedule()))
    by_name: dict[str, Member] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while the hosts are asked for."""

    def get(self, name: str) -> Member | None:
        """Return a host; None if it is not there now."""
        return self.by_name.get(name)

    def present(self) -> dict[str, Member]:
        """Return the hosts that are there now, by name."""
        return dict(self.by_name)

    def usable(self) -> dict[str, Offer]:
        """Return what the hosts offer that are given cells, by name."""
        found = {}
        for name, member in self.present().items():
            if member.offer and not member.refused:
                found[name] = member.offer
        return found

    def build_memory(self) -> list[int]:
        """Return how many bytes guests may use on each host that can build, and here."""
        found = [self.client.memory]
        for offer in self.usable().values():
            if offer.can_build:
                found.append(offer.budget.memory)
        return found

    def refresh(self) -> None:
        """Ask the hosts that are there now what they offer; those that left are no members any more."""
        with self._lock:
            there = self.connection.members()
            staying = {name for name, member in self.by_name.items() if member.address in there}
            known = {self.by_name[name].address for name in staying}
            joined: dict[str, Member] = {}
            for address in sorted(there.keys() - known, key=lambda each: (not _is_name(there[each]), each)):
                member = self._introduced(address)
                joined[_name_of(there[address], member, staying | joined.keys())] = member
            for name in self.by_name.keys() - staying - joined.keys():
                self._leave(name)
            for name, member in sorted(joined.items()):
                self._join(name, member)

    def require(self) -> None:
        """Raise UsageError if no host can be given anything, with the reason of each."""
        if not self.usable():
            listed = [f"{name}: {member.refused}" for name, member in self.present().items()]
            raise UsageError(f"{self.connection.address}: no host to run on: {'; '.join(listed) or 'none joined'}")

    @contextmanager
    def followed(self) -> Iterator[Members]:
        """Follow the hosts during the block: those that join get work at once, those that leave get none."""
        builds = [build_offer(name) for name, arch in ARCHES.items() if not doctor.lacking(arch)]
        offers = [host_offer(CLIENT), *builds]
        self.turns.update(lambda schedule: schedule.join(CLIENT, self.client, offers))
        self.refresh()
        follower = threading.Thread(target=self._follow, name="hosts", daemon=True)
        follower.start()
        try:
            yield self
        finally:
            self._over.set()
            follower.join()

    def _follow(self) -> None:
        while not self._over.wait(FOLLOW_S):
            with suppress(LabError):
                self.refresh()

    def _introduced(self, address: str) -> Member:
        """A host that joined, with what it offers, or why it is given nothing."""
        member = Member(address=address)
        try:
            remote = self.connection.submit(worker.measure, b"", address, f"offer-{address}-{time.monotonic_ns()}")
            member.offer = Offer.decode(remote.result(self.connection.alive))
        except LabError as error:
            member.refused = f"it does not say what it offers: {error}"
        else:
            member.refused = member.offer.refused()
        return member

    def _join(self, name: str, member: Member) -> None:
        for remark in member.offer.remarks() if member.offer else ():
            self.note(f"host {name}: {remark}")
        if member.refused:
            self.note(f"host {name} is given nothing: {member.refused}")
        self.by_name[name] = member
        if member.offer and not member.refused:
            budget, measured = member.offer.budget, member.offer.offers
            offers = replace(measured, words=measured.words | {host_offer(name)})

            def join(schedule: Schedule) -> None:
                schedule.join(name, budget, offers)
                schedule.forgive(name)

            self.turns.update(join)

    def _leave(self, name: str) -> None:
        self.by_name.pop(name, None)
        printed = self.last_words(name)
        self.note(f"host {name} left the cluster{printed and f': {printed}'}")
        self.turns.update(lambda schedule: schedule.leave(name))


def _is_name(given: str) -> bool:
    """Whether a worker was given a name; Dask makes up numbers and addresses."""
    return bool(NAME.fullmatch(given)) and not given.isdecimal()


def _name_of(given: str, member: Member, taken: Collection[str]) -> str:
    """Return the name of a host: that of its worker, or where Dask has made one up, what the host calls itself."""
    if _is_name(given) and given not in taken:
        return given
    own = member.offer.name if member.offer else ""
    stem = own if NAME.fullmatch(own) else "host"
    names = (stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)
