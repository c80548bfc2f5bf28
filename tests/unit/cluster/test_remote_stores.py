# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/cluster/store.py over the network of this computer: sftp with a server of paramiko's, s3 of moto's, http."""

from __future__ import annotations

import functools
import http.server
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

pytest.importorskip("fsspec", reason="the extra pagelab[cluster] is not installed")
pytest.importorskip("aiohttp", reason="the extra pagelab[cluster] is not installed")

from lab.cluster.store import Store
from lab.core.errors import InfraError, UsageError

KEY = "abc123"


class Handle(paramiko.SFTPHandle):
    """An open file."""

    def stat(self) -> Any:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))  # type: ignore[attr-defined]


class Files(paramiko.SFTPServerInterface):
    """A directory."""

    root = Path("/nonexistent")

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def list_folder(self, path: str) -> Any:
        found = []
        try:
            for file in self.at(path).iterdir():
                attributes = paramiko.SFTPAttributes.from_stat(file.stat())
                attributes.filename = file.name
                found.append(attributes)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        return found

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(self.at(path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    lstat = stat

    def open(self, path: str, flags: int, attr: Any) -> Any:
        try:
            descriptor = os.open(self.at(path), flags, 0o644)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        file = os.fdopen(descriptor, "wb" if flags & os.O_WRONLY else "rb")
        handle = Handle(flags)
        handle.readfile = handle.writefile = file  # type: ignore[attr-defined]
        return handle

    def mkdir(self, path: str, attr: Any) -> Any:
        return self._done(self.at(path).mkdir)

    def remove(self, path: str) -> Any:
        return self._done(self.at(path).unlink)

    def rename(self, oldpath: str, newpath: str) -> Any:
        return self._done(functools.partial(self.at(oldpath).rename, self.at(newpath)))

    posix_rename = rename

    def _done(self, act: Any) -> Any:
        try:
            act()
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        return paramiko.sftp.SFTP_OK


class Anybody(paramiko.ServerInterface):
    def check_auth_password(self, username: str, password: str) -> Any:
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> Any:
        return paramiko.common.OPEN_SUCCEEDED


@pytest.fixture
def sftp(tmp_path: Path) -> Iterator[str]:
    """A server on the loopback that lets everybody in."""
    served = type("Served", (Files,), {"root": tmp_path / "served"})
    (tmp_path / "served").mkdir()
    key = paramiko.RSAKey.generate(2048)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            client, _ = listening.accept()
            transport = paramiko.Transport(client)
            transport.add_server_key(key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, served)
            transport.start_server(server=Anybody())

        threading.Thread(target=serve, daemon=True).start()
        yield f"sftp://me:x@127.0.0.1:{listening.getsockname()[1]}/store"


class ReadOnlyHandler(http.server.SimpleHTTPRequestHandler):
    """Serve a directory, and refuse a file only after all of it was read, so that the client gets the status."""

    def do_PUT(self) -> None:
        self.received()
        self.send_error(501)

    def received(self) -> bytes:
        """What a client sends in chunks."""
        assert self.headers["Transfer-Encoding"] == "chunked"
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def log_message(self, format: str, *words: object) -> None:
        pass


class PuttingHandler(ReadOnlyHandler):
    """Serve a directory that clients may put files into, as a server with WebDAV's PUT does."""

    def do_PUT(self) -> None:
        path = Path(self.translate_path(self.path))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.received())
        self.send_response(201)
        self.end_headers()


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    found = tmp_path / "entry"
    found.mkdir()
    (found / "image").write_bytes(b"kernel" * 10_000)
    return found


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of a server on the loopback."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed").ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield "s3://bucket/store"
    server.stop()


@pytest.mark.parametrize("kind", ["sftp", "s3"])
def test_a_store_on_a_server(kind: str, entry: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    store = Store(url=request.getfixturevalue(kind), scratch=tmp_path / "scratch")
    assert list(store.artefacts()) == [], "directories that are not there yet are empty"
    assert store.put("kernel", KEY, entry)
    assert not store.put("kernel", KEY, entry)
    (tmp_path / "into").mkdir()
    assert store.get("kernel", KEY, tmp_path / "into")
    assert (tmp_path / "into/image").read_bytes() == (entry / "image").read_bytes()
    assert [(each.kind, each.key) for each in store.artefacts()] == [("kernel", KEY)]
    assert store.evidence("run") == []
    files, _ = store.prune(-60.0)
    assert files == 2
    assert not store.has("kernel", KEY)


def test_a_store_over_http_that_takes_files(entry: Path, tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    handler = functools.partial(PuttingHandler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = Store(url=f"http://127.0.0.1:{server.server_address[1]}", scratch=tmp_path / "scratch")
        assert store.put("kernel", KEY, entry)
        assert not store.put("kernel", KEY, entry)
        for name in ("into", "evidence"):
            (tmp_path / name).mkdir()
        assert store.get("kernel", KEY, tmp_path / "into")
        assert (tmp_path / "into/image").read_bytes() == (entry / "image").read_bytes()
        sha256, size = store.send(entry, "evidence/run/x.tar", limit=1 << 20)
        store.receive("evidence/run/x.tar", tmp_path / "evidence", sha256=sha256, size=size, limit=1 << 20)
        assert (tmp_path / "evidence/image").read_bytes() == (entry / "image").read_bytes()
        store.remove_evidence("run", "x.tar")
        assert store.evidence("run") == ["x.tar"], "HTTP removes nothing"
        with pytest.raises(UsageError, match="over HTTP nothing can be removed"):
            store.prune(0.0)
        server.shutdown()


def test_a_store_over_http_can_be_read(entry: Path, tmp_path: Path) -> None:
    Store(url=str(tmp_path / "served"), scratch=tmp_path / "scratch").put("kernel", KEY, entry)
    handler = functools.partial(ReadOnlyHandler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        warned: list[str] = []
        url = f"http://127.0.0.1:{server.server_address[1]}"
        store = Store(url=url, scratch=tmp_path / "scratch", warn=warned.append)
        (tmp_path / "into").mkdir()
        assert store.fetch("kernel", KEY, tmp_path / "into")
        assert (tmp_path / "into/image").read_bytes() == (entry / "image").read_bytes()
        assert not store.has("kernel", "ffff")
        assert [each.key for each in store.artefacts()] == [KEY]
        with pytest.raises(InfraError, match="501"):
            store.put("kernel", "def", entry)
        store.offer("kernel", "def", entry)
        assert "not stored" in warned[0], "a store that cannot be written stops nothing"
        server.shutdown()
