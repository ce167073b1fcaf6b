"""The help of every script, and values that are refused before anything is installed or run."""

import os
import subprocess

import pytest

from tests.helpers.launchers import PREPARED, launch
from tests.helpers.places import ROOT

SCRIPTS = (
    "aot_table",
    "evidence",
    "gke_jobset",
    "gpu_bench",
    "gpu_host",
    "quickstart",
    "test",
    "tpu_pod",
)


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_help_is_the_comment_at_the_head_and_nothing_is_installed_or_run(project, name, option):
    (project / "launch" / "env.sh").write_text("exit 9\n")
    stubs = dict.fromkeys(("python", "gcloud", "kubectl"), "exit 9")
    status, output, error, calls = launch(project, f"{name}.sh", option, stubs=stubs)
    assert (status, error, calls) == (0, "", [])
    head, _, _ = (ROOT / "launch" / f"{name}.sh").read_text().partition("\nset ")
    lines = head.split("\n")[1:]
    assert output == "".join(f"{line[1:].removeprefix(' ')}\n" for line in lines)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("gpu_bench", ("--out", "--dry-run")), ("gpu_bench", ("--minutes",)),
        ("evidence", ("--out", "--source", "x")), ("quickstart", ("--source", "--seed", "2")),
    ],
)  # fmt: skip
def test_an_option_that_lacks_its_value_is_one_line_before_anything_runs(project, name, arguments):
    """The next option is none: `--out --dry-run` measured for forty minutes."""
    (project / "launch" / "env.sh").write_text("exit 9\n")
    done = launch(project, f"{name}.sh", *arguments, stubs={"python": "exit 9"})
    assert done == (2, "", f"error: {arguments[0]} needs a value\n", [])


@pytest.mark.parametrize("seed", ["x", "1.5", "-1", "007"])
def test_a_seed_of_the_quickstart_that_is_no_number_is_one_line(project, seed):
    (project / "launch" / "env.sh").write_text("exit 9\n")
    status, _, error, calls = launch(project, "quickstart.sh", "--seed", seed, stubs={})
    assert (status, error.count("\n"), calls) == (2, 1, []) and f"--seed '{seed}'" in error


@pytest.mark.parametrize("minutes", ["0", "45", "1h"])
def test_minutes_that_the_quickstart_has_no_recipe_for_are_one_line(project, minutes):
    (project / "launch" / "env.sh").write_text("exit 9\n")
    status, _, error, calls = launch(project, "quickstart.sh", "--minutes", minutes, stubs={})
    assert (status, calls) == (2, [])
    assert error == f"error: --minutes '{minutes}' is neither 20 nor 60\n"


@pytest.mark.parametrize("minutes", ["0", "1.5", "soon", "00010"])
def test_minutes_of_the_gpu_benchmark_that_are_no_number_are_one_line(project, minutes):
    (project / "launch" / "env.sh").write_text("exit 9\n")
    status, _, error, calls = launch(project, "gpu_bench.sh", "--minutes", minutes, stubs={})
    assert (status, error.count("\n"), calls) == (2, 1, []) and f"--minutes '{minutes}'" in error


def test_the_gpu_benchmark_stops_after_its_minutes_and_goes_on_where_it_was(project):
    """A measurement that is there is not made again; those after the limit are named."""
    limited = 'case "$*" in *base-update*) shift 2 && exec "$@" ;; *) exit 124 ;; esac'
    (project / "b").mkdir()
    (project / "b" / "base-hf.json").touch()
    line = ("gpu_bench.sh", "--minutes", "3", "--out", "b")
    stubs = {"python": "", "pip": "", "timeout": limited}
    status, _, error, calls = launch(project, *line, stubs=stubs)
    assert status == 0, error
    begun = [call for call in calls if call.startswith("timeout ")]
    assert len(begun) > 20 and not any("base-hf" in call for call in begun)
    assert [call.split()[8] for call in calls if call.startswith("python -m w2v2_jax.bench")] == [
        "b/base-update.json"
    ]
    assert "left out after 3 minutes: large-hf base-attention_formulation-plain " in error


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("folder", [".", "launch"])
def test_the_help_of_a_slurm_job_is_the_comment_at_its_head(project, option, folder):
    done = subprocess.run(
        ["bash", os.path.relpath(project / "launch/slurm.sbatch", project / folder), option],
        cwd=project / folder, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("A SLURM job on GPU hosts") and "SBATCH" not in done.stdout
    assert done.stdout.endswith("tensorboard --logdir on the workdir\n")


def test_help_is_found_among_other_options(project):
    status, output, _, calls = launch(
        project, "evidence.sh", "--out", "x", "--help", stubs={"python": "exit 9"}
    )
    assert status == 0 and calls == [] and "--out DIR" in output


@pytest.mark.parametrize(
    "cell", ["base", "bass@v5p:2x2x2", "@v5p:2x2x2", "base@", "base@v4:2x2x2,large@v4:2x2x2",
             "base@v5e:16x16+0", "base@v5e:16x16+", "*@v4:2x2x2"]
)  # fmt: skip
def test_a_cell_that_is_none_is_one_line_before_anything_is_installed(project, cell):
    (project / "launch" / "env.sh").write_text("exit 9\n")
    cells = {"CELLS": f"base@v5e:4x4 {cell}"}
    status, output, error, calls = launch(
        project, "aot_table.sh", stubs={"python": "exit 9"}, environment=cells
    )
    assert (status, output, calls, error.count("\n")) == (2, "", [], 1)
    assert error.startswith(f"error: CELLS has '{cell}'; a cell is RECIPE@TOPOLOGY[+SLICES]")
    assert "base ema_teacher large" in error


@pytest.mark.parametrize("arguments", [["--out", "x"], ["-n"], ["a", "b"]])
def test_the_table_takes_one_folder_and_says_so_before_anything_is_installed(project, arguments):
    status, output, error, calls = launch(project, "aot_table.sh", *arguments, stubs={"python": ""})
    assert (status, output, calls, error.count("\n")) == (2, "", [], 1)
    assert error.startswith("error: aot_table.sh takes one folder")


@pytest.mark.parametrize("script", ["aot_table.sh", "evidence.sh"])
def test_cells_of_nothing_but_spaces_are_one_line_that_names_them(project, script):
    settings = {"CELLS": " \n ", **PREPARED}
    status, output, error, calls = launch(
        project, script, stubs={"python": ""}, environment=settings
    )
    assert (status, output, calls, error.count("\n")) == (2, "", [], 1)
    assert error.startswith("error: CELLS names no cell")


def test_the_cells_that_are_named_are_compiled_on_one_line_or_several(project):
    cells = {"CELLS": "base@v5e:4x4\n  large@v5e:16x16+2"}
    _, _, _, calls = launch(project, "aot_table.sh", "out", stubs={"python": ""}, environment=cells)
    compiled = [call for call in calls if "w2v2_jax.aot " in call]
    assert len(compiled) == 2 and "--topology v5e:4x4 --slices 1" in compiled[0]
    assert "pretrain_large" in compiled[1] and "--topology v5e:16x16 --slices 2" in compiled[1]
