"""Several cells of launch/evidence.sh at once: jobs, signals, failures and limits of time."""

import signal

import pytest

from tests.helpers.launchers import EVALUATED, PREPARED, WRITES_MODELS, launch, prepared, stopped


def test_the_evidence_runs_as_many_cells_at_once_as_there_are_jobs_and_never_more(project):
    prepared(project)
    # Each writes down how many are under way until a second one has begun, for no more than a
    # test's patience, and then for long enough that a third would be seen.
    together = (
        'case "$*" in *w2v2_jax.train*finetune*) mkdir -p begun under; touch {begun,under}/$$\n'
        '  for _ in $(seq 200); do [ "$(ls begun | wc -l)" -lt 2 ] || break; sleep 0.05; done\n'
        "  for _ in $(seq 10); do ls under | wc -l >>largest; sleep 0.05; done\n"
        "  rm under/$$ ;; esac\n"
    )
    cells = "scratch@10m@1 scratch@1h@2 scratch@10m@3 pretrain@10m@1 pretrain@1h@2"
    settings = {"CELLS": cells, "JOBS": "2", "SIZE": ",gpu", "STEPS_1h": "70", **PREPARED}
    run = dict(stubs={"python": together + EVALUATED}, environment=settings)
    status, output, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert status == 0, output + error
    assert max(map(int, (project / "largest").read_text().split())) == 2
    assert {path.stem for path in (project / "out/cells").iterdir()} == set(cells.split())
    recipes = sorted(
        call.split("evidence.py:")[1].split()[0] for call in calls if "--config" in call
    )
    assert [recipe.replace("\\", "") for recipe in recipes] == [
        *("finetune_10m,gpu",) * 3,
        *("finetune_1h,gpu,70",) * 2,
        "pretrain,gpu",
    ]
    trained = [call.split("--workdir ")[1].split()[0] for call in calls if "--workdir" in call]
    pretrained = trained.index("out/pretrain/pretrain")
    assert pretrained < min(trained.index(f"out/pretrain/{cell}") for cell in ("10m-1", "1h-2"))
    *_, again = launch(project, "evidence.sh", "--out", "out", **run)
    reports = ["w2v2_jax.report", "w2v2_jax.report.cells", "w2v2_jax.report.cells"]
    assert [call.split()[2] for call in again] == reports


# As a training does: on SIGTERM it takes a moment to save, and says so with its status.
SAVES = (
    "mkdir -p under saved\n"
    "  trap 'sleep 0.3; mv under/$$ saved; exit 3' TERM; touch under/$$\n"
    "  for _ in $(seq 400); do sleep 0.05; done; exit 1 ;; esac\n"
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_signal_stops_the_trainings_of_the_evidence_and_begins_no_other(project, number, jobs):
    cells = "scratch@10m@1 scratch@10m@2 scratch@10m@3 pretrain@10m@1"
    status, calls = stopped(
        project, number, body='case "$*" in *w2v2_jax.train*) ' + SAVES,
        settings={"CELLS": cells, "JOBS": str(jobs)}, begun=jobs,
    )  # fmt: skip
    assert status == 3
    assert not list(project.glob("under/*")) and len(list(project.glob("saved/*"))) == jobs
    assert calls.count("w2v2_jax") == jobs
    assert not list((project / "out/cells").iterdir())


@pytest.mark.parametrize(
    ("jobs", "what"), [(1, "w2v2_jax\\ pseudo"), (3, "w2v2_jax\\ pseudo"), (3, "out/pseudo/10m")]
)
def test_a_signal_stops_what_scratch_does_with_its_own_texts(project, jobs, what):
    status, calls = stopped(
        project, signal.SIGTERM, body=f'{WRITES_MODELS}\ncase "$*" in *{what}*) ' + SAVES,
        settings={"CELLS": "scratch@10m@1 pseudo@10m@1", "JOBS": str(jobs)}, begun=1,
    )  # fmt: skip
    assert status == 3
    assert not list(project.glob("under/*")) and len(list(project.glob("saved/*"))) == 1
    assert [path.stem for path in (project / "out/cells").iterdir()] == ["scratch@10m@1"]
    assert "w2v2_jax.report" not in calls


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_evidence_pretrains_nothing_for_cells_that_are_there(project, jobs):
    prepared(project)
    (project / "out/cells").mkdir(parents=True)
    (project / "out/cells/pretrain@10m@1.json").touch()
    settings = {"CELLS": "pretrain@10m@1 scratch@10m@1", "JOBS": jobs, **PREPARED}
    run = dict(stubs={"python": EVALUATED}, environment=settings)
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert status == 0, error
    (trained,) = [call for call in calls if "w2v2_jax.train" in call]
    assert "--workdir out/scratch/10m-1 " in trained


def test_a_size_of_the_evidence_without_its_comma_is_one_line(project):
    settings = {"SIZE": "filterbank", "CELLS": "scratch@10m@1", **PREPARED}
    run = dict(stubs={"python": EVALUATED}, environment=settings)
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert (status, calls, error.count("\n")) == (2, [], 1) and "use SIZE=,gpu" in error


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("JOBS", value) for value in ("0", "-1", "two", "1000")),
        *(("PRETRAIN_STEPS", "1.5"), ("SHORT_STEPS", "08"), ("STEPS_10m", "2k"), ("STEPS_1h", "0")),
        *(("PRETRAIN_SECONDS", value) for value in ("0", "10m")),
    ],
)
def test_a_number_for_the_evidence_that_is_none_is_one_line_and_status_2(project, name, value):
    settings = {"CELLS": "scratch@10m@1", name: value, **PREPARED}
    run = dict(stubs={"python": EVALUATED}, environment=settings)
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert (status, calls, error.count("\n")) == (2, [], 1)
    assert error.startswith(f"error: {name}='{value}' is not a whole number from 1")


@pytest.mark.parametrize("option", ["--out", "--source", "--in"])
def test_an_option_of_the_evidence_without_its_value_is_one_line_and_status_2(project, option):
    status, _, error, calls = launch(project, "evidence.sh", option, stubs={"python": ""})
    assert (status, calls, error.count("\n")) == (2, [], 1) and error.startswith("error: ")


def test_a_failed_cell_of_the_evidence_stops_no_other_and_is_told(project):
    prepared(project)
    broken = 'case "$*" in *pretrain/10m-1*) echo broken; exit 1 ;; esac\n' + EVALUATED
    settings = {"CELLS": "pretrain@10m@1 pretrain@10m@2 scratch@10m@1", "JOBS": "3", **PREPARED}
    run = dict(stubs={"python": broken}, environment=settings)
    status, output, _, calls = launch(project, "evidence.sh", "--out", "out", **run)
    done = {path.stem for path in (project / "out/cells").iterdir()}
    assert status == 1 and done == {"pretrain@10m@2", "scratch@10m@1"}
    assert "pretrain@10m@1: status 1" in output and "w2v2_jax.report.cells" in calls[-1]


SLOW = """case "$*" in *evidence.py:pretrain*)
  for item in {items}; do mkdir -p "out/pretrain/pretrain/checkpoints/$item"; done
  exec sleep 60 ;; esac
"""


def test_a_pretraining_of_the_evidence_that_takes_too_long_is_used_as_it_is(project):
    prepared(project)
    settings = {"CELLS": "pretrain@10m@1", "PRETRAIN_SECONDS": "1", **PREPARED}
    slow = SLOW.format(items="7/model 7/params") + EVALUATED
    run = dict(stubs={"python": slow}, environment=settings)
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert status == 0, error
    assert "--config.init_from=out/pretrain/pretrain" in calls[1]


@pytest.mark.parametrize(
    "items", ["", "7/params", "0/model 0/params", "7.orbax-checkpoint-tmp/{model,params}"]
)
def test_a_pretraining_of_the_evidence_stopped_before_a_checkpoint_is_an_error(project, items):
    prepared(project)
    settings = {"CELLS": "pretrain@10m@1", "PRETRAIN_SECONDS": "1", **PREPARED}
    slow = SLOW.format(items=items) + EVALUATED
    run = dict(stubs={"python": slow}, environment=settings)
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert (status, len(calls), error.count("\n")) == (1, 1, 1)
    assert error.startswith("error: no checkpoint in out/pretrain/pretrain")
    assert not (project / "out/pretrain/pretrained").exists()
