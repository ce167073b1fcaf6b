"""The launchers of hosts: a GPU host, a SLURM job, a TPU pod, a JobSet; and their dry runs."""

import json
import shlex
import shutil

import pytest

from tests.helpers.launchers import (
    BINARIES,
    DRY,
    POD,
    SET,
    STAGED,
    TRAIN,
    TRAINED,
    commands,
    launch,
    program,
)


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


HOST = """
for last; do :; done
case "$*" in
  *describe*) echo ACTIVE ;;
  *" scp "*) cp "$5" "$HOST/${6#*:}" ;;
  *" ssh "*) cd "$HOST" && HOME="$HOST" bash -c "${last#--command=}" ;;
esac
"""


@pytest.fixture
def copy_to_host(project, tmp_path_factory):
    """A function that runs the pod's launcher with one host, whose home folder is its `home`."""
    home, scratch = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("scratch")
    for name in (".local/bin/uv", "w2v2_jax/.venv/bin/python"):
        program(home / name, "#!/bin/sh\n")

    def copied():
        status, _, error, _ = launch(
            project, "tpu_pod.sh", *POD, "--keep", stubs={"gcloud": HOST, "pip3": ""},
            environment={"HOST": str(home), "TMPDIR": str(scratch)},
        )  # fmt: skip
        return status, error

    copied.home = home
    return copied


def test_a_tpu_pods_hosts_lose_what_the_checkout_lost_and_nothing_else(project, copy_to_host):
    """A module that was deleted in the checkout could still be imported there."""
    code = copy_to_host.home / "w2v2_jax"
    gone = ("w2v2_jax/old.py", "old/deep/a.py", "na\u00efve \\n.txt", "mixed/a.py", "a folder")
    for name in (*gone, "w2v2_jax/kept.py", "data/a", "runs/a"):
        program(project / name, "")
    own = ("data/corpus/a.i16", "runs/x/log", ".venv/lib/x.py", "mixed/own.txt", "w2v2_jax/own.py")
    for name in own:
        program(code / name, "of the host")
    assert copy_to_host()[0] == 0
    assert all((code / name).is_file() for name in (*gone, "w2v2_jax/kept.py", *own))
    for name in gone:
        (project / name).unlink()
    shutil.rmtree(project / "old")
    program(project / "a folder" / "new.py", "")
    for _ in range(2):
        status, error = copy_to_host()
        assert status == 0, error
        assert not any((code / name).is_file() for name in gone) and not (code / "old").exists()
        assert (code / "a folder/new.py").is_file() and (code / "w2v2_jax/kept.py").is_file()
        assert all((code / name).read_text() == "of the host" for name in own)
    assert not (code / "data/a").exists()


def test_a_damaged_archive_removes_nothing_from_a_tpu_pods_hosts(project, copy_to_host):
    program(project / "w2v2_jax" / "a.py", "")
    assert copy_to_host()[0] == 0
    program(project / "bin" / "tar", '#!/bin/sh\n[ "$7" = . ] && : >"$6" || exec /bin/tar "$@"\n')
    assert copy_to_host()[0] != 0
    assert (copy_to_host.home / "w2v2_jax/w2v2_jax/a.py").is_file()


def test_a_tpu_pod_stops_trying_when_a_living_slice_fails_at_once(project):
    body = STATES.replace('echo SUSPENDED >"$RECORD.state"', ":").replace("= 1 ]", "-gt 0 ]")
    status, *_, calls = launch(project, "tpu_pod.sh", *POD, stubs={"gcloud": body, "tar": ""})
    assert status == 1 and sum("w2v2_jax.train" in call for call in calls) == 3


def test_a_tpu_pod_that_gcloud_does_not_create_is_not_asked_for_for_ever(project):
    stubs = {"gcloud": "exit 1", "tar": ""}
    status, _, error, calls = launch(project, "tpu_pod.sh", *POD, stubs=stubs)
    assert status == 2 and sum(" create " in call for call in calls) == 3
    assert error.endswith("error: gcloud does not create pod (see above)\n")


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
