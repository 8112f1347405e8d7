"""A real browser: headless Chromium, driven by its chromedriver over the W3C's WebDriver protocol.

Only what the tests of our pages need: a dozen JSON calls, which no library has to make for us.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 30
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
# No sandbox, because tests run as root in containers; nothing that calls home.
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip
_STARTED = re.compile(rb"started successfully on port (\d+)")


class WebDriverError(Exception):
    """What the browser could not do; `word` is the protocol's word for it."""

    def __init__(self, word: str, message: str) -> None:
        super().__init__(f"{word}: {message}")
        self.word = word


@dataclass(frozen=True, slots=True)
class Browser:
    """One window. Elements are named by CSS selectors; what is not there raises WebDriverError."""

    session: str

    def open(self, url: str) -> None:
        """Go to an address and wait until it has loaded."""
        _call("POST", f"{self.session}/url", {"url": url})

    @property
    def text(self) -> str:
        """What can be read on the page."""
        return str(self._of("body", "text"))

    @property
    def title(self) -> str:
        return str(_call("GET", f"{self.session}/title"))

    def fill(self, **fields: str) -> None:
        """Type into the fields of these names."""
        for name, typed in fields.items():
            element = self._find(f"input[name={name}]")
            _call("POST", f"{element}/clear", {})
            _call("POST", f"{element}/value", {"text": typed})

    def press(self, deed: str) -> None:
        """Press the button of a form, and wait for the page it leads to."""
        button = self._find(f"button[value={deed}]")
        _call("POST", f"{button}/click", {})
        limit = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < limit and _is_there(button):
            time.sleep(0.02)
        # The new page is there once what can be read on it can be.
        assert self.text

    def count(self, selector: str) -> int:
        """How many elements there are."""
        value = {"using": "css selector", "value": selector}
        return len(_call("POST", f"{self.session}/elements", value))

    def label(self, selector: str) -> str:
        """What a screen reader calls an element."""
        return str(self._of(selector, "computedlabel"))

    def style(self, selector: str, prop: str) -> str:
        """What a property of an element's style has come to."""
        return str(self._of(selector, f"css/{prop}"))

    @property
    def has_alert(self) -> bool:
        """Whether a script has put a window on top of the page."""
        try:
            _call("GET", f"{self.session}/alert/text")
        except WebDriverError as error:
            if error.word != "no such alert":
                raise
            return False
        return True

    def _of(self, selector: str, what: str) -> Any:
        """Ask an element; once more if the page has just given way to another."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return _call("GET", f"{self._find(selector)}/{what}")
            except WebDriverError:
                if time.monotonic() > limit:
                    raise
                time.sleep(0.02)

    def _find(self, selector: str) -> str:
        value = {"using": "css selector", "value": selector}
        found = _call("POST", f"{self.session}/element", value)
        return f"{self.session}/element/{found[_ELEMENT]}"


def _is_there(element: str) -> bool:
    """Whether an element is still of the page that is shown."""
    try:
        _call("GET", f"{element}/name")
    except WebDriverError:
        # Stale, or in the midst of going: the driver has several words for it.
        return False
    return True


@contextmanager
def browsing(profile: Path, *, has_scripts: bool = True) -> Iterator[Browser]:
    """A browser with a new profile, until the block ends. Fails where there is none."""
    chromium, driver = _program("chromium"), _program("chromedriver")
    process = subprocess.Popen(
        [driver, "--port=0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:
        url = f"http://127.0.0.1:{_port(process)}/session"
        options: dict[str, Any] = {
            "binary": chromium,
            "args": [*_FLAGS, f"--user-data-dir={profile}"],
        }
        if not has_scripts:
            options["prefs"] = {"profile.managed_default_content_settings.javascript": 2}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        session = f"{url}/{_call('POST', url, wanted)['sessionId']}"
        try:
            yield Browser(session)
        finally:
            _call("DELETE", session)
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"the tests of our pages need {name}; scripts/test installs it"
    return found


def _port(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        if started := _STARTED.search(line):
            return int(started[1])
    raise AssertionError(f"chromedriver did not start (exit code {process.wait()})")


def _call(method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as reply:
            return json.load(reply)["value"]
    except urllib.error.HTTPError as error:
        with error:
            told = json.load(error)["value"]
        raise WebDriverError(told["error"], told["message"]) from None
