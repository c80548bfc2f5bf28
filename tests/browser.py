# SPDX-License-Identifier: GPL-2.0-or-later
"""A headless Chromium, driven by the DevTools protocol through a pair of pipes: no port, no library, no network.

Messages are JSON, each ended by a NUL byte. `python -m tests.browser PAGE PICTURE [WIDTH HEIGHT [dark [HASH]]]` takes a
screenshot.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-extensions"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe", "--hide-scrollbars"),
)
PATIENCE_S = 60.0
KEYS = {"Enter": "\r", "Escape": "", "ArrowDown": "", "ArrowRight": "", "ArrowUp": "", "ArrowLeft": ""}


def find() -> str | None:
    """The browser of this host, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab. `complaints` are what the page logged as an error or warning, threw, or was refused."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._out, self._in = to_browser, from_browser
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        self.complaints: list[str] = []

    def attach(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """What the browser answers to a command."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        left = memoryview(json.dumps(message).encode() + b"\0")
        while left:
            left = left[os.write(self._out, left) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        """The next message; events are kept as they come."""
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            fresh = os.read(self._in, 1 << 20)
            assert fresh, "the browser ended"
            self._buffer += fresh
        said, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(said)
        if "method" in message:
            self.events.append(message)
            self.complaints += _complaint(message)
        return message

    def wait(self, event: str) -> None:
        """Until an event has come since the last `open`."""
        while not any(each["method"] == event for each in self.events):
            self._next()

    def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show a page, and wait until it is there and its script has run."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.wait("Page.loadEventFired")

    def run(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait for an expression of JavaScript to become true."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.run(f"new Promise((done) => requestAnimationFrame(() => done(Boolean({condition}))))"):
            assert time.monotonic() < deadline, f"never true: {condition}"

    def press(self, *keys: str) -> None:
        """Keys one after the other, by name or character."""
        for key in keys:
            text = KEYS.get(key, key)
            known = {"key": key, "windowsVirtualKeyCode": _code(key)}
            self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **known)
            self.call("Input.dispatchKeyEvent", type="keyUp", **known)

    def click(self, selector: str) -> None:
        """The middle of the first element that a selector finds, with the mouse."""
        place = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A screenshot as PNG: of what is in view, or of the whole page."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(b64decode(shot["data"]))


def _complaint(message: dict[str, Any]) -> list[str]:
    params = message["params"]
    match message["method"]:
        case "Runtime.exceptionThrown":
            return [f"exception: {params['exceptionDetails']}"]
        case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
            return [f"console: {params['args']}"]
        case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
            return [f"log: {params['entry']['text']}"]
        case "Network.requestWillBeSent" if not params["request"]["url"].startswith(("file:", "data:", "about:")):
            return [f"request: {params['request']['url']}"]
    return []


def _code(key: str) -> int:
    known = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "/": 191}
    return known.get(key, ord(key[0].upper()))


@contextmanager
def browser(program: str) -> Iterator[Page]:
    """A browser with one empty page and a profile of its own; ended and removed with the block."""
    with ExitStack() as stack:
        profile = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        hears, to_browser = os.pipe()
        from_browser, speaks = os.pipe()
        stack.callback(os.close, to_browser)
        stack.callback(os.close, from_browser)
        try:
            process = _start(program, profile, hears, speaks)
        finally:
            os.close(hears)
            os.close(speaks)
        stack.callback(_end, process)
        page = Page(to_browser, from_browser)
        page.attach()
        yield page


def _start(program: str, profile: str, hears: int, speaks: int) -> int:
    """The browser's process id. It hears on descriptor 3 and speaks on 4, whatever they are here."""
    high = [fcntl.fcntl(pipe, fcntl.F_DUPFD_CLOEXEC, 10) for pipe in (hears, speaks)]
    nothing = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    places = [(os.POSIX_SPAWN_DUP2, pipe, place) for place, pipe in enumerate(high, start=3)]
    words = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    try:
        return os.posix_spawn(program, words, os.environ, file_actions=[*nothing, *places], setsid=True)
    finally:
        for pipe in high:
            os.close(pipe)


def _end(process: int) -> None:
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)


def main(words: list[str]) -> None:
    page, picture, *more = words
    width, height = (int(more[0]), int(more[1])) if len(more) > 1 else (1280, 900)
    program = find()
    assert program, "no Chromium"
    with browser(program) as shown:
        place = more[3] if len(more) > 3 else ""
        shown.open(f"file://{Path(page).resolve()}{place}", width=width, height=height, dark="dark" in more)
        shown.picture(Path(picture))
        print(shown.run("document.documentElement.dataset.ready"), "ms;", shown.complaints)


if __name__ == "__main__":
    main(sys.argv[1:])
