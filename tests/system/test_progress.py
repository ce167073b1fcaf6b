"""What is shown on stderr while a command works: a bar on a terminal, lines in a log."""

import os

import pytest

from tests.helpers.corpora import write_split
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.inference import Model
from w2v2_jax.recognition.corpus import corpus_frames
from w2v2_jax.system import progress


@pytest.fixture
def _at_once(monkeypatch):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)


@pytest.mark.usefixtures("_at_once")
def test_in_a_log_progress_is_whole_lines(capsys):
    with progress.audio_bar(30.0) as bar:
        for _ in range(3):
            bar.update(10.0)
    told = capsys.readouterr().err
    assert "\r" not in told and told.endswith("\n")
    assert [line.split("%")[0] for line in told.splitlines()][-1] == "audio: 100"


@pytest.mark.usefixtures("_at_once")
def test_more_audio_than_was_expected_is_no_warning(capsys):
    with progress.audio_bar(30.0) as bar:
        for _ in range(4):
            bar.update(11.0)
    assert capsys.readouterr().err.splitlines()[-1].startswith("audio: 100")


def test_the_length_of_a_pipe_is_not_asked_for(tmp_path):
    """Its writer would be waited for, or what it writes be lost to the reader."""
    os.mkfifo(tmp_path / "a.wav")
    assert progress.total_seconds([str(tmp_path / "a.wav"), "/dev/stdin", "absent"]) is None


def test_nothing_is_shown_of_what_is_soon_done_or_quiet(capsys, monkeypatch):
    with progress.audio_bar(30.0) as bar:
        bar.update(10.0)
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    with progress.audio_bar(30.0, disable=True) as bar:
        bar.update(10.0)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("_at_once")
def test_a_network_over_a_corpus_tells_in_a_log_how_far_it_is(tuned, tmp_path, capsys):
    """`evaluate`, `emit` and `extract` were silent for minutes."""
    write_split(tmp_path, "dev")
    corpus, model = open_corpus(f"{tmp_path}:dev"), Model(tmp_path, tuned.description, tuned.params)
    assert len(list(corpus_frames(model, corpus, model.logits, batch_seconds=1.0))) == len(corpus)
    assert capsys.readouterr().err.splitlines()[-1].startswith("audio: 100%")
