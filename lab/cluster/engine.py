# SPDX-License-Identifier: GPL-2.0-or-later
"""The door to dask.distributed: membership, liveness and transport. What runs where is decided by the lab's schedule.

Only bytes of JSON go in and come out. TLS is required in both directions.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import signal
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.core.errors import InfraError, UsageError
from lab.run.protocols import HostGone

THREADS = 64
"""Tasks of one host at a time, as far as Dask is concerned; the schedule gives it fewer."""
CONNECT_S = 30.0
TCP_S = 30.0
"""Dask refuses less."""
POLL_S = 0.2
LOOK_S = 5.0
"""A task under way looks after its host this often, if nobody reports before that the host has left."""
LOST_S = 60.0
"""A host that was not heard of for so long is lost."""
BEATS = 12
"""How often a host is heard of in LOST_S, at least."""
MAX_PORT = 65535
INSTALL = "pip install 'pagelab[cluster]'"


ANSWER = "answer"
"""The field of an event that has what a task answers; `key` has the task's key."""


class HostLost(HostGone):
    """The host that a task was placed on is gone, or its worker was killed."""


class Refused(InfraError):
    """The other side could not be talked to: wrong certificate, nobody there."""


def configuration(lost_s: float = LOST_S) -> dict[str, Any]:
    """Return the settings of Dask that a scheduler and its workers need."""
    return {
        "distributed.scheduler.work-stealing": False,
        "distributed.scheduler.allowed-failures": 0,
        "distributed.scheduler.no-workers-timeout": f"{lost_s:.0f}s",
        "distributed.scheduler.worker-ttl": f"{lost_s:.0f}s",
        "distributed.scheduler.worker-saturation": "inf",
        "distributed.comm.require-encryption": True,
        "distributed.comm.timeouts.connect": f"{CONNECT_S:.0f}s",
        "distributed.comm.timeouts.tcp": f"{max(lost_s, TCP_S):.0f}s",
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": False,
        "distributed.worker.daemon": True,
        # What Dask measures of itself a hundred times a second, and nobody looks at here.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "1s",
        "distributed.admin.tick.limit": "1h",
        "distributed.admin.system-monitor.interval": "10s",
    }


def installed() -> bool:
    """Whether the extra is installed."""
    return importlib.util.find_spec("distributed") is not None


def require() -> None:
    """Raise UsageError if dask.distributed is not installed; what it logs is not printed."""
    if not installed():
        raise UsageError("a cluster needs dask.distributed, which is not installed", hint=INSTALL)
    import distributed.config  # sets the levels of its loggers when it is imported

    # It looks for a way to the Internet, which a host need not have.
    warnings.filterwarnings("ignore", "Couldn't detect a suitable IP address", RuntimeWarning)
    assert distributed.config
    for name in [name for name in logging.root.manager.loggerDict if name.startswith(("distributed", "tornado"))]:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def check_address(address: str) -> str:
    """Return the address of a scheduler; UsageError if it is not encrypted, since it may run code here.

    A scheduler that listens on port 0 takes any free one.
    """
    kind, _, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    if kind != "tls" or not host or not port.isdecimal() or int(port) > MAX_PORT:
        raise UsageError(f"expected tls://HOST:PORT, got {address!r}")
    return address


def security(certificates: Path) -> Any:
    """Return Dask's security from a directory with ca.pem, cert.pem and key.pem; UsageError if one is missing."""
    require()
    from distributed.security import Security

    files = {name: certificates / f"{name}.pem" for name in ("ca", "cert", "key")}
    for path in files.values():
        if not path.is_file():
            raise UsageError(f"{path}: no such certificate", hint="`lab cluster certs DIR HOST...` makes them")
    ca, cert, key = (str(files[name]) for name in ("ca", "cert", "key"))
    roles = {f"tls_{role}_{what}": path for role in ROLES for what, path in (("cert", cert), ("key", key))}
    return Security(tls_ca_file=ca, require_encryption=True, **roles)


ROLES = ("client", "worker", "scheduler")


@dataclass(slots=True, kw_only=True, weakref_slot=True, eq=False)
class Remote:
    """A task under way on a host."""

    key: str
    address: str
    future: Any = field(repr=False)
    answers: dict[str, str] = field(repr=False)
    """Key -> what tasks have answered by an event, which spares the way through Dask's memory."""
    woken: threading.Event = field(default_factory=threading.Event)
    """Set when the task has ended, or its host has left."""

    def __post_init__(self) -> None:
        self.future.add_done_callback(lambda _: self.woken.set())

    def result(self, alive: Callable[[str], bool]) -> bytes:
        """Wait for what the task returns; HostLost if its host goes first."""
        while not self.woken.wait(LOOK_S) or not self.future.done():
            if not alive(self.address):
                self.future.cancel()
                raise HostLost("the host left the cluster")
            self.woken.clear()
            if self.future.done():
                break
        return self._answer()

    def _answer(self) -> bytes:
        answer = self.answers.pop(self.key, None)
        if answer is not None and self.future.status == "finished":
            self.future.release()
            return answer.encode()
        return self._fetched()

    def _fetched(self) -> bytes:
        """The answer from the host's memory; HostLost if it is lost."""
        from distributed import CancelledError
        from distributed.scheduler import KilledWorker, NoValidWorkerError

        try:
            answer = self.future.result(timeout=CONNECT_S)
        except KilledWorker:
            raise HostLost("its worker was killed or frozen") from None
        except (CancelledError, NoValidWorkerError, TimeoutError) as error:
            raise HostLost(f"the host left the cluster ({type(error).__name__})") from None
        except OSError as error:
            raise HostLost(f"the host cannot be reached: {error}") from None
        except MemoryError:
            raise HostLost("out of memory on the host") from None
        except Exception as error:  # of the lab's own code there, or of Dask's
            raise InfraError(f"defect of the lab on the host: {type(error).__name__}: {error}") from error
        finally:
            self.future.release()
        if not isinstance(answer, bytes):
            raise InfraError(f"{self.key}: a host answered with something other than JSON")
        return answer


@dataclass(slots=True, kw_only=True)
class SchedulerClient:
    """A client of a scheduler."""

    client: Any = field(repr=False)
    address: str
    _members: frozenset[str] = frozenset()
    _names: dict[str, str] = field(default_factory=dict)
    """Address -> name of the workers that were there when the scheduler was asked last."""
    _answers: dict[str, str] = field(default_factory=dict)
    _under_way: weakref.WeakSet[Remote] = field(default_factory=weakref.WeakSet)

    def members(self) -> dict[str, str]:
        """Return address -> name of the workers that the scheduler knows now; empty if the scheduler is gone."""
        try:
            there = self._asked(self.client.scheduler.ncores)
            if there.keys() != self._names.keys():
                self._names = self._introduced()
        except Exception:  # a scheduler that is gone raises whatever its comm raised
            self._names = {}
        self._now(frozenset(self._names))
        return dict(self._names)

    def _introduced(self) -> dict[str, str]:
        """Ask for the names of all workers, which comes with much else."""
        info = self._asked(self.client.scheduler.identity, n_workers=-1)
        return {address: str(worker["name"]) for address, worker in info["workers"].items()}

    def _asked(self, question: Callable[..., Any], **words: object) -> Any:
        """What the scheduler answers; whatever its comm raises if it is gone."""
        return self.client.sync(question, callback_timeout=CONNECT_S, **words)

    def _now(self, members: frozenset[str]) -> None:
        """Note who is there, and wake those who wait for a host that is not."""
        self._members = members
        for remote in tuple(self._under_way):
            if remote.address not in members:
                remote.woken.set()

    def alive(self, address: str) -> bool:
        """Whether a worker was there when `members` was called last."""
        return address in self._members

    def submit(self, function: Callable[[bytes], bytes], document: bytes, address: str, key: str) -> Remote:
        """Run a function of the lab on one host."""
        future = self.client.submit(
            function,
            document,
            key=key,
            pure=False,
            retries=0,
            workers=[address],
            allow_other_workers=False,
        )
        remote = Remote(key=key, address=address, future=future, answers=self._answers)
        self._under_way.add(remote)
        return remote

    def tell(self, function: Callable[..., Any], word: str) -> None:
        """Call a function on every host, outside its tasks; hosts that do not answer are left alone."""
        with suppress(Exception):
            self.client.run(function, word, on_error="ignore", wait=False)

    def follow(self, topic: str, heard: Callable[[Mapping[str, Any]], None]) -> None:
        """Call a function with every event of a topic that is no answer of a task."""

        def on_event(event: tuple[float, Any]) -> None:
            _, message = event
            if not isinstance(message, str):
                return
            found = json.loads(message)
            if ANSWER in found:
                self._answers[str(found["key"])] = str(found[ANSWER])
            else:
                heard(found)

        self.client.subscribe_topic(topic, on_event)

    def unfollow(self, topic: str) -> None:
        """Hear no more of a topic."""
        with suppress(Exception):
            self.client.unsubscribe_topic(topic)

    def events(self, topic: str) -> list[Any]:
        """Return the events of a topic that the scheduler remembers."""
        return [message for _, message in self.client.get_events(topic)]


INSIDE = "inproc://"
"""How the address of a scheduler in this process begins: what is sent there needs no encryption."""


@contextmanager
def connected(address: str, certificates: Path, *, lost_s: float = LOST_S) -> Iterator[SchedulerClient]:
    """Connect to a scheduler; Refused if it does not answer or its certificate is of another CA."""
    require()
    import dask
    from distributed import Client

    with dask.config.set(configuration(lost_s)):
        try:
            client = Client(
                address if address.startswith(INSIDE) else check_address(address),
                security=security(certificates),
                timeout=CONNECT_S,
                set_as_default=False,
            )
        except (OSError, TimeoutError) as error:
            raise Refused(f"scheduler {address}: {_cause_of(error)}") from None
        try:
            yield SchedulerClient(client=client, address=address)
        finally:
            with suppress(Exception):
                client.close(timeout=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningScheduler:
    """A scheduler in a thread of this process."""

    address: str
    """Where workers and other labs reach it."""
    inside: str
    """Where this process reaches it, without a socket."""
    dashboard: str = ""
    """The URL of Dask's dashboard on this computer, where bokeh is installed."""


@contextmanager
def scheduler(address: str, certificates: Path, *, lost_s: float = LOST_S) -> Iterator[RunningScheduler]:
    """Run a scheduler in a thread of this process, at an address such as tls://10.0.0.1:8786."""
    require()
    import asyncio

    import dask
    from distributed import Scheduler

    class CalmScheduler(Scheduler):  # type: ignore[misc]
        """A scheduler whose workers report less often: it takes them a tenth of the CPU, and the lab needs no more."""

        def heartbeat_worker(self, **report: Any) -> dict[str, Any]:
            answer: dict[str, Any] = super().heartbeat_worker(**report)
            if "heartbeat-interval" in answer:
                answer["heartbeat-interval"] = max(answer["heartbeat-interval"], lost_s / BEATS)
            return answer

    host, _, port = check_address(address).removeprefix("tls://").rpartition(":")
    ready = threading.Event()
    state: dict[str, Any] = {}
    seen = importlib.util.find_spec("bokeh") is not None

    async def serve() -> None:
        try:
            started = CalmScheduler(
                host=host,
                port=int(port),
                protocol="tls",
                security=security(certificates),
                dashboard=seen,
                dashboard_address="127.0.0.1:0",
            )
            async with started as running:
                await running.listen(INSIDE)
                stop, loop = asyncio.Event(), asyncio.get_running_loop()
                state["stop"] = lambda: loop.call_soon_threadsafe(stop.set)
                inside = running.listeners[-1].contact_address
                url = f"http://127.0.0.1:{running.http_server.port}/status" if seen else ""
                state["running"] = RunningScheduler(address=running.address, inside=inside, dashboard=url)
                ready.set()
                await stop.wait()
        except (OSError, RuntimeError) as error:
            state["error"] = error
        finally:
            ready.set()

    with dask.config.set(configuration(lost_s)):
        thread = threading.Thread(target=lambda: asyncio.run(serve()), name="scheduler", daemon=True)
        thread.start()
        ready.wait(CONNECT_S)
        if "running" not in state:
            raise Refused(f"scheduler {address}: cannot listen: {state.get('error', 'no answer')}")
        try:
            yield state["running"]
        finally:
            state["stop"]()
            thread.join(CONNECT_S)


@contextmanager
def deployed(
    name: str, workers: int | None, options: Mapping[str, Any], certificates: Path, *, lost_s: float = LOST_S
) -> Iterator[str]:
    """Start a cluster by a class of Dask's, such as dask_jobqueue.SLURMCluster; gives its scheduler's address.

    UsageError if there is no such class or it refuses its options, Refused if it cannot start.
    """
    require()
    import dask

    with dask.config.set({**configuration(lost_s), **_tls_settings(certificates)}):
        made = _cluster_class(name)
        try:
            cluster = made(**{"security": security(certificates), **options})
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name}: {error}") from None
        except Exception as error:  # what ssh, a batch system and Kubernetes raise has no common class
            raise Refused(f"{name}: {_cause_of(error)}") from None
        try:
            if workers:
                cluster.scale(workers)
            yield check_address(str(cluster.scheduler_address))
        finally:
            with suppress(Exception):
                cluster.close()


def _cluster_class(name: str) -> Callable[..., Any]:
    module, _, kind = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"deploy.cluster: {name}: {error}", hint=f"pip install {module.partition('.')[0]}") from None
    if not callable(found):
        raise UsageError(f"deploy.cluster: {name} is not a class")
    return found  # type: ignore[no-any-return]


def _tls_settings(certificates: Path) -> dict[str, str]:
    """Dask's settings of TLS: what a scheduler and workers take that get no other word of it."""
    settings = {"distributed.comm.tls.ca-file": str(certificates / "ca.pem"), "distributed.comm.default-scheme": "tls"}
    for role in ROLES:
        settings[f"distributed.comm.tls.{role}.cert"] = str(certificates / "cert.pem")
        settings[f"distributed.comm.tls.{role}.key"] = str(certificates / "key.pem")
    return settings


def serve_worker(
    address: str, name: str, certificates: Path, scratch: Path, ended: Callable[[], None], *, lost_s: float = LOST_S
) -> None:
    """Be a worker until the scheduler is gone; `ended` is called first thing then. Refused if it does not answer."""
    require()
    import asyncio

    import dask
    from distributed import Worker
    from distributed.diagnostics.plugin import WorkerPlugin

    class EndGuests(WorkerPlugin):  # type: ignore[misc]
        """Calls `ended` before the worker waits for its threads."""

        def teardown(self, worker: object) -> None:  # noqa: ARG002
            ended()

    async def serve() -> None:
        worker = Worker(
            check_address(address),
            nthreads=THREADS,
            name=name,
            security=security(certificates),
            memory_limit=0,
            death_timeout=CONNECT_S,
            dashboard=False,
            local_directory=str(scratch),
            plugins=(EndGuests(),),
        )
        async with worker as running:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.add_signal_handler(number, lambda: asyncio.ensure_future(running.close(reason="signal")))
            await running.finished()

    with dask.config.set(configuration(lost_s)):
        try:
            asyncio.run(serve())
        except (OSError, TimeoutError, RuntimeError) as error:
            raise Refused(f"scheduler {address}: {_cause_of(error)}") from None


def _cause_of(error: BaseException) -> str:
    """The innermost reason of an error, which names the certificate or the refused connection."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return str(error) or type(error).__name__
