"""Where transcripts are written, which are kept, and which are written anew."""

import dataclasses

import numpy as np
import pytest
import soundfile

from w2v2_jax import transcribe
from w2v2_jax.recognition import transcript_files, transcript_record


def reordered(model):
    """The same weights with the head's rows of two letters exchanged: another checkpoint."""
    kernel = np.asarray(model.params["head"]["kernel"])[:, ::-1]
    head = {**model.params["head"], "kernel": kernel}
    return dataclasses.replace(model, params={**model.params, "head": head})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("checkpoint", "it was made with another checkpoint (tiny)"),
        (["--decoder", "beam"], "it was made with another decoder"),
        (["--decoder", "beam", "--beam", "3"], "it was made with another decoder, beam"),
        (["--dtype", "bfloat16"], "it was made with another dtype"),
        (["--chunk-seconds", "20"], "it was made with another chunk-seconds"),
        ("recording", "it is of another recording"),
        ("no record", ".transcripts.jsonl does not say what wrote it"),
    ],
)
def test_skip_done_keeps_nothing_that_another_command_wrote(
    command, clips, tmp_path, capsys, monkeypatch, model, noise, change, said
):
    """The outputs of another checkpoint, decoder or recording were kept without a word."""
    (one,), out = clips("a.wav"), ["--out", tmp_path / "out", "--formats", "txt,json"]
    assert command(one, *out) == 0
    clips("b.wav")
    more, loaded = change if isinstance(change, list) else [], model
    if change == "checkpoint":
        loaded = reordered(model)
    if change == "recording":
        soundfile.write(one, noise[::-1], 16000)
    if change == "no record":
        (tmp_path / "out/.transcripts.jsonl").unlink()
    monkeypatch.setattr(
        transcribe, "load", lambda path, execution: dataclasses.replace(loaded, execution=execution)
    )
    capsys.readouterr()
    both = [tmp_path / "audio", *out, "--skip-done", *more]
    assert command(*both) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and f"{tmp_path}/out/a.txt is there, but {said}; add" in printed.err
    assert command(*both, "--overwrite") == 0
    assert [line.split("\t")[0][-5:] for line in capsys.readouterr().out.splitlines()] == [
        "a.wav",
        "b.wav",
    ]
    assert command(*both) == 0
    assert "all 2 inputs are done" in capsys.readouterr().err


def test_skip_done_writes_what_is_missing_and_keeps_what_somebody_corrected(
    command, clips, tmp_path, capsys
):
    path, out = clips("a.wav")[0], tmp_path / "out"
    assert command(path, "--out", out, "--formats", "txt") == 0
    (out / "a.txt").write_text("by hand")
    assert command(path, "--out", out, "--formats", "txt,json", "--skip-done") == 0
    assert "wrote 1 file to" in capsys.readouterr().err
    assert (out / "a.txt").read_text() == "by hand" and (out / "a.json").exists()


def test_of_two_runs_into_one_folder_the_slower_one_replaces_nothing(
    command, clips, tmp_path, capsys, monkeypatch
):
    """Files of two checkpoints or decoders were mixed without a word."""
    (path,), out = clips("a.wav"), tmp_path / "out"
    begin = transcript_record.begin

    def while_it_ran(directory, settings):
        (directory / "a.json").write_text("of another run")
        return begin(directory, settings)

    with monkeypatch.context() as patch:
        patch.setattr(transcript_record, "begin", while_it_ran)
        assert command(path, "--out", out) == 2
        assert f"error: {out}/a.json exists: another command wrote it" in capsys.readouterr().err
        assert command(path, "--out", out, "--skip-done", "--formats", "txt") == 0
        assert (out / "a.json").read_text() == "of another run"
        assert command(path, "--out", out, "--overwrite") == 0
    assert (out / "a.json").read_text() != "of another run"


def test_a_file_that_a_killed_run_was_to_replace_is_not_done(command, clips, tmp_path, monkeypatch):
    path, out = clips("a.wav")[0], tmp_path / "out"
    out.mkdir()
    (out / "a.txt").write_text("of something else")

    def killed(*_):
        raise KeyboardInterrupt

    options = ["--out", out, "--formats", "txt"]
    with monkeypatch.context() as patch:
        patch.setattr(transcript_files, "write_text", killed)
        assert command(path, *options, "--overwrite") == 130
    with open(out / ".transcripts.jsonl", "a") as record:
        record.write('{"by": "cut sh')
    assert command(path, *options, "--skip-done") == 2
    assert command(path, *options, "--skip-done", "--overwrite") == 0
    assert command(path, *options, "--skip-done") == 0
    assert (out / "a.txt").read_text() != "of something else"


def test_outputs_of_an_earlier_run_beside_their_recordings_may_be_replaced(
    command, clips, tmp_path, capsys
):
    clips("a.wav", "b.wav")
    audio = tmp_path / "audio"
    in_place = [audio, "--out", audio, "--formats", "txt"]
    assert command(*in_place) == 0
    assert command(*in_place, "--overwrite") == 0
    assert command(*in_place, "--skip-done", "--decoder", "beam", "--overwrite") == 0
    (audio / "a.txt").write_text("by hand")
    capsys.readouterr()
    assert command(*in_place, "--overwrite") == 2
    assert "a.txt lies beside a.wav and may be" in capsys.readouterr().err
    assert (audio / "a.txt").read_text() == "by hand"


def test_a_recording_that_cannot_be_decoded_takes_nothing_with_it(
    command, clips, capsys, monkeypatch
):
    from w2v2_jax.recognition import recognise

    check, good = recognise.check_finite, clips("a.wav", "b.wav")

    def overflow(logits, *, where, **rest):
        return check(logits * np.nan if where == good[0] else logits, where=where, **rest)

    monkeypatch.setattr(recognise, "check_finite", overflow)
    assert command(*good) == 2
    printed = capsys.readouterr()
    assert [line.split("\t")[0] for line in printed.out.splitlines()] == good[1:]
    assert printed.err.startswith(f"error: {good[0]}: ")
    assert "1 of 2 inputs cannot be used" in printed.err


def test_a_bad_long_recording_takes_nothing_with_it(command, clips, tmp_path, capsys, monkeypatch):
    from w2v2_jax.recognition import recordings

    monkeypatch.setattr(recordings, "WHOLE_SECONDS", 0.1)  # a.wav comes in chunks
    good = clips("a.wav", "b.wav")
    broken = tmp_path / "nan.wav"
    soundfile.write(broken, np.r_[np.zeros(70000), np.nan], 16000, "FLOAT")
    sizes = ["--chunk-seconds", "0.25", "--context-seconds", "0.05"]
    assert command(good[0], broken, good[1], *sizes) == 2
    printed = capsys.readouterr()
    assert [line.split("\t")[0] for line in printed.out.splitlines()] == good
    assert printed.err.startswith(f"error: {broken}: not finite")


def test_outputs_of_a_folder_keep_its_folders_and_done_ones_are_skipped(
    command, clips, tmp_path, capsys
):
    clips("a/x.wav", "b/x.wav")
    out = ["--out", tmp_path / "out", "--formats", "txt"]
    assert command(tmp_path / "audio", *out) == 0
    assert (tmp_path / "out/a/x.txt").read_text() == (tmp_path / "out/b/x.txt").read_text()
    clips("a/new.wav")
    capsys.readouterr()
    assert command(tmp_path / "audio", *out) == 2
    assert "x.txt exists; add --overwrite or choose another --out" in capsys.readouterr().err
    assert command(tmp_path / "audio", *out, "--skip-done") == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/audio/a/new.wav\t")
    assert command(tmp_path / "audio", *out, "--skip-done") == 0
    printed = capsys.readouterr()
    assert printed.out == "" and "all 3 inputs are done" in printed.err
    assert command(tmp_path / "audio", "--skip-done") == 2
    assert sorted(p.name for p in (tmp_path / "out/a").iterdir()) == ["new.txt", "x.txt"]


def test_an_output_that_cannot_be_written_is_said_before_the_work(command, clips, tmp_path, capsys):
    (path,) = clips("a.wav")
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert command(path, "--out", out) == 2
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.startswith(f"error: --out {out}")
