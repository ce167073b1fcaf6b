"""The evaluation's page as text: for phones too, and what it says of its origin and its axes."""

import numpy as np
import pytest

from w2v2_jax.evaluation import page as evaluation_page
from w2v2_jax.evaluation.scoring import score
from w2v2_jax.evaluation.split_result import split_result
from w2v2_jax.evaluation.svg import bars


class TwoUtterances:
    """What `report` needs of a corpus."""

    num_samples = (24000, 16000)

    def id(self, i):
        return f"clip{i}"

    def speaker(self, i):
        return ("ann", "bob")[i]


@pytest.fixture(scope="module")
def text():
    scores = score(["HELLO WORLD", "YES"], ["HELLO WORD", "YES"])
    split = split_result("data/mine:<dev>", TwoUtterances(), scores, num_worst=5)
    head = {"checkpoint": "run", "step": 3, "made": "2026-11-28, w2v2_jax 0.2.0, commit 1234abcd"}
    return evaluation_page.page(head, [split], lambda n, i: np.zeros(24000, np.int16))


def test_the_page_fits_a_phone(text):
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert "minmax(min(26rem,100%),1fr)" in text  # no column is wider than the screen
    assert text.count("<table>") == text.count("<div class=wide><table>") > 0


def test_the_page_says_what_it_is_of_and_when_it_was_made(text):
    origin = "step 3, data data/mine:&lt;dev&gt;, 2026-11-28, w2v2_jax 0.2.0, commit 1234abcd"
    assert f'<p class="note">{origin}</p>' in text


def test_every_plot_names_both_axes(text):
    plots = text.split("<svg ")[1:]
    assert len(plots) == 3
    axes = [[part.split("<")[0] for part in plot.split('class="axis"')[1:]] for plot in plots]
    assert [len(named) for named in axes] == [2, 2, 2]
    for label in ("length of the utterance", "speaker", "WER of an utterance", "WER, %"):
        assert f">{label}</text>" in text


def test_a_label_of_an_axis_is_escaped():
    assert "<b>" not in bars("title", ["a"], [1.0], axes=("<b>", "<b>"))
