"""`prepare --channel`: the mean, one channel, or an utterance of each."""

import json

import numpy as np
import pytest
import soundfile

from tests.helpers.prepare_cases import OPTIONS
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.prepare import command
from w2v2_jax.prepare.measure import channel_of
from w2v2_jax.prepare.prepare import prepare

RNG = np.random.default_rng(0)
CALL = 0.1 * RNG.standard_normal((4_000, 2))
PLAIN = OPTIONS | {"holdout": {}}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/call.wav", CALL, 16_000)
    soundfile.write(tmp_path / "in/mono.wav", CALL[:3_000, 0], 16_000)
    lines = "call.wav\tboth of them\ttrain\tana\nmono.wav\tone\ttrain\tbob\n"
    (tmp_path / "in/transcripts.tsv").write_text(lines)
    return tmp_path / "in"


def run(folder, channel, **options):
    out = folder.parent / f"out-{channel}"
    (report,) = prepare(f"folder:{folder}", out, **{**PLAIN, **options}, channel=channel)
    corpus = open_corpus(out)
    rows = [(corpus.id(i), corpus.text(i), corpus.speaker(i)) for i in range(len(corpus))]
    return report, rows, corpus


@pytest.mark.parametrize(
    ("channel", "expected"),
    [("mix", CALL.mean(axis=1)), ("left", CALL[:, 0]), ("1", CALL[:, 0]), ("right", CALL[:, 1])],
)
def test_the_channel_that_is_asked_for_is_taken(folder, channel, expected):
    report, rows, corpus = run(folder, channel)
    assert rows[0] == ("call.wav", "both of them", "ana")
    np.testing.assert_allclose(corpus.read(0, 0, 4_000) / 32768, expected, atol=1e-4)
    alone = {"no such channel"} if channel == "right" else set()
    assert set(report["rejects"]) == alone


@pytest.mark.parametrize("resumable", [False, True])
def test_a_call_becomes_two_utterances_of_two_speakers(folder, resumable):
    report, rows, corpus = run(folder, "split", resumable=resumable)
    assert rows == [
        ("call.wav#1", "", "ana#1"), ("call.wav#2", "", "ana#2"), ("mono.wav", "one", "bob"),
    ]  # fmt: skip
    for channel in (0, 1):
        samples = corpus.read(channel, 0, 4_000) / 32768
        np.testing.assert_allclose(samples, CALL[:, channel], atol=1e-4)
    assert report["remarks"]["a transcript of all channels, left out of each"]["count"] == 2
    intake = report["intake"]
    passed = sum(entry["count"] for entry in intake["passed_over"].values())
    assert intake["seen"] == intake["used"] + passed == 4


def test_channels_without_a_transcript_are_rejected_where_one_is_required(folder):
    report, rows, _ = run(folder, "split", require_text=True)
    assert [row[0] for row in rows] == ["mono.wav"]
    assert report["rejects"]["transcript missing"]["count"] == 2
    assert report["intake"]["rejected"] == 2


def test_a_mean_that_cancels_the_channels_is_remarked(folder):
    opposite = np.stack([CALL[:, 0], -0.9 * CALL[:, 0]], axis=1)
    soundfile.write(folder / "call.wav", opposite, 16_000)
    report, _, _ = run(folder, "mix")
    (remark,) = report["remarks"]
    assert "cancel each other" in remark and "--channel left, right or split" in remark
    assert report["remarks"][remark] == {"count": 1, "examples": ["call.wav"]}
    assert not run(folder, "left")[0]["remarks"]


@pytest.mark.parametrize("channel", ["0", "-1", "middle", "", "²"])
def test_an_unknown_channel_lists_the_known_ones(channel, folder, capsys):
    with pytest.raises(InputError, match="use mix, split, left, right or a number from 1"):
        channel_of(channel)
    line = ["--source", f"folder:{folder}", "--out", f"{folder}-out", f"--channel={channel}"]
    assert run_command(command.main, line) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_line_takes_kind_phones_and_channel(folder, capsys):
    line = ["--source", str(folder), "--as", "folder", "--channel", "2", "--phones", "39"]
    assert run_command(command.main, [*line, "--out", f"{folder}-out", "--workers", "1"]) == 0
    report = json.loads((folder.parent / "in-out/train/report.json").read_text())
    assert report["source"] == f"folder:{folder}" and report["utterances"] == 1
