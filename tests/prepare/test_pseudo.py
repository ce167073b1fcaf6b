"""Transcripts by a checkpoint: what is kept, why the rest is not, and the corpus they become."""

import json

import numpy as np
import pytest

import w2v2_jax
from tests.helpers.corpora import write_split
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.interop import native
from w2v2_jax.prepare import pseudo
from w2v2_jax.prepare.pseudo import Guess, Limits, Outcome
from w2v2_jax.texts.choice import read_choice

TEXTS = ("", "AB CA", "", "", "", "")  # of .3, .6, .9, 1.2, 1.5 and 1.8 s
LIMITS = Limits(0.9, 0.5, 1.6)


@pytest.fixture
def mixed(tmp_path):
    """A split of six clips, one of them with a transcript."""
    write_split(tmp_path / "data", "unlabeled", texts=TEXTS, languages=("cs", "de"))
    return open_corpus(tmp_path / "data:unlabeled")


@pytest.fixture(scope="module")
def checkpoint(tuned, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "run"
    native.write_initial(folder, tuned)
    return folder


def by_reason(outcome_or_rows):
    return {row["id"].rpartition("u")[2]: row["reason"] for row in outcome_or_rows}


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_clips_with_transcripts_or_of_other_lengths_are_not_asked_about(mixed):
    assert dict(pseudo.unasked(mixed, LIMITS)) == {
        0: "too short", 1: "has a transcript", 5: "too long",
    }  # fmt: skip
    assert set(dict(pseudo.unasked(mixed, Limits(0.9, 0.0, 9.0)))) == {1}


def test_damaged_audio_is_not_asked_about(mixed):
    shard = mixed.directory / "shard-00000.i16"
    content = bytearray(shard.read_bytes())
    content[2 * (4800 + 9600) + 100] ^= 1  # in the third clip
    shard.write_bytes(content)
    assert dict(pseudo.unasked(open_corpus(mixed.directory), LIMITS))[2] == "damaged audio"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Guess("AB", 0.9), None),
        (Guess("AB", 0.8999), "not sure enough"),
        (Guess("", 0.0), "no words"),
        (Guess("", 1.0), "no words"),
    ],
)
def test_a_transcript_is_kept_for_its_words_and_its_confidence(said, reason):
    assert pseudo.verdict(said, LIMITS) == reason


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(1.1, 0, 9), "--min-confidence 1.1: give a number from 0 to 1"),
        (Limits(float("nan"), 0, 9), "--min-confidence nan"),
        (Limits(0.5, 3, 3), "--min-seconds 3 must be at least 0 and below --max-seconds 3"),
        (Limits(0.5, -1, 3), "--min-seconds -1 must"),
        (Limits(0.5, 0, float("inf")), "below --max-seconds inf"),
    ],
)
def test_bounds_that_are_none_are_refused(limits, message):
    with pytest.raises(InputError, match=message):
        pseudo.check_limits(limits)


OUTCOME = Outcome(
    {2: Guess("AB", 0.97), 4: Guess("C A", 0.92)},
    {
        0: ("too short", None), 1: ("has a transcript", None), 5: ("too long", None),
        3: ("not sure enough", Guess("B", 0.62)),
    },
)  # fmt: skip
ABOUT = {"checkpoint": "runs/tuned", "data": "data/unlabeled", "min_confidence": 0.9}


def test_what_is_kept_is_a_split_with_the_same_audio_and_the_new_texts(mixed, tmp_path):
    rules = read_choice("english").to_json()
    told = pseudo.write(mixed, OUTCOME, tmp_path / "out", split="sure", about=ABOUT, text=rules)
    made = open_corpus(tmp_path / "out:sure")
    assert [made.id(i) for i in range(len(made))] == ["unlabeled/u2", "unlabeled/u4"]
    assert list(made.texts()) == ["AB", "C A"] and made.text_rules == rules
    for i, number in enumerate((2, 4)):
        assert made.verify(i) and made.verify_index()
        length = int(mixed.num_samples[number])
        np.testing.assert_array_equal(made.read(i, 0, length), mixed.read(number, 0, length))
        same = made.entry(i)._replace(text="", characters_per_second=np.nan)
        assert str(same) == str(mixed.entry(number))
        assert made.language(i) == "cs"
    rate = made.quality("characters_per_second")
    np.testing.assert_allclose(rate, [2 / 0.9, 3 / 1.5], rtol=1e-6)
    assert "6 utterances: 2 kept, 4 rejected" in told and "wrote" in told


def test_the_counts_of_the_report_add_up_and_every_rejected_clip_is_listed(mixed, tmp_path):
    pseudo.write(mixed, OUTCOME, tmp_path / "out", split="sure", about=ABOUT, text=None)
    folder = tmp_path / "out" / "sure"
    report = json.loads((folder / "report.json").read_text())
    assert report["intake"] == {"seen": 6, "used": 2, "rejected": 4}
    assert sum(reason["count"] for reason in report["rejects"].values()) == 4
    assert report["pseudo"]["checkpoint"] == "runs/tuned"
    assert report["pseudo"]["kept_at"] == {
        "0.5": 3, "0.6": 3, "0.7": 2, "0.8": 2, "0.9": 2, "0.95": 1, "0.99": 0,
    }  # fmt: skip
    rows = rows_of(folder / "rejected.jsonl")
    assert [row["id"][-1] for row in rows] == ["0", "1", "3", "5"]
    assert rows[2] | {"id": ""} == {
        "id": "", "reason": "not sure enough", "seconds": 1.2, "text": "B", "confidence": 0.62,
    }  # fmt: skip


def test_an_utterance_without_an_outcome_is_no_corpus(mixed, tmp_path):
    lost = OUTCOME._replace(rejected={0: ("too short", None)})
    with pytest.raises(AssertionError, match="does not add up"):
        pseudo.write(mixed, lost, tmp_path / "out", split="sure", about=ABOUT, text=None)
    assert not (tmp_path / "out" / "sure").exists()


def test_where_nothing_was_asked_nothing_is_written(mixed, tmp_path):
    none = Outcome({}, {i: ("too short", None) for i in range(6)})
    with pytest.raises(InputError, match=r"nothing is kept, nothing is written.*too short +6"):
        pseudo.write(mixed, none, tmp_path / "out", split="sure", about=ABOUT, text=None)
    assert not (tmp_path / "out").exists()


def test_where_nothing_is_kept_the_report_is_written_and_says_what_would_be_kept(mixed, tmp_path):
    """Neither was there, though the report is where one looks for a better threshold."""
    values = (0.41, 0.4, 0.2, 0.1999, 0.01)
    heard = {i: ("not sure enough", Guess("A", c)) for i, c in enumerate(values)}
    none = Outcome({}, heard | {5: ("no words", Guess("", 0.0))})
    place = dict(split="sure", about=ABOUT, text=None)
    told = (
        r"no split sure: of 5 transcripts with words --min-confidence 0.41 would keep 1, 0.2 would "
        r"keep 3, 0.01 would keep 5; wrote .*out/sure.report.json and .*out/sure.rejected.jsonl\. "
    )
    with pytest.raises(InputError, match=told):
        pseudo.write(mixed, none, tmp_path / "out", **place)
    report = json.loads((tmp_path / "out/sure.report.json").read_text())
    assert report["intake"] == {"seen": 6, "used": 0, "rejected": 6}
    assert report["pseudo"]["kept_at"]["0.5"] == 0 and report["pseudo"]["checkpoint"]
    assert len(rows_of(tmp_path / "out/sure.rejected.jsonl")) == 6
    pseudo.write(mixed, OUTCOME, tmp_path / "out", **place)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sure"]


def test_the_command_writes_what_transcribe_would_say(mixed, checkpoint, tmp_path, capsys):
    command = [
        "--checkpoint", str(checkpoint), "--data", str(mixed.directory),
        "--out", f"{tmp_path}/out", "--split", "guessed", "--min-confidence", "0",
        "--min-seconds", "0.5", "--max-seconds", "1.6",
    ]  # fmt: skip
    pseudo.main(command)
    said = capsys.readouterr().out
    made = open_corpus(tmp_path / "out:guessed")
    rejected = rows_of(tmp_path / "out" / "guessed" / "rejected.jsonl")
    assert len(made) + len(rejected) == 6 and len(made) >= 1
    assert f"6 utterances: {len(made)} kept, {len(rejected)} rejected" in said
    model = w2v2_jax.load(checkpoint)
    for i in range(len(made)):
        samples = made.read(i, 0, int(made.num_samples[i])).astype(np.float32) / 32768
        assert made.text(i) == model.transcribe(samples)[0].text
    capsys.readouterr()
    assert run_command(pseudo.main, command) == 2
    assert "guessed exists already; use --overwrite" in capsys.readouterr().err
    pseudo.main([*command, "--overwrite"])
    assert open_corpus(tmp_path / "out:guessed").fingerprint() == made.fingerprint()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["guessed"]
    sure = ["1" if x == "0" else x for x in command]
    sure[sure.index("guessed")] = "sure"
    assert run_command(pseudo.main, sure) == 2  # a random network is never so sure
    assert "nothing is kept, and there is no split sure" in capsys.readouterr().err


def test_the_split_that_is_read_is_not_replaced(mixed, checkpoint, tmp_path, capsys):
    """What is not kept of it would be lost, with its audio."""
    command = [
        "--checkpoint", str(checkpoint), "--data", f"{tmp_path}/data:unlabeled",
        "--out", f"{tmp_path}/./data", "--min-confidence", "0", "--overwrite",
    ]  # fmt: skip
    before = {path: path.read_bytes() for path in mixed.directory.iterdir()}
    assert run_command(pseudo.main, command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the split unlabeled is what --data reads" in line and "use another --split" in line
    assert {path: path.read_bytes() for path in mixed.directory.iterdir()} == before
