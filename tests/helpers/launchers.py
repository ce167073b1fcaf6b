"""Runs of the launchers with stub binaries that record how they were called."""

import os
import signal
import subprocess
import time

STUB = """#!/usr/bin/env bash
{{ printf '%q ' {name} "$@"; echo; }} >>"$RECORD"
[ "{name}" != kubectl ] || cat >"$RECORD.stdin"
{body}
"""


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


POD = ("--name", "pod", "--zone", "z", "--type", "v5p-32", "--config", "experiments/x.py",
       "--workdir", "gs://b/x", "--data", "gs://b/corpus", "--spot")  # fmt: skip
SET = ("--name", "set", "--image", "r/i:1", "--accelerator", "tpu-v5p-slice", "--topology",
       "2x2x4", "--slices", "2", "--config", "experiments/x.py:a", "--workdir", "gs://b/x",
       "--data", "gs://b/corpus", '--config.data.train=a "b"')  # fmt: skip
DRY = {
    "gpu_host.sh": (TRAIN, ["w2v2_jax.stage", "w2v2_jax.train"]),
    "slurm.sbatch": (TRAIN, ["w2v2_jax.stage", "w2v2_jax.train", "scontrol requeue"]),
    "tpu_pod.sh": (POD, ["create", "tar", "scp", "env.sh", "w2v2_jax.stage", "w2v2_jax.train",
                         "delete"]),
    "gke_jobset.sh": (SET, ["kubectl apply"]),
}  # fmt: skip
BINARIES = ("python", "srun", "scontrol", "gcloud", "kubectl", "tar")
PREPARED = {"W2V2_EVIDENCE_DATA": "data/evidence/corpus"}
EVALUATED = 'case "$*" in *w2v2_jax.evaluate*) touch "${@: -1}" ;; esac'
WRITES_MODELS = f"""{EVALUATED}
case "$*" in *w2v2_jax.lm*)
  for word; do
    [ "$last" != --out ] || {{ mkdir -p "$(dirname "$word")" && touch "$word"; }}
    last="$word"
  done ;;
esac"""

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


SPLITS = ("train_10min", "train_1h", "unlabeled", "dev", "test")


def prepared(project, *more):
    """The corpus of the evidence, with its usual splits and further ones; nothing is in them."""
    for split in (*SPLITS, *more):
        folder = project / "data/evidence/corpus" / split
        folder.mkdir(parents=True)
        (folder / "corpus.json").write_text("{}")


def stopped(project, number, *, body, settings, begun):
    """The status of an evidence that gets a signal when `begun` stubs are under way, its calls."""
    prepared(project)
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


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
