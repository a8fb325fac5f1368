"""A real browser: headless Chromium, driven over WebDriver (W3C), which is plain HTTP and JSON."""

import re
import subprocess
import time
from pathlib import Path

import urllib3

from tests.support.programs import require_program

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


class Browser:
    """One window; `quit` ends it and its driver."""

    def __init__(self, profile: Path) -> None:
        install = "apt-get install chromium chromium-driver"
        chromium = require_program("chromium", install)
        self._driver = subprocess.Popen(
            [require_program("chromedriver", install), "--port=0"], stdout=subprocess.PIPE, text=True
        )
        self._http = urllib3.PoolManager(retries=False, timeout=60)
        self._url = f"http://127.0.0.1:{self._port()}"
        options = {"binary": chromium, "args": [*_ARGUMENTS, f"--user-data-dir={profile}"]}
        wanted = {"alwaysMatch": {"goog:chromeOptions": options}}
        session = self._call("POST", "/session", {"capabilities": wanted})["sessionId"]
        self._url += f"/session/{session}"

    def _port(self) -> int:
        for line in self._driver.stdout:
            found = re.search(r"on port (\d+)", line)
            if found and int(found[1]):
                return int(found[1])
        raise AssertionError("chromedriver did not start")

    def open(self, url: str) -> None:
        """Go to an address."""
        self._call("POST", "/url", {"url": url})

    @property
    def address(self) -> str:
        """Where the window is."""
        return self._call("GET", "/url")

    @property
    def text(self) -> str:
        """What a person reads on the page."""
        return self._call("GET", f"/element/{self._find('body')}/text")

    def type(self, selector: str, text: str) -> None:
        """Type into a field."""
        self._call("POST", f"/element/{self._find(selector)}/value", {"text": text})

    def submit(self, selector: str) -> None:
        """Click, and wait until another page is there."""
        before = self._find("html")
        self._call("POST", f"/element/{self._find(selector)}/click", {})
        deadline = time.monotonic() + 30
        while self._request("GET", f"/element/{before}/name")[0] == 200:
            assert time.monotonic() < deadline, "no other page came"
            time.sleep(0.02)

    def wait_for(self, part: str) -> str:
        """Wait until the address holds `part`, and return it."""
        deadline = time.monotonic() + 30
        while part not in self.address:
            assert time.monotonic() < deadline, (self.address, self.text)
            time.sleep(0.05)
        return self.address

    def quit(self) -> None:
        """Close the window and end the driver."""
        self._call("DELETE", "")
        self._driver.terminate()
        self._driver.wait(30)
        self._driver.stdout.close()
        self._http.clear()

    def _find(self, selector: str) -> str:
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        return found[_ELEMENT]

    def _call(self, method: str, path: str, body: dict | None = None):
        status, value = self._request(method, path, body)
        assert status == 200, value
        return value

    def _request(self, method: str, path: str, body: dict | None = None):
        answer = self._http.request(method, f"{self._url}{path}", json=body)
        return answer.status, answer.json()["value"]
