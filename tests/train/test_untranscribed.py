"""Labelled runs on corpora of which some utterances have no transcript; what validation says."""

import types

import jax
import numpy as np
import pytest

from tests.helpers.corpora import write_split
from tests.helpers.train_runs import FINETUNE
from w2v2_jax import partition
from w2v2_jax.data.config import DataConfig
from w2v2_jax.data.feed import train_feed, valid_feed
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.evaluation.runs import read_run, series
from w2v2_jax.experiment.recipe import load_config
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.metrics import Mean, Sums
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.train import command as train
from w2v2_jax.train import loop, validation
from w2v2_jax.train.metric_writer import MetricWriter
from w2v2_jax.train.warm_start import choose_vocabulary, report_left_out
from w2v2_jax.vocabulary import LIBRISPEECH

TEXTS = ("A", "", "THE CAT SAT", "42", "A HAT ON IT", "", "IT SAT ON A MAT")
LACKS = " (1 of them with a text that the vocabulary lacks)"


def config(folder, **changes):
    fields = dict(
        train=f"{folder}:train", valid=f"{folder}:dev", mode="pad", bucket_seconds=(0.1, 0.4),
        batch_seconds=0.8, row_multiple=2, min_seconds=0.01, verify=False, reader="threads",
        workers=1,
    )  # fmt: skip
    return DataConfig(**(fields | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """train and dev of seven utterances, three of them without a transcript; a silent split."""
    folder = tmp_path_factory.mktemp("corpus")
    for name in ("train", "dev"):
        write_split(folder, name, texts=TEXTS, seconds=0.05)
    write_split(folder, "silent", texts=("",) * 4, seconds=0.05)
    return folder


def test_what_is_used_and_left_out_is_said_of_both_splits(folder, capsys):
    feeds = train_feed(config(folder), LIBRISPEECH, seed=1), valid_feed(config(folder), LIBRISPEECH)
    report_left_out(*feeds)
    assert capsys.readouterr().err.splitlines() == [
        f"train {folder}:train: 4 utterances used, 3 without a transcript left out{LACKS}",
        f"valid {folder}:dev: 4 utterances used, 3 without a transcript left out{LACKS}",
    ]


@pytest.mark.parametrize("name", ["from_transcripts", "extend"])
def test_a_vocabulary_of_no_transcripts_is_refused_by_the_splits_name(folder, name):
    raw = load_config(FINETUNE)
    raw["data"]["train"] = f"{folder}:silent"
    raw["vocabulary"] = {"name": name, "case": "upper"}
    with pytest.raises(InputError, match="silent: none of its 4 utterances has a transcript"):
        choose_vocabulary(read_settings(raw), LIBRISPEECH)


def test_a_vocabulary_by_name_asks_no_transcripts(folder):
    raw = load_config(FINETUNE)
    raw["data"]["train"] = f"{folder}:silent"
    raw["vocabulary"] = {"name": "librispeech"}
    assert choose_vocabulary(read_settings(raw), None) == LIBRISPEECH


@pytest.mark.parametrize("case", ["lower", "Upper", "keep"])
def test_a_case_that_a_vocabulary_would_not_take_is_refused(folder, case):
    raw = load_config(FINETUNE)
    raw["data"]["train"] = f"{folder}:train"
    for name in ("librispeech", "extend"):
        raw["vocabulary"] = {"name": name, "case": case}
        with pytest.raises(
            InputError, match=rf"vocabulary\.case={case}: .* has the case upper; le"
        ):
            choose_vocabulary(read_settings(raw), LIBRISPEECH)
        raw["vocabulary"]["case"] = "upper"
        assert set(LIBRISPEECH.symbols) <= set(
            choose_vocabulary(read_settings(raw), LIBRISPEECH).symbols
        )


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
def test_the_command_says_before_step_0_what_it_leaves_out(folder, tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise InputError("step 0")

    monkeypatch.setattr(loop, "run", stop)
    arguments = ["--config", FINETUNE, "--workdir", str(tmp_path), "--config.data.reader=threads"]
    arguments.append("--config.data.min_seconds=0.01")
    for splits, message in (
        (("train", "dev"), "train: 4 utterances used, 3 without a transcript left out"),
        (("silent", "dev"), f"config.data.train={folder}:silent: none of its 4 utterances"),
        (("train", "silent"), f"config.data.valid={folder}:silent: none of its 4 utterances"),
    ):
        data = [f"--config.data.train={folder}:{splits[0]}"]
        data += [f"--config.data.valid={folder}:{splits[1]}", "--config.mesh.data=1"]
        assert run_command(train.main, [*arguments, *data]) == 2
        assert message in capsys.readouterr().err


def symbols_of(text):
    return [LIBRISPEECH.symbols.index(c) for c in text.replace(" ", "|") + "|"]


def experiment_that_hears(text):
    """An experiment whose network hears the same text in every row; its loss is 1 a row."""

    def evaluate(params, batch, step, seed):
        path = symbols_of(text)
        logits = np.eye(len(LIBRISPEECH), dtype=np.float32)[path]
        rows = len(batch.weights)
        outputs = {
            "logits": jax.device_put(np.broadcast_to(logits, (rows, *logits.shape))),
            "counts": jax.device_put(np.full(rows, len(path), np.int32)),
        }
        total = batch.weights.sum()
        length = Mean((batch.weights * batch.num_samples).sum(), total)
        return Sums(total, total, {"loss": Mean(total, total), "length": length}), outputs

    mesh = partition.make_mesh(data=1, devices=jax.devices()[:1])
    return types.SimpleNamespace(
        mesh=mesh, seed=0, objective=CTC, eval_function=lambda batch: evaluate
    )


def test_validation_scores_the_transcribed_counts_the_rest_and_shows_the_same_two(folder, capsys):
    feed = valid_feed(config(folder), LIBRISPEECH)
    shown = []
    for text in ("THE CAT SAT", "THE HAT"):
        results = validation.validate(experiment_that_hears(text), feed, {}, 0)
        shown.append(capsys.readouterr().err.splitlines())
        assert (results["utterances"], results["left_out"], results["loss"]) == (4, 3, 1.0)
    assert shown[0][:2] == ["example dev/u2", "  reference   THE CAT SAT"]
    assert shown[0][3:5] == ["example dev/u4", "  reference   A HAT ON IT"]
    assert shown[0][2] == "  hypothesis  THE CAT SAT" and shown[1][2] == "  hypothesis  THE HAT"
    assert [line.replace("THE HAT", "THE CAT SAT") for line in shown[1]] == shown[0]
    assert results["wer"] == (1 + 2 + 4 + 5) / (1 + 3 + 4 + 5)
    assert results["length"] == 800 * (1 + 3 + 5 + 7) / 4  # over all batches


@pytest.mark.parametrize(
    ("reference", "hypothesis", "wer", "cer"),
    [("A", "B C", 2 / 1, 3 / 1), ("A B", "A", 1 / 2, 2 / 3), ("HAT", "HAT", 0, 0)],
)
def test_error_rates_are_errors_over_the_reference_s_words_and_characters(
    tmp_path, reference, hypothesis, wer, cer
):
    write_split(tmp_path, "dev", texts=(reference,), seconds=0.05)
    feed = valid_feed(config(tmp_path, train="x"), LIBRISPEECH)
    results = validation.validate(experiment_that_hears(hypothesis), feed, {}, 0)
    assert (results["wer"], results["cer"]) == (wer, cer)


def test_utterances_that_no_bucket_holds_are_left_out_of_the_count_too(folder):
    feed = valid_feed(config(folder, valid_bucket_seconds=(0.26,)), LIBRISPEECH)
    results = validation.validate(experiment_that_hears("A"), feed, {}, 0)
    assert (results["utterances"], results["left_out"]) == (3, 4)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("A", "A B", "A B C", "A B C D"), [2, 3]),
        (("A", "", "A B", "C"), [2, 0]),
        (("A", "", "", "42"), [0]),
    ],
)
def test_examples_are_the_shortest_that_say_something(tmp_path, texts, expected):
    write_split(tmp_path, "dev", texts=texts, seconds=0.05)
    feed = valid_feed(config(tmp_path, train="x"), LIBRISPEECH)
    shown = [feed.corpus.id(i) for i in validation.examples(feed)]
    assert shown == [f"dev/u{k}" for k in expected]


def test_what_stands_in_the_rows_of_an_update_is_told_from_the_first_on(folder):
    feed = train_feed(config(folder), LIBRISPEECH, seed=1)
    for update in (1, 2):
        batch = feed.plan.batch(update - 1)
        rows = [r for r, weight in zip(batch.rows, batch.weights, strict=True) if weight]
        told = feed.row_sources(update)
        assert [row[0]["id"] for row in told] == [feed.corpus.id(r[0].utterance) for r in rows]
        assert [row[0]["samples"] for row in told] == [r[0].length for r in rows]


@pytest.mark.parametrize("verify", [False, True])
def test_samples_are_checked_for_damage_where_that_is_asked_for(folder, verify):
    settings = config(folder, verify=verify)
    feeds = train_feed(settings, LIBRISPEECH, seed=1), valid_feed(settings, LIBRISPEECH)
    assert [feed.damage is not None for feed in feeds] == [verify] * 2


def test_batches_are_made_ahead_up_to_so_many_mebibytes(folder, monkeypatch):
    taken = {}
    monkeypatch.setattr("w2v2_jax.data.feed.batches", lambda *_, **options: taken.update(options))
    feed = train_feed(config(folder, prefetch_mib=3), LIBRISPEECH, seed=1)
    feed.batches(0, 4, parts=(1,), num_parts=2)
    assert taken["prefetch_bytes"] == 3 * 2**20
    assert (taken["parts"], taken["num_parts"], taken["num_steps"]) == ((1,), 2, 4)


def test_only_the_chief_shows_examples(folder, capsys, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    feed = valid_feed(config(folder), LIBRISPEECH)
    validation.validate(experiment_that_hears("A"), feed, {}, 0)
    assert capsys.readouterr().err == ""


def test_a_process_without_utterances_adds_nothing():
    assert validation._error_sums([], []).tolist() == [0] * 5


def test_errors_are_summed_over_the_processes(monkeypatch):
    alone = validation._error_sums(["A B"], ["A"]).tolist()
    assert alone == [1, 2, 2, 3, 1]
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        "jax.experimental.multihost_utils.process_allgather",
        lambda mine: np.stack([mine, [10, 20, 30, 40, 50]]),
    )
    assert validation._error_sums(["A B"], ["A"]).tolist() == [11, 22, 32, 43, 51]


def test_a_lone_process_gathers_nothing(monkeypatch):
    monkeypatch.delattr("jax.experimental.multihost_utils.process_allgather")
    assert validation._from_its_process("A") == "A"
    assert validation._error_sums([], []).tolist() == [0] * 5


@pytest.mark.parametrize("axes", [("data",), ("fsdp",), ("data", "fsdp"), ()])
def test_a_process_s_rows_are_in_order_whatever_devices_hold_them(axes):
    devices = np.array(jax.devices())[[3, 1, 7, 5, 0, 2, 6, 4]]
    mesh = jax.sharding.Mesh(devices.reshape(4, 2), ("data", "fsdp"))
    rows = np.arange(16).reshape(8, 2)
    spec = jax.sharding.PartitionSpec(axes or None)
    array = jax.device_put(rows, jax.sharding.NamedSharding(mesh, spec))
    np.testing.assert_array_equal(validation._local(array), rows)


def test_a_hypothesis_reaches_the_chief_from_the_process_that_has_it(monkeypatch):
    others = np.zeros((2, validation.EXAMPLE_BYTES), np.uint8)
    word = np.frombuffer("GR\u00dc\u00dfE".encode(), np.uint8)
    others[1, : len(word)] = word
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(
        "jax.experimental.multihost_utils.process_allgather", lambda own: np.vstack([own, others])
    )
    assert validation._from_its_process("") == "GR\u00dc\u00dfE"


def test_a_loss_that_is_no_number_is_null_in_the_file_of_metrics(tmp_path):
    with MetricWriter(tmp_path, first_step=0, total=2) as writer:
        writer.write(1, "train", {"loss": float("nan"), "weight": 2.0})
        writer.write(2, "train", {"loss": 1.5, "weight": float("inf")})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert lines[0] == '{"step": 1, "split": "train", "loss": null, "weight": 2.0}'
    steps, values = series(read_run(tmp_path), "train", "loss")
    assert (steps.tolist(), values.tolist()) == ([2], [1.5])
