"""`w2v2 explore`'s page in a real browser: it opens, plays, fits a phone, and asks for nothing."""

import numpy as np
import pytest

from tests.helpers.chromium import BROWSER_TEST, Browser
from w2v2_jax.data.corpus import Entry
from w2v2_jax.data.writer import CorpusWriter
from w2v2_jax.prepare import explore

pytestmark = BROWSER_TEST


def entries(split, count):
    """Utterances of two speakers and languages, with texts, rare letters and a long name."""
    draw = np.random.default_rng(len(split))
    for number in range(count):
        samples = (2000 * np.sin(np.arange(8000 + 400 * number) * 0.1)).astype(np.int16)
        samples += draw.integers(-50, 50, len(samples), np.int16)
        text = f"what was said <b>here</b> as number {number} \u017c"
        name = f"a/folder-with-a-name-that-does-not-fit-a-telephone/{split}-{number}.wav"
        yield (
            Entry(
                name, text, f"speaker {number % 2}", len(samples), 0.0, 0.06, 0, number % 30, "en"
            ),
            iter([samples.tobytes()]),
        )


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    corpus = tmp_path_factory.mktemp("corpus")
    for split, count in (("train", 40), ("dev", 12)):
        writer = CorpusWriter(corpus / split)
        for entry, samples in entries(split, count):
            writer.add(entry, samples)
        writer.close(split=split, source="made")
    explore.main([str(corpus)])
    return corpus / "explore.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory, page):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    browser.open(page.as_uri())
    yield browser
    browser.close()


def test_nothing_but_the_page_and_its_own_recordings_is_asked_for(browser, page):
    requested = browser.requested()
    assert requested[0] == page.as_uri()
    assert all(url.startswith("data:") for url in requested[1:])
    assert browser.complaints() == []


def test_a_recording_plays_from_the_page(browser):
    browser.until("document.querySelector('audio').readyState >= 1")
    browser.evaluate("document.querySelector('audio').play()")
    browser.until("document.querySelector('audio').currentTime > 0.1")
    assert browser.evaluate("document.querySelector('audio').error") is None


def test_plots_and_tables_are_drawn_and_texts_stay_texts(browser):
    heights = browser.evaluate(
        "[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().height)"
    )
    assert len(heights) == 12 and min(heights) > 80  # six figures of each split
    assert "<b>here</b>" in browser.evaluate("document.querySelector('article').innerText")
    drawn = browser.screenshot()
    assert len(drawn) > 40_000  # a blank page has 5 kB


@pytest.mark.parametrize("width", [320, 360, 412])
def test_a_phone_need_not_scroll_sideways(browser, width):
    browser.resize(width, 740, mobile=True)
    assert browser.wider_than_the_screen() == 0
