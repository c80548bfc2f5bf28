# SPDX-License-Identifier: GPL-2.0-or-later
"""Work on all cores: forked processes call a function for each part of some work, and its results come back.

The processes are forked, so that they have all that the caller has in memory. A process with threads must not do so.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, TypeVar

from lab.core.errors import InfraError

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")
_adopted: list[tuple[Callable[[Any], Any], Wire[Any]]] = []
"""What a forked process is to do, and how it sends what comes of it."""
_PR_SET_PDEATHSIG = 1
AHEAD = 2
"""So many parts each of the other processes has before it, that it never waits for this one."""


class Wire(Protocol[_Result]):
    """How a result goes from one process to another. What a process sends arrives in its order."""

    def packed(self, result: _Result, /) -> bytes:
        """Return what is sent of a result."""

    def unpacked(self, sent: bytes, /) -> _Result:
        """Return the result of what was sent."""


class Pickle:
    """Any result that can be pickled."""

    packed = staticmethod(pickle.dumps)
    unpacked = staticmethod(pickle.loads)


def spread(
    work: Callable[[_Part], _Result], parts: Sequence[_Part], wire: Wire[_Result] | None = None
) -> Iterator[_Result]:
    """Yield what `work` returns for each part, in their order; InfraError if a process is killed.

    Parts must be picklable; `work` need not be. `wire`: how results are sent; if there is none, they are pickled. This
    process does a share of the parts, from the last one on, as what it does itself need not be sent. With one core or
    one part there is no other process.
    """
    cores = min(len(os.sched_getaffinity(0)), len(parts))
    if cores < 2:
        yield from map(work, parts)
        return
    wire = wire or Pickle()
    context = multiprocessing.get_context("fork")
    started = (work, wire, os.getpid())
    with ProcessPoolExecutor(cores - 1, mp_context=context, initializer=_adopt, initargs=started) as pool:
        try:
            others, here = _shared_out(work, parts, pool, AHEAD * (cores - 1))
            for sent in others:
                yield wire.unpacked(sent.result())
            for result in here:
                yield result.result()
        except BrokenProcessPool:
            raise InfraError("a process that read a part of the run was killed") from None


def _shared_out(
    work: Callable[[_Part], _Result], parts: Sequence[_Part], pool: Executor, ahead: int
) -> tuple[list[Future[bytes]], list[Future[_Result]]]:
    """Have all parts done: `ahead` of them wait for the other processes, and meanwhile the last ones are done here.

    Return what the others sent, and what was done here.
    """
    others: list[Future[bytes]] = []
    here: list[Future[_Result]] = []
    while len(others) + len(here) < len(parts):
        if sum(not result.done() for result in others) < ahead:
            others.append(pool.submit(_do, parts[len(others)]))
        else:
            here.append(_done(work, parts[-1 - len(here)]))
    return others, here[::-1]


def _done(work: Callable[[_Part], _Result], part: _Part) -> Future[_Result]:
    """Do a part here. Its error is raised when its turn comes, as that of another process."""
    done: Future[_Result] = Future()
    try:
        done.set_result(work(part))
    except Exception as error:
        done.set_exception(error)
    return done


def _adopt(work: Callable[[Any], Any], wire: Wire[Any], parent: int) -> None:
    """Begin as a process of the pool, which is to end with its parent even if that is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    _adopted.append((work, wire))


def _do(part: Any) -> bytes:
    [(work, wire)] = _adopted
    return wire.packed(work(part))
