"""The evaluation's page in a real browser: it opens, plays, and asks the network for nothing."""

import numpy as np
import pytest

from tests.helpers.chromium import BROWSER_TEST, Browser
from w2v2_jax.evaluation import page as evaluation_page
from w2v2_jax.evaluation.scoring import score
from w2v2_jax.evaluation.split_result import split_result

pytestmark = BROWSER_TEST


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
    split = split_result("data:dev", OneUtterance(), scores, num_worst=5)
    samples = (8000 * np.sin(np.arange(24000) * 0.1)).astype(np.int16)
    text = evaluation_page.page({"checkpoint": "run", "step": 3}, [split], lambda n, i: samples)
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory, page):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    browser.open(page.as_uri())
    assert browser.evaluate("document.title") == "Evaluation"
    yield browser
    browser.close()


def test_the_recording_plays(browser):
    browser.until("document.querySelector('audio').readyState >= 1")
    assert browser.evaluate("document.querySelector('audio').duration") == pytest.approx(1.5)
    browser.evaluate("document.querySelector('audio').play()")
    browser.until("document.querySelector('audio').currentTime > 0.2")
    assert browser.evaluate("document.querySelector('audio').error") is None


def test_nothing_but_the_page_and_its_own_data_is_asked_for(browser, page):
    requested = browser.requested()
    assert requested[0] == page.as_uri()
    assert all(url.startswith("data:") for url in requested[1:])
    assert browser.complaints() == []
    refused = browser.evaluate(
        "fetch('https://example.invalid/').then(() => 'sent', () => 'refused')"
    )
    assert refused == "refused"  # by the page's own policy, which the log now says
    browser.evaluate("1")
    assert "Content Security Policy" in str(browser.events[-8:])


def test_plots_alignment_and_tables_are_drawn(browser):
    boxes = browser.evaluate(
        "[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().height)"
    )
    assert len(boxes) == 2 and min(boxes) > 100
    shown = browser.evaluate("document.querySelector('article').innerText")
    assert "<script>x</script>" in shown and "AGAIN" in shown  # as text
    assert browser.evaluate("document.querySelectorAll('script, img').length") == 0
    assert len(browser.screenshot()) > 20_000  # a blank page has 5 kB


def test_a_phone_need_not_scroll_sideways(browser):
    browser.resize(360, 740, mobile=True)
    assert browser.wider_than_the_screen() == 0
