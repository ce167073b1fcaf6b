"""What a command line names is looked at before a checkpoint is loaded, which takes a minute."""

import sys
from types import ModuleType

import numpy as np
import pytest
import soundfile

import w2v2_jax.inference
import w2v2_jax.interop.load
from tests.helpers.corpora import write_split
from w2v2_jax import align, convert, emit, evaluate, extract, lm, transcribe, units
from w2v2_jax.errors import run_command
from w2v2_jax.export import command as export
from w2v2_jax.inference import classify
from w2v2_jax.prepare import pseudo, segment


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with recordings, texts and a corpus. No checkpoint can be loaded."""

    def load(*_, **__):
        raise AssertionError("the checkpoint was loaded")

    for module in (w2v2_jax.inference, transcribe, align, extract, emit, units, classify):
        monkeypatch.setattr(module, "load", load)
    monkeypatch.setattr(w2v2_jax.interop.load, "load_any", load)
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", np.zeros(1600), 16000)
    (tmp_path / "a.txt").write_text("AB\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "bad.srt").write_text("no times\n")
    (tmp_path / "run").mkdir()
    write_split(tmp_path / "data", "dev", texts=("AB", "CA"))
    return tmp_path


@pytest.mark.parametrize(
    ("main", "arguments", "said"),
    [
        (transcribe.main, "typo.wav", ["typo.wav: no such file"]),
        (transcribe.main, "typo.wav --out out", ["typo.wav: no such file"]),
        (
            transcribe.main,
            "x.wav y.wav",
            ["x.wav: no such file", "y.wav: no such file", "2 of 2 inputs cannot be used"],
        ),
        (classify.main, "typo.wav", ["typo.wav: no such file"]),
        (align.main, "typo.wav a.txt", ["typo.wav: no such file"]),
        (align.main, "a.wav typo.txt", ["typo.txt: "]),
        (align.main, "a.wav a.txt --romanise", ["--romanise needs uroman"]),
        (segment.main, "--audio typo.wav --text a.txt --out o", ["--audio typo.wav: no such"]),
        (segment.main, "--audio a.wav --text bad.srt --out o", ["bad.srt"]),
        (segment.main, "--audio a.wav --text latin.txt --out o", ["latin.txt"]),
        (segment.main, "--audio a.wav --text a.txt --out o --romanise", ["--romanise needs"]),
        (emit.main, "--data typo --out o", ["typo"]),
        (evaluate.main, "--data data:typo --json o", ["typo"]),
        (extract.main, "--data data:dev --out o.npz --layers 0,x", ["--layers '0,x': numbers"]),
        (extract.main, "--data data:dev --out o.parquet", ["parquet needs the package pyarrow"]),
        (units.main, "--data data:dev --json o --phones typo", ["--phones typo: no such file"]),
        (
            pseudo.main,
            "--data data:dev --out o --min-confidence 0",
            ["nothing is kept, nothing is written. .*has a transcript"],
        ),
    ],
)
def test_the_cheap_is_checked_first(here, monkeypatch, capsys, main, arguments, said):
    monkeypatch.setitem(sys.modules, "uroman", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert run_command(main, ["--checkpoint", "run", *arguments.split()]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(said)
    for line, message in zip(lines, said, strict=True):
        assert message.partition(" .*")[0] in line and message.rpartition(".*")[2] in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--to hf --out o --evaluation typo.json", "typo.json"),
        ("--to hf --out o --evaluation a.txt", "a.txt"),
        ("--to hf --out o --evaluation other.json", "not a file of `w2v2 evaluate --json`"),
        ("--to fairseq2 --out o --tokenizer data", "--tokenizer"),
        ("--to fairseq2 --out o --tokenizer run/a/b/typo.model", "--tokenizer"),
        ("--to hf --out o --verify typo.wav", "typo.wav"),
        ("--to onnx --out o", "--to onnx needs the onnx package"),
        ("--to savedmodel --out o", "--to savedmodel needs TensorFlow"),
    ],
)
def test_export_looks_at_its_files_and_packages_first(here, monkeypatch, capsys, arguments, said):
    for package in ("onnx", "tensorflow"):
        monkeypatch.setitem(sys.modules, package, None)
    for package in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
    monkeypatch.setattr(export, "load_any", w2v2_jax.interop.load.load_any)
    (here / "other.json").write_text("{}")
    (here / "run" / "a").write_text("a file")
    command = ["--checkpoint", "run", *arguments.split()]
    assert run_command(export.main, command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and not (here / "o").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--from hf --lora typo", "typo is not a folder of PEFT: it has no adapter_config.json"),
        ("--from fairseq --dictionary typo.txt", "typo.txt"),
        ("--from fairseq2 --dictionary typo.model", "--dictionary typo.model: no such file"),
        ("--from fairseq --dictionary a.txt", "a.txt:1: 'AB' is not \"symbol count\""),
        ("--from hf --verify typo.wav", "typo.wav"),
    ],
)
def test_convert_looks_at_its_other_files_first(here, monkeypatch, capsys, arguments, said):
    def read(*_, **__):
        raise AssertionError("the checkpoint was loaded")

    for package in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
    for name in convert.IMPORTERS:
        monkeypatch.setitem(convert.IMPORTERS, name, read)
    command = ["--input", "run", "--out", "o", *arguments.split()]
    assert run_command(convert.main, command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and not (here / "o").exists()


def test_a_text_is_looked_at_before_a_checkpoint_gives_its_symbols(here, capsys):
    command = ["--vocabulary", "run", "--text", "typo.txt", "--out", "lm.arpa"]
    assert run_command(lm.main, command) == 2
    assert "typo.txt: cannot read this text: No such file" in capsys.readouterr().err


def test_files_that_are_not_there_are_named_before_the_others_are_read(here, capsys, monkeypatch):
    def load(*_, **__):
        assert "typo.wav: no such file" in capsys.readouterr().err
        raise KeyboardInterrupt

    monkeypatch.setattr(transcribe, "load", load)
    assert run_command(transcribe.main, ["--checkpoint", "run", "a.wav", "typo.wav"]) == 130
