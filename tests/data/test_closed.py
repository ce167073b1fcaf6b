"""Corpora of which something may not be read: that is what is told, not damage."""

import os
from pathlib import Path
from unittest import mock

import pytest

from tests.helpers.corpora import write_split
from w2v2_jax.data import splits
from w2v2_jax.data.audio import AudioError, load_audio
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.data.splits import list_splits
from w2v2_jax.decode.make import DecoderSettings, check_files
from w2v2_jax.errors import InputError
from w2v2_jax.errors.absent import is_absent
from w2v2_jax.prepare.account import Tally
from w2v2_jax.prepare.clips import content
from w2v2_jax.prepare.segment_pairs import find_pairs
from w2v2_jax.prepare.sources import resolve
from w2v2_jax.prepare.utterance import Clip
from w2v2_jax.texts.reading import optional_lines, text_lines


@pytest.fixture
def closed(tmp_path, monkeypatch):
    """Closes a file or folder of a corpus to its user, root included."""
    for name in ("dev", "train"):
        write_split(tmp_path, name)
    splits.tell_closed.cache_clear()
    opens, access, glob = Path.open, os.access, Path.glob
    taken = set()

    def open_or_refuse(path, *given, **options):
        if path.name in taken:
            raise PermissionError(13, "Permission denied", str(path))
        return opens(path, *given, **options)

    def found(path, pattern):
        return (child for child in glob(path, pattern) if child.parent.name not in taken)

    monkeypatch.setattr(Path, "open", open_or_refuse)
    monkeypatch.setattr(Path, "glob", found)
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path).name not in taken and access(path, mode)
    )
    return taken.add


@pytest.mark.parametrize("name", ["index.npz", "corpus.json"])
def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, closed, name):
    """The advice was to prepare the corpus again."""
    closed(name)
    with pytest.raises(InputError, match=rf"^{tmp_path}/train/{name}: Permission denied$"):
        open_corpus(f"{tmp_path}:train").text(0)


def test_a_split_that_may_not_be_read_is_told(tmp_path, closed, capsys):
    """A corpus was scored without it, and nothing said so."""
    closed("train")
    assert list_splits(tmp_path) == list_splits(tmp_path) == ["dev"]
    said = f"note: {tmp_path}/train: Permission denied; a split in it does not count\n"
    assert capsys.readouterr().err == said
    with pytest.raises(InputError, match=rf"^{tmp_path}/train: Permission denied$"):
        open_corpus(f"{tmp_path}:train")


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (load_audio, AudioError),
        (lambda path: content(Clip(path, inside=("bytes", 0, 1)), "a"), AudioError),
        (lambda path: list(text_lines(path)), InputError),
        (lambda path: list(optional_lines(path)), InputError),
        (lambda path: check_files(DecoderSettings(lm=path)), InputError),
        (lambda path: find_pairs(path, path, Tally()), InputError),
    ],
)
def test_what_is_in_a_folder_that_may_not_be_entered_is_not_called_absent(
    tmp_path, monkeypatch, read, error
):
    """Such recordings were rejected with "no such file", and their transcripts not missed."""
    path, stat = str(tmp_path / "closed" / "a.wav"), os.stat

    def refuse(place, **options):
        if str(place) == path:
            raise PermissionError(13, "Permission denied", path)
        return stat(place, **options)

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(error, match="Permission denied"):
        read(path)


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (lambda path: content(Clip(path, inside=("bytes", 0, 1)), "a"), AudioError),
        (lambda path: check_files(DecoderSettings(lm=path)), InputError),
    ],
)
def test_a_file_that_may_not_be_read_is_told_before_it_is_opened(tmp_path, closed, read, error):
    """A language model was found unreadable only after the network had been loaded."""
    (tmp_path / "file").write_bytes(bytes(9))
    closed("file")
    with pytest.raises(error, match=rf"{tmp_path}/file: Permission denied\)?$"):
        read(str(tmp_path / "file"))


def test_a_table_on_a_disk_that_does_not_answer_is_not_called_absent(tmp_path, monkeypatch):
    """Its transcripts were not missed."""
    monkeypatch.setattr(os, "stat", mock.Mock(side_effect=OSError(5, "Input/output error")))
    with pytest.raises(InputError, match=r"a\.tsv: Input/output error"):
        list(optional_lines(tmp_path / "a.tsv"))


@pytest.mark.parametrize(("name", "absent"), [("none", True), ("a/none", True), ("a", False)])
def test_what_has_no_name_is_absent(tmp_path, name, absent):
    (tmp_path / "a").write_text("")
    assert is_absent(tmp_path / name) == absent


def test_a_source_in_a_folder_that_may_not_be_entered_is_not_called_unknown(tmp_path, monkeypatch):
    refuse = mock.Mock(side_effect=PermissionError(13, "Permission denied"))
    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(InputError, match=rf"^--source {tmp_path}/closed/x: Permission denied$"):
        resolve(f"{tmp_path}/closed/x")
