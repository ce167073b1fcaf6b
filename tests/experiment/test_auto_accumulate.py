"""train.accumulate="auto": the number is the compiler's, and changes nothing else."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tests.helpers.recipes import smoke
from w2v2_jax.errors import InputError
from w2v2_jax.experiment import auto_accumulate
from w2v2_jax.experiment import build as experiment
from w2v2_jax.experiment.auto_accumulate import ROOM, StepMemory
from w2v2_jax.experiment.recipe import override
from w2v2_jax.experiment.settings import read_settings

SHAPES = [(16, 16000), (8, 32000)]


@pytest.fixture(scope="module")
def built():
    """The toy recipe of BASE on one device, its number of microbatches still open."""
    config = smoke("pretrain_base.py")
    override(config, ["--config.train.accumulate=auto", "--config.data.row_multiple=8"])
    return experiment.build(read_settings(config), devices=jax.devices()[:1])


@pytest.fixture
def compiler(monkeypatch):
    """Puts 40 bytes and 800 a microbatch's share in the place of compiled steps; what it was
    asked."""
    asked = []

    def step_memory(experiment, batch, capacity):
        rows, samples = batch.waveforms.shape
        asked.append((experiment.accumulate, rows, samples))
        return StepMemory(rows, samples, 40 + 800 // experiment.accumulate, capacity)

    monkeypatch.setattr(auto_accumulate, "step_memory", step_memory)
    monkeypatch.setattr(auto_accumulate, "state_bytes", lambda experiment: 40)
    return asked


def choose(built, limit, shapes=SHAPES):
    batches = [built.objective.abstract_batch(*s) for s in auto_accumulate.largest(shapes)]
    return auto_accumulate.choose(built, batches, shapes, limit)


@pytest.mark.parametrize(("limit", "number"), [(1000, 1), (900, 2), (270, 4), (160, 8)])
def test_the_microbatches_are_as_few_as_fit_into_nine_tenths_of_the_memory(
    built, compiler, limit, number
):
    choice = choose(built, limit)
    assert choice.fits and choice.experiment.accumulate == number
    assert 40 + 800 // number <= ROOM * limit
    assert f"config.train.accumulate=auto: {number} microbatch" in choice.line


def test_a_step_that_fits_in_no_number_is_told_with_the_most(built, compiler):
    choice = choose(built, 50)
    assert not choice.fits and choice.experiment.accumulate == 8


def test_without_a_known_limit_nothing_is_compiled_and_one_line_says_so(built, compiler):
    choice = choose(built, None)
    assert (choice.experiment.accumulate, compiler) == (1, [])
    assert choice.line.startswith("config.train.accumulate=auto: 1 microbatch, for no limit of")
    assert "\n" not in choice.line


def test_the_limit_of_cpu_devices_is_not_known(built):
    assert auto_accumulate.memory_limit(built) is None


def test_the_limit_is_the_least_of_the_devices_and_hosts_and_unknown_where_one_is(monkeypatch):
    def card(limit):
        stats = None if limit is None else {"bytes_limit": limit}
        return SimpleNamespace(platform="gpu", memory_stats=lambda: stats)

    def limit_of(*limits):
        mesh = SimpleNamespace(local_devices=[card(limit) for limit in limits])
        return auto_accumulate.memory_limit(SimpleNamespace(mesh=mesh))

    assert limit_of(24 * 2**30, 40 * 2**30) == 24 * 2**30
    assert limit_of(24 * 2**30, None) is None
    monkeypatch.setattr(auto_accumulate.hosts, "largest", lambda n: max(n, -16 * 2**30))
    assert limit_of(24 * 2**30) == 16 * 2**30
    monkeypatch.setattr(auto_accumulate.hosts, "largest", lambda n: max(n, 0))
    assert limit_of(24 * 2**30) is None


def test_hosts_take_the_number_that_fits_on_the_least_of_them(built, compiler, monkeypatch):
    monkeypatch.setattr(auto_accumulate.hosts, "largest", lambda number: max(number, 250))
    assert choose(built, 1000).experiment.accumulate == 1
    monkeypatch.setattr(auto_accumulate.hosts, "largest", lambda number: 2 * number)
    assert choose(built, 1000).experiment.accumulate == 2


def test_the_longest_rows_are_compiled_and_others_where_they_are_of_more_audio(built, compiler):
    choose(built, 1000)
    assert compiler == [(1, 8, 32000)]
    choose(built, 1000, [(24, 16000), (8, 32000)])
    assert compiler[1:] == [(1, 8, 32000), (1, 24, 16000)]


def test_a_number_in_the_configuration_stays(built, compiler):
    given = built.with_accumulate(2)
    assert choose(given, 1) == (given, "", True) and compiler == []


def test_rows_that_the_mesh_does_not_divide_are_refused_before_anything_is_compiled(
    built, compiler
):
    with pytest.raises(InputError, match="does not divide the 9 rows"):
        choose(dataclasses.replace(built, objective=Odd()), 1000, [(9, 32000)])
    assert compiler == []


class Odd:
    """An objective whose groups are of two rows."""

    def row_multiple(self, samples):
        return 2

    def abstract_batch(self, rows, samples):
        return SimpleNamespace(waveforms=np.zeros((rows, 1)))


@pytest.mark.parametrize("value", ["half", "2.5", "0", "None"])
def test_a_number_of_microbatches_that_is_none_is_refused(value):
    config = smoke("pretrain_base.py")
    with pytest.raises(InputError, match=r"train.accumulate=.* must be"):
        override(config, [f"--config.train.accumulate={value}"])
        read_settings(config)


def test_a_step_is_not_compiled_before_the_number_is_chosen(built):
    with pytest.raises(ValueError, match="has to be chosen"):
        built.step_function(built.objective, built.objective.abstract_batch(8, 16000))


@pytest.mark.slow
def test_the_number_chosen_fits_by_the_compiler_and_the_next_smaller_does_not():
    config = smoke("pretrain_base.py")
    config["model"].update(conv_layers=((8, 4, 4), (8, 2, 2)), d_model=8, num_layers=1, ffn_dim=16)
    config["objective"].update(diversity_group_seconds=0.1, num_negatives=3)
    config["train"]["accumulate"] = "auto"
    built = experiment.build(read_settings(config), devices=jax.devices()[:1])
    batch = built.objective.abstract_batch(8, 1600)
    needed = {
        n: auto_accumulate.step_memory(built.with_accumulate(n), batch, None).needed for n in (1, 2)
    }
    assert needed[1] > needed[2]
    choice = choose(built, int(needed[2] / ROOM) + 1, [(8, 1600)])
    assert choice.fits and choice.experiment.accumulate == 2
    # What was compiled to choose is what trains.
    before = len(choice.experiment.compiled)
    choice.experiment.step_function(choice.experiment.objective.at(3), batch)
    assert before == len(choice.experiment.compiled) == 1
