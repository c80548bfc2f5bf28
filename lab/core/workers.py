# SPDX-License-Identifier: GPL-2.0-or-later
"""Work on all cores: forked processes call a function for each part of some work, and its results come back.

The processes are forked, so that they have all that the caller has in memory. A process with threads must not do so.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from lab.core.errors import InfraError

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")
_adopted: list[Callable[[Any], Any]] = []
"""What a forked process is to do."""
_PR_SET_PDEATHSIG = 1
AHEAD = 2
"""So many parts each of the other processes has before it, that it never waits for this one."""


def spread(work: Callable[[_Part], _Result], parts: Sequence[_Part]) -> Iterator[_Result]:
    """Yield what `work` returns for each part, in their order; InfraError if a process is killed.

    Parts and results must be picklable; `work` need not be. This process does a share of the parts, from the last one
    on, as what it does itself need not be sent. With one core or one part there is no other process.
    """
    cores = min(len(os.sched_getaffinity(0)), len(parts))
    if cores < 2:
        yield from map(work, parts)
        return
    context = multiprocessing.get_context("fork")
    started = (work, os.getpid())
    with ProcessPoolExecutor(cores - 1, mp_context=context, initializer=_adopt, initargs=started) as pool:
        try:
            for result in _shared_out(work, parts, pool, AHEAD * (cores - 1)):
                yield result.result()
        except BrokenProcessPool:
            raise InfraError("a process that read a part of the run was killed") from None


def _shared_out(
    work: Callable[[_Part], _Result], parts: Sequence[_Part], pool: Executor, ahead: int
) -> list[Future[_Result]]:
    """Have all parts done: `ahead` of them wait for the other processes, and meanwhile the last ones are done here."""
    others: list[Future[_Result]] = []
    here: list[Future[_Result]] = []
    while len(others) + len(here) < len(parts):
        if sum(not result.done() for result in others) < ahead:
            others.append(pool.submit(_do, parts[len(others)]))
        else:
            here.append(_done(work, parts[-1 - len(here)]))
    return [*others, *reversed(here)]


def _done(work: Callable[[_Part], _Result], part: _Part) -> Future[_Result]:
    """Do a part here. Its error is raised when its turn comes, as that of another process."""
    done: Future[_Result] = Future()
    try:
        done.set_result(work(part))
    except Exception as error:
        done.set_exception(error)
    return done


def _adopt(work: Callable[[Any], Any], parent: int) -> None:
    """Begin as a process of the pool, which is to end with its parent even if that is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    _adopted.append(work)


def _do(part: Any) -> Any:
    [work] = _adopted
    return work(part)
