"""What people hand over as sound, on the command line and in Python."""

import dataclasses
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

import w2v2_jax
from w2v2_jax import transcribe
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.inference import Model
from w2v2_jax.models.families import FAMILIES, family_of, model_config
from w2v2_jax.recognition import transcript_files, transcript_record
from w2v2_jax.recognition.inputs import expand
from w2v2_jax.recognition.waveforms import as_floats


@pytest.fixture(scope="module")
def model(tuned) -> Model:
    return Model(Path("tiny"), tuned.description, tuned.params)


@pytest.fixture(scope="module")
def pretraining(pretrained) -> Model:
    return Model(Path("tiny"), pretrained.description, pretrained.params)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, size=4000).astype(np.float32)


@pytest.fixture
def clips(tmp_path, noise):
    """name -> path of a wav below tmp_path/audio."""

    def make(*names):
        for name in names:
            path = tmp_path / "audio" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, noise, 16000, format="WAV")
        return [str(tmp_path / "audio" / name) for name in names]

    return make


@pytest.fixture
def command(model, monkeypatch):
    """Runs `transcribe` on the tiny model; returns its status."""
    monkeypatch.setattr(transcribe, "load", lambda path, execution: model)

    def run(*arguments):
        words = ["--checkpoint", "x", "--batch-seconds", "1", *map(str, arguments)]
        return run_command(transcribe.main, words)

    return run


# Arrays


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32"])
def test_integers_are_divided_by_their_types_full_scale(noise, kind):
    info = np.iinfo(kind)
    middle, half = (info.max + info.min + 1) // 2, 2.0 ** (info.bits - 1)
    whole = np.round(noise.astype(np.float64) * half + middle).astype(kind)
    np.testing.assert_allclose(as_floats(whole, "x"), noise, atol=1.01 / half + 1e-7)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_floats_in_full_scale_stay_as_they_are(noise, kind):
    found = as_floats(noise.astype(kind), "x")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, noise.astype(kind).astype(np.float32))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.array([5, 3000]), "int64 samples have no known scale; give floats in -1 to 1, or int8"),
        (np.array([5], np.uint32), "uint32 samples have no known scale"),
        (np.array([True]), "bool samples have no known scale"),
        (np.array([1j]), "complex128 samples have no known scale"),
        (np.array(["a"]), "samples have no known scale"),
        (np.array([0.1, -32767.0]), "beyond full scale (peak 32767); floats belong in -1 to 1"),
        (np.array([0.1, 3.0]), "beyond full scale (peak 3)"),
        (np.array([0.1, np.nan]), "not finite"),
        (np.array([-np.inf]), "not finite"),
        (np.array([5, -30000], np.int32), "int32 samples of at most 30000 look like 16-bit ones"),
        (
            np.array([5, -8388608], np.int32),
            "int32 samples of at most 8388608 look like 24-bit ones",
        ),
    ],
)
def test_samples_without_a_known_scale_are_refused(samples, message):
    with pytest.raises(InputError, match=re.escape(message)):
        as_floats(samples, "x")


def test_quiet_24_bit_samples_at_the_full_scale_of_int32_are_taken(noise):
    samples = np.round(noise.astype(np.float64) * 2**15).astype(np.int32) << 8
    np.testing.assert_allclose(as_floats(samples, "x"), noise / 256, atol=1e-7)


@pytest.mark.parametrize("counts", [[4000, 4001], [4000], [4000, 4000, 4000], 4000])
@pytest.mark.parametrize("call", ["logits", "features"])
def test_counts_of_samples_that_do_not_fit_the_rows_are_refused(model, noise, call, counts):
    message = "do not fit waveforms [2, 4000]; give one number for each row, at most 4000"
    with pytest.raises(InputError, match=re.escape(message)):
        getattr(model, call)(np.stack([noise, noise]), counts)


def test_a_full_scale_int32_array_gives_what_its_floats_give(model, pretraining, noise):
    integers = (noise.astype(np.float64) * 2**31).astype(np.int32)
    np.testing.assert_allclose(model.logits(integers), model.logits(noise), atol=1e-5)
    np.testing.assert_allclose(
        pretraining.features(integers), pretraining.features(noise), atol=1e-4
    )
    np.testing.assert_array_equal(pretraining.units(integers), pretraining.units(noise))
    (one,), (other,) = (model.transcribe(x, batch_seconds=1) for x in (integers, noise))
    assert one.text == other.text
    lines = [model.align(x, "ab", batch_seconds=1)[0] for x in (integers, noise)]
    assert (lines[0].start, lines[0].end) == (lines[1].start, lines[1].end)


@pytest.mark.parametrize("call", ["logits", "features", "transcribe"])
def test_floats_in_units_of_int16_are_refused_by_every_function(model, noise, call):
    with pytest.raises(InputError, match="beyond full scale"):
        getattr(model, call)(noise * 32768)
    with pytest.raises(InputError, match="no known scale"):
        getattr(model, call)((noise * 32768).astype(np.int64))


def test_a_list_of_different_lengths_gives_a_list_of_each_ones_own_frames(
    model, pretraining, noise
):
    rows = [noise, noise[:1500], noise[:2100].tolist()]
    logits = model.logits(rows)
    assert [one.shape for one in logits] == [(model.num_frames(len(r)), 9) for r in rows]
    for one, row in zip(logits, rows, strict=True):
        np.testing.assert_allclose(one, model.logits(np.asarray(row, "f"))[0], atol=1e-4)
    features, units = pretraining.features(rows, layer=0), pretraining.units(tuple(rows))
    assert [len(x) for x in features] == [len(x) for x in units] == [len(x) for x in logits]
    with pytest.raises(InputError, match="waveform 1: 3 samples are too short"):
        model.logits([noise, noise[:3]])


def test_arrays_and_lists_of_one_length_give_one_array(model, noise):
    pair = np.stack([noise, -noise])
    expected = model.logits(pair)
    assert isinstance(expected, np.ndarray) and expected.shape[0] == 2
    np.testing.assert_array_equal(model.logits([noise, -noise]), expected)
    np.testing.assert_array_equal(model.logits(pair.tolist()), expected)
    assert (
        model.logits(noise).shape == model.logits(noise.tolist()).shape == (1, *expected.shape[1:])
    )


def test_rows_of_different_types_are_each_scaled_by_their_own(model, noise):
    integers = (noise * 32767).astype(np.int16)
    expected = model.logits([noise, noise])
    for rows in ([noise, integers], [integers, noise], [integers.astype(np.int32) << 16, integers]):
        np.testing.assert_allclose(model.logits(rows), expected, atol=0.01)


class OnAnotherDevice:
    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


@pytest.mark.parametrize(
    ("waveforms", "message"),
    [
        (np.zeros((0, 16000), np.float32), r"waveforms \[0, 16000\]: give \[S\] or \[B, S\]"),
        (np.zeros((2, 3, 800), np.float32), r"waveforms \[2, 3, 800\]: give"),
        (np.zeros((2880, 1), np.float32), r"waveforms are \[B, S\], not \[2880, 1\]"),
        (OnAnotherDevice(), "OnAnotherDevice is no array for NumPy .* give floats"),
        ([OnAnotherDevice(), np.zeros(800)], "waveform 0: OnAnotherDevice is no array"),
    ],
)
def test_what_is_no_batch_of_waveforms_is_one_line(model, waveforms, message):
    with pytest.raises(InputError, match=message):
        model.logits(waveforms)


@pytest.mark.parametrize("waveforms", ["a.wav", Path("a.wav"), ["a.wav", "b.wav"]])
@pytest.mark.parametrize("call", ["logits", "features"])
def test_functions_of_arrays_say_how_a_file_is_read(model, waveforms, call):
    with pytest.raises(InputError, match=r"'a\.wav' is a path, and only .* soundfile\.read\(path"):
        getattr(model, call)(waveforms)


def test_tables_of_hugging_face_datasets_are_resampled(model, noise):
    at_8k = {"path": "a.wav", "array": noise[::2].astype(np.float64), "sampling_rate": 8000}
    same = {"array": noise, "sampling_rate": 16000}
    (one,) = model.transcribe(at_8k, batch_seconds=1)
    assert one.duration == 0.25
    both = model.transcribe([same, noise], batch_seconds=1)
    assert both[0].text == both[1].text and both[0].path == "array 0"
    first, second = model.logits([at_8k, same])
    assert first.shape == second.shape == (model.num_frames(4000), 9)
    np.testing.assert_allclose(second, model.logits(noise)[0], atol=1e-4)
    np.testing.assert_allclose(model.logits(at_8k)[0], first, atol=1e-4)
    assert model.align(same, "ab", batch_seconds=1)[0].text == "ab"  # as it was written


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"array": [0.1] * 400}, r"array 0: a dict \['array'\] is not audio; it needs"),
        ({"array": [0.1] * 400, "sampling_rate": None}, "is not audio"),
        ({"array": [0.1] * 400, "sampling_rate": 3}, "sampling_rate=3 Hz is not a whole number"),
        ({"array": [0.1] * 400, "sampling_rate": float("inf")}, "sampling_rate=inf Hz is not"),
        ({"array": [0.1] * 400, "sampling_rate": float("nan")}, "sampling_rate=nan Hz is not"),
        ({"array": [0.1] * 400, "sampling_rate": 11025.5}, "sampling_rate=11025.5 Hz is not a wh"),
        ({"array": [0.1] * 400, "sampling_rate": 10**400}, "is not audio"),
        ({"text": "a"}, r"array 0: a dict \['text'\] is not audio"),
    ],
)
def test_a_table_that_is_no_sound_is_named(model, item, message):
    with pytest.raises(InputError, match=message):
        model.transcribe([item])


def test_a_string_is_one_file_and_one_line(model, clips, noise):
    (path,) = clips("ab.wav")
    (one,) = model.transcribe(path, batch_seconds=1)
    assert one.path == path
    assert [line.text for line in model.align(noise, "ab ba", batch_seconds=1)] == ["ab ba"]
    two = model.align(path, "ab\nba\n", batch_seconds=1)
    assert [line.text for line in two] == ["ab", "ba"]
    with pytest.raises(InputError, match="align takes one recording, not 2"):
        model.align([noise, noise], "ab")


def test_a_model_says_in_one_line_what_it_is(model, pretraining):
    assert re.fullmatch(r"Model\(tiny: ctc, .+, \d+ parameters, 9 symbols\)", repr(model))
    assert re.fullmatch(r"Model\(tiny: contrastive, .+, \d+ parameters\)", repr(pretraining))


def test_a_family_is_told_by_its_shapes():
    for name in ("small", "base", "large", "large_lv60k", "xls_r_1b", "mms_1b_adapters"):
        assert family_of(model_config(name, dropout=0.3)) == name
    assert family_of(model_config("base", num_layers=6)) == "6 x 768"
    assert {family_of(model_config(name)) for name in FAMILIES} <= set(FAMILIES)


def test_samples_are_counted_in_frames(model):
    frames = model.num_frames(np.array([16000, 4000, 0]))
    assert frames.tolist() == [model.num_frames(16000), model.num_frames(4000), 0]
    assert model.logits(np.zeros(4000, "f")).shape[1] == model.num_frames(4000)
    assert model.seconds_per_frame == model.description.model.stride / 16000


def test_the_package_says_that_it_is_typed():
    root = Path(w2v2_jax.__file__).parent
    assert (root / "py.typed").is_file()
    assert "w2v2_jax = py.typed" in (root.parent / "setup.cfg").read_text()


# Files, folders and lists


def test_a_folder_and_a_list_are_their_files_once_and_in_order(clips, tmp_path, monkeypatch):
    clips("b/x.wav", "a/x.wav", "a/y.WAV", "a/z.txt", "a/.hidden.wav")
    audio = tmp_path / "audio"
    assert expand([str(audio)]) == {
        f"{audio}/a/x.wav": Path("a/x"), f"{audio}/a/y.WAV": Path("a/y"),
        f"{audio}/b/x.wav": Path("b/x"),
    }  # fmt: skip
    listed = audio / "list.txt"
    listed.write_text(f"\ufeff{audio}/a/x.wav\n\n b/x.wav \nnone.wav\n", "utf-8")
    names = expand([f"@{listed}", f"{audio}/a/x.wav"])
    assert list(names) == [f"{audio}/a/x.wav", f"{audio}/b/x.wav", "none.wav"]
    assert expand([], [str(listed)]) == names
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
