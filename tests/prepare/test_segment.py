"""`w2v2 segment`: pairs of files, what is cut and left out, and the manifest of it."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.audio_cases import encoded
from tests.helpers.prepare_cases import OPTIONS
from tests.helpers.segment_cases import SECONDS, VOCABULARY, recording, with_wrong
from w2v2_jax.data.audio import recording_length
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.decode.spelling import Speller
from w2v2_jax.errors import run_command
from w2v2_jax.inference import Model
from w2v2_jax.prepare import segment
from w2v2_jax.prepare.account import Tally
from w2v2_jax.prepare.prepare import prepare
from w2v2_jax.prepare.segment_cuts import Heard
from w2v2_jax.prepare.segment_pairs import FIRST_ALONE, OTHERS, RENAMED, find_pairs
from w2v2_jax.prepare.timed_texts import VOICES
from w2v2_jax.prepare.word_labels import NO_WORDS
from w2v2_jax.recognition.transcript_formats import clock

RATE = 4000  # of the recordings: long ones stay small


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def silent(path, seconds):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(int(seconds * RATE), np.int16), RATE)


def srt(texts, starts, ends):
    cues = zip(texts, starts, ends, strict=True)
    return "\n".join(
        f"{n}\n{clock(start, ',')} --> {clock(end, ',')}\n{text}\n"
        for n, (text, start, end) in enumerate(cues, 1)
    )


@pytest.fixture(scope="module")
def long():
    return recording(np.random.default_rng(4), 60)


@pytest.fixture
def talk(tmp_path, long, monkeypatch):
    """A recording whose logits are known, and a text of it of which a tenth was not said."""

    class Ear:
        def __init__(self, arguments):
            self._speller, self.replaced = Speller(VOCABULARY), {}

        def __call__(self, audio, channel):
            return Heard(long.logits, SECONDS, self._speller)

    monkeypatch.setattr(segment, "_Ear", Ear)
    silent(tmp_path / "talk.wav", len(long.logits) * SECONDS)
    return tmp_path


def run(*arguments):
    segment.main([str(a) for a in arguments])


@pytest.mark.parametrize("kind", ["srt", "txt"])
def test_right_segments_lie_where_they_were_said_and_wrong_ones_are_rejected(talk, long, kind):
    texts, wrong = with_wrong(np.random.default_rng(5), long.texts)
    content = "\n".join(texts) if kind == "txt" else srt(texts, long.starts, long.ends)
    (talk / f"talk.{kind}").write_text(content)
    run("--audio", talk / "talk.wav", "--text", talk / f"talk.{kind}", "--out", talk / "out",
        "--checkpoint", "tuned")  # fmt: skip
    used = {row["text"]: row for row in rows(talk / "out" / "segments.jsonl")}
    assert sum(text in used for text, w in zip(texts, wrong, strict=True) if not w) >= 0.95 * 54
    assert sum(text not in used for text, w in zip(texts, wrong, strict=True) if w) == 6
    truth = dict(zip(texts, zip(long.starts, long.ends, strict=True), strict=True))
    late = [max(abs(r["start"] - truth[t][0]), abs(r["end"] - truth[t][1]))
            for t, r in used.items()]  # fmt: skip
    assert np.mean(np.array(late) <= 0.1) >= 0.95
    told = json.loads((talk / "out" / "report.json").read_text())
    assert told["segments"] == 60 and told["used"] == len(used)
    assert sum(r["count"] for r in told["rejected"].values()) == 60 - len(used)
    rejected = rows(talk / "out" / "rejected.jsonl")
    assert {row["text"] for row in rejected} == set(texts) - set(used)
    assert {row["reason"] for row in rejected} <= {
        "score too low", "nothing that the model could compare",
    }  # fmt: skip


def test_given_times_need_no_network_and_are_cut_as_they_are(tmp_path):
    silent(tmp_path / "a.wav", 10)
    texts = ["one", "[music]", "three", "four", "five", "six"]
    starts, ends = [0, 1, 2, 3, 4.5, 9.8], [1, 2, 3, 4.8, 6, 12]
    (tmp_path / "a.srt").write_text(srt(texts, starts, ends))
    run("--audio", tmp_path / "a.wav", "--text", tmp_path / "a.srt", "--out", tmp_path / "out")
    (first, third) = rows(tmp_path / "out" / "segments.jsonl")
    assert (first["text"], first["offset"], first["duration"]) == ("one", 0, 1)
    assert (third["text"], third["offset"], third["duration"]) == ("three", 2, 1)
    assert first["audio_filepath"] == str(tmp_path / "a.wav") and first["score"] is None
    reasons = [row["reason"] for row in rows(tmp_path / "out" / "rejected.jsonl")]
    assert reasons == ["no words", "overlaps another", "overlaps another", "outside the recording"]


def test_a_recording_is_as_long_as_its_streams_whatever_its_header_says(tmp_path):
    """Segments in the second of two files put together, or behind the length that a pipe left."""
    tone = (0.1 * np.sin(np.arange(16000))).astype("f4")
    flac = bytearray(encoded("flac", np.tile(tone, 2)))
    flac[22:26] = (1000).to_bytes(4, "big")  # the number of samples
    wav = bytearray(encoded("wav", np.tile(tone, 2)))
    place = wav.find(b"data") + 4
    wav[place : place + 4] = bytes(4)
    contents = {"a.mp3": 2 * encoded("mp3", tone), "a.ogg": 2 * encoded("ogg", tone)}
    for name, content in (contents | {"a.flac": bytes(flac), "a.wav": bytes(wav)}).items():
        (tmp_path / name).write_bytes(content)
        assert recording_length(tmp_path / name) == (2.0, 1)
        (tmp_path / "a.srt").write_text(srt(["one", "two", "three"], [0, 1.1, 2.2], [1, 1.9, 3]))
        options = ["--audio", tmp_path / name, "--text", tmp_path / "a.srt", "--overwrite"]
        assert run_command(segment.main, [*map(str, options), "--out", str(tmp_path / "out")]) == 0
        assert [row["text"] for row in rows(tmp_path / "out" / "segments.jsonl")] == ["one", "two"]


def test_a_pipe_is_not_waited_for(tmp_path, capsys):
    os.mkfifo(tmp_path / "a.wav")
    (tmp_path / "a.srt").write_text(srt(["one"], [0], [1]))
    options = ["--audio", f"{tmp_path}/a.wav", "--text", f"{tmp_path}/a.srt", "--out"]
    assert run_command(segment.main, [*options, str(tmp_path / "out")]) == 2
    assert "a.wav: not a plain file" in capsys.readouterr().err


def test_a_length_at_a_limit_is_neither_too_short_nor_too_long(tmp_path):
    silent(tmp_path / "a.wav", 60)
    (tmp_path / "a.srt").write_text(srt(["one", "two", "three"], [2.0, 4.0, 33.1], [2.3, 4.29, 34]))
    for shortest, longest, texts in ((0.3, 30, ["one", "three"]), (0, 0.3, ["one", "two"])):
        run("--audio", tmp_path / "a.wav", "--text", tmp_path / "a.srt", "--out", tmp_path / "out",
            "--min-seconds", shortest, "--max-seconds", longest, "--overwrite")  # fmt: skip
        assert [row["text"] for row in rows(tmp_path / "out" / "segments.jsonl")] == texts


def test_a_segment_with_an_unknown_word_is_rejected_and_left_out_marks_are_counted(tmp_path):
    for name in "ab":
        silent(tmp_path / "in" / f"{name}.wav", 9)
    lines = ["1 0.3 one", "1.4 0.3 <unk>", "3 1 [noise]", "5 1 two"]
    content = "".join(f"{name} 1 {line}\n" for name in "ab" for line in lines)
    (tmp_path / "all.ctm").write_text(content)
    (tmp_path / "texts").mkdir()
    for name in "ab":
        cue = f"WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>hi {name}</v> <v Bob>yes\n"
        (tmp_path / "texts" / f"{name}.vtt").write_text(cue)
    told = []
    for text in ("all.ctm", "texts"):
        out = tmp_path / f"{text}-out"
        run("--audio", tmp_path / "in", "--text", tmp_path / text, "--out", out)
        told.append(json.loads((out / "report.json").read_text()))
    assert [row["text"] for row in rows(tmp_path / "all.ctm-out" / "segments.jsonl")] == ["two"] * 2
    assert told[0]["rejected"]["words not said as written"]["count"] == 2
    assert told[0]["unpaired"][NO_WORDS]["count"] == 2
    assert told[1]["unpaired"][VOICES]["count"] == 2 and told[1]["used"] == 2


def test_what_surrounds_the_words_is_cut_with_them_up_to_half_of_the_pause(tmp_path):
    silent(tmp_path / "a.wav", 10)
    (tmp_path / "a.srt").write_text(srt(["one", "two"], [1, 2.1], [2, 9.9]))
    run("--audio", tmp_path / "a.wav", "--text", tmp_path / "a.srt", "--out", tmp_path / "out",
        "--pad", "0.3")  # fmt: skip
    spans = [(r["offset"], r["offset"] + r["duration"])
             for r in rows(tmp_path / "out" / "segments.jsonl")]  # fmt: skip
    assert spans == [pytest.approx((0.7, 2.05)), pytest.approx((2.05, 10.0))]


def test_folders_pair_files_by_their_names_and_tell_the_rest(tmp_path, capsys):
    for name in ("x/a.wav", "b.wav", "c.wav", "bad.wav"):
        silent(tmp_path / "audio" / name, 5)
    (tmp_path / "audio" / "bad.wav").write_text("no audio")
    (tmp_path / "text" / "x").mkdir(parents=True)
    for name in ("x/a.srt", "b.srt", "b.vtt", "d.srt", "bad.srt"):
        (tmp_path / "text" / name).write_text(srt(["hello"], [1], [2]))
    with pytest.raises(segment.InputError, match="1 of 3 recordings cannot be used") as told:
        run("--audio", tmp_path / "audio", "--text", tmp_path / "text", "--out", tmp_path / "out")
    assert "; 1 recording with no text of its name; 1 text with no rec" in str(told.value)
    names = [row["audio_filepath"][len(str(tmp_path)) :]
             for row in rows(tmp_path / "out" / "segments.jsonl")]  # fmt: skip
    assert sorted(names) == ["/audio/b.wav", "/audio/x/a.wav"]
    unpaired = json.loads((tmp_path / "out" / "report.json").read_text())["unpaired"]
    first = {reason: told["examples"][0].rsplit("/", 1)[1] for reason, told in unpaired.items()}
    assert first == {
        "no text of its name": "c.wav", "no recording of its name": "d.srt",
        "a second text of a name": "b.vtt",
    }  # fmt: skip
    assert "bad.wav: unreadable" in capsys.readouterr().err


def test_a_text_without_a_recording_decides_the_status_among_folders_and_not_beside_one_file(
    tmp_path,
):
    silent(tmp_path / "audio" / "a.wav", 5)
    (tmp_path / "text").mkdir()
    for name in ("a.srt", "d.srt"):
        (tmp_path / "text" / name).write_text(srt(["hello"], [1], [2]))
    options = ["--text", tmp_path / "text", "--out", tmp_path / "out", "--overwrite"]
    with pytest.raises(segment.InputError, match="1 text with no recording of its name"):
        run("--audio", tmp_path / "audio", *options)
    assert len(rows(tmp_path / "out" / "segments.jsonl")) == 1
    run("--audio", tmp_path / "audio" / "a.wav", *options)


def test_one_ctm_file_is_of_a_whole_folder(tmp_path):
    for name in ("a.wav", "b.wav"):
        silent(tmp_path / "audio" / name, 5)
    (tmp_path / "all.ctm").write_text("a 1 1.0 0.5 one\nc 1 1.0 0.5 three\n")
    unpaired = Tally()
    pairs = find_pairs(str(tmp_path / "audio"), str(tmp_path / "all.ctm"), unpaired)
    assert [(pair.name, pair.recording) for pair in pairs] == [("a", "a")]
    assert unpaired.counts == {"no text of its name": 1, "no recording of its name": 1}


def test_words_of_other_recordings_and_other_names_in_a_ctm_are_counted(tmp_path):
    text = tmp_path / "a.ctm"
    silent(tmp_path / "a.wav", 5)
    counts = {}
    for rows_of in ("a 1 1 1 one\nb 1 1 1 two\nb 1 4 1 six\n", "b 1 1 1 two\n"):
        text.write_text(rows_of)
        run("--audio", tmp_path / "a.wav", "--text", text, "--out", tmp_path / "out",
            "--overwrite")  # fmt: skip
        told = json.loads((tmp_path / "out" / "report.json").read_text())["unpaired"]
        counts |= {reason: entry["count"] for reason, entry in told.items()}
    assert counts == {OTHERS: 2, RENAMED: 1}


def stereo(path, seconds=5):
    """A recording of noise that differs between the channels."""
    samples = np.random.default_rng(0).integers(-9000, 9000, (16_000 * seconds, 2))
    soundfile.write(path, samples.astype(np.int16), 16_000)
    return samples.astype(np.int16)


@pytest.mark.parametrize("names", ["12", "AB"])
def test_words_of_a_channel_are_cut_from_it_also_where_both_speak(tmp_path, names):
    samples = stereo(tmp_path / "a.wav")
    one, other = names
    (tmp_path / "a.ctm").write_text(f"a {one} 1 1 one\na {other} 1 1.5 two\n")
    run("--audio", tmp_path / "a.wav", "--text", tmp_path / "a.ctm", "--out", tmp_path / "cut")
    assert not rows(tmp_path / "cut" / "rejected.jsonl")
    prepare(f"nemo:{tmp_path}/cut/segments.jsonl", tmp_path / "out", **OPTIONS | {"holdout": {}})
    corpus = open_corpus(tmp_path / "out" / "train")
    cut = {text: corpus.read(i, 0, int(corpus.num_samples[i]))
           for i, text in enumerate(corpus.texts())}  # fmt: skip
    np.testing.assert_array_equal(cut["one"], samples[16_000:32_000, 0])
    np.testing.assert_array_equal(cut["two"], samples[16_000:40_000, 1])


def test_a_ctm_that_always_says_channel_1_is_of_the_mean_and_told(tmp_path):
    stereo(tmp_path / "a.wav")
    (tmp_path / "a.ctm").write_text("a 1 1 1 one\na 1 4 1 two\n")
    run("--audio", tmp_path / "a.wav", "--text", tmp_path / "a.ctm", "--out", tmp_path / "cut")
    assert all("channel_selector" not in row for row in rows(tmp_path / "cut" / "segments.jsonl"))
    told = json.loads((tmp_path / "cut" / "report.json").read_text())["unpaired"]
    assert told[FIRST_ALONE]["count"] == 2


@pytest.mark.parametrize("name", ["3", "C", "left", "0"])
def test_a_channel_that_the_recording_lacks_is_named_and_nothing_is_written(tmp_path, name):
    stereo(tmp_path / "a.wav")
    (tmp_path / "a.ctm").write_text(f"a 1 1 1 one\na {name} 2 1 two\n")
    with pytest.raises(segment.InputError, match=rf"a\.ctm:2: no channel '{name}' .*1 to 2"):
        run("--audio", tmp_path / "a.wav", "--text", tmp_path / "a.ctm", "--out", tmp_path / "cut")
    assert not (tmp_path / "cut" / "segments.jsonl").exists()


def test_speakers_in_channels_of_a_mono_recording_are_cut_from_it(tmp_path):
    silent(tmp_path / "a.wav", 5)
    (tmp_path / "a.ctm").write_text("a A 1 1 one\na B 3 1 two\n")
    run("--audio", tmp_path / "a.wav", "--text", tmp_path / "a.ctm", "--out", tmp_path / "cut")
    found = rows(tmp_path / "cut" / "segments.jsonl")
    assert [row["speaker"] for row in found] == ["a#A", "a#B"]
    assert all("channel_selector" not in row for row in found)


def test_where_no_segment_is_kept_the_reasons_are_told_and_no_manifest_is_there(tmp_path, capsys):
    silent(tmp_path / "a.wav", 10)
    texts = tmp_path / "a.srt"
    common = ["--audio", tmp_path / "a.wav", "--text", texts, "--out", tmp_path / "out"]
    texts.write_text(srt(["one", "two", "[music]"], [0, 2, 4], [1, 3, 5]))
    run(*common)
    arguments = [*map(str, common), "--overwrite", "--min-seconds", "2"]
    assert run_command(segment.main, arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no segment is kept, and segments.jsonl is not written: too short (" in error
    assert error.endswith(f"; {tmp_path}/out/rejected.jsonl has them (see above)\n")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("rejected.jsonl", "report.json")
    ]
    assert len(rows(tmp_path / "out" / "rejected.jsonl")) == 3


@pytest.mark.parametrize("count", [1, 2])
def test_where_no_recording_can_be_used_nothing_is_written(tmp_path, capsys, count):
    for folder in ("audio", "text"):
        (tmp_path / folder).mkdir()
    for name in "ab"[:count]:
        (tmp_path / "audio" / f"{name}.wav").write_text("no audio")
        (tmp_path / "text" / f"{name}.srt").write_text(srt(["hello"], [1], [2]))
    expected = "a.wav: unreadable" if count == 1 else "none of 2 recordings can be used"
    with pytest.raises(segment.InputError, match=expected):
        run("--audio", tmp_path / "audio", "--text", tmp_path / "text", "--out", tmp_path / "out")
    assert len(capsys.readouterr().err.splitlines()) == (0 if count == 1 else 2)
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text", "t.txt"], r"t.txt: a text without times needs --checkpoint"),
        (["--text", "none"], "--text none: no such file or folder"),
        (["--text", "t.srt", "--min-score", "-1"], "--min-score needs --checkpoint"),
        (["--text", "t.srt", "--checkpoint", "c", "--min-score", "1"], "scores are at most 0"),
        (["--text", "t.srt", "--pad", "nan"], "--pad: nan must be a number, 0 to 86400"),
        (["--text", "t.srt", "--min-seconds", "9", "--max-seconds", "3"], "9 is above --max-sec"),
        (["--text", "t.srt", "--by", "sentence"], r"--by sentence is .*, and t.srt has times"),
        (["--text", "t.srt", "--tier", "a"], r"--tier is for .TextGrid files, and t.srt is none"),
        (["--text", "t.txt", "--tier", "a"], r"--tier is for .TextGrid files, and t.txt is none"),
        (
            ["--text", "t.txt", "--checkpoint", "c", "--refine", "1"],
            "--refine .* t.txt has no",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    silent(tmp_path / "a.wav", 5)
    (tmp_path / "t.txt").write_text("hello")
    (tmp_path / "t.srt").write_text(srt(["hello"], [1], [2]))
    with pytest.raises(segment.InputError) as error:
        run("--audio", "a.wav", "--out", "out", *options)
    assert re.search(message, f"{error.value}\n{capsys.readouterr().err}")


def test_a_network_hears_the_recording_and_lays_a_text_with_digits_over_it(
    tmp_path, tuned, monkeypatch
):
    monkeypatch.setattr(
        "w2v2_jax.inference.load",
        lambda path, execution: Model(Path("tiny"), tuned.description, tuned.params),
    )
    noise = np.random.default_rng(0).normal(size=3 * RATE) * 0.1
    soundfile.write(tmp_path / "a.wav", noise, RATE)
    (tmp_path / "a.txt").write_text("ab, 12 c\n")
    run("--audio", tmp_path / "a.wav", "--text", tmp_path / "a.txt", "--out", tmp_path / "out",
        "--checkpoint", "tiny", "--min-score", "-6")  # fmt: skip
    (row,) = rows(tmp_path / "out" / "segments.jsonl") + rows(tmp_path / "out" / "rejected.jsonl")
    assert [w["word"] for w in row["words"]] == ["ab,", "12", "c"] and -6 <= row["score"] <= 0
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert told["characters_without_symbol"] == {"1 as <star>": 1, "2 as <star>": 1}


def test_prepare_reads_the_manifest_and_keeps_the_samples_of_each_segment(tmp_path):
    samples = np.random.default_rng(0).integers(-9000, 9000, 10 * 16000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    (tmp_path / "a.srt").write_text(srt(["one two", "three"], [1.5, 4.25], [3.0, 9.0]))
    run("--audio", tmp_path / "a.wav", "--text", tmp_path / "a.srt", "--out", tmp_path / "cut")
    manifest = f"nemo:{tmp_path / 'cut' / 'segments.jsonl'}"
    prepare(manifest, tmp_path / "out", **OPTIONS | {"holdout": {}})
    corpus = open_corpus(tmp_path / "out" / "train")
    assert list(corpus.texts()) == ["one two", "three"]
    said = corpus.read(0, 0, int(corpus.num_samples[0]))
    np.testing.assert_array_equal(said, samples[24000:48000])
