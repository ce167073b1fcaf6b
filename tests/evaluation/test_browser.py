"""The evaluation's page in a real browser: it opens, plays, and asks the network for nothing."""

import base64
import json
import os
import shutil
import subprocess
import time

import numpy as np
import pytest

from w2v2_jax.evaluate import report
from w2v2_jax.evaluation import page as evaluation_page
from w2v2_jax.evaluation.scoring import score

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium"),
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
            ["bash", "-c", f'exec "$@" 3<&{read} 4>&{write}', "-", CHROMIUM, *flags],
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
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression):
        end = time.monotonic() + DEADLINE
        while not self.evaluate(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.1)


class OneUtterance:
    """What `report` needs of a corpus."""

    num_samples = (24000,)

    def id(self, i):
        return "an <img src=https://example.invalid/x.png> id"

    def speaker(self, i):
        return "ann"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    scores = score(["HELLO <script>x</script> WORLD"], ["HELLO WORD AGAIN"])
    split = report("data:dev", OneUtterance(), scores, None, 5)
    samples = (8000 * np.sin(np.arange(24000) * 0.1)).astype(np.int16)
    text = evaluation_page.page({"checkpoint": "run", "step": 3}, [split], lambda n, i: samples)
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory, page):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    browser.attach()
    for domain in ("Page", "Network", "Log", "Runtime"):
        browser.call(f"{domain}.enable")
    browser.call("Page.navigate", url=page.as_uri())
    browser.until("document.readyState === 'complete' && document.title === 'Evaluation'")
    yield browser
    browser.close()


def test_the_recording_plays(browser):
    browser.until("document.querySelector('audio').readyState >= 1")
    assert browser.evaluate("document.querySelector('audio').duration") == pytest.approx(1.5)
    browser.evaluate("document.querySelector('audio').play()")
    browser.until("document.querySelector('audio').currentTime > 0.2")
    assert browser.evaluate("document.querySelector('audio').error") is None


def test_nothing_but_the_page_and_its_own_data_is_asked_for(browser, page):
    requested = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert requested[0] == page.as_uri()
    assert all(url.startswith("data:") for url in requested[1:])
    assert [e for e in browser.events if e["method"] == "Log.entryAdded"] == []
    refused = browser.evaluate(
        "fetch('https://example.invalid/').then(() => 'sent', () => 'refused')"
    )
    assert refused == "refused"  # by the page's own policy, which the log now says
    browser.evaluate("1")
    assert "Content Security Policy" in str(browser.events[-8:])


def test_plots_alignment_and_tables_are_drawn(browser, tmp_path):
    boxes = browser.evaluate(
        "[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().height)"
    )
    assert len(boxes) == 2 and min(boxes) > 100
    shown = browser.evaluate("document.querySelector('article').innerText")
    assert "<script>x</script>" in shown and "AGAIN" in shown  # as text
    assert browser.evaluate("document.querySelectorAll('script, img').length") == 0
    picture = browser.call("Page.captureScreenshot", format="png")["data"]
    (tmp_path / "page.png").write_bytes(base64.b64decode(picture))
    assert (tmp_path / "page.png").stat().st_size > 20_000  # a blank page has 5 kB
