"""Which Python the launchers use, and the environment that they make."""

import shutil
import subprocess

import pytest

from tests.helpers.launchers import POD, SET, TRAIN, program
from tests.helpers.places import ROOT


def sourced(project, python, script, **environment):
    """A shell that sources env.sh with W2V2_VENV=0; python: a program's text for PATH."""
    shutil.copy(ROOT / "launch" / "env.sh", project / "launch")
    program(project / "bin" / "python", python)
    return subprocess.run(
        ["bash", "-c", f"source {project}/launch/env.sh && {script}"],
        env={
            "PATH": f"{project / 'bin'}:/usr/bin:/bin",
            **{"W2V2_VENV": "0", "W2V2_JAX": "cpu", "HOME": str(project)},
            **environment,
        },
        cwd=project,
        capture_output=True,
        text=True,
    )


def test_the_python_on_the_path_gets_the_same_settings_and_nothing_is_installed(project):
    script = "pwd && echo $TF_CPP_MIN_LOG_LEVEL $GLIBC_TUNABLES && command -v python"
    done = sourced(project, "#!/bin/sh\n", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        str(project),
        "3 glibc.malloc.hugetlb=1",
        str(project / "bin" / "python"),
    ]
    assert not (project / ".venv").exists()


def test_a_python_on_the_path_that_lacks_jax_or_the_package_is_one_line_and_status_2(project):
    done = sourced(project, "#!/bin/sh\necho a traceback >&2; exit 1\n", "echo started")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: W2V2_VENV=0") and f"{project}/bin/python" in done.stderr


def python_of(version):
    """A stub that answers env.sh's questions as this Python would."""
    return f'#!/bin/sh\ncase "$2" in *print*) echo {version};; esac\n'


def test_python_3_12_comes_first_and_w2v2_python_before_it(project):
    for version in ("3.11", "3.12", "3.13"):
        program(project / "bin" / f"python{version}", python_of(version))
    for environment, name in (({}, "python3.12"), ({"W2V2_PYTHON": "python3.11"}, "python3.11")):
        done = sourced(project, "#!/bin/sh\n", "find_python", **environment)
        assert (done.returncode, done.stdout) == (0, f"{name}\n")
    without = '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\n'
    program(project / "bin" / "python3.12", without)  # as on Debian without python3.12-venv
    assert sourced(project, "#!/bin/sh\n", "find_python").stdout == "python3.11\n"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("python3.12", ".venv has Python 3.11, W2V2_PYTHON=python3.12 is 3.12; remove .venv"),
        ("python9", "is needed, which python9 is not; set W2V2_PYTHON to one"),
    ],
)
def test_a_python_that_is_not_there_or_not_the_environments_is_one_line(project, asked, message):
    program(project / ".venv" / "bin" / "python", python_of("3.11"))
    program(project / "bin" / "python3.12", python_of("3.12"))
    environment = {"W2V2_PYTHON": asked, "W2V2_VENV": "1"}
    for name in ("requirements.txt", "setup.cfg"):
        (project / name).write_text("")
    done = sourced(project, "#!/bin/sh\n", "echo started", **environment)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: ") and message in done.stderr


def test_w2v2_python_may_lie_in_a_folder_with_a_space(project):
    program(project / "my own" / "python", python_of("3.11"))
    asked = str(project / "my own" / "python")
    done = sourced(project, "#!/bin/sh\n", "find_python", W2V2_PYTHON=asked)
    assert (done.returncode, done.stdout) == (0, f"{asked}\n")


def test_an_environment_whose_making_was_interrupted_is_made_again(project):
    without = '#!/bin/sh\ncase "$2" in *"import pip"*) exit 1 ;; *print*) echo 3.11 ;; esac\n'
    program(project / ".venv" / "bin" / "python", without)
    make = f'#!/bin/sh\necho "$@" >>{project}/made\n'
    program(project / "bin" / "python3.12", make)
    for name in ("requirements.txt", "setup.cfg"):
        (project / name).write_text("")
    done = sourced(project, "#!/bin/sh\n", "true", W2V2_VENV="1")
    assert done.returncode == 0, done.stderr
    assert (project / "made").read_text().splitlines()[-1] == "-m venv .venv"


@pytest.mark.parametrize("script", ["gpu_host.sh", "slurm.sbatch", "tpu_pod.sh", "gke_jobset.sh"])
def test_a_launcher_that_is_called_elsewhere_says_where_relative_paths_start(project, script):
    options = {"tpu_pod.sh": POD, "gke_jobset.sh": SET}.get(script, TRAIN)
    for folder, told in ((project, 0), (project / "launch", 1)):
        done = subprocess.run(
            ["bash", str(project / "launch" / script), *options, "--dry-run"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr.count(f"note: relative paths start in {project}\n") == told
