"""Utterances that are too short for one frame: each command counts them, names one and goes on."""

import json

import numpy as np
import pytest

from tests.helpers.corpora import write_split
from w2v2_jax import emit, evaluate, extract, units
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.decode.command import main as decode_main
from w2v2_jax.decode.emissions import Emissions
from w2v2_jax.errors import run_command
from w2v2_jax.interop import native
from w2v2_jax.prepare import pseudo


@pytest.fixture(scope="module")
def place(tuned, pretrained, tmp_path_factory):
    """Runs, and splits of which the first two of four utterances, 10 and 20 samples, are short."""
    folder = tmp_path_factory.mktemp("place")
    native.write_initial(folder / "run", tuned)
    native.write_initial(folder / "pretrained", pretrained)
    numbers = (0, 1, 300, 400)
    for name, text in (("dev", "AB"), ("untold", "")):
        write_split(folder, name, texts=[text] * 401, seconds=1 / 1600, numbers=numbers)
    write_split(folder, "none", texts=["AB"] * 2, seconds=1 / 1600)
    return folder


def run(place, capsys, command, *arguments, checkpoint="run", data="dev"):
    line = ["--checkpoint", f"{place}/{checkpoint}", "--data", f"{place}:{data}", *arguments]
    status = run_command(command.main, line)
    return status, capsys.readouterr().err


def warned(place, data="dev"):
    told = f"{place}:{data}: 2 utterances with too few samples for one frame, such as {data}/u0; "
    return f"warning: --data {told}"


def test_saved_logits_have_them_without_frames_and_are_scored_as_by_evaluate(
    place, tmp_path, capsys
):
    status, told = run(place, capsys, emit, "--out", f"{tmp_path}/logits")
    assert status == 0 and warned(place) + "each is stored without a frame" in told
    saved = Emissions(tmp_path / "logits")
    assert saved.ids == [f"dev/u{i}" for i in (0, 1, 300, 400)]
    assert (saved.num_frames > 0).tolist() == [False, False, True, True]
    assert json.loads((tmp_path / "logits/emissions.json").read_text())["without_frames"] == 2
    out = [tmp_path / name for name in ("decoded.json", "evaluated.json")]
    decode_main(["--logits", f"{tmp_path}/logits", "--json", str(out[0])])
    assert run(place, capsys, evaluate, "--json", str(out[1]))[0] == 0
    decoded, evaluated = (json.loads(path.read_text()) for path in out)
    for name in ("wer", "cer", "num_utterances"):
        assert decoded[name] == evaluated[name]


def test_extract_leaves_them_out(place, tmp_path, capsys):
    status, told = run(place, capsys, extract, "--out", f"{tmp_path}/x.npz")
    assert status == 0 and warned(place) + "the file does not have them" in told
    with np.load(tmp_path / "x.npz") as arrays:
        assert sorted(arrays) == ["dev/u300/layer_output", "dev/u400/layer_output"]


def test_units_leaves_them_out_and_says_how_many(place, tmp_path, capsys):
    options = ("--json", f"{tmp_path}/x.json")
    status, told = run(place, capsys, units, *options, checkpoint="pretrained")
    assert status == 0 and warned(place) + "they are left out" in told
    assert json.loads((tmp_path / "x.json").read_text())["without_frames"] == 2


def test_pseudo_rejects_them(place, tmp_path, capsys):
    options = ("--out", f"{tmp_path}/out", "--min-confidence", "0", "--min-seconds", "0")
    assert run(place, capsys, pseudo, *options, data="untold")[0] == 0
    rows = map(json.loads, (tmp_path / "out/untold/rejected.jsonl").read_text().splitlines())
    short = {row["id"] for row in rows if row["reason"] == "too short for one frame"}
    assert short == {"untold/u0", "untold/u1"}
    made = open_corpus(tmp_path / "out:untold")
    assert not short & set(map(made.id, range(len(made))))


@pytest.mark.parametrize(
    ("command", "options"),
    [(emit, ("--out", "{}/logits")), (extract, ("--out", "{}/x.npz"))],
)
def test_a_corpus_of_nothing_else_is_refused(place, tmp_path, capsys, command, options):
    options = [word.format(tmp_path) for word in options]
    status, told = run(place, capsys, command, *options, data="none")
    assert status == 2 and "none/u0 has 10 samples, too few for one frame; prepare" in told
    assert list(tmp_path.iterdir()) == []
