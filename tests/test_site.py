"""The pages as a site, and the cells of the notebook's page, run."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.corpora import write_split
from tests.helpers.docs_commands import blocks
from tests.helpers.places import ROOT
from tests.helpers.train_runs import use_one_device
from w2v2_jax.checkpoint.description import Loaded
from w2v2_jax.interop.native import write_initial


def nav() -> set[str]:
    text = (ROOT / ".mkdocs.yml").read_text()
    return set(re.findall(r"^ +- ([\w/-]+\.md)$", text[text.index("nav:") :], re.MULTILINE))


def test_every_page_is_in_the_navigation_of_the_site():
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert nav() == pages | {"index.md", "changelog.md", "contributing.md"}


@pytest.mark.docs
def test_the_site_builds_without_a_warning(tmp_path):
    assert importlib.util.find_spec("mkdocstrings"), "run bash launch/test.sh docs"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", ".mkdocs.yml"]
    done = subprocess.run(
        [*command, "-d", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "From waveform to loss" in (tmp_path / "index.html").read_text()
    assert "quantizer entries" in (tmp_path / "api" / "model.html").read_text()


def test_the_cells_of_the_notebook_run(tuned, tmp_path, monkeypatch):
    """On a toy checkpoint and a second of noise."""
    monkeypatch.chdir(tmp_path)
    write_initial(Path("runs/tuned"), Loaded(Path("x"), tuned.description, tuned.params))
    noise = 0.1 * np.random.default_rng(0).standard_normal(16000)
    soundfile.write("talk.wav", noise, 16000)
    cells = [block.content for block in blocks() if block.file == "notebook.md"]
    assert len(cells) == 7
    names: dict = {}
    for cell in cells:
        exec(compile(cell, "notebook.md", "exec"), names)
    assert [x.shape[0] for x in names["features"]] == [
        names["model"].num_frames(n) for n in (16000, 24000)
    ]
    assert np.isfinite(names["value"]) and set(names["gradients"]) == {"encoder", "head"}


def run_blocks(page: str) -> dict:
    """The names that the Python of a page leaves, run in order."""
    names: dict = {}
    for block in blocks():
        if block.file == page and block.language == "python":
            exec(compile(block.content, page, "exec"), names)
    return names


def test_the_python_of_the_page_on_data_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_split(Path("data/mine"), "train")
    names = run_blocks("api/data.md")
    whole = list(names["feed"].batches(0, 3))
    for batch, half in zip(whole, names["share"], strict=True):
        rows = len(batch.waveforms) // 2
        np.testing.assert_array_equal(batch.waveforms[rows:], half.waveforms)


@pytest.mark.slow
def test_the_training_loop_of_the_page_on_objectives_runs(tmp_path, monkeypatch):
    use_one_device(monkeypatch)
    monkeypatch.chdir(tmp_path)
    write_split(Path("data/mine"), "train", texts=("AB CA", "B A", "CAB", "A") * 3, seconds=0.2)
    names = run_blocks("api/objectives.md")
    assert int(names["state"].step) == 3
    assert names["model"].description.normalise
