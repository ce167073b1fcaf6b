"""Commands whose disk fills up while they write: one line with the option and the place."""

import contextlib
import re
import resource

import numpy as np
import pytest
import soundfile

from tests.helpers.corpora import write_split
from w2v2_jax import lm, stage
from w2v2_jax.decode import emissions
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.export import command as export
from w2v2_jax.interop import native
from w2v2_jax.paths import write_json
from w2v2_jax.prepare import command as prepare
from w2v2_jax.prepare.publish import work_folder
from w2v2_jax.system.new_output import new_output
from w2v2_jax.vocabulary import make_vocabulary


@contextlib.contextmanager
def files_of_at_most(size):
    """As a full disk does, the limit stops a write amid a file, by an error without a name."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_tone(folder):
    folder.mkdir()
    soundfile.write(folder / "a.wav", 0.3 * np.sin(np.arange(16000) * 0.2), 16000)


def test_prepare_names_its_output(tmp_path):
    write_tone(tmp_path / "in")
    with files_of_at_most(4096), pytest.raises(InputError, match=r"^--out .*/out: File too large$"):
        prepare.main([
            "--source", f"folder:{tmp_path}/in", "--out", f"{tmp_path}/out", "--workers", "1",
        ])  # fmt: skip
    assert not (tmp_path / "out" / "train").exists()


def test_lm_names_both_disks_it_writes_to(tmp_path):
    rng = np.random.default_rng(0)
    words = [" ".join(f"w{n}" for n in rng.zipf(1.3, 8) if n < 5000) for _ in range(3000)]
    (tmp_path / "text").write_text("\n".join(words))
    arguments = ["--text", f"{tmp_path}/text", "--out", f"{tmp_path}/lm.arpa", "--order", "2"]
    with (
        files_of_at_most(4096),
        pytest.raises(InputError, match=r"^--temporary .* or --out .*lm\.arpa: File too large$"),
    ):
        lm.main([*arguments, "--estimator", "own", "--discount-fallback"])
    assert not (tmp_path / "lm.arpa").exists()


def test_stage_names_the_copy(tmp_path):
    write_split(tmp_path / "out", "train")
    arguments = ["--from", f"{tmp_path}/out", "--to", f"{tmp_path}/staged"]
    with files_of_at_most(4096), pytest.raises(InputError, match=r"^--to .*staged/train/.*: File"):
        stage.main(arguments)
    assert not list((tmp_path / "staged" / "train").glob(".*.*.*"))  # nor is the disk left full
    stage.main(arguments)  # the same command goes on


def test_saved_logits_name_their_folder_and_are_not_whole(tmp_path):
    """Through a memory map, a full disk would end the process by a signal."""
    vocabulary = make_vocabulary("librispeech")
    logits = np.zeros((5000, len(vocabulary)), np.float32)
    with files_of_at_most(4096), pytest.raises(InputError, match=r"^--out .*/logits: File too"):
        emissions.write(
            tmp_path / "logits", [emissions.Utterance("a", logits, None)], vocabulary=vocabulary,
            num_frames=5000, seconds_per_frame=0.02,
        )  # fmt: skip
    with pytest.raises(InputError):
        emissions.Emissions(tmp_path / "logits")


@pytest.mark.parametrize(
    ("make", "absent"),
    [
        (new_output, "^--out {0} cannot be written: {0}/a: No such file or directory$"),
        (work_folder, "{0}/a'$"),
    ],
)
def test_the_output_is_named_and_not_what_is_renamed_to_it(tmp_path, make, absent):
    """`emit` named a folder that nobody had asked for and that was gone."""
    out = tmp_path / "out"
    with pytest.raises(InputError, match=rf"^{out}/a\.json: File"), make(out) as path:
        path.mkdir(exist_ok=True)
        with files_of_at_most(4096):
            write_json(path / "a.json", {"text": "a" * 5000})
    with pytest.raises((InputError, OSError), match=absent.format(out)), make(out) as path:
        path.mkdir(exist_ok=True)
        (path / "a").open()
    assert not list(tmp_path.rglob("*partial*"))


@pytest.mark.parametrize(
    "form", ["hf", "fairseq", "torchaudio", "safetensors", "onnx", "stablehlo"]
)
def test_export_says_that_the_disk_is_full_in_one_clear_line(tuned, tmp_path, capsys, form):
    """Of ONNX it was the number of the error in brackets."""
    if form == "onnx":
        pytest.importorskip("onnx")
    native.write_initial(tmp_path / "run", tuned)
    out = tmp_path / "out"
    command = ["--checkpoint", f"{tmp_path}/run", "--to", form, "--out", str(out)]
    with files_of_at_most(4096):
        assert run_command(export.main, command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(rf"error: --out {out}( cannot be written)?: File too large", line)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_emit_names_its_output(tmp_path):
    vocabulary = make_vocabulary("librispeech")
    logits = np.zeros((5000, len(vocabulary)), np.float32)
    with (
        pytest.raises(InputError, match=rf"^--out {tmp_path}/logits: File too large$"),
        new_output(tmp_path / "logits") as partial,
        files_of_at_most(4096),
    ):
        emissions.write(
            partial, [emissions.Utterance("a", logits, None)], vocabulary=vocabulary,
            num_frames=5000, seconds_per_frame=0.02,
        )  # fmt: skip
