# SPDX-License-Identifier: GPL-2.0-or-later
"""Work that is done once, however many threads of this process ask for it: the others follow the one who does it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from lab.core.errors import BuildError
from lab.core.progress import Progress


@dataclass(slots=True)
class _Work:
    """What a thread is doing: what it said last, how often it has said something, and how it has ended."""

    said: tuple[str, float | None] = ("", None)
    times: int = 0
    ended: bool = False
    error: BaseException | None = None


@dataclass(slots=True)
class UnderWay:
    """The works that threads are doing now, by their keys."""

    _works: dict[Hashable, _Work] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def do(self, key: Hashable, act: Callable[[Progress], None], progress: Progress) -> None:
        """Call `act`; if another thread does so for this key, wait for its end and report its progress.

        Its BuildError is raised here too. After another error of that thread this one tries itself: it may only be that
        thread which was stopped.
        """
        while True:
            with self._changed:
                work = self._works.get(key)
                if work is None:
                    mine = self._works[key] = _Work()
                    break
            if self._followed(work, progress):
                return
        self._act(key, mine, act, progress)

    def _act(self, key: Hashable, work: _Work, act: Callable[[Progress], None], progress: Progress) -> None:
        def tell(detail: str, *, done: float | None = None) -> None:
            with self._changed:
                work.said = (detail, done)
                work.times += 1
                self._changed.notify_all()
            progress(detail, done=done)

        try:
            act(tell)
        except BaseException as error:
            work.error = error
            raise
        finally:
            with self._changed:
                work.ended = True
                del self._works[key]
                self._changed.notify_all()

    def _followed(self, work: _Work, progress: Progress) -> bool:
        """Follow the work of another thread to its end; return whether that did it."""
        heard = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: work.ended or work.times > heard)  # noqa: B023 (called here)
                (detail, done), ended, heard, news = work.said, work.ended, work.times, work.times > heard
            if news:
                progress(detail, done=done)
            if ended and isinstance(work.error, BuildError):
                raise work.error
            if ended:
                return work.error is None
