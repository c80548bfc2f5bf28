# SPDX-License-Identifier: GPL-2.0-or-later
"""Work on all cores: forked processes call a function for each part of some work, and its results come back.

The processes are forked, so that they have all that the caller has in memory. A process with threads must not do so.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from lab.core.errors import InfraError

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")
_adopted: list[Callable[[Any], Any]] = []
"""What a forked process is to do."""


def spread(work: Callable[[_Part], _Result], parts: Sequence[_Part]) -> Iterator[_Result]:
    """Yield what `work` returns for each part, in their order; InfraError if a process is killed.

    Parts and results must be picklable; `work` need not be. This process does the parts that no other has begun, from
    the last one on, as what it does itself need not be sent. With one core or one part there is no other process.
    """
    cores = min(len(os.sched_getaffinity(0)), len(parts))
    if cores < 2:
        yield from map(work, parts)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(cores - 1, mp_context=context, initializer=_adopted.append, initargs=(work,)) as pool:
        results = [pool.submit(_do, part) for part in parts]
        try:
            last = len(parts) - 1
            while results[last].cancel():
                results[last] = _done(work, parts[last])
                last -= 1
            for result in results:
                yield result.result()
        except BrokenProcessPool:
            raise InfraError("a process that read a part of the run was killed") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _done(work: Callable[[_Part], _Result], part: _Part) -> Future[_Result]:
    """Do a part here. Its error is raised when its turn comes, as that of another process."""
    done: Future[_Result] = Future()
    try:
        done.set_result(work(part))
    except Exception as error:
        done.set_exception(error)
    return done


def _do(part: Any) -> Any:
    [work] = _adopted
    return work(part)
