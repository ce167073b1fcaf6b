"""The benchmark command: what it writes, and arithmetic it rests on."""

import dataclasses
import functools
import json
import shlex
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest

from tests.helpers.places import ROOT
from tests.helpers.train_runs import use_one_device
from w2v2_jax.bench import command as bench
from w2v2_jax.bench import hugging_face, measure, peer, peer_task, torchaudio_model
from w2v2_jax.bench import step as bench_step
from w2v2_jax.bench.command import check, make_parser
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.experiment.recipe import load_config
from w2v2_jax.models import flops
from w2v2_jax.models.families import model_config
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.system import cpu_memory


def test_base_needs_the_published_share_of_flops_a_frame():
    config = model_config("base")
    a_frame = flops.train_flops(config, 250_000) / 781
    assert a_frame == pytest.approx(0.90e9, rel=0.1)  # 0.90 GFLOP a frame and training step


def test_a_frozen_feature_encoder_counts_without_a_backward_pass():
    config = model_config("base")
    frozen = dataclasses.replace(config, feature_grad_scale=0.0)
    convolutions = flops.feature_flops(config, 250_000)
    assert convolutions > 0.3 * flops.forward_flops(config, 250_000)
    saved = flops.train_flops(config, 250_000) - flops.train_flops(frozen, 250_000)
    assert saved == pytest.approx(2 * convolutions)


def test_data_benchmark_writes_its_rate(tmp_path):
    out = tmp_path / "data.json"
    status = run_command(
        bench.main,
        ["--what", "data", "--json", str(out), "--rows", "8", "--seconds", "2", "--repeats", "1"],
    )
    result = json.loads(out.read_text())
    assert status == 0 and result["audio_hours_per_second_per_worker"] > 0


def test_bad_shape_is_one_line(tmp_path, capsys):
    status = run_command(
        bench.main, ["--what", "infer", "--json", str(tmp_path / "x"), "--rows", "0"]
    )
    assert status == 2 and "--rows" in capsys.readouterr().err


@pytest.mark.parametrize(("what", "as_train"), [("train", True), ("infer", False)])
def test_memory_is_set_up_as_by_the_command_that_is_timed(monkeypatch, what, as_train):
    called = []
    for name in ("keep", "keep_for_training"):
        monkeypatch.setattr(cpu_memory, name, functools.partial(called.append, name))
    measure.keep_memory(what)
    assert called == ["keep_for_training" if as_train else "keep"]


RECIPE = f"--config {shlex.quote(str(ROOT / 'experiments' / 'evidence.py'))}:pretrain,smoke"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            f"--what train {RECIPE} --dtype bfloat16",
            "--dtype changes nothing with --config; use --set",
        ),
        (f"--what infer {RECIPE} --family large", "--family changes nothing with --config"),
        (f"--what train {RECIPE} --rows 6", "--rows changes nothing with --config, whose longest"),
        (f"--what data {RECIPE} --seconds 5", "--seconds changes nothing with --config, whose"),
        ("--what train --dropout", "--dropout changes nothing without --peer"),
        ("--what train --no-compile", "--no-compile changes nothing without --peer"),
        ("--what infer --remat full", "--remat changes nothing with --what infer"),
        ("--what infer --lengths 2,3 --rows 4", "--rows changes nothing with --lengths"),
        ("--what data --dtype bfloat16", "--dtype changes nothing with --what data"),
        ("--what train --workers 2", "--workers changes nothing with --what train"),
    ],
)
def test_an_option_that_changes_nothing_is_refused(options, told):
    """It would be believed to have been timed."""
    arguments = make_parser().parse_args([*shlex.split(options), "--json", "out"])
    with pytest.raises(InputError, match=told):
        check(arguments)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--what infer --remat none", "--remat changes nothing with --what infer"),
        ("--what infer --accumulate=1", "--accumulate changes nothing with --what infer"),
        ("--what train --workers 1", "--workers changes nothing with --what train"),
        ("--what train --config x --rows 2", "--rows changes nothing with --config"),
        ("--what train --config x --fam base", "--family changes nothing with --config"),
    ],
)
def test_an_option_with_its_default_value_is_refused_as_with_others(options, told):
    arguments = make_parser().parse_args([*shlex.split(options), "--json", "out"])
    with pytest.raises(InputError, match=told):
        check(arguments)


def test_a_result_of_other_rows_is_replaced_with_a_word(tmp_path, capsys, monkeypatch):
    """Only another --what or --config was told, and before options that were then refused."""
    monkeypatch.setitem(bench.BENCHES, "data", lambda arguments: {"rows": arguments.rows})
    line = ["--what", "data", "--json", str(tmp_path / "x")]
    for rows in ("4", "4", "8"):
        assert capsys.readouterr().err == ""
        assert run_command(bench.main, [*line, "--rows", rows]) == 0
    assert "x has a result of other options (rows 4); it will be" in capsys.readouterr().err
    assert run_command(bench.main, [*line, "--rows", "2", "--dropout"]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("error: --dropout changes nothing")


def test_a_setting_of_the_command_line_replaces_the_recipes():
    recipe = ROOT / "experiments" / "evidence.py"
    arguments = ["--what", "train", "--json", "out", "--config", f"{recipe}:pretrain,gpu"]
    of_recipe, changed = (
        bench_step.settings_of(make_parser().parse_args([*arguments, *more])).raw["model"]
        for more in ((), ("--set", "d_model=384"))
    )
    assert changed == {**of_recipe, "d_model": 384} != of_recipe
    options, rest = make_parser().parse_known_args([*arguments, "--config.model.d_model=384"])
    options.overrides = rest
    assert bench_step.settings_of(options).raw["model"] == changed


def test_settings_without_a_recipe_are_refused(tmp_path, capsys):
    line = ["--what", "train", "--config.train.steps=5", "--json", str(tmp_path / "x")]
    assert run_command(bench.main, line) == 2
    assert "error: --config.train.steps=5 changes nothing without" in capsys.readouterr().err


def test_inference_is_of_the_recipes_network():
    """It timed BASE instead, and its report did not say so."""
    recipe = f"{ROOT / 'experiments' / 'quickstart.py'}:finetune"
    options = make_parser().parse_args(
        ["--what", "infer", "--json", "x", "--config", recipe, "--set", "dtype=bfloat16"]
    )
    model, execution, _ = bench_step.infer_config(options)
    of_recipe = load_config(recipe)
    assert model.d_model == model_config("small").d_model != model_config("base").d_model
    assert model.norm_order == of_recipe["model"]["norm_order"]
    assert (execution.dtype, of_recipe["execution"].get("dtype")) == ("bfloat16", None)


def of_recipe(*more: str):
    """The options of bench with the quickstart's fine-tuning."""
    recipe = f"{ROOT / 'experiments' / 'quickstart.py'}:finetune"
    line = ["--what", "train", "--json", "x", "--config", recipe, *more]
    options, options.overrides = make_parser().parse_known_args(line)
    return options


def test_the_head_has_the_symbols_of_the_recipe(tmp_path, capsys):
    """It had LibriSpeech's, whatever config.vocabulary.name was."""
    (tmp_path / "x.txt").write_text("a A\nbc B C\n")
    options = of_recipe(f"--config.vocabulary.name=pronunciations:{tmp_path}/x.txt")
    assert len(bench_step.infer_config(options).vocabulary) == 5 + 3
    settings = bench_step.settings_of(options)
    built = bench_step.build(settings)
    assert built.objective.num_classes == 5 + 3
    labels = bench_step.random_batch(settings, built.vocabulary).labels
    assert {*labels.ravel().tolist()} == {4, 5, 6, 7}
    assert "config.vocabulary" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("from_transcripts", "depends on the transcripts"),
        ("pronunciations:nowhere.txt", "cannot be read (nowhere.txt: "),
        ("runs/elsewhere", "cannot be read (vocabulary 'runs/elsewhere' is unknown"),
    ],
)
def test_usual_symbols_of_a_head_are_told(capsys, name, why):
    options = of_recipe(f"--config.vocabulary.name={name}", "--config.vocabulary.case=lower")
    built = bench_step.build(bench_step.settings_of(options))
    assert built.objective.num_classes == 32
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"note: config.vocabulary.name={name} {why}")
    assert line.endswith("; the usual 32 symbols stand for it in the head")


def test_batches_are_of_the_recipes_longest_rows(tmp_path):
    """They were of the default's, whatever the recipe."""
    recipe = f"{ROOT / 'experiments' / 'quickstart.py'}:pretrain"
    out = tmp_path / "x.json"
    line = ["--what", "data", "--config", recipe, "--repeats", "2", "--json", str(out)]
    assert run_command(bench.main, line) == 0
    assert json.loads(out.read_text())["shape"] == [8, 48_000]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["train", "infer"])
def test_model_benchmarks_write_speed_mfu_memory_and_compile_time(tmp_path, what, monkeypatch):
    import jax

    use_one_device(monkeypatch)
    monkeypatch.setattr(jax, "device_count", lambda *a: 1)
    out = tmp_path / "out.json"
    arguments = ["--what", what, "--json", str(out), "--family", "small", "--rows", "1"]
    bench.main([*arguments, "--seconds", "1", "--repeats", "2"])
    result = json.loads(out.read_text())
    assert result["frames_per_second"] > 0 and 0 < result["mfu"] < 1
    assert result["peak_memory_bytes"] > 0 and result["compile_seconds"] > 0


def test_sides_that_differ_give_an_error_and_no_ratio(tmp_path):
    same = {"loss": np.float32(2.0), "norm/a": np.float32(1.0), "norm/b": np.float32(0.0)}
    np.savez(tmp_path / "theirs.npz", **same)
    np.savez(tmp_path / "ours.npz", **{**same, "loss": np.float32(2.00001)})
    assert peer.compare(tmp_path, "float32")["loss"] == pytest.approx(5e-6, rel=0.1)
    for changed in ({"loss": np.float32(2.001)}, {"norm/a": np.float32(1.1)}):
        np.savez(tmp_path / "ours.npz", **{**same, **changed})
        with pytest.raises(InputError, match="no ratio is reported"):
            peer.compare(tmp_path, "float32")
    np.savez(tmp_path / "ours.npz", loss=same["loss"])
    with pytest.raises(InputError, match="only one side"):
        peer.compare(tmp_path, "float32")


def test_a_peer_without_torch_is_one_line_that_names_the_packages(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match="pip install torch transformers"):
        hugging_face.import_torch()


def test_a_peer_without_torchaudio_is_one_line_that_names_the_versions(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(InputError, match=r"pip install torch==2\.11\.0"):
        torchaudio_model.import_torchaudio()


def test_a_peer_is_not_compared_in_a_dtype_without_a_tolerance(tmp_path):
    out = str(tmp_path / "out.json")
    with pytest.raises(InputError, match="no tolerance for --dtype float16; use float32 or bfl"):
        bench.main(
            ["--what", "train", "--peer", "hf", "--dtype", "float16", "--json", out],
        )


def test_torchaudio_is_no_peer_in_training(tmp_path):
    out = str(tmp_path / "out.json")
    with pytest.raises(InputError, match="--peer torchaudio is for --what infer"):
        bench.main(["--what", "train", "--peer", "torchaudio", "--json", out])


def test_sides_take_turns_and_the_warm_up_is_not_counted():
    class Counted:
        def __init__(self, name):
            self.name = name

        def run(self):
            order.append(self.name)
            return float(len(order))

    order = []
    seconds = peer.alternate([Counted("a"), Counted("b")], warmup=1, repeats=2)
    assert order == ["a", "b"] * 3
    assert seconds == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


def test_hugging_faces_negatives_are_our_slots_as_frames(tiny):
    objective = Contrastive(tiny, 2, num_negatives=5)
    found = peer_task.contrastive_inputs(objective, np.array([1000, 800], np.int32), 1000)
    mask, frames = found["mask"], found["slots_frames"]
    for row, slot in zip(*np.nonzero(found["slots_valid"]), strict=True):
        theirs = found["flat_negatives"][row, frames[row, slot]]
        assert (theirs // mask.shape[1] == row).all()
        assert mask[row, theirs % mask.shape[1]].all()
        np.testing.assert_array_equal(
            theirs % mask.shape[1], frames[row, found["negatives"][row, slot]]
        )


@pytest.mark.parity
@pytest.mark.parametrize(
    "options",
    [["train"], ["train", "--objective", "ctc"], ["infer", "--lengths", "0.5,1"]],
    ids=lambda options: "-".join(options[::2]),
)
def test_hugging_faces_network_computes_the_same_and_is_timed_in_turns(
    tmp_path, options, monkeypatch
):
    monkeypatch.setenv("XLA_FLAGS", "")  # one device
    out = tmp_path / "out.json"
    rows = [] if "--lengths" in options else ["--rows", "1", "--seconds", "1"]
    small = ["--family", "small", *rows, "--repeats", "1"]
    bench.main(["--what", *options, "--peer", "hf", "--no-compile", "--json", str(out), *small])
    result = json.loads(out.read_text())
    assert max(result["differences"].values()) < 1e-3
    assert result["time_ratio_to_hf eager"] > 0
    for side in ("ours", "hf eager"):
        assert result["sides"][side]["tokens_per_second"] > 0
        assert result["sides"][side]["peak_memory_bytes"] > 0


@pytest.mark.parity
def test_torchaudios_network_computes_the_same_and_is_timed_in_turns(tmp_path, monkeypatch):
    try:
        torchaudio_model.import_torchaudio()
    except InputError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("XLA_FLAGS", "")
    out = tmp_path / "out.json"
    options = "--family small --lengths 0.5,1 --repeats 1 --no-compile --peer torchaudio"
    bench.main(["--what", "infer", *options.split(), "--json", str(out)])
    result = json.loads(out.read_text())
    assert result["differences"]["logits"] < 1e-3
    assert "torchaudio" in result["sides"]["torchaudio eager"]["versions"]


def test_the_gpu_benchmarks_commands_are_ones_that_bench_takes():
    script = ROOT / "launch" / "gpu_bench.sh"
    done = subprocess.run(["bash", script, "--dry-run"], capture_output=True, text=True, check=True)
    lines = [shlex.split(line) for line in done.stderr.splitlines() if "w2v2_jax.bench" in line]
    outputs = set()
    for _, python, dash_m, module, *options in lines:
        assert (python, dash_m, module) == ("python", "-m", "w2v2_jax.bench")
        arguments = make_parser().parse_args(options)
        check(arguments)
        if arguments.what == "train":
            bench_step.settings_of(arguments)
        outputs.add(arguments.json)
    assert len(outputs) == len(lines) > 20


class FakeSide:
    """Notes when a process would start and end."""

    log: ClassVar[list[str]] = []

    def __init__(self, name, module, folder, *options):
        self.name, self.facts = " ".join([name, *options]), {}
        self.log.append(f"start {self.name}")

    def wait_ready(self):
        self.log.append(f"ready {self.name}")

    def run(self):
        return 1.0 if self.name == "ours" else 2.0

    def end(self):
        self.log.append(f"end {self.name}")
        return 1

    def kill(self):
        pass


@pytest.mark.parametrize("together", [False, True])
def test_together_what_compiles_starts_before_the_check(monkeypatch, together):
    monkeypatch.setattr(FakeSide, "log", [])
    monkeypatch.setattr(peer, "Side", FakeSide)
    facts = dict(samples=16000, frames=49)
    monkeypatch.setattr(peer, "write_training", lambda folder, arguments: dict(facts))
    monkeypatch.setattr(peer, "compare", lambda folder, dtype: {"norms_below_floor": 0})
    options = ["--what", "train", "--json", "x", "--peer", "hf", "--repeats", "3"]
    arguments = make_parser().parse_args(options + ["--together"] * together)
    result = peer.bench_peer(arguments)
    assert list(result["sides"]) == ["ours", "hf eager", "hf torch.compile --compile"]
    assert result["time_ratio_to_hf eager"] == 0.5 and result["repeats"] == 3
    log = FakeSide.log
    checked = [log.index(f"end {name} --check") for name in ("hf", "ours")]
    compiling = [log.index(f"start {name}") for name in ("ours", "hf torch.compile --compile")]
    assert (max(compiling) < min(checked)) == together
    assert max(checked) < log.index("start hf eager")  # one framework's memory less
