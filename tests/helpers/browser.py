"""A headless Chromium that tests drive over a pipe: real key presses and pointer moves, and every error that occurs."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0  # seconds
KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Escape": 27, "Tab": 9, "Enter": 13}
FLAGS = (
    "--headless=new --no-sandbox --remote-debugging-pipe --disable-gpu --disable-dev-shm-usage --disable-extensions "
    "--no-first-run --disable-background-networking --disable-component-update --hide-scrollbars --mute-audio "
    "--disable-features=IsolateSandboxedIframes"
).split()

_COLOURS = """element => {
  const read = text => text.match(/[\\d.]+/g).map(Number);
  let ground = element;
  while (ground && (read(getComputedStyle(ground).backgroundColor)[3] ?? 1) === 0) ground = ground.parentElement;
  const below = ground ? read(getComputedStyle(ground).backgroundColor) : [255, 255, 255];
  return [read(getComputedStyle(element).color), below];
}"""


def find_browser() -> str | None:
    """The path of a Chromium, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One browser and one page in it; commands are those of the DevTools protocol, in JSON ended by a zero byte."""

    def __init__(self, path: str, profile: Path) -> None:
        commands, answers = _pipe(), _pipe()
        quiet = os.open(os.devnull, os.O_RDWR)
        dup = [(os.POSIX_SPAWN_DUP2, commands[0], 3), (os.POSIX_SPAWN_DUP2, answers[1], 4)]
        dup += [(os.POSIX_SPAWN_DUP2, quiet, stream) for stream in (0, 1, 2)]
        flags = [*FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._pid = os.posix_spawn(path, [path, *flags], os.environ, file_actions=dup, setpgroup=0)
        for end in (commands[0], answers[1], quiet):
            os.close(end)
        self._write, self._read, self._rest, self._count = commands[1], answers[0], b"", 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        try:
            target = self.send("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.send(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the browser and all that it started."""
        os.close(self._write)
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._read)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command; gives its result, and keeps the events that come before it."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            answer = self._next(until)
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def wait_for(self, event: str) -> None:
        """Wait until an event has come since the last command that cleared them."""
        until = time.monotonic() + PATIENCE
        while not any(one.get("method") == event for one in self.events):
            self._next(until)

    def open(self, url: str, *, width: int = 1200, height: int = 1000, dark: bool = False) -> None:
        """Go to a page and wait until its script is done; events begin anew."""
        self.events.clear()
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url="about:blank")
        self.wait_for("Page.loadEventFired")
        self.events.clear()
        self.send("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, a promise's once it is kept."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def text(self, selector: str) -> str:
        """What an element says."""
        return self.run(f"document.querySelector({json.dumps(selector)}).textContent")

    def press(self, *keys: str) -> None:
        """Press keys, as a keyboard does."""
        for key in keys:
            code = KEYS.get(key) or ord(key.upper())
            pressed = {"key": key, "code": key if key in KEYS else f"Key{key.upper()}", "windowsVirtualKeyCode": code}
            typed = {"text": "\r" if key == "Enter" else key} if key == "Enter" or key not in KEYS else {}
            self.send("Input.dispatchKeyEvent", type="keyDown", **pressed, **typed)
            self.send("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def point(self, x: float, y: float) -> None:
        """Move the pointer."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, x: float, y: float) -> None:
        """Press and let go of the left button."""
        self.point(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def errors(self) -> list[Any]:
        """Exceptions, errors in the log and calls of console.error since the page was opened."""
        self.run("new Promise(done => setTimeout(done, 50))")  # what is still on its way comes before this is done
        thrown = [one["params"] for one in self.events if one.get("method") == "Runtime.exceptionThrown"]
        logged = [one["params"]["entry"] for one in self.events if one.get("method") == "Log.entryAdded"]
        called = [one["params"] for one in self.events if one.get("method") == "Runtime.consoleAPICalled"]
        return thrown + [one for one in logged if one["level"] in ("error", "warning")] + called

    def requests(self) -> list[str]:
        """What was asked for since the page was opened."""
        sent = [one["params"] for one in self.events if one.get("method") == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in sent]

    def screenshot(self, path: str | Path, *, whole: bool = False) -> None:
        """Write a picture of the window, or of the whole page."""
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def contrast(self, selector: str) -> float:
        """The contrast ratio of an element's text with what lies behind it, as WCAG 2 defines it."""
        lights = []
        for colour in self.run(f"({_COLOURS})(document.querySelector({json.dumps(selector)}))"):
            parts = [part / 255 for part in colour[:3]]
            linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
            lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
        return (max(lights) + 0.05) / (min(lights) + 0.05)

    def _next(self, until: float) -> dict[str, Any]:
        """The next message; events are kept."""
        while b"\0" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                raise TimeoutError(f"the browser said nothing for {PATIENCE:g} seconds")
            chunk = os.read(self._read, 1 << 16)
            if not chunk:
                raise EOFError("the browser went away")
            self._rest += chunk
        line, self._rest = self._rest.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self.events.append(message)
        return message


def _pipe() -> tuple[int, int]:
    """A pipe whose ends lie above the numbers that the browser wants them under."""
    ends = os.pipe()
    high = fcntl.fcntl(ends[0], fcntl.F_DUPFD_CLOEXEC, 32), fcntl.fcntl(ends[1], fcntl.F_DUPFD_CLOEXEC, 32)
    for end in ends:
        os.close(end)
    return high
