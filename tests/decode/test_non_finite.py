"""Logits, weights and scores that are no finite numbers end in one clear line that names them."""

import json
import math

import numpy as np
import pytest

from tests.helpers.decode_cases import VOCABULARY, logits_of
from w2v2_jax import sweep
from w2v2_jax.decode import command, emissions
from w2v2_jax.decode.beam import BeamOptions
from w2v2_jax.decode.flashlight import decode
from w2v2_jax.decode.greedy import GreedyDecoder
from w2v2_jax.decode.hypothesis import broken_frames, log_softmax
from w2v2_jax.decode.lines import align_lines
from w2v2_jax.decode.make import read_settings
from w2v2_jax.decode.rescore import RescoringDecoder
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.evaluation.phone_labels import read_labels

FRAME = 3
DAMAGE = {
    "one NaN": (5, np.nan),
    "a frame of NaN": (slice(None), np.nan),
    "one infinity": (5, np.inf),
    "a frame without any class": (slice(None), -np.inf),
}


def damaged(how, text="AB C"):
    logits = logits_of(text, np.random.default_rng(0), noise=0.5)
    place, value = DAMAGE[how]
    logits[FRAME, place] = value
    return logits


def saved(folder, *, texts=("AB C", "", "D"), replace=None, number=0):
    """Saved logits of each text, "" for none; `replace` goes into those of utterance `number`."""
    rng = np.random.default_rng(0)
    rows = [logits_of(text or "CAB", rng, noise=0.5) for text in texts]
    utterances = [
        emissions.Utterance(f"u{n}", row, text or None)
        for n, (text, row) in enumerate(zip(texts, rows, strict=True))
    ]
    emissions.write(
        folder, utterances, vocabulary=VOCABULARY, num_frames=sum(map(len, rows)),
        seconds_per_frame=0.02,
    )  # fmt: skip
    if replace is not None:
        held = np.load(folder / emissions.LOGITS, mmap_mode="r+")
        held[sum(map(len, rows[:number])) + FRAME][replace[0]] = replace[1]
        held.flush()
    return str(folder)


@pytest.mark.parametrize("how", DAMAGE)
def test_saved_logits_name_the_utterance(tmp_path, capsys, how):
    folder = saved(tmp_path / "logits", replace=DAMAGE[how], number=2)
    assert run_command(command.main, ["--logits", folder]) == 2
    error = capsys.readouterr().err
    assert "utterance u2: the logits of 1 of" in error and "frame 3" in error
    assert error.startswith("error: ") and error.count("\n") == 1
    found = emissions.Emissions(folder)
    with pytest.raises(InputError, match="utterance u2"):
        sweep.greedy_errors(found)


@pytest.mark.parametrize("how", DAMAGE)
def test_decoders_and_alignment_refuse_them(how):
    logits = damaged(how)
    for take in (GreedyDecoder(VOCABULARY.symbols), log_softmax):
        with pytest.raises(InputError, match=r"1 of .* frames, the first of them frame 3"):
            take(logits)
    with pytest.raises(InputError, match=r"^a\.txt: the logits of 1"):
        align_lines(logits, ["AB C"], VOCABULARY, seconds_per_frame=0.02, where="a.txt")


@pytest.mark.parametrize("how", DAMAGE)
def test_they_are_not_saved(tmp_path, how):
    rows = [emissions.Utterance("u0", damaged(how), None)]
    with pytest.raises(InputError, match="utterance u0: the logits"):
        emissions.write(
            tmp_path / "x", rows, vocabulary=VOCABULARY, num_frames=len(rows[0].logits),
            seconds_per_frame=0.02,
        )  # fmt: skip
    assert not (tmp_path / "x" / emissions.DESCRIPTION).exists()


def test_logits_beyond_float16_are_not_saved_as_infinities(tmp_path):
    logits = logits_of("A", np.random.default_rng(0))
    logits[0, 0] = 1e5
    with pytest.raises(InputError, match="use --dtype float32"):
        emissions.write(
            tmp_path / "x", [emissions.Utterance("u0", logits, None)], vocabulary=VOCABULARY,
            num_frames=len(logits), seconds_per_frame=0.02, dtype="float16",
        )  # fmt: skip


def test_a_class_that_is_ruled_out_is_no_damage():
    logits = logits_of("AB C", np.random.default_rng(0), noise=0.0)
    logits[:, 1:4] = -np.inf
    assert not len(broken_frames(logits)) and not len(broken_frames(logits[:0]))
    assert GreedyDecoder(VOCABULARY.symbols)(logits)[0].text == "AB C"


@pytest.mark.parametrize("kind", [np.int32, np.uint8, bool, np.complex64])
def test_saved_logits_that_are_no_floats_are_refused(tmp_path, kind):
    folder = saved(tmp_path / "logits")
    path = tmp_path / "logits" / emissions.LOGITS
    np.save(path, np.load(path).astype(kind))
    with pytest.raises(InputError, match=rf"logits of {np.dtype(kind)}; they must be float16"):
        emissions.Emissions(folder)


@pytest.mark.parametrize("seconds", ["NaN", "Infinity", "0", "-0.02"])
def test_seconds_a_frame_that_are_none_are_refused(tmp_path, seconds):
    folder = saved(tmp_path / "logits")
    path = tmp_path / "logits" / emissions.DESCRIPTION
    path.write_text(path.read_text().replace("0.02", seconds))
    with pytest.raises(InputError, match=r"no saved logits .*seconds_per_frame"):
        emissions.Emissions(folder)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "name", ["lm_weight", "word_score", "silence_score", "unknown_score", "beam_threshold"]
)
def test_weights_are_finite_but_for_none_and_all(name, value):
    if (name, value) in {("unknown_score", -math.inf), ("beam_threshold", math.inf)}:
        BeamOptions(**{name: value})
        return
    with pytest.raises(InputError, match=f"{name}={value} must be"):
        BeamOptions(**{name: value})


@pytest.mark.parametrize(
    "option",
    [["--lm-weight", "nan"], ["--word-score", "inf"], ["--rescore-weight", "nan"],
     ["--rescore-ngram-weight", "inf"], ["--hot-word", "AB=nan"], ["--beam-threshold", "nan"]],
)  # fmt: skip
def test_options_that_are_no_numbers_are_one_clear_line(tmp_path, capsys, option):
    folder = saved(tmp_path / "logits")
    assert run_command(command.main, ["--logits", folder, "--decoder", "beam", *option]) == 2
    error = capsys.readouterr().err
    assert "must be" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "option",
    [["--lm-weights", "nan", "1"], ["--word-scores", "0", "inf"], ["--lm-weights", "3", "1"],
     ["--word-scores", "-1e308", "1e308"], ["--lm-weight", "2"], ["--word-score", "1"]],
)  # fmt: skip
def test_a_sweep_needs_ranges(tmp_path, capsys, option):
    arguments = ["--logits", saved(tmp_path / "logits"), "--out", str(tmp_path / "o.json")]
    assert run_command(sweep.main, [*arguments, "--lm", "x.arpa", *option]) == 2
    assert option[0] in capsys.readouterr().err


def test_a_settings_file_with_nan_is_named(tmp_path):
    path = tmp_path / "best.json"
    path.write_text('{"settings": {"lm_weight": NaN}}')
    with pytest.raises(InputError, match=r"best\.json: lm_weight=nan must be a finite number"):
        read_settings(str(path))


class Search:
    """Stands for flashlight's."""

    def __init__(self, *scores):
        self.results = [type("Result", (), {"score": score}) for score in scores]

    def decode(self, *_):
        return self.results


@pytest.mark.parametrize("scores", [(), (math.nan,), (-math.inf, -math.inf)])
def test_a_search_that_lost_every_text_is_refused(scores):
    with pytest.raises(InputError, match="beam search: no text has a finite score"):
        decode(Search(*scores), np.zeros((2, 3), np.float32))
    assert len(decode(Search(-1.0, -math.inf), np.zeros((2, 3), np.float32))) == 2


def test_a_language_model_that_gives_nan_ranks_nothing():
    class Broken:
        folder = "gpt"

        def __call__(self, texts):
            return np.full(len(texts), np.nan)

    decoder = RescoringDecoder(GreedyDecoder(VOCABULARY.symbols), Broken(), 1.0, 0.0)
    with pytest.raises(InputError, match="--rescore gpt: the log probability"):
        decoder(logits_of("A", np.random.default_rng(0)))


def test_phone_labels_that_never_end_are_refused(tmp_path):
    for times, message in (("0\tinf", "it never ends"), ("nan\t1", "it ends before it begins")):
        (tmp_path / "labels.tsv").write_text(f"u\t{times}\tsh\n")
        with pytest.raises(InputError, match=f"line 1: {message}"):
            read_labels(tmp_path / "labels.tsv", ["u"])


def test_saved_logits_are_scored_where_there_is_a_reference_and_decoded_everywhere(
    tmp_path, capsys
):
    folder = saved(tmp_path / "logits", texts=("AB C", "", "D", "8"))
    assert run_command(command.main, ["--logits", folder, "--json", f"{tmp_path}/o.json"]) == 0
    told = capsys.readouterr().out
    assert "WER 0.00 %" in told and "(2 utterances; 2 without a reference left out)" in told
    result = json.loads((tmp_path / "o.json").read_text())
    assert (result["num_utterances"], result["without_reference"]) == (2, 2)
    rows = [(u["reference"], u["nbest"][0]["text"]) for u in result["utterances"]]
    assert rows[:3] == [("AB C", "AB C"), (None, "CAB"), ("D", "D")] and rows[3][0] is None
    greedy = sweep.greedy_errors(emissions.Emissions(folder))
    assert (greedy.errors, greedy.reference_length) == (0, 3)
    work = sweep._Work(Whatever(), emissions.Emissions(folder))
    assert sweep.errors_of(work, BeamOptions(), 0).reference_length == 3


class Whatever(GreedyDecoder):
    """A decoder whose weights change nothing."""

    def __init__(self):
        super().__init__(VOCABULARY.symbols)

    def with_options(self, _):
        return self


def test_saved_logits_without_any_reference_are_decoded_but_not_tuned_on(tmp_path, capsys):
    folder = saved(tmp_path / "logits", texts=("", "8"))
    assert run_command(command.main, ["--logits", folder]) == 0
    assert capsys.readouterr().out.startswith("u0\tCAB\nu1\t")
    arguments = ["--logits", folder, "--lm", "x", "--out", f"{tmp_path}/o.json"]
    assert run_command(sweep.main, arguments) == 2
    assert "has no references to tune on" in capsys.readouterr().err
