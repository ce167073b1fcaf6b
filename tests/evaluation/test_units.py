"""What units say about phones in closed form, labels at frame centres, and extracted arrays."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.corpora import write_split
from w2v2_jax import extract, units
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.evaluation.phone_labels import read_labels
from w2v2_jax.evaluation.unit_analysis import agreement, combined, entropy, frame_labels, usage
from w2v2_jax.inference import Model


def test_units_that_are_the_phones_know_all_of_them():
    phones = np.tile(np.arange(4), 25)
    found = agreement((phones * 7) % 5, phones)
    assert found.phone_entropy == found.information == pytest.approx(2.0)
    assert (found.pnmi, found.phone_purity, found.unit_purity) == (pytest.approx(1.0), 1.0, 1.0)


def test_units_that_ignore_the_phones_know_what_chance_gives():
    rng = np.random.default_rng(0)
    found = agreement(rng.integers(0, 40, 2000), rng.integers(0, 8, 2000))
    assert found.pnmi == pytest.approx(found.pnmi_shuffled, abs=0.01)
    assert 0.01 < found.pnmi < 0.05  # not 0: (40 - 1)(8 - 1) / (2 ln 2 x 2000) bits by chance


def test_a_unit_of_two_phones_has_the_closed_form():
    units_, phones = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    found = agreement(units_, phones)
    assert found.unit_entropy == pytest.approx(entropy(np.array([3, 1])))
    assert found.information == pytest.approx(1 + entropy(np.array([3, 1])) - 1.5)
    assert (found.phone_purity, found.unit_purity) == (0.75, 0.75)


def test_usage_counts_entries_and_combinations():
    found = usage(np.array([[0, 5], [1, 5], [0, 5], [1, 5]]), entries=8)
    assert found["codebooks"] == [
        {"used": 2, "of": 8, "perplexity": 2.0}, {"used": 1, "of": 8, "perplexity": 1.0},
    ]  # fmt: skip
    assert found["combinations"] == 2
    assert combined(np.array([[0, 5], [1, 5], [0, 5]])).tolist() == [0, 1, 0]


def test_a_frame_has_the_label_at_its_centre():
    segments = [(0.0, 0.03, "a"), (0.035, 0.06, "b"), (0.1, 0.2, "c")]
    # Centres at 12.5, 32.5, 52.5, 72.5, 92.5 and 112.5 ms.
    found = frame_labels(segments, 6, stride=0.02, field=0.025)
    assert found == ["a", None, "b", None, None, "c"]


def test_labels_are_read_from_a_table_and_from_timits_files(tmp_path):
    table = tmp_path / "labels.tsv"
    table.write_text("u/1\t0.0\t0.5\tsh\nu/1\t0.5\t0.9\tix\nother\t0\t1\tq\n")
    assert read_labels(table, ["u/1", "u/2"]) == {"u/1": [(0.0, 0.5, "sh"), (0.5, 0.9, "ix")]}
    (tmp_path / "u").mkdir()
    (tmp_path / "u" / "1.PHN").write_text("0 8000 h#\n8000 16000 sh\n")
    assert read_labels(tmp_path, ["u/1"])["u/1"][1] == (0.5, 1.0, "sh")
    table.write_text("u/1\t0.5\t0.1\tsh\n")
    with pytest.raises(InputError, match=r"labels.tsv line 1: it ends before it begins"):
        read_labels(table, ["u/1"])
    table.write_text("u/1 0.5 0.6 sh\n")
    with pytest.raises(InputError, match="line 1: not 3 fields with tabs after the id; needs a"):
        read_labels(table, ["u/1"])
    with pytest.raises(InputError, match="no labels of any of the 1 utterances, such as u/9"):
        read_labels(tmp_path, ["u/9"])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    write_split(directory, "dev", texts=("A", "B"), seconds=0.05)
    return directory


@pytest.fixture(scope="module")
def model(pretrained):
    return Model(Path("tiny"), pretrained.description, pretrained.params)


def run(command, *arguments):
    arguments = ["--checkpoint", "x", "--batch-seconds", 1, *arguments]
    return run_command(command.main, [str(a) for a in arguments])


def test_the_commands_write_layers_and_units_of_every_utterance(
    model, corpus, tmp_path, capsys, monkeypatch
):
    import pyarrow.parquet

    for command in (extract, units):
        monkeypatch.setattr(command, "load", lambda path, execution: model)
    data = ["--data", f"{corpus}:dev"]
    npz, table, out = tmp_path / "f.npz", tmp_path / "f.parquet", tmp_path / "u.json"
    assert run(extract, *data, "--out", npz, "--layers", "0,-1") == 0
    arrays = np.load(npz)
    assert sorted(arrays) == [f"dev/u{k}/layer_{n}" for k in (0, 1) for n in ("0", "output")]
    assert arrays["dev/u1/layer_0"].shape == (79, 16)  # 1600 samples
    padded = np.zeros((1, 16000), np.float32)
    padded[0, :1600] = open_corpus(f"{corpus}:dev").read(1, 0, 1600) / 32768
    alone = model.features(padded, [1600], layer=0)[0, :79]
    np.testing.assert_allclose(arrays["dev/u1/layer_0"], alone, rtol=1e-5)
    options = ["--pool", "mean", "--layers", "0", "--dtype", "float16"]
    assert run(extract, *data, "--out", table, *options) == 0
    rows = {row["id"]: row for row in pyarrow.parquet.read_table(table).to_pylist()}
    assert rows["dev/u1"]["frames"] == 79 and rows["dev/u1"]["text"] == "B"
    np.testing.assert_allclose(
        rows["dev/u1"]["layer_0:16"], arrays["dev/u1/layer_0"].mean(0), rtol=2e-3, atol=2e-3
    )
    labels = tmp_path / "labels.tsv"
    labels.write_text("dev/u0\t0\t0.02\tsh\ndev/u0\t0.02\t0.05\tix\ndev/u1\t0\t0.1\tq\n")
    phones = ["--phones", labels, "--phone-set", "timit"]
    assert run(units, *data, "--json", out, *phones) == 0
    result = json.loads(out.read_text())
    assert result["usage"]["frames"] == 39 + 79
    assert result["agreement"]["phones"] == ["ih", "sh"]  # q is left out
    assert result["agreement"]["together"]["frames"] == 39
    assert "combinations in 118 frames" in capsys.readouterr().out


def test_phones_that_cannot_be_used_are_told_before_the_work(corpus, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(units, "load", lambda path, execution: pytest.fail("loaded"))
    (tmp_path / "labels.tsv").write_text("other\t0\t0.02\tsh\n")
    options = ["--json", tmp_path / "u.json", "--phones", tmp_path / "labels.tsv"]
    assert run(units, "--data", f"{corpus}:dev", *options) == 2
    assert "no labels of any of the 2 utterances" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "x.csv"], "x.csv: end it in .npz or .parquet"),
        (["--out", "x.npz", "--layers", "0,9"], "'0,9': numbers in -1"),
        (["--out", "x.npz", "--what", "units", "--pool", "mean"], "units have no mean"),
        (["--out", "x.npz", "--what", "logits"], "has no CTC head"),
    ],
)
def test_what_cannot_be_extracted_is_one_clear_line_and_leaves_nothing(
    model, corpus, tmp_path, capsys, monkeypatch, options, message
):
    monkeypatch.setattr(extract, "load", lambda path, execution: model)
    monkeypatch.chdir(tmp_path)
    assert run(extract, "--data", f"{corpus}:dev", *options) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "options", "message"),
    [
        (np.nan, (), "/dev: utterance dev/u0: layer_output: 2 of 624 values are NaN or infinite"),
        (-np.inf, (), "2 of 624 values are NaN or infinite"),
        (1e6, ("--dtype", "float16"), "layer_output: 1e+06 is beyond float16; use --dtype float32"),
        (1e6, (), ""),
    ],
)
def test_values_that_are_no_numbers_are_not_extracted_as_if_they_were(
    model, corpus, tmp_path, capsys, monkeypatch, value, options, message
):
    monkeypatch.setattr(extract, "load", lambda path, execution: model)
    layers = Model.layers

    def broken(self, *arguments, **named):
        values = layers(self, *arguments, **named).copy()
        values[:, 3, :, :2] = value
        return values

    monkeypatch.setattr(Model, "layers", broken)
    out = tmp_path / "f.npz"
    status = run(extract, "--data", f"{corpus}:dev", "--out", out, *options)
    assert (status, out.exists()) == ((2, False) if message else (0, True))
    assert message in capsys.readouterr().err
