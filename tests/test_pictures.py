"""The drawn pictures of the pages are what their scripts draw from what is stored now."""

import re
import runpy

import pytest

from tests.helpers.places import ROOT

EVIDENCE = "docs/results/evidence/ten_minutes.svg"
PICTURES = {
    EVIDENCE: ("docs/evidence_picture.py", "draw"),
    "docs/results/evidence/hours_heard.svg": ("docs/hours_picture.py", "draw"),
    "docs/picture.svg": ("docs/picture.py", "picture"),
}


def drawn(picture: str) -> str:
    script, function = PICTURES[picture]
    return runpy.run_path(str(ROOT / script))[function]()


@pytest.mark.parametrize("picture", PICTURES)
def test_a_stored_picture_is_what_its_script_draws(picture):
    script, _ = PICTURES[picture]
    assert (ROOT / picture).read_text("utf-8") == drawn(picture), f"run python {script}"


def test_every_bar_of_the_evidence_has_a_name_and_stored_rates():
    bars = runpy.run_path(str(ROOT / "docs/evidence_picture.py"))["BARS"]
    picture = drawn(EVIDENCE)
    for name, _, _ in bars:
        assert re.search(f">{name}</text><rect [^>]*/>(<circle [^>]*/>)+<text", picture), name
