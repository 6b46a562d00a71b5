"""Pages in headless Chromium, spoken to through a pipe in its own protocol (DevTools): nothing else is needed.

`commands.js` runs in the page: it does what a test says ("step:5", "search:tanh"), and returns what came of it.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minigrad.pictures.html import page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 60  # for an answer that takes milliseconds
WIDTH, HEIGHT = 1400, 900
COMMANDS = Path(__file__).with_name("commands.js").read_text(encoding="utf-8")

# The browser reads its commands from file 3 and answers on file 4.
START = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(pipe), fcntl.F_DUPFD, 10) for pipe in sys.argv[1:3]]
os.dup2(pipes[0], 3)
os.dup2(pipes[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""

State = dict[str, Any]


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The browser; MINIGRAD_BROWSER=required makes it an error that there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        reason = f"no browser: none of {', '.join(NAMES)} is installed (Debian: apt-get install chromium)"
        if os.environ.get("MINIGRAD_BROWSER") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    browser = Chromium(found, tmp_path_factory.mktemp("profile"))
    try:
        yield browser
    finally:
        browser.close()


class Chromium:
    """A running browser. `ask` sends a command and returns its answer; events that come meanwhile are kept."""

    def __init__(self, program: str, profile: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        options = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--remote-debugging-pipe", f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, str(theirs_in), str(theirs_out), program, *options],
            pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._read = b""
        self._asked = 0
        self.events: list[State] = []

    def close(self) -> None:
        os.close(self._out)
        os.close(self._in)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> State:
        self._asked += 1
        message = {"id": self._asked, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._asked:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: State = answer["result"]
        return result

    def _next(self) -> State:
        end = time.monotonic() + SECONDS
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"the browser did not answer within {SECONDS} s"
            got = os.read(self._in, 1 << 20)
            assert got, "the browser has ended"
            self._read += got
        first, _, self._read = self._read.partition(b"\0")
        message: State = json.loads(first)
        return message


class Browser:
    """One tab for each page that is looked at. An error in the page, or a request of it, is an error here."""

    def __init__(self, chromium: Chromium, folder: Path) -> None:
        self.chromium = chromium
        self.folder = folder

    def state(
        self,
        data: State,
        *commands: str,
        title: str = "test",
        picture: Path | None = None,
        size: tuple[int, int] | None = None,
    ) -> State:
        """The page of a graph's data after some commands, such as "step:5" or "search:tanh"; size: of the window."""
        path = self.folder / "page with spaces é.html"
        path.write_text(page(data, title), encoding="utf-8")
        ask = self.chromium.ask
        self.chromium.events.clear()
        target = ask("Target.createTarget", url="about:blank", newWindow=True, width=WIDTH, height=HEIGHT)["targetId"]
        try:
            tab = ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                ask(f"{domain}.enable", tab)
            if size is not None:
                wide, high = size
                ask(
                    "Emulation.setDeviceMetricsOverride", tab, width=wide, height=high, deviceScaleFactor=1, mobile=True
                )
            ask("Page.navigate", tab, url=path.as_uri())
            self._wait(tab)
            script = f"{COMMANDS}\nrunTest(viewer, {json.dumps(commands)}).then(JSON.stringify)"
            done = ask("Runtime.evaluate", tab, expression=script, awaitPromise=True)
            assert "exceptionDetails" not in done, done["exceptionDetails"]
            if picture is not None:
                picture.write_bytes(base64.b64decode(ask("Page.captureScreenshot", tab)["data"]))
        finally:
            ask("Target.closeTarget", targetId=target)
        self._check_events(path.as_uri())
        state: State = json.loads(done["result"]["value"])
        return state

    def _wait(self, tab: str) -> None:
        """Until the page's script has come to its end."""
        end = time.monotonic() + SECONDS
        ready = "document.readyState === 'complete' && location.protocol === 'file:' && typeof viewer === 'object'"
        while not self.chromium.ask("Runtime.evaluate", tab, expression=ready)["result"].get("value"):
            self._check_events(None)
            assert time.monotonic() < end, "the page's script did not come to its end"
            time.sleep(0.01)

    def _check_events(self, address: str | None) -> None:
        for event in self.chromium.events:
            method, told = event.get("method"), event.get("params", {})
            assert method != "Runtime.exceptionThrown", told["exceptionDetails"]
            assert method != "Log.entryAdded" or told["entry"]["level"] not in ("error", "warning"), told["entry"]
            if method == "Network.requestWillBeSent" and address is not None:
                url = told["request"]["url"]
                assert url == address or url.startswith("data:"), f"the page asked for {url}"


@pytest.fixture
def view(chromium: Chromium, tmp_path: Path) -> Any:
    return Browser(chromium, tmp_path).state
