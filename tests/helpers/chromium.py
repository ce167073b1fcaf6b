"""Headless Chromium over its debugging pipe: open a page, ask it, look at it."""

import base64
import json
import os
import shutil
import subprocess
import time

import pytest

PATH = shutil.which("chromium") or shutil.which("chromium-browser")
BROWSER_TEST = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(PATH is None, reason="needs chromium: apt-get install chromium"),
]
DEADLINE = 240  # seconds; a page of this size takes two on an idle machine


class Browser:
    """Chromium without a window, spoken to over its debugging pipe (file descriptors 3 and 4)."""

    def __init__(self, profile):
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-first-run",
                 "--autoplay-policy=no-user-gesture-required", "--disable-dev-shm-usage",
                 "--disable-background-networking", "--window-size=1000,1400",
                 f"--user-data-dir={profile}", "--remote-debugging-pipe",
                 "about:blank"]  # fmt: skip
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{read} 4>&{write}', "-", PATH, *flags],
            pass_fds=(read, write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(read)
        os.close(write)
        self.events, self._rest, self._number, self._session = [], b"", 0, None

    def close(self):
        self._process.terminate()
        self._process.wait(30)
        os.close(self._write)
        os.close(self._read)

    def attach(self):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]

    def call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _message(self):
        while b"\0" not in self._rest:
            received = os.read(self._read, 1 << 16)
            assert received, "the browser went away"
            self._rest += received
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def evaluate(self, expression):
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression):
        end = time.monotonic() + DEADLINE
        while not self.evaluate(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.1)

    def open(self, url):
        """Shows `url`, and records what the page asks for and what its log says."""
        self.attach()
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def requested(self):
        """Every address that the page asked for, itself first."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self):
        return [event for event in self.events if event["method"] == "Log.entryAdded"]

    def resize(self, width, height, *, mobile=False):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )

    def screenshot(self):
        """The bytes of a PNG of what is on the screen."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def wider_than_the_screen(self):
        """Pixels by which the page is wider than the window: a phone scrolls sideways then."""
        return self.evaluate(
            "document.scrollingElement.scrollWidth - document.documentElement.clientWidth"
        )
