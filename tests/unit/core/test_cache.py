# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache: whole entries or none, two makers at once, a kill in the middle, a full disk."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.core import cache as cache_module
from lab.core import proc
from lab.core.cache import Cache, default_root, digest, explain_os_error, write_atomic
from lab.core.errors import InfraError

ROOT = Path(__file__).parents[3]


def one_file(directory: Path) -> None:
    (directory / "whole").write_text("x" * 10_000)


def test_an_interrupted_lab_does_not_wait_for_the_entry_of_another(tmp_path: Path) -> None:
    """A build may take half an hour, and a thread that waits in flock() hears nothing."""
    ended: list[str] = []
    waiting = threading.Event()

    def wait() -> None:
        try:
            with Cache(tmp_path).lock("kernel-1", waiting=waiting.set):
                ended.append("locked")
        except InfraError as error:
            ended.append(str(error))

    with Cache(tmp_path).lock("kernel-1"):
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        assert waiting.wait(30)
        proc.abort()
        try:
            thread.join(30)
        finally:
            proc.children.reset()
    assert ended == ["interrupted while another lab held kernel-1"]


def test_a_lock_goes_to_the_one_who_waits_and_not_to_the_one_who_asks_again(tmp_path: Path) -> None:
    """A lab that builds one kernel after the other asks again as soon as it has let go."""
    waiting, served = threading.Event(), threading.Event()

    def wait() -> None:
        with Cache(tmp_path).lock("work-1", waiting=waiting.set):
            served.set()

    cache = Cache(tmp_path)
    with cache.lock("work-1"):
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        assert waiting.wait(30)
    for _ in range(2):  # once more when its queue is known
        with cache.lock("work-1"):
            assert served.is_set()
    thread.join(30)


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    made: list[int] = []

    def make(directory: Path) -> None:
        made.append(1)
        (directory / "a").write_text("x")

    first = cache.entry("kind", "key", make)
    second = cache.entry("kind", "key", make)
    assert first == second == cache.path("kind", "key")
    assert (first / "a").read_text() == "x"
    assert made == [1]


def test_two_makers_at_once_make_it_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    made: list[int] = []
    together = threading.Barrier(4)

    def make(directory: Path) -> None:
        made.append(1)
        time.sleep(0.05)
        (directory / "a").write_text("x")

    def work() -> None:
        together.wait()
        cache.entry("kind", "key", make)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_a_failed_maker_leaves_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def make(directory: Path) -> None:
        (directory / "half").write_text("x")
        raise InfraError("no luck")

    with pytest.raises(InfraError, match="no luck"):
        cache.entry("kind", "key", make)
    assert not cache.has("kind", "key")
    assert not list((tmp_path / "tmp").iterdir())


def test_full_disk_is_named_and_the_cache_stays_sound(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def make(directory: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(directory / "big"))

    with pytest.raises(InfraError, match="disk full"):
        cache.entry("kind", "key", make)
    assert not cache.has("kind", "key")
    cache.entry("kind", "key", lambda directory: None)
    assert cache.has("kind", "key")


def test_a_killed_maker_leaves_no_entry_no_lock_and_its_scratch_is_swept(tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from lab.core.cache import Cache
def make(directory):
    (directory / "half").write_text("x")
    print("ready", flush=True)
    time.sleep(60)
Cache(Path({str(tmp_path)!r})).entry("kind", "key", make)
"""
    maker = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert maker.stdout
    maker.stdout.readline()
    os.kill(maker.pid, signal.SIGKILL)
    maker.wait()
    maker.stdout.close()
    cache = Cache(tmp_path)
    assert not cache.has("kind", "key")
    entry = cache.entry("kind", "key", one_file)
    assert [path.name for path in entry.iterdir()] == ["whole"]
    assert not list((tmp_path / "tmp").iterdir())


def test_clean_keeps_entries_and_clean_all_does_not(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    cache.entry("kind", "key", one_file)
    (cache.root / "tmp" / "999999999-dead").mkdir()
    cache.clean(everything=False)
    assert not (cache.root / "tmp" / "999999999-dead").exists()
    assert cache.has("kind", "key")
    assert cache.clean(everything=True) > 0
    assert not cache.root.exists()


def test_clean_all_refuses_under_a_lab_at_work(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.scratch("run"), pytest.raises(InfraError, match="another lab"):
        cache.clean(everything=True)


def test_digest_knows_where_parts_end() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab") == digest(b"ab")


def test_atomic_write_replaces_and_cleans_up(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGELAB_CACHE", "/a/b")
    assert default_root() == Path("/a/b")
    monkeypatch.delenv("PAGELAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert default_root() == Path("/c/pagelab")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_root() == Path.home() / ".cache" / "pagelab"


def test_os_errors_become_one_line() -> None:
    said = str(explain_os_error(OSError(errno.EACCES, "Permission denied", "/x"), "writing"))
    assert said == "writing: Permission denied: /x"


# Entries that are not what was put there.


def again(root: Path) -> Path:
    """The entry as another process would get it."""
    return cache_module.Cache(root).entry("kind", "key", one_file)


@pytest.fixture
def new_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forget what this process has checked."""
    return lambda: monkeypatch.setattr(cache_module, "_checked", set())


@pytest.mark.parametrize("damage", [lambda path: os.truncate(path, 10), Path.unlink, lambda path: path.write_text("y")])
def test_a_damaged_entry_is_an_error(
    tmp_path: Path, new_process: Callable[[], None], damage: Callable[[Path], object]
) -> None:
    entry = again(tmp_path)
    damage(entry / "whole")
    new_process()
    with pytest.raises(InfraError, match="is damaged") as caught:
        again(tmp_path)
    subprocess.run(["sh", "-c", str(caught.value.hint).partition(";")[0]], check=True)
    assert (again(tmp_path) / "whole").stat().st_size == 10_000


def test_an_entry_from_before_there_were_check_sums_is_believed_once(
    tmp_path: Path, new_process: Callable[[], None]
) -> None:
    (tmp_path / "kind" / "key").mkdir(parents=True)
    one_file(tmp_path / "kind" / "key")
    entry = again(tmp_path)
    new_process()
    assert again(tmp_path) == entry
    (entry / "more").touch()
    new_process()
    with pytest.raises(InfraError, match="is damaged"):
        again(tmp_path)


def test_trees_are_not_checked(tmp_path: Path, new_process: Callable[[], None]) -> None:
    entry = Cache(tmp_path).entry("kind", "tree", lambda into: (into / "src").mkdir())
    (entry / "src" / "new").touch()
    new_process()
    assert Cache(tmp_path).entry("kind", "tree", one_file) == entry


def test_a_directory_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "tmp").touch()
    with pytest.raises(InfraError, match="tmp"), Cache(tmp_path).scratch("x"):
        pass
