# SPDX-License-Identifier: GPL-2.0-or-later
"""The guests of one cell, one after the other: when one is booted, saved, restored from the saved state or dropped."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from lab.core.errors import GuestLost, LabError
from lab.core.outcome import BOOT_ATTEMPTS, Mismatch
from lab.evidence.write import CellDir
from lab.formats import oops
from lab.guests.guest import Description
from lab.run.protocols import BootableCellLike, GuestLike, SnapshotLike
from lab.specs.plan import Cell


class WrongMachine(GuestLost):
    """A guest that booted is not the machine that its topology describes."""

    def __init__(self, mismatches: Sequence[Mismatch]) -> None:
        super().__init__(f"the next guest is another machine: {'; '.join(map(str, mismatches))}")
        self.mismatches = tuple(mismatches)


@dataclass(slots=True, kw_only=True)
class CellGuests:
    """Provides a cell with a verified guest whenever it needs one; at most one is there at a time.

    The first one is restored from the cache if an earlier lab has verified and saved one there, and is saved there if
    it had to boot. Further ones are restored from the state in which one of this cell was saved, with its programs,
    where that pays: saving costs a tenth of a boot, restoring a fifth. A guest is saved where a next one is certain (a
    fresh one for every scenario), or likely: not the first guest of a shared cell, which most often is the only one,
    but the one that follows a crash.
    """

    cell: Cell
    fresh: bool
    """Every scenario gets a guest of its own."""
    built: BootableCellLike
    evidence: CellDir
    stopping: threading.Event
    booting: Callable[[], None]
    """Called before a guest boots."""
    verified: Callable[[], None]
    """Called when a guest has proved to be the machine that was asked for, and was saved for later ones if that is to
    be. It has no programs yet."""
    provided: Callable[[], None]
    """Called when such a guest has the programs."""
    current: GuestLike | None = None
    snapshot: SnapshotLike | None = None
    no_save: str = ""
    """Why guests of this cell are not saved (any more)."""
    no_keep: bool = False
    """Whether the cache's saved guests are left alone: one of this cell could not be saved for it."""
    starts: int = 0
    facts: str = ""
    """The facts of the guest that booted last."""
    judged: int = 0
    """The offset in the console up to which the current guest was judged: the end of its start, or of a program."""

    def provide(self) -> GuestLike:
        """Return the current guest; if there is none, a restored or a booted one.

        Raises WrongMachine for a guest that is another machine, and the LabError of a boot that failed.
        """
        if self.current is None:
            self.current = self._restored()
        while self.current is None:
            if not self._restore_kept():
                self._boot_and_verify()
                self._keep()
            if self.current is None:
                continue
            self.verified()
            self._push()
            self.provided()
            self._save()  # where that fails, no guest is left, and the next one is not saved
        return self.current

    def prepare_next(self) -> None:
        """Restore the next guest in the background, if one was saved and every scenario gets a guest of its own."""
        if self.snapshot and self.fresh:
            self.snapshot.prepare()

    def release(self) -> GuestLike | None:
        """Forget the current guest, record its resource usage, and return it; the caller closes it."""
        guest, self.current = self.current, None
        if guest and (usage := guest.usage()):
            self.evidence.usage(usage)
        return guest

    def drop(self) -> None:
        """Close the current guest, if there is one."""
        if guest := self.release():
            guest.close()

    def close(self) -> None:
        """Close the current guest and discard the saved state."""
        self.drop()
        self._discard()

    def _restored(self) -> GuestLike | None:
        """Return a guest restored from the saved state; None if there is none or restoring failed."""
        if self.snapshot is None:
            return None
        try:
            guest = self.snapshot.restore()
        except LabError as error:
            if self.stopping.is_set():
                raise
            self._never_save(f"not restored: {error}")
            return None
        self.starts += 1
        self._record_start(guest, "restore", self.evidence.console_size())
        return guest

    def _restore_kept(self) -> bool:
        """Start from a guest that an earlier lab verified and saved; return whether the cache had one.

        The facts by which it was verified are compared again with the machine that is asked for now.
        """
        if self.no_keep:
            return False
        self.booting()
        self._write_description(self.built.planned(self.evidence.console))
        start = self.evidence.console_size()
        restored = self.built.restore(self.evidence.console)
        if restored is None:
            return False
        self.starts += 1
        self.current = restored.guest
        self._record_facts(restored.guest, restored.facts)
        self._record_start(restored.guest, "restore", start, state=restored.state, saved=restored.saved)
        self._compare(restored.facts)
        return True

    def _boot_and_verify(self) -> None:
        self.booting()
        guest, facts = self._booted()
        self.current, self.facts = guest, facts
        self._compare(facts)

    def _compare(self, facts: str) -> None:
        """Raise WrongMachine if the current guest is not the machine that was asked for, by its facts."""
        if mismatches := self.built.verify(facts):
            self.drop()
            raise WrongMachine(mismatches)

    def _push(self) -> None:
        """Copy the programs of the cell's scenarios to the current guest."""
        assert self.current is not None
        programs = self.built.programs
        self.current.push({scenario.scenario: programs[scenario.scenario] for scenario in self.cell.scenarios})

    def _keep(self) -> None:
        """Save the guest that has booted for later labs. If that fails it cannot be trusted any more and is dropped."""
        if self.current is None or self.no_keep:
            return
        try:
            self.built.keep(self.current, self.facts)
        except LabError as error:
            if self.stopping.is_set():
                raise
            self.no_keep = True
            self.evidence.saved(note=f"not kept: {error}")
            self.drop()

    def _booted(self) -> tuple[GuestLike, str]:
        """Boot, log in and read the facts; once more if the kernel came up but could not be talked to."""
        for attempt in range(1, BOOT_ATTEMPTS + 1):
            self._write_description(self.built.planned(self.evidence.console))
            self.starts += 1
            guest, start = None, self.evidence.console_size()
            try:
                guest = self.built.boot(self.evidence.console)
                facts = guest.facts()
            except GuestLost:
                if guest is not None:
                    guest.close()
                if attempt == BOOT_ATTEMPTS:
                    raise
                continue
            self._record_facts(guest, facts)
            self._record_start(guest, "boot", start)
            return guest, facts
        raise AssertionError("unreachable")

    def _record_facts(self, guest: GuestLike, facts: str) -> None:
        self._write_description(guest.describe())
        self.evidence.write("facts.json", json.dumps({"facts": facts.splitlines()}, indent=1))

    @property
    def _worth_saving(self) -> bool:
        if self.fresh:
            return len(self.cell.scenarios) > 1
        return self.starts > 1

    def _save(self) -> None:
        """Save the current guest if that pays. If saving fails the guest cannot be trusted any more and is dropped."""
        if self.current is None or self.no_save or not self._worth_saving:
            return
        if self.built.no_save:
            self._never_save(self.built.no_save)
            return
        try:
            self.snapshot = self.current.save()
        except LabError as error:
            if self.stopping.is_set():
                raise
            self._never_save(f"not saved: {error}")
            self.drop()
            return
        self.evidence.saved(save_s=round(self.snapshot.save_s, 3), size=self.snapshot.size)

    def _never_save(self, why: str) -> None:
        """Boot every further guest of this cell, and record why; no verdict depends on it."""
        self.no_save = why
        self._discard()
        self.evidence.saved(note=why)

    def _discard(self) -> None:
        if self.snapshot is not None:
            self.snapshot.discard()
            self.snapshot = None

    def _record_start(
        self, guest: GuestLike, how: Literal["boot", "restore"], start: int, *, state: str = "", saved: str = ""
    ) -> None:
        """Record the start of a guest, whose boot is in the console from `start` on."""
        end = self.judged = self.evidence.console_size()
        printed = oops.scan(guest.console.text(start, end), boots=BOOT_ATTEMPTS)
        self.evidence.boot(
            how=how,
            accelerator=guest.accelerator.name,
            boot_s=round(guest.boot_s, 3),
            login_s=round(guest.login_s, 3),
            attempt=self.starts,
            state=state,
            saved=saved,
            complained=(start, end) if any(not report.kind.provoked for report in printed) else None,
        )

    def _write_description(self, described: Description) -> None:
        """Write the machine's files: as planned before it starts (it may never come up), as it is once it runs."""
        self.evidence.write("domain.xml", described.domain_xml)
        self.evidence.write("qemu.args", "".join(f"{word}\n" for word in described.qemu_args))
        self.evidence.write("reproduce.sh", described.reproduce)
        self.evidence.write("config", self.built.config)
