"""Everything a source holds is used, rejected or passed over; the numbers add up."""

import json
import os
import socket
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.prepare_cases import OPTIONS
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.prepare import command, source_folder
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.prepare import prepare

RNG = np.random.default_rng(0)
PLAIN = OPTIONS | {"holdout": {}}


def put(path, samples=None, **options):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    samples = 0.1 * RNG.standard_normal(3_000) if samples is None else samples
    soundfile.write(os.fsencode(path), samples, 16_000, **options)


def run(folder, **options):
    """Report of the only split, the same with and without --resumable."""
    prepare(f"folder:{folder}", f"{folder}-pieces", **{**PLAIN, **options, "resumable": True})
    (report,) = prepare(f"folder:{folder}", f"{folder}-out", **{**PLAIN, **options})
    assert json.loads(Path(f"{folder}-pieces/train/report.json").read_text()) == report
    intake = report["intake"]
    passed = sum(entry["count"] for entry in intake["passed_over"].values())
    assert intake["seen"] == intake["used"] + intake["rejected"] + passed
    return report


def counts(tally):
    return {reason: entry["count"] for reason, entry in tally.items()}


def ids(folder):
    corpus = open_corpus(f"{folder}-out:train")
    return [corpus.id(i) for i in range(len(corpus))]


def test_what_is_passed_over_is_counted_by_its_kind_with_the_remedy(tmp_path, capsys):
    folder = tmp_path / "in"
    for name in ("a.wav", ".b.wav", ".git/c.wav", "d/E.WAV"):
        put(folder / name, format="WAV")
    for name in ("notes.md", "d/list.xyz", "Makefile", "a.txt", "alone.txt", "zero.flac"):
        (folder / name).write_text("" if name.startswith("zero") else "words")
    (folder / "speech.m4a").write_bytes(b"\0\0\0\x1cftypM4A " + bytes(99))
    report = run(folder)
    assert counts(report["intake"]["passed_over"]) == {
        "hidden": 2, "suffix .md": 1, "suffix .xyz": 1, "no suffix": 1, "transcripts": 2,
    }  # fmt: skip
    assert counts(report["intake"]["remarks"]) == {"a .txt without audio of its name": 1}
    assert report["rejects"]["empty"]["count"] == 1
    assert report["intake"]["used"] == 2 and report["intake"]["rejected"] == 2
    shown = capsys.readouterr().out
    assert "source: 11 seen: 2 used, 2 rejected, 7 passed over" in shown
    assert "begin with a dot; rename" in shown and "no recordings" in shown


def test_every_kind_for_pyav_is_taken_and_counted_with_the_remedy(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    put(folder / "a.wav")
    suffixes = ("m4a", "mp4", "3gp", "amr", "webm", "aac", "wma", "caf")
    for k, suffix in enumerate(suffixes):
        content = b"\0\0\0\x1cftypM4A \0\0\2\0isomiso2" + bytes([k]) * 99
        (folder / f"b.{suffix}").write_bytes(content)
    monkeypatch.setitem(sys.modules, "av", None)
    rejected = run(folder)["rejects"]["needs PyAV"]
    assert rejected["count"] == len(suffixes)
    assert 'pip install "w2v2_jax[av]"' in rejected["examples"][0]


def test_the_numbers_of_an_account_must_add_up():
    account = Account(seen=3)
    account.pass_over("hidden", ".x")
    assert account.balance(used=2, rejected=1)["seen"] == 4
    with pytest.raises(AssertionError, match="4 seen are not 2 used"):
        account.balance(used=2, rejected=0)


def test_links_to_folders_are_followed_once_and_never_in_a_circle(tmp_path):
    put(tmp_path / "elsewhere" / "speaker" / "x.wav")
    folder = tmp_path / "in"
    put(folder / "a.wav")
    put(folder / "b" / "c.wav")
    for link, target in {
        "linked": tmp_path / "elsewhere", "again": tmp_path / "elsewhere" / "speaker",
        "b/up": folder, "own": folder / "b", "root": "/",
    }.items():  # fmt: skip
        os.symlink(target, folder / link)
    os.symlink(tmp_path / "nothing", folder / "broken.wav")
    report = run(folder)
    assert ids(folder) == ["a.wav", "again/x.wav", "b/c.wav"]
    assert counts(report["intake"]["passed_over"]) == {"folder seen before": 4}
    assert "a link to nothing" in report["rejects"]["unreadable"]["examples"][0]


def test_a_folder_that_cannot_be_read_is_counted_with_the_reason(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    put(folder / "a.wav")
    put(folder / "locked" / "b.wav")

    def guarded(real):
        def read(path="."):
            if str(path).endswith("locked"):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return real(path)

        return read

    for name in ("scandir", "listdir"):  # pathlib uses one or the other
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    report = run(folder)
    passed = report["intake"]["passed_over"]["folder unreadable"]
    assert passed == {"count": 1, "examples": ["locked: Permission denied"]}


def test_a_folder_without_audio_says_what_it_has(tmp_path):
    (tmp_path / "take.xyz").write_text("x")
    with pytest.raises(InputError, match=r"no audio files .*passed over: .*suffix \.xyz +1"):
        prepare(f"folder:{tmp_path}", tmp_path / "out", **PLAIN)


NAMES = {
    b"caf\xe9.flac": "caf\\xe9.flac", b"a\nb.flac": "a\\nb.flac", b"t\tb.flac": "t\\tb.flac",
    b"\xff\xfe.flac": "\\xff\\xfe.flac", b"n" * 200 + b".flac": "n" * 200 + ".flac",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_file_is_read(tmp_path, name):
    folder = tmp_path / "in"
    put(os.fsdecode(os.path.join(os.fsencode(folder), name)), format="FLAC")
    run(folder)
    assert ids(folder) == [NAMES[name]]


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
def test_what_is_called_like_audio_and_is_no_file_is_counted_and_never_waited_for(tmp_path, kind):
    folder = tmp_path / "in"
    put(folder / "a.wav")
    path = folder / "x.wav"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        os.symlink("/dev/zero", path)
    else:
        os.chdir(folder)  # a socket's whole path may have 107 bytes
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("x.wav")
    report = run(folder)
    rejected = [] if kind == "folder" else ["x.wav: unreadable (not a plain file)"]
    assert [e for r in report["rejects"].values() for e in r["examples"]] == rejected


def with_table(tmp_path, content, names=("a.wav", "b/c.wav")):
    folder = tmp_path / "in"
    for name in names:
        put(folder / name)
    (folder / "transcripts.tsv").write_bytes(content.encode())
    return folder


def texts(folder):
    corpus = open_corpus(f"{folder}-out:train")
    return {corpus.id(i): corpus.text(i) for i in range(len(corpus))}


def test_lines_that_write_a_path_another_way_are_matched(tmp_path):
    composed, apart = (unicodedata.normalize(form, "né.wav") for form in ("NFC", "NFD"))
    content = f"\ufeffb\\c.wav\tone \r\n./a.wav\ttwo\r\n\r\n{composed}\tthree\r\n"
    folder = with_table(tmp_path, content, ("a.wav", "b/c.wav", apart))
    report = run(folder)
    assert texts(folder) == {"a.wav": "two", "b/c.wav": "one", apart: "three"}
    assert report["intake"]["rejected"] == 0 and not report["intake"]["remarks"]


@pytest.mark.parametrize(("line", "meant"), [("A.WAV", "a.wav"), ("c", "b/c.wav"),
                                             ("b/c.flac", "b/c.wav"), ("b/cc.wav", "b/c.wav"),
                                             ("gone.ogg", None)])  # fmt: skip
def test_a_line_without_a_file_is_counted_with_the_nearest_name(tmp_path, line, meant):
    folder = with_table(tmp_path, f"{line}\thello\n")
    remarks = run(folder)["intake"]["remarks"]
    assert remarks["transcripts.tsv: no such file"] == {
        "count": 1, "examples": [f"{line} (is it {meant}?)" if meant else line],
    }  # fmt: skip
    assert remarks["no line in transcripts.tsv"]["count"] == 2


@pytest.mark.parametrize(
    "line",
    [
        "a.wav\thello\tworld",
        "a.wav\tx\tbig\tworld",
        "a.wav\tyes\tthe end",
        "a.wav\tx\ttraining",
    ],
)
def test_a_tab_inside_a_text_is_refused_with_the_line(tmp_path, line):
    folder = with_table(tmp_path, f"b/c.wav\tfine\n{line}\n")
    with pytest.raises(InputError, match=r"transcripts.tsv:2: the third column.*path<TAB>text"):
        run(folder)


@pytest.mark.parametrize(
    ("split", "why"),
    [("../x", "cannot name a split"), ("two words", "cannot name a split"), ("zz", "no other")],
)
def test_a_split_that_several_lines_have_is_not_called_the_only_one(tmp_path, split, why):
    lines = [("a.wav", split), ("b.wav", split if why.startswith("cannot") else "train")]
    for name, _ in lines:
        put(tmp_path / name)
    (tmp_path / "transcripts.tsv").write_text("".join(f"{n}\tx\t{s}\n" for n, s in lines))
    with pytest.raises(InputError, match=f"tsv:1: the third column, '{split}', .*{why}"):
        run(tmp_path)


@pytest.mark.parametrize("split", ["dev", "test-other", "train_clean.100", "validation2"])
def test_the_usual_names_of_splits_may_stand_once(tmp_path, split):
    folder = with_table(tmp_path, f"a.wav\thi\t{split}\nb/c.wav\tho\ttrain\n")
    reports = prepare(f"folder:{folder}", tmp_path / "out", **PLAIN)
    assert {r["split"] for r in reports} == {split, "train"}


def test_any_name_of_a_split_may_stand_on_two_lines(tmp_path):
    folder = with_table(tmp_path, "a.wav\thi\tfarm\nb/c.wav\tho\tfarm\n")
    assert prepare(f"folder:{folder}", tmp_path / "out", **PLAIN)[0]["split"] == "farm"


def test_two_texts_of_one_file_are_refused_with_both_lines(tmp_path):
    folder = with_table(tmp_path, "a.wav\tone\nb/c.wav\tx\n./a.wav\ttwo\n")
    with pytest.raises(InputError, match=r"transcripts.tsv:3: .*another text on line 1; keep one"):
        run(folder)
    (folder / "transcripts.tsv").write_text("a.wav\tone\nb/c.wav\tx\na.wav\tone\n")
    assert counts(run(folder)["intake"]["remarks"]) == {"line twice": 1}


def test_chapters_take_tabs_and_name_what_they_do_not_find(tmp_path):
    folder = tmp_path / "in"
    put(folder / "8-9-1.wav")
    chapter = folder / "8-9.trans.txt"
    chapter.write_text("8-9-1\tONE WORD\n\n8-9-2 SECOND\n", "utf-8-sig")
    report = run(folder)
    assert texts(folder) == {"8-9-1.wav": "ONE WORD"}
    assert report["intake"]["remarks"]["*.trans.txt: no such file"]["count"] == 1
    chapter.write_text("8-9-1 ONE\n8-9-1 TWO\n")
    with pytest.raises(InputError, match=r"trans.txt:2: .*another text on line 1"):
        run(folder)


def test_two_texts_of_one_row_of_a_manifest_are_refused_with_both_lines(tmp_path):
    put(tmp_path / "a.wav")
    (tmp_path / "train.tsv").write_text(f"{tmp_path}\n\na.wav\t1\na.wav\t1\n")
    (tmp_path / "train.wrd").write_text("one\ntwo\n")
    with pytest.raises(InputError, match=r"train.tsv:4: 'a.wav' has another text on line 3"):
        prepare(f"manifest:{tmp_path}/train.tsv", tmp_path / "out", **PLAIN)


def test_ids_are_lines_and_what_they_do_not_find_is_counted(tmp_path):
    folder = tmp_path / "in"
    for name in ("a b.wav", "c.wav", "d.OGG"):
        put(folder / name)
    (tmp_path / "ids").write_text("x/a b.flac\r\nd.ogg\n\ngone\n", "utf-8-sig")
    report = run(folder, ids=tmp_path / "ids")
    assert ids(folder) == ["a b.wav", "d.OGG"]
    assert counts(report["intake"]["passed_over"]) == {"not in --ids": 1}
    assert report["intake"]["remarks"]["--ids: no such utterance"]["examples"] == ["gone"]


def test_floats_of_another_unit_are_rejected_and_an_overshoot_is_clipped_and_counted(tmp_path):
    folder, tone = tmp_path / "in", 0.5 * np.sin(np.arange(16_000) / 9)
    put(folder / "units.wav", 32767 * tone, subtype="FLOAT")
    put(folder / "loud.wav", 3.9 * tone, subtype="DOUBLE")
    over = tone.copy()
    over[100:103] = 1.0003
    put(folder / "over.wav", over, subtype="FLOAT")
    report = run(folder)
    assert counts(report["rejects"]) == {"beyond full scale": 2}
    assert report["remarks"]["clipped"]["examples"] == ["over.wav: 3 samples, peak 1"]
    assert open_corpus(f"{folder}-out:train").read(0, 100, 3).tolist() == [32767] * 3


def test_recordings_of_kinds_that_are_not_read_are_counted_with_the_remedy(tmp_path):
    folder = tmp_path / "in"
    put(folder / "a.wav")
    for name in ("b.wv", "c/D.APE", "e.ts"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"some")
    intake = run(folder)["intake"]
    assert intake["passed_over"]["suffix .ape"]["count"] == 1
    assert counts(intake["remarks"]) == {source_folder.CONVERT: 3}
    assert "ffmpeg -i IN OUT.flac" in source_folder.CONVERT


def test_samples_far_below_their_width_are_counted_as_faint(tmp_path):
    folder, tone = tmp_path / "in", 0.5 * np.sin(np.arange(16_000) / 9)
    put(folder / "whole.wav", tone, subtype="PCM_32")
    put(folder / "shifted.wav", tone / 256, subtype="PCM_32")  # 24 bits at the lower end of 32
    assert run(folder)["remarks"] == {
        "faint, few of 16 bits are used": {
            "count": 1,
            "examples": ["shifted.wav: peak 0.0020; is it scaled as its width says?"],
        }
    }


def test_a_recording_whose_channels_cancel_to_nothing_names_the_remedy(tmp_path, capsys):
    folder, tone = tmp_path / "in", 0.5 * np.sin(np.arange(16_000) / 9)
    put(folder / "call.wav", np.stack([tone, -tone], axis=1))
    with pytest.raises(InputError, match=r"silent .*channels cancel .*--channel left, right or"):
        run(folder)


def test_characters_that_show_nothing_are_dropped_and_counted(tmp_path):
    folder = with_table(tmp_path, "a.wav\the\u200bl\u00adlo\ufeff wo\u2060rld\nb/c.wav\t\u200b\n")
    report = run(folder)
    assert texts(folder) == {"a.wav": "hello world", "b/c.wav": ""}
    assert counts(report["remarks"]) == {
        "U+200B dropped": 2, "U+00AD dropped": 1, "U+FEFF dropped": 1, "U+2060 dropped": 1,
    }  # fmt: skip
    assert report["with_transcript"] == 1
    assert counts(run(folder, require_text=True, overwrite=True)["rejects"]) == {
        "transcript missing": 1
    }


def test_a_utf16_table_is_refused_in_one_line(tmp_path, capsys):
    folder = with_table(tmp_path, "")
    (folder / "transcripts.tsv").write_bytes("a.wav\thi\n".encode("utf-16"))
    line = ["--source", f"folder:{folder}", "--out", str(tmp_path / "out"), "--workers", "1"]
    assert run_command(command.main, line) == 2
    error = capsys.readouterr().err
    assert "UTF-16 text; save it as UTF-8" in error and error.count("\n") == 1


@pytest.mark.parametrize("resumable", [False, True])
@pytest.mark.parametrize("out", [".", "prepared", "prepared/a"])
def test_what_prepare_writes_into_the_source_is_no_part_of_it(tmp_path, out, resumable, capsys):
    put(tmp_path / "a.wav")
    options = PLAIN | {"resumable": resumable, "overwrite": True}
    for _ in range(2 if out != "." else 1):
        prepare(f"folder:{tmp_path}", tmp_path / out, **options)
        told = json.loads((tmp_path / out / "train" / "report.json").read_text())["intake"]
        assert (told["seen"], told["used"], told["passed_over"]) == (1, 1, {})
    said = capsys.readouterr().out
    assert "train: 1 utterance, " in said and "1 shard\n" in said
