"""Preparation in pieces: the bytes of preparing at once, and nothing done twice."""

import functools
import json
import os
import sys

import fsspec
import numpy as np
import pytest
import soundfile

from tests.helpers.bucket import Bucket
from tests.helpers.prepare_cases import OPTIONS, assert_same, counted, speech
from w2v2_jax.data import writer
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.data.splits import list_splits
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.paths import to_path
from w2v2_jax.prepare import command, resumable, work_units
from w2v2_jax.prepare.prepare import prepare

slow = pytest.mark.slow


@pytest.fixture
def small(monkeypatch):
    """Small parts and shards."""
    monkeypatch.setattr(work_units, "PART", 7)
    monkeypatch.setattr(writer, "SHARD_BYTES", 30_000)


@pytest.fixture
def folder(tmp_path, small):
    return speech(tmp_path)


def run(folder, out, **options):
    return prepare(f"folder:{folder}/in", folder / out, **{**OPTIONS, "resumable": True, **options})


def test_pieces_give_the_bytes_of_preparing_at_once(folder, capsys):
    at_once = run(folder, "plain", resumable=False)
    shown = capsys.readouterr().out
    assert run(folder, "pieces") == at_once
    told, rest = capsys.readouterr().out.split("split dev", 1)
    assert told.splitlines()[0] == "pieces: 5 made, 0 reused from an earlier run"
    assert rest.replace("/pieces/", "/plain/") == shown.split("split dev", 1)[1]
    assert_same(folder / "plain", folder / "pieces")


def test_a_run_that_was_ended_goes_on_with_the_part_it_was_at(folder, monkeypatch, capsys):
    run(folder, "plain", resumable=False)
    with monkeypatch.context() as patch:
        counted(patch, break_at=23)
        with pytest.raises(KeyboardInterrupt):
            run(folder, "out")
    assert not list((folder / "out").glob("[a-z]*"))
    names = counted(monkeypatch)
    run(folder, "out")
    assert len(names) == 33 - 21
    assert "pieces: 2 made, 3 reused from an earlier run" in capsys.readouterr().out
    assert_same(folder / "plain", folder / "out")


@pytest.mark.parametrize("resumable", [True, False])
def test_a_split_that_is_there_is_told_before_anything_is_decoded(folder, monkeypatch, resumable):
    """It was told when all pieces had been made, or all utterances of the splits before it."""
    run = functools.partial(prepare, f"folder:{folder}/in")
    (folder / "in/transcripts.tsv").write_text(
        "".join(f"u{k:02}.wav\tText {k}\t{'dev' if k < 29 else 'train'}\n" for k in range(30))
    )
    out = folder / "out"
    options = OPTIONS | {"resumable": resumable, "holdout": {}}
    run(out, **options | {"split": "train"})
    names = counted(monkeypatch)
    with pytest.raises(InputError, match=r"out/train exists already; use --overwrite or another"):
        run(out, **options)
    assert len(names) == 0 and [path.name for path in out.iterdir()] == ["train"]
    run(out, **options | {"overwrite": True})
    assert len(names) >= 30


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.write_bytes(record.read_bytes()[:-5]),
        lambda record: record.write_text(""),
        lambda record: record.write_text("{}"),
        lambda record: record.write_text("[1]"),
        lambda record: record.write_bytes(b"\xff\xfe\x00"),
        lambda record: record.with_suffix(".i16").write_bytes(b""),
    ],
)
def test_a_damaged_piece_is_made_again(folder, monkeypatch, capsys, damage):
    """A record that was cut short ended every later run of the same command with a traceback."""
    run(folder, "plain", resumable=False)
    with monkeypatch.context() as patch:
        counted(patch, break_at=23)
        with pytest.raises(KeyboardInterrupt):
            run(folder, "out")
    damage(min((folder / "out").rglob("piece-000001-*.json")))
    run(folder, "out")
    assert "pieces: 3 made, 2 reused from an earlier run" in capsys.readouterr().out
    assert_same(folder / "plain", folder / "out")


def test_what_gets_its_name_is_on_the_disk(folder, monkeypatch):
    """Else a power failure may leave pieces of the right size that are all zeros, which the next
    run takes for whole."""
    synced, fsync, replace = set(), os.fsync, os.replace

    def sync(number):
        synced.add(os.fstat(number).st_ino)
        fsync(number)

    def move(source, target):
        assert os.stat(source).st_ino in synced, target
        replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", move)
    run(folder, "out")


def test_a_run_that_was_ended_among_the_shards_copies_the_others_alone(folder, monkeypatch, capsys):
    run(folder, "plain", resumable=False)
    real, moved = resumable._move, []

    def move(local, target):
        if local.name == "shard" and len(moved) == 4:
            raise KeyboardInterrupt
        moved.extend([target] if local.name == "shard" else [])
        real(local, target)

    with monkeypatch.context() as patch:
        patch.setattr(resumable, "_move", move)
        with pytest.raises(KeyboardInterrupt):
            run(folder, "out")
    capsys.readouterr()
    run(folder, "out")
    assert ", 4 reused from an earlier run" in capsys.readouterr().out.splitlines()[1]
    assert_same(folder / "plain", folder / "out")


@pytest.mark.parametrize(
    "change", ["audio", "transcript", pytest.param("limit", marks=slow), "cut piece"]
)
def test_what_changed_between_two_runs_is_done_again_and_nothing_else(
    folder, monkeypatch, capsys, change
):
    with monkeypatch.context() as patch:
        patch.setattr("w2v2_jax.prepare.prepare._finish", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(folder, "out")
    capsys.readouterr()
    options = {}
    if change == "audio":  # its name and length stay, and with them the sizes of the shards
        path = folder / "in" / "u20.wav"
        samples = 0.1 * np.random.default_rng(9).standard_normal(4000)
        soundfile.write(path, samples, 16000)
    elif change == "transcript":
        (folder / "in" / "u20.txt").write_text("Another sentence")
    elif change == "limit":
        options["min_seconds"] = 0.2
    else:
        piece = next((folder / "out").glob(".pieces-*/piece-000002-*.i16"))
        piece.write_bytes(piece.read_bytes()[:-2])
    run(folder, "out", **options)
    made = 5 if change == "limit" else 1
    assert f"pieces: {made} made, {5 - made} reused from an earlier run" in capsys.readouterr().out
    run(folder, "plain", resumable=False, **options)
    assert_same(folder / "plain", folder / "out")


def test_shards_of_another_holdout_are_not_taken_for_this_ones(folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("w2v2_jax.prepare.prepare._finish", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(folder, "out", holdout={"dev": 0.6})
    run(folder, "out")
    run(folder, "plain", resumable=False)
    assert_same(folder / "plain", folder / "out")


def test_two_runs_of_a_source_at_a_time_are_refused(folder):
    work = folder / "work"
    with (
        resumable.held(work),
        pytest.raises(InputError, match="in use by another run"),
        resumable.held(work),
    ):
        pass


@pytest.fixture
def bucket(monkeypatch):
    # etils asks once a process whether TensorFlow is there; another test may have been first.
    monkeypatch.setattr("etils.epath.gpath._is_tf_installed", lambda: False)
    for name in ("gcs", "gs"):
        fsspec.register_implementation(name, Bucket, clobber=True)
    yield to_path("gs://bucket")
    Bucket.store.clear()


def test_audio_in_a_bucket_becomes_a_corpus_in_a_bucket(folder, bucket):
    names = sorted(p.name for p in (folder / "in").glob("*.wav"))
    (bucket / "audio").mkdir(parents=True)
    for name in names:
        (bucket / "audio" / name).write_bytes((folder / "in" / name).read_bytes())
    texts = "".join(f"text of {name}\n" for name in names)
    for root in (folder / "in", bucket / "audio"):
        lines = "".join(f"{name}\t1\n" for name in [*names, "absent.wav"])
        (folder / "train.tsv").write_text(f"{root}/\n{lines}")
        (folder / "train.wrd").write_text(f"{texts}none\n")
        local = root == folder / "in"
        out = folder / "plain" if local else bucket / "out"
        options = {**OPTIONS, "resumable": not local}
        prepare(f"manifest:{folder}/train.tsv", out, **options)
    reports = [json.loads((bucket / f"out/{s}/report.json").read_text()) for s in ("dev", "train")]
    rejects = {"unreadable", "too short", "duplicate with another text"}
    assert rejects == {r for w in reports for r in w["rejects"]}
    assert_same(folder / "plain", bucket / "out")
    assert len(open_corpus(f"{bucket}/out:train")) == len(open_corpus(f"{folder}/plain:train"))
    with pytest.raises(InputError, match="dev exists already; delete it or use another --split"):
        prepare(f"manifest:{folder}/train.tsv", bucket / "out", **options, beam=None)
    with pytest.raises(InputError, match="use --resumable or --beam"):
        prepare(f"manifest:{folder}/train.tsv", bucket / "new", **OPTIONS)


def test_a_run_into_a_bucket_goes_on_where_it_was_ended(folder, bucket, monkeypatch, capsys):
    run(folder, "plain", resumable=False)
    options = {**OPTIONS, "resumable": True}
    with monkeypatch.context() as patch:
        patch.setattr("w2v2_jax.prepare.prepare._finish", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare(f"folder:{folder}/in", bucket / "out", **options)
    assert list_splits(bucket / "out") == []
    capsys.readouterr()
    prepare(f"folder:{folder}/in", bucket / "out", **options)
    told = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1][:7] for line in told[:2]] == ["0 made,"] * 2
    assert_same(folder / "plain", bucket / "out")


def test_without_apache_beam_one_line_says_what_to_install(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    arguments = ["--source", f"folder:{folder}/in", "--out", f"{folder}/out", "--workers", "1"]
    assert run_command(command.main, [*arguments, "--beam"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "pip install apache-beam" in error
    assert run_command(command.main, [*arguments, "--beam-options", "--runner=X"]) == 2
    assert "--beam-options is for --beam" in capsys.readouterr().err
    assert not (folder / "out").exists()


@slow
def test_the_command_prepares_in_pieces_with_worker_processes(folder):
    run(folder, "plain", resumable=False)
    arguments = ["--source", f"folder:{folder}/in", "--out", f"{folder}/out", "--workers", "2"]
    assert run_command(command.main, [*arguments, "--holdout", "dev=0.2", "--resumable"]) == 0
    assert_same(folder / "plain", folder / "out")
