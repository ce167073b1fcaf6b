"""The helper that measures `w2v2 segment`: its recording, its truth and how it judges."""

import itertools

import numpy as np
import pytest
import soundfile

from tests.helpers.joined_clips import PAUSES, RATE, decibels, join, speech_edges, with_wrong
from tests.helpers.long_recording import Clip, judge, main


def clip(seconds, silence, text, seed=0):
    """Noise as loud as speech between silences with noise 50 dB below it."""
    rng = np.random.default_rng(seed)
    gain = np.full(int((seconds + 2 * silence) * RATE), 10.0)
    gain[int(silence * RATE) : int((silence + seconds) * RATE)] = 3000.0
    return Clip((rng.normal(size=len(gain)) * gain).astype(np.int16), text)


@pytest.fixture
def clips():
    lengths = [(0.5, 0.3), (1.0, 0.1), (2.0, 0.4)]
    return [clip(*sizes, f"text {n}", n) for n, sizes in enumerate(lengths)]


@pytest.mark.parametrize("silence", [0.1, 0.5])
def test_speech_edges_are_where_a_clip_becomes_loud_and_quiet(silence):
    begin, end = speech_edges(clip(1.0, silence, "a").samples)
    assert begin / RATE == pytest.approx(silence, abs=0.02)
    assert end / RATE == pytest.approx(silence + 1.0, abs=0.02)


def test_the_truth_is_where_speech_is_in_the_recording_and_no_pause_is_digital_silence(
    clips, tmp_path
):
    sentences = join(clips, tmp_path / "talk.wav", 60, np.random.default_rng(0), write=True)
    samples, rate = soundfile.read(tmp_path / "talk.wav", dtype="int16")
    assert rate == RATE and len(samples) >= 60 * RATE and len({s.text for s in sentences}) == 3
    loud = decibels(samples) > 50
    said = np.zeros(len(loud), bool)
    for sentence in sentences:
        said[round(sentence.start * 100) : round(sentence.end * 100)] = True
    assert np.mean(loud == said) > 0.97
    assert not (decibels(samples) < 0).any()
    pauses = [b.start - a.end for a, b in itertools.pairwise(sentences)]
    assert min(pauses) >= PAUSES[0] - 0.01 and max(pauses) <= PAUSES[1] + 0.01
    again = join(clips, tmp_path / "talk.wav", 60, np.random.default_rng(0), write=False)
    assert again == sentences


def test_wrong_sentences_are_a_tenth_and_say_something_else(clips, tmp_path):
    rng = np.random.default_rng(0)
    right = join(clips, tmp_path / "talk.wav", 60, rng, write=True)
    sentences = with_wrong(right, 0.1, rng)
    wrong = [a for a, b in zip(sentences, right, strict=True) if a.text != b.text]
    assert wrong == [s for s in sentences if s.wrong] and len(wrong) == round(0.1 * len(right))


def test_judging_counts_edges_and_wrong_sentences(clips, tmp_path):
    rng = np.random.default_rng(0)
    sentences = with_wrong(join(clips, tmp_path / "t.wav", 60, rng, write=True), 0.1, rng)
    rows = []
    for n, s in enumerate(sentences):
        row = {"start": s.start + 0.2 * (n == 0), "end": s.end, "score": -4.0 if s.wrong else -1.0}
        rows.append(row | ({"reason": "score too low"} if s.wrong or n == 1 else {}))
    assert not sentences[0].wrong and not sentences[1].wrong
    told, right = judge(rows, sentences), sum(not s.wrong for s in sentences)
    assert told["within_100_ms"] == pytest.approx(1 - 1 / right)
    assert told["wrong_rejected"] == 1 and told["right_rejected"] == pytest.approx(1 / right)
    assert told["score_for_95_percent_of_wrong"] == -4 and told["right_rejected_then"] == 0
    rows[0] |= {"start": None, "end": None, "score": None}
    assert judge(rows, sentences)["right_rejected_then"] == pytest.approx(1 / right)


def test_the_program_runs_segment_both_ways_and_says_what_it_took(
    clips, tmp_path, monkeypatch, capsys
):
    import tests.helpers.long_recording as program

    for n, some in enumerate(clips):
        (tmp_path / "in").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "in" / f"{n}.wav", some.samples, RATE)
        (tmp_path / "in" / f"{n}.txt").write_text(some.text)
    asked = []

    def segment(options):
        asked.append(options)
        return program.Cost(36.0, 60.0, 2**30)

    def rows_of(out):
        truth = (out.parents[1] / "truth.tsv").read_text().splitlines()[1:]
        times = [line.split("\t") for line in truth]
        return [{"start": float(t[0]), "end": float(t[1]), "score": -float(t[2])} for t in times]

    monkeypatch.setattr(program, "run_segment", segment)
    monkeypatch.setattr(program, "rows_of", rows_of)
    main(["--checkpoint", "c", "--clips", str(tmp_path / "in"), "--hours", "0.02", "--out",
          str(tmp_path / "out"), "--options", "--romanise"])  # fmt: skip
    assert [o[-1] for o in asked] == ["--romanise"] * 2
    assert ["--refine" in o for o in asked] == [False, True]
    assert (tmp_path / "out/times/talk.srt").exists() and (tmp_path / "out/text/talk.txt").exists()
    assert "real_time_factor" in capsys.readouterr().out
