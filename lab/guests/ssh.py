# SPDX-License-Identifier: GPL-2.0-or-later
"""SSH to a guest: one connection with a pinned host key, and commands with bounded time and output.

No other module imports paramiko. Output of a guest is never trusted: it stays bytes, and its length is limited.
"""

from __future__ import annotations

import base64
import io
import logging
import os
import select
import shlex
import socket
import sys
import tarfile
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from lab.core.deadline import Deadline
from lab.core.errors import GuestLost, InfraError
from lab.core.outcome import End, Ended, Watch
from lab.core.ssh_keys import KeyPair


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Let an optional module be missing for what is imported meanwhile, unless it is loaded already."""
    sys.modules.setdefault(module, None)  # type: ignore[arg-type]
    try:
        yield
    finally:
        if sys.modules[module] is None:
            del sys.modules[module]


with _without("invoke"):  # for commands in ssh_config; with asyncio and unittest it takes as long as all else
    import paramiko

# Errors of a connection are raised as exceptions; paramiko's log would be printed on the user's terminal.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

_CHUNK = 64 << 10
_POLL_S = 0.1
# Arithmetic with large numbers is slow on emulated CPUs: these are the cheapest algorithms that dropbear supports.
_KEX = ("curve25519-sha256@libssh.org",)
_CIPHERS = ("aes128-ctr",)
_MACS = ("hmac-sha2-256",)


def _well() -> End | None:
    return None


@dataclass(slots=True)
class _Output:
    """stdout and stderr of one command, with one limit for both; each chunk goes to the callbacks as it arrives."""

    limit: int
    keep: bool = True
    on_stdout: Callable[[bytes], None] | None = None
    on_stderr: Callable[[bytes], None] | None = None
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    seen: int = 0
    last: float = field(default_factory=time.monotonic)

    @property
    def full(self) -> bool:
        return self.seen >= self.limit

    def take(self, channel: paramiko.Channel) -> bool:
        """Read what has arrived on the channel; return False if there was nothing."""
        before = self.last
        while channel.recv_ready() and not self.full:
            self._add(self.stdout, channel.recv(_CHUNK), self.on_stdout)
        while channel.recv_stderr_ready() and not self.full:
            self._add(self.stderr, channel.recv_stderr(_CHUNK), self.on_stderr)
        return self.last != before

    def _add(self, kept: bytearray, data: bytes, callback: Callable[[bytes], None] | None) -> None:
        data = data[: self.limit - self.seen]
        self.seen += len(data)
        self.last = time.monotonic()
        if self.keep:
            kept += data
        if callback:
            callback(data)


@dataclass(slots=True)
class Connection:
    """One authenticated connection to a guest."""

    transport: paramiko.Transport

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        silence_s: float | None = None,
        limit: int,
        keep: bool = True,
        stdin: bytes | int = b"",
        watch: Watch = _well,
        on_stdout: Callable[[bytes], None] | None = None,
        on_stderr: Callable[[bytes], None] | None = None,
    ) -> Ended:
        """Run a shell command and return how it ended; nothing that a guest does raises an exception.

        The command is given up at the deadline, after `silence_s` seconds without output, after `limit` bytes of
        output, or when `watch` reports that the guest is gone. Without `keep` the output only goes to the callbacks
        and is not stored. `stdin`: what the command reads, or the descriptor of an open file of this host with it,
        which is read beside the command until either ends.
        """
        started = time.monotonic()
        output = _Output(limit, keep, on_stdout, on_stderr)
        try:
            # The trailing exit keeps the shell from exec()ing the command, so a signal appears as status 128+N.
            channel = self.transport.open_session(timeout=max(1.0, deadline.remaining))
            with self._closed_at(deadline):
                channel.exec_command(f"{command}; exit $?")
            if isinstance(stdin, int):
                threading.Thread(target=_feed, args=(channel, stdin), daemon=True).start()
            else:
                self._send(channel, stdin, deadline)
            end, note = _follow(channel, output, deadline, silence_s, watch)
            status = channel.recv_exit_status() if end is End.EXITED else None
            channel.close()
        except (paramiko.SSHException, OSError, EOFError) as error:
            late = End.DEADLINE if deadline.expired else End.LOST
            end, status, note = watch() or late, None, f"{type(error).__name__}: {error}"
        return Ended(
            end=end,
            status=status,
            stdout=bytes(output.stdout),
            stderr=bytes(output.stderr),
            duration_s=time.monotonic() - started,
            note=note,
        )

    @contextmanager
    def _closed_at(self, deadline: Deadline) -> Iterator[None]:
        """Close the connection at the deadline: paramiko waits without a limit for a guest's answer to a request."""
        timer = threading.Timer(max(1.0, deadline.remaining), self.transport.close)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @staticmethod
    def _send(channel: paramiko.Channel, data: bytes, deadline: Deadline) -> None:
        channel.settimeout(max(1.0, deadline.remaining))
        if data:
            channel.sendall(data)
        channel.shutdown_write()

    def push(self, files: Mapping[str, bytes], directory: str, *, deadline: Deadline) -> None:
        """Copy executable files into a directory of the guest; GuestLost if that fails."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1, format=tarfile.USTAR_FORMAT) as tar:
            for name, content in sorted(files.items()):
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o755
                tar.addfile(member, io.BytesIO(content))
        place = shlex.quote(directory)
        ended = self.run(
            f"mkdir -p {place} && gunzip -c | tar -x -f - -C {place}",
            deadline=deadline,
            limit=_CHUNK,
            stdin=archive.getvalue(),
        )
        if ended.end is not End.EXITED or ended.status:
            stderr = ended.stderr.decode("utf-8", "replace").strip()
            raise GuestLost(f"pushing {', '.join(files)} into the guest failed: {stderr or ended.note or ended.end}")

    def shell(self, command: str = "") -> int:
        """Run a login shell, or another command, on the user's terminal and return its exit status.

        Where stdin is no terminal, the command has none in the guest either, as with ssh(1), and ends with its input.
        With a terminal, dropbear hangs up at the end of the input, before all output has come.
        """
        channel = self.transport.open_session()
        channel.set_combine_stderr(True)
        if sys.stdin.isatty():
            channel.get_pty("linux", *_terminal_size())
        if command:
            channel.exec_command(command)
        else:
            channel.invoke_shell()
        return _interact(channel)

    def close(self) -> None:
        with suppress(Exception):  # errors of a dying guest's connection do not matter any more
            self.transport.close()


def connect(port: int, *, host_key: str, key: KeyPair, deadline: Deadline) -> Connection:
    """Connect to 127.0.0.1:`port` and return the connection.

    InfraError if the guest's host key is not the pinned one; GuestLost if SSH fails otherwise.
    """
    transport = None
    try:
        sock = socket.create_connection(("127.0.0.1", port), timeout=max(1.0, deadline.remaining))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = paramiko.Transport(sock)
        options = transport.get_security_options()
        options.kex, options.ciphers, options.digests = _KEX, _CIPHERS, _MACS
        options.key_types = ("ssh-ed25519",)
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = max(1.0, deadline.remaining)
        transport.start_client(timeout=max(1.0, deadline.remaining))
        _check_host_key(transport, host_key)
        transport.auth_publickey("root", paramiko.Ed25519Key.from_private_key(io.StringIO(key.private)))
    except (paramiko.SSHException, OSError, EOFError) as error:
        if transport:
            transport.close()
        raise GuestLost(f"SSH to the guest failed: {type(error).__name__}: {error}") from error
    return Connection(transport)


def _check_host_key(transport: paramiko.Transport, pinned: str) -> None:
    offered = transport.get_remote_server_key()
    if offered.asbytes() != base64.b64decode(pinned.split()[1]):
        transport.close()
        raise InfraError(f"SSH: host key {offered.get_base64()} is not the pinned {pinned.split()[1]}")


def _follow(
    channel: paramiko.Channel, output: _Output, deadline: Deadline, silence_s: float | None, watch: Watch
) -> tuple[End, str]:
    """Read until the command has ended or is given up; return how it ended and a note for the user."""
    while True:
        select.select([channel], [], [], min(_POLL_S, deadline.remaining))
        moved = output.take(channel)
        if output.full:
            return End.FLOODED, f"cut off after {output.limit} bytes"
        if not moved and channel.exit_status_ready() and (channel.eof_received or channel.closed):
            return _end_of(channel, watch)
        if gone := watch():
            output.take(channel)
            return gone, ""
        if deadline.expired:
            return End.DEADLINE, f"not done within {deadline.budget_s:.0f} s"
        if silence_s is not None and time.monotonic() - output.last > silence_s:
            return End.DEADLINE, f"silent for {silence_s:.0f} s"


def _feed(channel: paramiko.Channel, source: int) -> None:
    """Send what a file of this host has to a command, which need not read it, until either ends."""
    with suppress(paramiko.SSHException, OSError, EOFError):
        while data := os.read(source, _CHUNK):
            channel.sendall(data)
        channel.shutdown_write()


def _end_of(channel: paramiko.Channel, watch: Watch) -> tuple[End, str]:
    """Return how the command of a closed channel ended, and a note for the user."""
    if channel.exit_status >= 0:
        return End.EXITED, ""
    return watch() or End.LOST, "the connection ended without an exit status"


def _terminal_size() -> tuple[int, int]:
    try:
        return termios.tcgetwinsize(sys.stdin.fileno())[::-1]
    except (termios.error, OSError):
        return 80, 24


def _interact(channel: paramiko.Channel) -> int:
    """Copy between the user's terminal and the channel until the shell ends; return its exit status."""
    stdin = sys.stdin.fileno()
    saved = termios.tcgetattr(stdin) if sys.stdin.isatty() else None
    try:
        if saved:
            tty.setraw(stdin)
        _copy(channel, stdin)
    finally:
        if saved:
            termios.tcsetattr(stdin, termios.TCSADRAIN, saved)
    return max(0, channel.recv_exit_status())


def _copy(channel: paramiko.Channel, stdin: int) -> None:
    sources: list[paramiko.Channel | int] = [channel, stdin]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if channel in ready:
            data = channel.recv(_CHUNK)
            if not data:
                return
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        if stdin in ready:
            typed = io.FileIO(stdin, closefd=False).read(_CHUNK)
            if typed:
                channel.sendall(typed)
            else:
                channel.shutdown_write()
                sources.remove(stdin)
