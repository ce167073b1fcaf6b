"""The recordings that a command line names, and what one bad one does to the others."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from w2v2_jax.errors import InputError
from w2v2_jax.recognition.inputs import expand


def test_a_folder_and_a_list_are_their_files_once_and_in_order(clips, tmp_path, monkeypatch):
    clips("b/x.wav", "a/x.wav", "a/y.WAV", "a/z.txt", "a/.hidden.wav")
    audio = tmp_path / "audio"
    assert expand([str(audio)]) == {
        f"{audio}/a/x.wav": Path("a/x"), f"{audio}/a/y.WAV": Path("a/y"),
        f"{audio}/b/x.wav": Path("b/x"),
    }  # fmt: skip
    listed = audio / "list.txt"
    listed.write_text(f"\ufeff{audio}/a/x.wav\n\n b/x.wav \nnone.wav\n", "utf-8")
    absent = []
    names = expand([f"@{listed}", f"{audio}/a/x.wav"], on_error=lambda name, _: absent.append(name))
    assert list(names) == [f"{audio}/a/x.wav", f"{audio}/b/x.wav"] and absent == ["none.wav"]
    assert expand([], [str(listed)], on_error=lambda name, _: None) == names
    monkeypatch.chdir(audio)
    (audio / "@odd.wav").write_bytes(b"")
    assert list(expand(["@odd.wav"])) == ["@odd.wav"]


def test_a_circle_of_links_ends(clips, tmp_path):
    clips("a/x.wav")
    (tmp_path / "audio" / "a" / "loop").symlink_to(tmp_path / "audio")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "link").symlink_to(tmp_path / "audio" / "a")
    assert len(expand([str(tmp_path / "audio")])) == 1
    assert len(expand([str(tmp_path / "far")])) == 1


def test_files_of_one_name_in_a_folder_keep_their_suffixes_in_the_outputs(clips, tmp_path):
    clips("x.wav", "x.flac", "y.wav")
    assert sorted(map(str, expand([str(tmp_path / "audio")]).values())) == ["x.flac", "x.wav", "y"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-"], "standard input is not read; give a file"),
        ([], "no file is named"),
        (["@none.txt"], "list none.txt: No such file or directory; use UTF-8 text"),
        (["{folder}"], "no audio file in this folder"),
        (["@{folder}/empty.txt"], "empty.txt: names no file"),
        (["@{folder}/latin.txt"], "latin.txt: 'utf-8' codec can't decode"),
    ],
)
def test_what_names_no_recording_is_one_clear_line(tmp_path, arguments, message):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9.wav")
    with pytest.raises(InputError, match=re.escape(message)):
        expand([argument.format(folder=tmp_path) for argument in arguments])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"no sound at all"), "unreadable"),
        (lambda path: None, "no such file"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: soundfile.write(path, np.zeros(3), 16000), "3 samples are too short"),
        (lambda path: soundfile.write(path, [np.nan] * 400, 16000, "FLOAT"), "not finite"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_bad_file_takes_none_of_the_good_ones_with_it(
    command, clips, tmp_path, capsys, make, message, place
):
    good = clips("a.wav", "b.wav")
    broken = tmp_path / "broken.wav"
    make(broken)
    files = [*good[:place], str(broken), *good[place:]]
    assert command(*files) == 2
    printed = capsys.readouterr()
    assert [line.split("\t")[0] for line in printed.out.splitlines()] == good
    first, last = printed.err.splitlines()
    assert first.startswith(f"error: {broken}: ") and message in first
    assert last == "error: 1 of 3 inputs cannot be used (see above)"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{folder}/empty", "empty: no audio file in this folder"),
        ("@{folder}/none.txt", "list {folder}/none.txt: No such file"),
        ("-", "standard input is not read"),
        ("@{folder}/list.txt", "empty: no audio file in this folder"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_names_no_recording_takes_none_of_the_good_ones_with_it(
    command, clips, tmp_path, capsys, bad, message, place
):
    good = clips("a.wav", "b.wav", "c.wav")
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text(f"{tmp_path}/empty\n{good[2]}\n")
    arguments = [*good[:place], bad.format(folder=tmp_path), *good[place:]]
    assert command(*arguments) == 2
    printed = capsys.readouterr()
    assert sorted(line.split("\t")[0] for line in printed.out.splitlines()) == good
    assert message.format(folder=tmp_path) in printed.err.splitlines()[0]
    assert printed.err.splitlines()[-1] == "error: 1 of 4 inputs cannot be used (see above)"


def test_a_subfolder_that_cannot_be_read_takes_nothing_with_it(
    command, clips, tmp_path, capsys, monkeypatch
):
    (good,), closed = clips("a.wav"), tmp_path / "audio" / "closed"
    closed.mkdir()
    scan = os.scandir

    def scandir(path):
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert command(tmp_path / "audio") == 2
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{good}\t") and len(printed.out.splitlines()) == 1
    assert printed.err.startswith(f"error: {closed}: Permission denied\n")


def test_with_skip_done_what_names_no_recording_still_decides_the_status(
    command, clips, tmp_path, capsys
):
    (good,), out = clips("a.wav"), ["--out", tmp_path / "out", "--formats", "txt"]
    assert command(good, *out) == 0
    assert command(good, "-", *out, "--skip-done") == 2
    assert "all 1 inputs are done" in (told := capsys.readouterr().err)
    assert told.endswith("error: 1 of 2 inputs cannot be used (see above)\n")
