"""--dtype: a checkpoint of float32, computed in less, by every command that runs a network."""

import json

import numpy as np
import pytest
import soundfile

from tests.helpers.corpora import write_split
from w2v2_jax import align, emit, evaluate, extract, transcribe
from w2v2_jax.decode.emissions import Emissions
from w2v2_jax.errors import run_command
from w2v2_jax.interop import native
from w2v2_jax.prepare import pseudo, segment
from w2v2_jax.recognition import network
from w2v2_jax.system.completion import parser_of

HALVES = ("bfloat16", "float16")


@pytest.fixture(scope="module")
def place(tuned, tmp_path_factory):
    """A run, a corpus and a recording."""
    folder = tmp_path_factory.mktemp("place")
    native.write_initial(folder / "run", tuned)
    write_split(folder / "data", "dev", texts=("AB", "CA"))
    write_split(folder / "untold", "dev", texts=("", ""))
    soundfile.write(folder / "a.wav", np.random.default_rng(0).normal(0, 0.1, 3200), 16000)
    (folder / "a.txt").write_text("AB\n")
    return folder


@pytest.fixture
def dtypes(monkeypatch):
    """Of the networks that are computed."""
    made = []

    def network_of(description, execution):
        made.append(execution.dtype)
        return of(description, execution)

    of = network.Description.network
    monkeypatch.setattr(network.Description, "network", network_of)
    return made


@pytest.mark.parametrize("dtype", HALVES)
def test_the_text_is_the_same_and_the_logits_are_close(place, tmp_path, capsys, dtypes, dtype):
    one = ["--checkpoint", f"{place}/run"]
    said, logits = [], []
    for kind in ("float32", dtype):
        capsys.readouterr()
        transcribe.main([*one, f"{place}/a.wav", "--dtype", kind])
        said.append(capsys.readouterr().out)
        saved = ["--data", f"{place}/data:dev", "--out", f"{tmp_path}/{kind}"]
        emit.main([*one, *saved, "--compute-dtype", kind])
        logits.append(Emissions(tmp_path / kind))
    assert dtypes == ["float32", "float32", dtype, dtype]
    assert said[0] == said[1] and said[0].startswith(f"{place}/a.wav\t")
    for i in range(2):
        full, low = logits[0][i], logits[1][i]
        assert full.dtype == low.dtype == np.float32 and (full != low).any()
        np.testing.assert_allclose(low, full, atol=0.05 * np.abs(full).max())
    origin = [json.loads((tmp_path / k / "emissions.json").read_text()) for k in ("float32", dtype)]
    assert "compute_dtype" not in origin[0] and origin[1]["compute_dtype"] == dtype


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_evaluation_says_its_dtype_unless_it_is_the_usual(place, tmp_path, dtypes, dtype):
    saved = tmp_path / "a.json"
    command = ["--checkpoint", f"{place}/run", "--data", f"{place}/data:dev"]
    evaluate.main([*command, "--json", str(saved), "--dtype", dtype])
    wanted = None if dtype == "float32" else dtype
    assert json.loads(saved.read_text()).get("compute_dtype") == wanted
    assert dtypes == [dtype]


def test_layers_are_float32_whatever_they_were_computed_in(place, tmp_path, dtypes):
    command = ["--checkpoint", f"{place}/run", "--data", f"{place}/data:dev", "--pool", "mean"]
    values = []
    for kind in ("float32", "bfloat16"):
        extract.main([*command, "--out", f"{tmp_path}/{kind}.npz", "--compute-dtype", kind])
        with np.load(tmp_path / f"{kind}.npz") as arrays:
            values.append({name: arrays[name] for name in arrays})
    assert dtypes == ["float32", "bfloat16"]
    for name, full in values[0].items():
        np.testing.assert_allclose(values[1][name], full, atol=0.05)
        rounded = values[1][name].astype("bfloat16").astype(np.float32)
        assert (values[1][name] != rounded).any()  # the mean of the frames was float32


def test_align_pseudo_and_segment_compute_in_it(place, tmp_path, dtypes):
    one = ["--checkpoint", f"{place}/run", "--dtype", "bfloat16"]
    align.main([*one, f"{place}/a.wav", f"{place}/a.txt"])
    cut = ["--audio", f"{place}/a.wav", "--text", f"{place}/a.txt", "--out", f"{tmp_path}/cut"]
    segment.main([*one, *cut, "--min-seconds", "0", "--min-score=-99"])
    marks = ["--data", f"{place}/untold:dev", "--out", f"{tmp_path}/new", "--min-confidence", "0"]
    marks += ["--min-seconds", "0"]
    pseudo.main([*one, *marks])
    assert dtypes == ["bfloat16"] * 3


def test_segment_refuses_a_dtype_that_nothing_is_computed_in(place, capsys):
    files = ["--audio", f"{place}/a.wav", "--text", f"{place}/a.srt", "--out", f"{place}/cut"]
    assert run_command(segment.main, [*files, "--dtype", "float16"]) == 2
    assert "--dtype needs --checkpoint" in capsys.readouterr().err


def test_every_command_with_a_network_has_the_option():
    from w2v2_jax import units
    from w2v2_jax.inference import classify

    mains = (transcribe, evaluate, align, units, classify, pseudo, segment, emit, extract)
    for main in (module.main for module in mains):
        option = "--compute-dtype" if main in (emit.main, extract.main) else "--dtype"
        (action,) = (a for a in parser_of(main)._actions if a.dest == "compute_dtype")
        assert action.option_strings == [option] and action.default == "float32"
