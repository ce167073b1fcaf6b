"""A device without enough memory ends a run with one line and the setting that fits."""

import types

import jax
import numpy as np
import pytest

from tests.helpers.train_runs import PRETRAIN, options
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.experiment import auto_accumulate
from w2v2_jax.experiment.build import Experiment
from w2v2_jax.models.execution import Execution
from w2v2_jax.system.device_memory import GIB
from w2v2_jax.train import command as train
from w2v2_jax.train import memory

SHORTAGE = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 12884901888 bytes.\nmore"
REFUSAL = "RESOURCE_EXHAUSTED: Ran out of memory. Used 90.00G of 15.00G hbm. Exceeded by 75.00G"
SHAPES = [(48, 16000), (24, 32000)]


def stub(*, accumulate=1, devices=1, state=0, remat="none"):
    """An experiment that is never compiled; state: bytes of parameters and moments."""
    leaf = types.SimpleNamespace(
        shape=(state,), dtype=types.SimpleNamespace(itemsize=1),
        sharding=types.SimpleNamespace(shard_shape=lambda shape: shape),
    )  # fmt: skip
    return types.SimpleNamespace(
        accumulate=accumulate,
        abstract_state=[leaf],
        objective=types.SimpleNamespace(row_multiple=lambda samples: 1),
        mesh=types.SimpleNamespace(shape={"data": devices, "fsdp": 1}, size=devices),
        settings=types.SimpleNamespace(execution=Execution(remat=remat)),
    )


def told(context, text=SHORTAGE):
    with pytest.raises(InputError) as raised, context:
        raise jax.errors.JaxRuntimeError(text)
    line = str(raised.value)
    assert "\n" not in line and line.startswith("the device's memory does not suffice for ")
    return line


def test_an_update_is_told_with_its_rows_and_the_microbatches_that_divide_them():
    line = told(memory.updates(stub(accumulate=3), SHAPES, [(24, 32000), (48, 16000)]))
    assert "an update of 24 rows x 2 s in 3 microbatches" in line
    assert "--config.train.accumulate=6 makes" in line and "allocate 12884901888 bytes" in line


def test_the_microbatches_advised_are_as_many_as_the_compiler_lacked():
    line = told(memory.updates(stub(), SHAPES, []), REFUSAL)
    assert "--config.train.accumulate=6 " in line


@pytest.mark.parametrize(("remat", "shown"), [("none", True), ("full", False)])
def test_rows_that_divide_no_further_need_another_way(remat, shown):
    line = told(memory.updates(stub(accumulate=24, remat=remat), SHAPES, SHAPES))
    assert "cannot be divided further" in line and "data.batch_seconds" in line
    assert ("--config.execution.remat=full" in line) == shown


def test_parameters_that_fill_the_memory_are_to_be_sharded():
    experiment = stub(devices=8, state=12 * GIB)
    line = told(memory.updates(experiment, SHAPES, SHAPES), REFUSAL)
    assert "12.00 GiB of a device: --config.mesh.fsdp=8" in line and "accumulate" not in line
    assert "--config.mesh.fsdp=8" in told(memory.state(experiment))


def test_a_validation_is_told_with_half_its_batch():
    line = told(memory.validation(SHAPES))
    assert "a validation on batches of 48 rows x 1 s" in line
    assert "--config.data.valid_batch_seconds=24," in line


@pytest.mark.parametrize(
    "error", [jax.errors.JaxRuntimeError("INTERNAL: x"), ValueError(SHORTAGE), InputError("mine")]
)
def test_other_errors_pass_as_they_are(error):
    with pytest.raises(type(error)) as raised, memory.updates(stub(), SHAPES, SHAPES):
        raise error
    assert raised.value is error


@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize("accumulate", ["1", "auto"])
def test_a_run_whose_step_lacks_memory_ends_with_status_2_and_one_line(
    accumulate, corpus, tmp_path, capsys, monkeypatch
):
    def step(self, objective, batch):
        def run_out(state, batch, seed):
            raise jax.errors.JaxRuntimeError(SHORTAGE)

        return run_out

    def zeros(self):
        return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), self.abstract_state)

    monkeypatch.setattr(Experiment, "step_function", step)
    monkeypatch.setattr(Experiment, "init", zeros)
    arguments = options(corpus, tmp_path / "run", f"--config.train.accumulate={accumulate}")
    assert run_command(train.main, ["--config", PRETRAIN, *arguments]) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("error: the device's memory does not suffice for an update of ")
    assert "--config.train.accumulate=2" in error[-1]
    chosen = [line for line in error if line.startswith("config.train.accumulate=auto: 1 micro")]
    assert len(chosen) == (accumulate == "auto")


@pytest.mark.usefixtures("one_device")
def test_a_run_that_fits_in_no_number_of_microbatches_is_refused_before_it_trains(
    corpus, tmp_path, capsys, monkeypatch
):
    compiled = []

    def step_memory(experiment, batch, capacity):
        compiled.append(experiment.accumulate)
        return auto_accumulate.StepMemory(*batch.waveforms.shape, 10 * GIB, capacity)

    monkeypatch.setattr(auto_accumulate, "step_memory", step_memory)
    monkeypatch.setattr(auto_accumulate, "memory_limit", lambda experiment: GIB)
    arguments = options(corpus, tmp_path / "run", "--config.train.accumulate=auto")
    assert run_command(train.main, ["--config", PRETRAIN, *arguments]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "takes 10.00 GiB, 90% of a device's are 0.90 GiB" in line
    assert "cannot be divided further" in line and compiled[-1] > 1
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
