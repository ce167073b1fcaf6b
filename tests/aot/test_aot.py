"""The aot command: what it writes, what it refuses, and what it says does not fit."""

import dataclasses
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from w2v2_jax import partition
from w2v2_jax.aot import chips, render, report, step, topology
from w2v2_jax.aot import command as aot
from w2v2_jax.aot.topology import Target
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.experiment import auto_accumulate
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.interop import load
from w2v2_jax.models import flops, position
from w2v2_jax.models.execution import Execution
from w2v2_jax.system import device_memory

TINY = dict(
    family="base", conv_layers=((8, 4, 4), (8, 2, 2)), d_model=8, num_layers=1, num_heads=2,
    ffn_dim=16, position_kernel=4, position_groups=2, entries=4, code_dim=4, final_dim=4,
)  # fmt: skip


def settings(**changes):
    raw = dict(
        model=dict(TINY),
        objective=dict(name="contrastive", diversity_group_seconds=0.1, num_negatives=3),
        schedule=dict(name="constant", peak=1e-3),
        data=dict(train="none", mode="crop", bucket_seconds=(0.05, 0.1), batch_seconds=0.8,
                  row_multiple=8),
        train=dict(steps=900),
    )  # fmt: skip
    for section, values in changes.items():
        raw[section].update(values)
    return raw


@pytest.fixture(scope="module")
def here():
    return Target(jax.devices()[:1], 1, "cpu")


compile_step = step.compile_step  # the command's tests put the outcome in its place


@pytest.fixture(scope="module")
def outcome(here):
    """The tiny pretraining step, compiled once for one CPU device with two microbatches."""
    return compile_step(step.build(settings(), here, None), 4)


def test_rows_make_microbatches_that_keep_the_recipes_batch(here):
    read = read_settings(settings())
    assert step.shape_of(read, 1, None) == step.Shape(8, 1600, 1, 8)
    assert step.shape_of(read, 1, 2) == step.Shape(8, 1600, 4, 8)
    assert step.shape_of(read, 4, 4) == step.Shape(16, 1600, 1, 8)  # twice the recipe's


def test_auto_takes_the_microbatches_that_fit_into_the_chip(here, monkeypatch):
    def step_memory(experiment, batch, capacity):
        rows, samples = batch.waveforms.shape
        needed = (4 << 30) // experiment.accumulate
        return auto_accumulate.StepMemory(rows, samples, needed, capacity)

    monkeypatch.setattr(auto_accumulate, "step_memory", step_memory)
    built = step.build(settings(train={"accumulate": "auto"}), here, None)
    choice = step.with_microbatches(built, 2 << 30)
    assert choice.fits and choice.experiment.accumulate == 4
    assert "auto: 4 microbatches; an update of 8 rows x 0.1 s takes 1.00 GiB" in choice.line
    assert step.shape_of(choice.experiment.settings, 1, None).accumulate == 4
    assert step.shape_of(built.settings, 1, 4).accumulate == 2  # --rows decides


def test_the_limit_of_a_chip_elsewhere_is_its_makers_and_of_cpus_none(here):
    chip = SimpleNamespace(device_kind="TPU v5 lite", platform="tpu")
    assert report.limit_of(Target([chip], 1, "tpu")) == 16 * 2**30
    card = SimpleNamespace(
        device_kind="NVIDIA A100", platform="gpu", memory_stats=lambda: {"bytes_limit": 5}
    )
    assert report.limit_of(Target([card], 1, "gpu", present=True)) == 5
    assert report.limit_of(here) is None


def test_the_report_says_how_auto_chose():
    shown = {
        "config": "c", "topology": "v5e:1x1", "slices": 1, "devices": 1, "device": "TPU",
        "mesh": {"data": 1}, "parameters": 1, "rows": 8, "recipe_rows": 8, "rows_per_shard": 2,
        "samples": 16000, "accumulate": 4, "remat": "none", "hbm": {}, "capacity": None,
        "fits": True, "accumulate_auto": "config.train.accumulate=auto: 4 microbatches",
    }  # fmt: skip
    assert "auto: 4 microbatches" in "\n".join(render.lines(shown))
    assert "auto" not in "\n".join(render.lines(shown | {"accumulate_auto": ""}))


@pytest.mark.slow
def test_the_report_holds_what_the_command_promises(outcome, here):
    found = report.examine(outcome, here)
    state = outcome.built.abstract_state
    assert found["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(state.params))
    bytes_of_state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    batch = 8 * (1600 + 2) * 4
    assert found["hbm"]["arguments"] == pytest.approx(bytes_of_state + batch, rel=0.02)
    assert found["hbm"]["aliased"] == pytest.approx(bytes_of_state, rel=0.02)
    assert found["fits"] and found["accumulate"] == 2 and found["unknown_loops"] == []
    model = 8 * flops.train_flops(outcome.built.model, 1600)
    assert found["flops"]["model"] == model
    assert found["flops"]["compiled"] > 0.8 * model  # both microbatches, not one
    assert found["collectives"] == [] and found["time"]["step"] is None
    assert len(found["top"]) == report.TOP
    json.dumps(found)


@pytest.mark.slow
def test_on_a_known_chip_time_speed_and_days_follow(outcome, here, monkeypatch):
    chip = chips.Chip("cpu", chips.GIB, 1e9, 1e9, 1e9, 1e9, 1e9, 0.0)
    monkeypatch.setattr(report, "chip_of", lambda kind: chip)
    found = report.examine(outcome, here)
    seconds = found["time"]["step"]
    assert seconds == found["time"]["roofline"] >= found["flops"]["compiled"] / 1e9
    assert found["mfu"] == pytest.approx(found["flops"]["model"] / seconds / 1e9)
    assert found["audio_hours_per_hour"] == pytest.approx(0.8 / seconds)
    assert found["days_to_finish"] == pytest.approx(900 * seconds / 86400)
    assert "MFU" in "\n".join(render.lines({**found, "config": "c", "topology": "t"}))


@pytest.fixture
def command(request, monkeypatch, tmp_path):
    """Runs the command on the tiny recipe with the step compiled above."""
    config = tmp_path / "tiny.py"
    config.write_text(f"def get_config(arg):\n    return {settings()!r}\n")
    monkeypatch.setattr(step, "compile_step", lambda *_: request.getfixturevalue("outcome"))
    monkeypatch.setattr(topology.jax, "devices", lambda *kind: jax.local_devices()[:1])
    out = tmp_path / "out" / "report.json"

    def run(*arguments, topology="cpu"):
        base = ["--config", str(config), "--topology", topology, "--json", str(out)]
        return run_command(aot.main, [*base, *arguments]), out

    return run


def test_the_head_has_the_symbols_of_the_recipe_or_says_that_it_has_others(here, tmp_path, capsys):
    (tmp_path / "x.txt").write_text("a A\nbc B C\n")
    raw = settings(data={"mode": "pad"}) | {"objective": {"name": "ctc"}}
    raw["vocabulary"] = {"name": f"pronunciations:{tmp_path}/x.txt"}
    symbols = aot.told_symbols(raw)
    (tmp_path / "x.txt").unlink()  # what was read is not read again for every compilation
    assert step.build(raw, here, None, symbols).objective.num_classes == 5 + 3
    assert capsys.readouterr().err == ""
    raw["vocabulary"] = {"name": "phonemes"}
    aot.told_symbols(raw)
    assert step.build(raw, here, None).objective.num_classes == 32
    told = "note: config.vocabulary.name=phonemes depends on the transcripts; the usual 32 symbols"
    assert capsys.readouterr().err.startswith(told)


@pytest.mark.slow
def test_the_command_writes_the_report_and_prints_the_verdict(command, capsys):
    status, out = command("--rows", "4", "--config.train.steps=7")
    written = json.loads(out.read_text())
    assert status == 0 and written["fits"] and written["overrides"] == ["--config.train.steps=7"]
    shown = capsys.readouterr().out
    assert "fits" in shown and f"wrote {out}" in shown


@pytest.mark.slow
def test_a_step_that_does_not_fit_says_so_writes_its_report_and_exits_2(
    command, capsys, monkeypatch
):
    monkeypatch.setattr(device_memory, "host_memory", lambda: 10_000)
    status, out = command()
    assert status == 2 and not json.loads(out.read_text())["fits"]
    error = capsys.readouterr().err
    assert "does not fit" in error and "try " in error and error.count("\n") == 1


def test_the_compilers_refusal_is_read():
    message = (
        "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space "
        "hbm. Used 30.50G of 15.75G hbm. Exceeded hbm capacity by 14.75G."
    )
    assert device_memory.memory_shortage(message) == (round(30.5 * 2**30), round(15.75 * 2**30))
    of_temporaries = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
        "temporaries (140.21G) exceeds available HBM (15.75G)."
    )
    assert device_memory.memory_shortage(of_temporaries) == (
        round(140.21 * 2**30),
        round(15.75 * 2**30),
    )
    assert device_memory.memory_shortage("INVALID_ARGUMENT: something else") is None


@pytest.mark.slow
def test_a_refused_compilation_does_not_fit_and_suggests(outcome, here):
    built = outcome.built
    refused = outcome._replace(compiled=None, needed=30 * 2**30, capacity=15 * 2**30)
    found = report.examine(refused, here)
    assert not found["fits"] and "scan_layers=True" in found["suggestion"]
    execution = Execution(scan_layers=True, remat="full")
    settings = dataclasses.replace(built.settings, execution=execution)
    scanned = dataclasses.replace(built, settings=settings)
    found = report.examine(refused._replace(built=scanned), here)
    assert found["suggestion"].startswith("--rows 2 ")


@pytest.mark.parametrize(
    ("platform", "auto", "given", "first"),
    [("gpu", "", False, "--config.train.accumulate=auto"), ("gpu", "1 microbatch", False, "scan"),
     ("tpu", "", True, "scan"), ("cpu", "", False, "scan")],
)  # fmt: skip
def test_a_step_that_does_not_fit_is_first_divided(platform, auto, given, first):
    device = SimpleNamespace(platform=platform)
    built = SimpleNamespace(
        mesh=SimpleNamespace(devices=np.array([device])),
        objective=SimpleNamespace(row_multiple=lambda samples: 2),
    )
    failed = SimpleNamespace(
        built=built, shape=SimpleNamespace(samples=1), auto=auto, rows_given=given
    )
    shown = {"mesh": {"data": 1, "fsdp": 1, "tensor": 1}, "capacity": 10**9, "parameters": 10**6,
             "rows_per_shard": 8, "scan_layers": False, "remat": "none"}  # fmt: skip
    assert first in report.suggestion(failed, shown)


def test_a_batch_of_shorter_rows_with_more_audio_is_named(here):
    changed = settings(data={"bucket_seconds": (0.025, 0.1), "mode": "pad", "batch_seconds": 1.2})
    changed["objective"] = {"name": "ctc"}
    read = read_settings(changed)
    assert step.recipe_shapes(read) == [(48, 400), (8, 1600)]
    failed = SimpleNamespace(built=SimpleNamespace(settings=read), auto="", rows_given=False)
    assert report.fuller_batch(failed) == [48, 400]
    for seen in ({"auto": "1 microbatch"}, {"rows_given": True}):
        assert report.fuller_batch(SimpleNamespace(**{**vars(failed), **seen})) is None


@pytest.mark.parametrize("name", ["v9:2x2", "v5p", "v5p:16x16", "v5e:3x5", "tpu", "h100", "h100:3"])
def test_a_topology_that_does_not_exist_gives_the_list(name, command, capsys):
    status, out = command(topology=name)
    error = capsys.readouterr().err
    assert status == 2 and not out.exists() and error.count("\n") == 1
    assert f"{name} does not exist" in error
    assert all(
        word in error for word in ("v4:{2x2x1", "v5e:{1x1", "v5p:{", "v6e:{", "l4:{1,", "cpu")
    )


def test_without_the_files_of_a_start_its_network_can_be_named(monkeypatch):
    def load_start(path):
        raise InputError(f"{path} is no folder here")

    monkeypatch.setattr(load, "load_start", load_start)
    raw = {"model": {"family": "inherit"}, "init_from": "runs/base"}
    with pytest.raises(InputError, match=r"base is no folder here; .* --config.model.family=base"):
        aot.inherited_model(raw)
    assert aot.inherited_model({"model": {"family": "base"}, "init_from": ""}) is None


def test_rows_of_a_sweep_are_refused(capsys):
    options = ["--config", "pretrain_base:smoke", "--topology", "cpu", "--json", "out.json"]
    assert run_command(aot.main, [*options, "--sweep", "--rows", "3"]) == 2
    assert "--rows changes nothing with --sweep" in capsys.readouterr().err


def test_without_libtpu_one_line_names_the_package(monkeypatch):
    monkeypatch.setattr(topology.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs libtpu; pip install 'jax\[tpu\]=="):
        topology.target("v5p:2x2x2")


def test_a_sweep_raises_rows_until_they_do_not_fit_and_takes_the_fastest(monkeypatch, capsys):
    speeds = {("none", 2): 5.0, ("dots", 2): 4.0, ("dots", 4): 7.0, ("full", 2): 3.0,
              ("attention", 2): 3.5, ("full", 4): 6.0}  # fmt: skip

    def one(arguments, raw, where, inherited, rows):
        key = (raw["execution"]["remat"], rows)
        return {"remat": key[0], "rows_per_shard": rows, "fits": key in speeds, "rows": rows,
                "hbm": {"total": 1}, "frames_per_second_per_chip": speeds.get(key)}  # fmt: skip

    built = SimpleNamespace(
        objective=SimpleNamespace(row_multiple=lambda samples: 2),
        settings=read_settings(settings()),
        mesh=SimpleNamespace(shape={"data": 1, "fsdp": 1}),
    )
    monkeypatch.setattr(aot, "one", one)
    monkeypatch.setattr(step, "build", lambda *a: built)
    best = aot.sweep(None, settings(), None, aot.Start(None, None))
    assert (best["remat"], best["rows_per_shard"]) == ("dots", 4)
    tried = [(row["remat"], row["rows_per_shard"], row["fits"]) for row in best["sweep"]]
    assert ("none", 4, False) in tried and ("none", 8, False) not in tried and len(tried) == 10
    assert capsys.readouterr().out.count("does not fit") == 4


class Chip(SimpleNamespace):
    """A TPU chip as far as laying out a mesh needs one."""

    def __init__(self, device_kind="TPU v5 lite", **values):
        super().__init__(platform="tpu", device_kind=device_kind, core_on_chip=0, num_cores=1,
                         **values)  # fmt: skip


def slices(count: int):
    return [
        Chip(slice_index=s, coords=(x, y, 0), id=16 * s + 4 * y + x, process_index=s)
        for s in range(count) for y in range(4) for x in range(4)
    ]  # fmt: skip


def test_only_the_data_axis_crosses_slices():
    array = partition.arrange((8, 2, 2), slices(2))
    index = np.vectorize(lambda chip: chip.slice_index)(array)
    assert array.shape == (8, 2, 2) and len({chip.id for chip in array.flat}) == 32
    assert (index[:4] == 0).all() and (index[4:] == 1).all()


@pytest.mark.parametrize("shape", [(4, 8, 2), (64, 1, 1), (2, 2, 16)])
def test_a_cube_of_chips_takes_any_mesh_of_its_size(shape):
    cube = [
        Chip(device_kind="TPU v5", coords=(x, y, z), id=16 * z + 4 * y + x, process_index=z)
        for z in range(4) for y in range(4) for x in range(4)
    ]  # fmt: skip
    array = partition.arrange(shape, cube)
    assert array.shape == shape and len({chip.id for chip in array.flat}) == 64


def test_data_that_the_slices_do_not_divide_is_an_input_error():
    with pytest.raises(InputError, match=r"mesh\.data=1 is not a multiple of the 2 slices"):
        partition.arrange((1, 32, 1), slices(2))


def test_the_formulation_follows_the_mesh_not_the_machine_that_compiles(monkeypatch):
    assert position.choose("auto") is position.toeplitz_backward
    for kind, formulation in (
        ("TPU v5p", position.paired_groups_conv),
        ("TPU v6 lite", position.blocked_backward),
    ):
        device = SimpleNamespace(platform="tpu", device_kind=kind)
        mesh = SimpleNamespace(abstract_device=device)
        monkeypatch.setattr(position.jax.sharding, "get_abstract_mesh", lambda mesh=mesh: mesh)
        assert position.choose("auto") is formulation
