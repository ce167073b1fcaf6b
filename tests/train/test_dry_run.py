"""`train --dry-run`: what is said of a run, what is advised, and that nothing is written."""

import types

import pytest

from tests.helpers.corpora import write_split
from tests.helpers.interop_cases import ENCODER, random_checkpoint
from tests.helpers.train_runs import FINETUNE, PRETRAIN
from w2v2_jax.data.config import DataConfig
from w2v2_jax.data.feed import train_feed
from w2v2_jax.errors import InputError
from w2v2_jax.experiment import catalogue
from w2v2_jax.experiment.auto_accumulate import StepMemory
from w2v2_jax.interop import native
from w2v2_jax.models.execution import Execution
from w2v2_jax.objectives.diversity import group_rows
from w2v2_jax.system.device_memory import GIB
from w2v2_jax.train import command as train
from w2v2_jax.train import dry_run, fit, smaller_batches


def feed(short_clips, **changes):
    fields = dict(
        train=f"{short_clips}:train", mode="pad", bucket_seconds=(1.6,), batch_seconds=12.8,
        row_multiple=8, min_seconds=0.01, verify=False, reader="threads",
    )  # fmt: skip
    return train_feed(DataConfig(**(fields | changes)), None, seed=1)


class Stub(types.SimpleNamespace):
    """An experiment of so many devices along the rows; its steps are never compiled."""

    objective = types.SimpleNamespace(
        row_multiple=lambda samples: 1, needs_vocabulary=True, ctc_head=True
    )
    abstract_state = ()

    def check_shapes(self, shapes, accumulate, what):
        for rows, _ in shapes:
            if rows % (self.devices * accumulate):
                raise InputError("undivided")


def stub(devices=1, steps=1000, accumulate=1, init_from=""):
    settings = types.SimpleNamespace(
        seed=1, train=types.SimpleNamespace(steps=steps), execution=Execution(), init_from=init_from
    )
    mesh = types.SimpleNamespace(shape={"data": devices, "fsdp": 1}, size=devices)
    return Stub(devices=devices, settings=settings, mesh=mesh, accumulate=accumulate)


def hints(short_clips, experiment=None, **changes):
    one = feed(short_clips, **changes)
    return list(dry_run.advice(experiment or stub(), one, one.plan.summary()))


def test_a_recipe_that_fits_its_data_gets_no_advice(short_clips):
    assert hints(short_clips) == []


def test_fillers_are_told_with_the_batch_that_has_fewer(short_clips):
    (hint,) = hints(short_clips, row_multiple=64, batch_seconds=64 * 1.6)
    assert hint.startswith("34 rows of weight 0 for 30 utterances")
    assert "--config.data.batch_seconds=51.2 --config.data.row_multiple=32 leave 2 of 32" in hint


def test_the_batch_advised_divides_over_the_devices_and_microbatches(short_clips):
    """24 rows would be without fillers on one device, 3 devices take no power of two."""
    one = feed(short_clips, row_multiple=96, batch_seconds=96 * 1.6)
    smaller, _ = smaller_batches.fewest_fillers(stub(devices=3, accumulate=2), one)
    assert smaller.row_multiple % 6 == 0


def test_batches_of_whole_diversity_groups_keep_their_audio_per_row_multiple(short_clips):
    """A batch of the longest rows that the corpus fills is no multiple of a group's audio."""

    class InGroups(Stub):
        def check_shapes(self, shapes, accumulate, what):
            if any(rows % group_rows(8.0, samples) for rows, samples in shapes):
                raise InputError("undivided")

    crops = dict(mode="crop", bucket_seconds=(0.4,), min_seconds=0.0)
    one = feed(short_clips, **crops, row_multiple=64, batch_seconds=512.0)
    experiment = InGroups(**vars(stub()))
    smaller, _ = smaller_batches.fewest_fillers(experiment, one)
    assert smaller.batch_seconds == 8.0 * smaller.row_multiple < 512.0


def test_where_no_smaller_batch_divides_the_devices_it_is_said(short_clips):
    (hint,) = hints(short_clips, stub(devices=64), row_multiple=64, batch_seconds=64 * 1.6)
    assert "no smaller data.row_multiple divides" in hint


def test_a_batch_far_larger_than_the_corpus_is_advised_down_to_it(short_clips):
    """Crops, of which a batch has all its rows whatever the corpus has."""
    crops = dict(mode="crop", bucket_seconds=(0.4,), min_seconds=0.0)
    (hint,) = hints(short_clips, **crops, batch_seconds=800)
    assert hint.startswith("1977 rows of weight 0 for 23 utterances")
    assert "--config.data.batch_seconds=4.6 --config.data.row_multiple=4 leave 1 of 24" in hint


def test_a_compilation_for_every_few_updates_is_told(short_clips):
    lengths = (0.4, 0.8, 1.0, 1.2, 1.4, 1.6)
    changes = dict(bucket_seconds=lengths, row_multiple=1, batch_seconds=1.6)
    (hint,) = hints(short_clips, stub(steps=59), **changes)
    assert "6 row lengths need 6 compilations for a run of 59 updates" in hint
    assert hints(short_clips, stub(steps=60), **changes) == []


PRETRAINING = types.SimpleNamespace(needs_vocabulary=False, ctc_head=False)


def told(*, labelled, hours, batches=10, steps=1000, init_from=""):
    """The advice on the amount of audio for an epoch of so many hours and updates."""
    experiment = stub(steps=steps, init_from=init_from)
    if not labelled:
        experiment.objective = PRETRAINING
    summary = types.SimpleNamespace(hours=hours, batches=batches, utterances=30)
    return list(dry_run._amount_advice(experiment, summary))


def test_audio_that_is_too_little_to_pretrain_on_is_told_with_the_epochs():
    (hint,) = told(labelled=False, hours=0.11, batches=17, steps=1600)
    assert hint.startswith("0.11 h of audio, heard 94 times, are too little to pretrain a network")
    assert "--config.init_from=DIR" in hint and "continue_pretraining" in hint
    assert told(labelled=False, hours=0.11, init_from="facebook/wav2vec2-base") == []
    assert told(labelled=False, hours=2) == []


def test_more_epochs_than_any_published_pretraining_are_told_with_fewer_updates():
    (hint,) = told(labelled=False, hours=10, batches=20, steps=400_000)
    assert "the run hears its audio 20000 times" in hint and "--config.train.steps=14000" in hint
    assert told(labelled=False, hours=10, batches=20, steps=14_000) == []


def test_labels_are_heard_often_but_no_less_than_10_minutes_of_them():
    assert told(labelled=True, hours=0.17, batches=1, steps=30_000) == []
    (hint,) = told(labelled=True, hours=0.11)
    assert "0.11 h of transcribed audio, heard 100 times, are less than the 10 minutes" in hint


@pytest.mark.parametrize("labelled", [True, False])
def test_a_run_that_ends_within_its_first_epoch_is_told(labelled):
    (hint,) = told(labelled=labelled, hours=100, batches=900, steps=300)
    assert hint.startswith("the run ends after 0.33 of an epoch")
    assert "--config.train.steps=900" in hint


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(bucket_seconds=(1.46,)), "the lines above name the options"),
        (dict(), "(2 of 32) are few"),
        (dict(row_multiple=1, batch_seconds=16.0), "recipe and data fit each other"),
    ],
)
def test_no_advice_does_not_deny_what_is_left_out_or_filled_up(short_clips, changes, said):
    one = feed(short_clips, **changes)
    line = dry_run._no_advice(one.plan.summary(), list(fit.left_out(one, None)))
    assert line.startswith("none") and said in line


@pytest.mark.parametrize(
    ("count", "said"), [(34_567, "34567 parameters"), (94_400_000, "94.4 million parameters")]
)
def test_a_small_network_is_not_of_0_million_parameters(count, said):
    assert dry_run._parameters(count) == said


def advised(experiment, **memory):
    step = StepMemory(**memory)
    return list(dry_run._memory_advice(experiment, [(step.rows, step.samples)], step))


def test_a_step_that_does_not_fit_is_advised_the_microbatches_that_its_rows_divide_into():
    memory = dict(rows=48, samples=16000, needed=2 * GIB, capacity=GIB)
    (hint,) = advised(stub(devices=4, accumulate=3), **memory)
    assert "--config.train.accumulate=6" in hint
    assert advised(stub(), **memory | dict(needed=1)) == []


def test_microbatches_are_as_many_as_the_memory_that_is_lacking():
    (hint,) = advised(stub(), rows=48, samples=16000, needed=9 * GIB, capacity=GIB)
    assert "--config.train.accumulate=12" in hint


def test_a_step_whose_rows_divide_no_further_is_told_what_else_helps():
    (hint,) = advised(stub(devices=4), rows=4, samples=16000, needed=None, capacity=None)
    assert "cannot be divided further" in hint and "remat=full" in hint


def test_a_dry_run_needs_no_workdir_but_a_run_does():
    with pytest.raises(InputError, match="required: --workdir"):
        train.main(["--config", PRETRAIN])


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [PRETRAIN, FINETUNE])
def test_a_dry_run_says_everything_and_writes_nothing(
    recipe, short_clips, one_device, capsys, tmp_path
):
    before = sorted(short_clips.rglob("*"))
    train.main(
        ["--config", recipe, "--dry-run", "--workdir", str(tmp_path / "none"),
         f"--config.data.train={short_clips}:train", "--config.mesh.data=1"]
    )  # fmt: skip
    said = capsys.readouterr().out.splitlines()
    heard = ["heard"] if "pretrain" in recipe else []
    words = ["network", "updates", "epoch", *heard, "batch", "compiled programs", "memory"]
    words.append("advice")
    assert [word for word in words if any(line.startswith(f"{word}: ") for line in said)] == words
    assert not (tmp_path / "none").exists() and sorted(short_clips.rglob("*")) == before


@pytest.mark.parametrize("name", catalogue.names())
def test_a_recipe_without_its_data_says_which_option_names_another(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = ":".join([name, *catalogue.read(name).variants[:1]])
    spec = f"{name}:pretrain" if name == "quickstart" else spec
    with pytest.raises(InputError) as refused:
        train.main(["--config", spec, "--dry-run"])
    assert str(refused.value).endswith("--config.data.train=DIR:SPLIT names another corpus")


def test_a_workdir_that_is_a_file_is_refused_before_anything_is_built(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match=r"run is a file; name a folder"):
        train.main(["--config", PRETRAIN, "--workdir", str(tmp_path / "run")])


def test_validation_data_and_a_start_that_are_not_there_name_their_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_split(tmp_path / "data", "train", seconds=2)
    line = ["--config", "finetune:base_10h", "--dry-run", "--config.data.train=data:train"]
    with pytest.raises(InputError, match=r"'trian'; did you mean train\? It has.*=DIR:SPLIT"):
        train.main([*line[:3], "--config.data.train=data:trian"])
    with pytest.raises(InputError, match=r"no split 'dev';.*--config.data.valid= none$"):
        train.main([*line, "--config.data.valid=data:dev"])
    with pytest.raises(InputError, match=r"nothing does not exist;.*--config.init_from=DIR names"):
        train.main([*line, "--config.data.valid=", "--config.init_from=nothing"])


def line_with_a_start(folder, model, recipe):
    write_split(folder / "data", "train", texts=("A CAT",), seconds=2)
    native.write_initial(folder / "old", random_checkpoint(model, parts=ENCODER))
    data = (f"--config.data.train={folder}/data:train", "--config.data.valid=")
    start = f"--config.init_from={folder}/old"
    return ["--config", recipe, "--dry-run", *data, start]


def test_a_rehearsal_refuses_a_start_that_does_not_fit_as_the_run_would(tmp_path, tiny, one_device):
    line = line_with_a_start(tmp_path, tiny, "evidence:finetune_10m")
    with pytest.raises(InputError, match=r"config.model has d_model=192, .* but .*old has d_mod"):
        train.main(line)
    line += [f"--config.model.{x}={getattr(tiny, x)}" for x in ("d_model", "num_layers", "ffn_dim")]
    with pytest.raises(InputError, match=r"config.model.num_heads=4, but .*old has 2"):
        train.main(line)
    same = ["--config.mesh.data=1", f"--config.model.num_heads={tiny.num_heads}"]
    with pytest.raises(InputError, match=r"old has encoder/.*for which the model has no place"):
        train.main([*line, *same, f"--config.model.norm_order={tiny.norm_order}"])


@pytest.mark.slow
def test_a_rehearsal_says_what_is_taken_from_a_start(tmp_path, tiny, capsys):
    rows = ["--config.data.bucket_seconds=(2.0,)", "--config.data.batch_seconds=4"]
    train.main([*line_with_a_start(tmp_path, tiny, "finetune:base_10m"), *rows])
    said = capsys.readouterr()
    assert "started from" in said.err and "initialised: head/bias, head/kernel" in said.err
