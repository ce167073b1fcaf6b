"""Where results will go is tried before the work that makes them."""

import argparse
import json
import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.corpora import write_split
from w2v2_jax import align, compare, lm, transcribe
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.paths import finite, try_file
from w2v2_jax.prepare import command as prepare
from w2v2_jax.prepare import explore, segment
from w2v2_jax.recognition import transcript_files
from w2v2_jax.system.outputs import tell_replaced, try_outputs


def test_an_output_is_tried_before_the_work(tmp_path):
    (tmp_path / "file").write_text("kept")
    try_file(tmp_path / "new" / "deep" / "a.json", "--json")
    try_file(tmp_path / "file", "--json")
    try_file("/dev/null", "--json")
    assert (tmp_path / "file").read_text() == "kept"
    assert list((tmp_path / "new" / "deep").iterdir()) == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("file/a.json", "--json file: file is a file, not a folder"),
        ("file/b/a.json", "--json file/b cannot be written: Not a directory"),
        ("folder", "--json folder is a folder; name a file"),
        ("n" * 300 + "/a.json", "cannot be written: File name too long"),
        ("/proc/none/a.json", "--json /proc/none cannot be written: No such file or directory"),
    ],
)
def test_an_output_that_cannot_be_is_named_with_its_option(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=re.escape(message)):
        try_file(path, "--json")


def test_the_outputs_of_a_command_line_that_are_given_are_tried(tmp_path):
    arguments = argparse.Namespace(json=tmp_path / "a.json", html=None, other=5)
    try_outputs(arguments, "json", "html")
    arguments.html = tmp_path
    with pytest.raises(InputError, match=r"--html .* is a folder"):
        try_outputs(arguments, "json", "html")


def test_an_output_replaces_no_input_and_no_other_output(tmp_path):
    text = tmp_path / "texts.txt"
    text.write_text("kept")
    (tmp_path / "link").symlink_to(text)
    inputs = dict(text=[str(text)], lm=None, order=2, beam="beam")
    for out in (text, tmp_path / "link", tmp_path / "x" / ".." / "texts.txt"):
        with pytest.raises(InputError, match=r"--out .* would replace the file of text; name"):
            try_outputs(argparse.Namespace(out=out, **inputs), "out")
    both = argparse.Namespace(json=tmp_path / "a", html=str(tmp_path / "b" / ".." / "a"))
    with pytest.raises(InputError, match=r"--html .* would replace the file of json; name"):
        try_outputs(both, "json", "html")
    same = argparse.Namespace(json="/dev/null", html="/dev/null", recipe="beam", **inputs)
    try_outputs(same, "json", "html")
    try_outputs(argparse.Namespace(out=tmp_path / "beam", **inputs), "out")
    assert text.read_text() == "kept"


@pytest.fixture
def read(tmp_path):
    """A prepared corpus and a run's folder, both with a result of a command in them."""
    write_split(tmp_path / "data", "dev", texts=("AB", "CA"))
    (tmp_path / "run/checkpoints/0/model").mkdir(parents=True)
    for name in ("config.json", "vocabulary.json", "checkpoints/0/model/metadata", "test.json"):
        (tmp_path / "run" / name).write_text("{}")
    (tmp_path / "data/explore.html").write_text("a page")
    (tmp_path / "data/report.json").write_text("a result: no split")
    return tmp_path


@pytest.mark.parametrize("data", ["data", "data:dev", "data/dev", "other,data:dev", "folder:data"])
@pytest.mark.parametrize("file", ["index.npz", "corpus.json", "shard-00000.i16", "report.json"])
def test_an_output_replaces_no_file_of_a_corpus_that_is_read(read, monkeypatch, data, file):
    monkeypatch.chdir(read)
    (read / "data/dev/report.json").write_text("{}")
    arguments = argparse.Namespace(data=[data], out=read / "data/dev" / file)
    with pytest.raises(InputError, match=rf"--out .*{file} would replace a file of data; name"):
        try_outputs(arguments, "out")


@pytest.mark.parametrize("checkpoint", ["run", "run/checkpoints/0"])
@pytest.mark.parametrize("file", ["config.json", "vocabulary.json", "checkpoints/0/model/metadata"])
def test_an_output_replaces_no_file_of_a_run_that_is_read(read, checkpoint, file):
    arguments = argparse.Namespace(checkpoint=str(read / checkpoint), json=read / "run" / file)
    with pytest.raises(InputError, match=rf"--json .*{file} would replace a file of checkpoint"):
        try_outputs(arguments, "json")


@pytest.mark.parametrize("file", ["a.wav", "transcripts.tsv", "far/b.wav"])
def test_a_page_of_prepare_replaces_only_a_page(tmp_path, capsys, file):
    """It took the place of a recording that was about to be read."""
    (tmp_path / "far").mkdir()
    for name in ("a.wav", "far/b.wav"):
        soundfile.write(tmp_path / name, 0.1 * np.sin(np.arange(16000.0)), 16000)
    (tmp_path / "transcripts.tsv").write_text("a.wav\tAB\n")
    (tmp_path / "list.tsv").write_text(f"{tmp_path}/far\nb.wav\t16000\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    source = f"manifest:{tmp_path}/list.tsv" if "far" in file else f"folder:{tmp_path}"
    command = ["--source", source, "--out", f"{tmp_path}/data", "--html", f"{tmp_path}/{file}"]
    assert run_command(prepare.main, command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--html {tmp_path}/{file} would replace a file that is no HTML page" in line
    assert {path: path.read_bytes() for path in before} == before
    (tmp_path / "page.html").touch()
    command[-1] = f"{tmp_path}/page.html"
    for more in ([], ["--overwrite"]):
        assert run_command(prepare.main, [*command, *more]) == 0
        assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("more", [["--overwrite"], ["--skip-done"]])
@pytest.mark.parametrize("text", ["a.txt", "a.wav.txt", "sub/a.json", "a.TextGrid"])
def test_a_transcript_beside_its_recording_is_not_replaced(tmp_path, capsys, more, text):
    """Nobody can tell one that was made by hand from one of an earlier run."""
    (tmp_path / "sub").mkdir()
    names = ["a.wav", "sub/a.wav"] + ["a.mp3"] * (text == "a.wav.txt")
    for name in names:
        soundfile.write(tmp_path / name, np.zeros(1600), 16000)
    (tmp_path / text).write_text("by hand")
    command = ["--checkpoint", "none", str(tmp_path), "--out", str(tmp_path), *more]
    forms = ["--formats", "textgrid,ctm" if "TextGrid" in text else "txt,json"]
    assert run_command(transcribe.main, [*command, *forms]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path}/{text} lies beside a." in line and "choose another --out" in line
    assert (tmp_path / text).read_text() == "by hand"


def test_a_folder_of_results_is_listed_once_and_not_for_each_of_them(tmp_path, monkeypatch):
    """A hundred thousand results that --overwrite replaces took hours before the first."""
    files = [tmp_path / f"{number}.txt" for number in range(5)]
    for file in files:
        file.touch()
    listed, listdir = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or listdir(path))
    planned = {str(file): {"txt": file} for file in files}
    transcript_files.spare(argparse.Namespace(out=tmp_path), planned)
    assert len(listed) == 1


def test_align_replaces_no_textgrid_beside_the_recording(tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16000)
    (tmp_path / "a.txt").write_text("AB\n")
    (tmp_path / "a.TextGrid").write_text("by hand")
    command = ["--checkpoint", "none", f"{tmp_path}/a.wav", f"{tmp_path}/a.txt"]
    assert run_command(align.main, [*command, "--out", str(tmp_path), "--overwrite"]) == 2
    assert "a.TextGrid lies beside a.wav and may be" in capsys.readouterr().err
    assert (tmp_path / "a.TextGrid").read_text() == "by hand"


def test_segment_replaces_none_of_its_three_files_unasked(tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16000)
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:00,100\nAB\n")
    (tmp_path / "report.json").write_text("of something else")
    command = ["--audio", f"{tmp_path}/a.wav", "--text", f"{tmp_path}/a.srt"]
    assert run_command(segment.main, [*command, "--out", str(tmp_path)]) == 2
    assert "report.json exists; add --overwrite or choose" in capsys.readouterr().err
    assert (tmp_path / "report.json").read_text() == "of something else"


def test_a_result_may_replace_a_former_one_in_a_folder_that_is_read(read):
    inputs = dict(checkpoint=read / "run", data=f"{read}/data:dev")
    for place in ("run/test.json", "data/explore.html", "data/report.json", "run/metrics.jsonl"):
        try_outputs(argparse.Namespace(json=read / place, **inputs), "json")


@pytest.mark.parametrize(
    ("main", "arguments", "said"),
    [
        (lm.main, "--text {}/a.txt --out {}/a.txt", "--out .*a.txt would replace the file of text"),
        (
            lm.main,
            "--text {}/a.txt --vocabulary {}/run --out {}/lm.arpa --lexicon {}/a.txt",
            "--lexicon .*a.txt would replace the file of text",
        ),
        (
            lm.main,
            "--text {}/a.txt --vocabulary {}/run --out {}/run/vocabulary.json",
            "--out .*vocabulary.json would replace a file of vocabulary",
        ),
        (
            lm.main,
            "--text {}/data:dev --out {}/data/dev/index.npz",
            "--out .*index.npz would replace a file of text",
        ),
        (
            lm.main,
            "--text {}/a.txt --vocabulary librispeech --out {}/x --lexicon {}/x",
            "--lexicon .*x would replace the file of out",
        ),
        (
            explore.main,
            "{}/data:dev --html {}/data/dev/corpus.json",
            "--html .*corpus.json would replace a file of data",
        ),
        (compare.main, "{}/run --png {}/run/config.json", "--png .* would replace a file of first"),
        (
            align.main,
            "--checkpoint {}/run {}/a.wav {}/a.txt --out {} --formats txt --overwrite",
            "--out .*a.txt would replace the file of text",
        ),
        (
            transcribe.main,
            "--checkpoint {}/run @{}/a.txt --out {} --formats txt --overwrite",
            "--out .*a.txt would replace the file of files",
        ),
        (
            segment.main,
            "--audio {}/a.wav --text {}/segments.jsonl --out {} --overwrite",
            "--out .*segments.jsonl would replace the file of text",
        ),
    ],
)
def test_commands_replace_nothing_that_they_read(read, capsys, main, arguments, said):
    soundfile.write(read / "a.wav", np.zeros(1600), 16000)
    (read / "a.txt").write_text(f"{read}/a.wav\n")
    (read / "segments.jsonl").write_text("a text\n")
    before = {path: path.read_bytes() for path in read.rglob("*") if path.is_file()}
    assert run_command(main, arguments.replace("{}", str(read)).split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(said, line)
    assert {path: path.read_bytes() for path in read.rglob("*") if path.is_file()} == before


def result_of(path, **made_of):
    """Arguments of a command whose --json is a file that an earlier run wrote."""
    path.write_text(json.dumps({"wer": 0.1, **made_of}))
    return argparse.Namespace(json=path, overwrite=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checkpoint": "runs/b/checkpoints/5"}, "a result of checkpoint runs/a/checkpoints/5"),
        ({"data": "data:dev"}, "a result of data data:test; it will be replaced once the new"),
        ({"data": ["data:dev", "data:test"]}, "a result of data data:test"),
        ({"decoder": {"decoder": "beam"}}, "a result of another decoder (decoder greedy); "),
    ],
)
def test_a_result_of_other_inputs_is_not_replaced_without_a_word(tmp_path, capsys, change, message):
    made_of = {"checkpoint": "runs/a/checkpoints/5", "data": "data:test"}
    made_of["decoder"] = {"decoder": "greedy", "unknown_score": -math.inf}
    arguments = result_of(tmp_path / "x.json", **finite(made_of))
    tell_replaced(arguments, "json", made_of)
    tell_replaced(arguments, "json", {**made_of, "checkpoint": "runs/a/checkpoints/9"})
    assert capsys.readouterr().err == ""
    tell_replaced(arguments, "json", made_of | change)
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    arguments.overwrite = True
    tell_replaced(arguments, "json", made_of | change)
    assert capsys.readouterr().err == ""


def test_a_result_of_a_large_corpus_is_one_too(tmp_path, capsys):
    """Of more than 64 MiB it was said to be no result."""
    arguments = result_of(tmp_path / "x.json", data="data:test")
    arguments.json.write_text(arguments.json.read_text() + " " * (65 << 20))
    try_outputs(arguments, "json")
    tell_replaced(arguments, "json", {"data": "data:dev"})
    assert "has a result of data data:test" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["hello\n", "[1, 2]", '{"cut sh'])
def test_a_file_that_is_no_result_is_not_replaced_by_one_unasked(tmp_path, content):
    arguments = result_of(tmp_path / "x.json")
    arguments.json.write_text(content)
    with pytest.raises(InputError, match=r"x\.json exists and is no result; add --overwrite"):
        try_outputs(arguments, "json")
    assert arguments.json.read_text() == content
    arguments.json.write_text("")
    try_outputs(arguments, "json")
    try_outputs(argparse.Namespace(json=Path("/dev/null"), overwrite=False), "json")
