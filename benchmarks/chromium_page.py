"""A page in headless Chromium, driven over the browser's DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
# Long, because the machine may be busy; only what fails waits for it.
_DEADLINE_S = 240.0
_POLL_S = 0.05
# What a page reports when something is wrong with it.
_FAULTS = ("Runtime.exceptionThrown", "Log.entryAdded")


def find_chromium() -> str | None:
    """Return the path of Chromium, None where it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


# The middle of an element, on the screen and where nothing moves it any more.
_PLACE = """
(async () => {
  const element = document.querySelector(%s);
  let before = "";
  // What moves for longer than this moves for ever.
  for (let same = 0, round = 0; same < 5 && round < 200; round += 1) {
    element.scrollIntoView({ block: "center", behavior: "instant" });
    await new Promise((done) => setTimeout(done, 20));
    const now = JSON.stringify(element.getBoundingClientRect());
    same = now === before ? same + 1 : 0;
    before = now;
  }
  const box = element.getBoundingClientRect();
  return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
})()
"""


class ChromiumPage:
    """The only page of a browser; ``faults`` are exceptions and errors that it has reported."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.faults: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result. Raises RuntimeError."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=_DEADLINE_S))
            if message.get("id") == number:
                break
            self._note_fault(message)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        result: dict[str, Any] = message["result"]
        return result

    def _note_fault(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        is_error = message.get("method") == "Runtime.consoleAPICalled" and params["type"] == "error"
        is_fault = message.get("method") in _FAULTS
        if is_error or (is_fault and params.get("entry", {}).get("level", "error") == "error"):
            self.faults.append(json.dumps(params)[:1000])

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page; one that is a promise is awaited."""
        done = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in done:
            raise RuntimeError(f"{script[:200]}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def wait_for(self, condition: str, deadline_s: float = _DEADLINE_S) -> Any:
        """Return the value of an expression as soon as it is true. Raises TimeoutError."""
        end = time.monotonic() + deadline_s
        while not (value := self.run(condition)):
            if time.monotonic() > end:
                text = self.run("document.body.innerText")
                raise TimeoutError(
                    f"{condition}: not within {deadline_s:g} s; the page: {text[:3000]}"
                )
            time.sleep(_POLL_S)
        return value

    def open(self, address: str) -> None:
        """Open an address, and wait until its scripts have run once."""
        self.call("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete'")

    def click(self, selector: str) -> None:
        """Click into the middle of an element, as a user does. Raises RuntimeError without one."""
        place = self.run(_PLACE % json.dumps(selector))
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def type_text(self, selector: str, text: str) -> None:
        """Replace the text of a field, as a user does."""
        field = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{field}.focus(), {field}.select?.(), true")
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a key, such as Enter or Tab, where the focus is."""
        codes = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32}
        text = {"Enter": "\r", " ": " "}.get(key, "")
        common = {
            "key": key,
            "code": "Space" if key == " " else key,
            "windowsVirtualKeyCode": codes[key],
        }
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def show_as(self, width: int, height: int, theme: str = "light") -> None:
        """Give the page a size, and the system a light or dark theme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def save_image(self, file: Path, whole: bool = False) -> None:
        """Save what is on the screen, or the whole page, as PNG or JPEG."""
        kind = {"format": "jpeg", "quality": 85} if file.suffix == ".jpg" else {"format": "png"}
        view = {"captureBeyondViewport": whole, **self._clip(whole)}
        done = self.call("Page.captureScreenshot", **kind, **view)
        file.write_bytes(base64.b64decode(done["data"]))

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {**size, "scale": 1}}

    def heap_bytes(self) -> int:
        """Return the size of what the page's scripts hold, after everything else was freed."""
        self.call("HeapProfiler.collectGarbage")
        return int(self.call("Runtime.getHeapUsage")["usedSize"])

    def sample_heap(self, seconds: float, count: int) -> list[int]:
        """Return the size of the heap at so many moments, evenly over a time."""
        start = time.monotonic()
        sizes = []
        for number in range(1, count + 1):
            time.sleep(max(0.0, start + seconds * number / count - time.monotonic()))
            sizes.append(self.heap_bytes())
        return sizes


@contextmanager
def open_chromium(chromium: str, folder: Path) -> Iterator[ChromiumPage]:
    """Start a browser with an empty profile in ``folder``, and end it. Needs websockets."""
    from websockets.sync.client import connect

    profile = folder / "profile"
    command = [chromium, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    with (folder / "chromium.log").open("wb") as log:
        browser = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        address = _wait_for_page(browser, profile / "DevToolsActivePort")
        with connect(address, max_size=None, compression=None, proxy=None) as socket:
            yield ChromiumPage(socket)
    finally:
        browser.terminate()
        try:
            browser.wait(_DEADLINE_S)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()


def _wait_for_page(browser: subprocess.Popen[bytes], port_file: Path) -> str:
    """Return the address for driving the page of a browser that has just been started."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + _DEADLINE_S
    while time.monotonic() < end:
        if browser.poll() is not None:
            raise RuntimeError(f"Chromium ended with code {browser.returncode}")
        try:
            port = int(port_file.read_text().split()[0])
            with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                targets = json.load(answer)
        except (OSError, ValueError, IndexError):
            targets = []  # not yet
        for target in targets:
            if target["type"] == "page":
                return str(target["webSocketDebuggerUrl"])
        time.sleep(_POLL_S)
    raise TimeoutError("Chromium did not open a page")
