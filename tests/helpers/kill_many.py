"""Kills `train` and `prepare` at random moments and checks that nothing is lost.

python -m tests.helpers.kill_many --kills 200 --out DIR [--seed N]
A parent that has imported everything forks the commands, so that one life costs seconds. After
every kill the newest finished checkpoint must not be older than before, and prepare must have
written a whole split or none; after every finished run its losses must equal, bit for bit, those
of a run that nobody killed, and every prepared sample those of the first corpus.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

from tests.helpers.places import ROOT
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.errors import run_command
from w2v2_jax.prepare import command as prepare
from w2v2_jax.train import command as train

STEPS, CLIPS, PATIENCE = 60, 40, 900
TIMING = ("audio_seconds_per_second", "data_wait", "compilations")


def write_speech(folder: Path) -> None:
    """Clips of noise and tones, one in eight of them no audio at all."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i in range(CLIPS):
        tone = np.sin(2 * np.pi * (200 + 20 * i) * np.arange(16000 + 400 * i) / 16000)
        noisy = 0.2 * tone + 0.05 * random.standard_normal(len(tone))
        if i % 8 == 7:
            (folder / f"{i}.wav").write_bytes(b"no audio")
        else:
            soundfile.write(folder / f"{i}.wav", noisy, 16000)


class Life:
    """A forked command whose output goes to a file."""

    def __init__(self, main, argv: list[str], log: Path):
        self.began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            with log.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            try:
                status = run_command(main, argv)
                sys.stdout.flush()
            except BaseException:
                import traceback

                traceback.print_exc()
                status = 1
            sys.stderr.flush()
            os._exit(status)

    def ends_within(self, seconds: float) -> int | None:
        """The exit status, or None where it still runs then."""
        while time.monotonic() - self.began < seconds:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        return None

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class Trainer:
    """Runs of one recipe, one after the other, each killed until it ends by itself."""

    def __init__(self, out: Path, corpus: Path):
        self.out, self.corpus, self.runs, self.usual = out, corpus, 0, 0.0
        self.newest, self.log = -1, out / "train.log"
        self.reference = self._whole()

    def options(self, workdir: Path) -> list[str]:
        values = {
            "train.steps": STEPS, "train.log_every": 1, "train.checkpoint_every": 3,
            "train.eval_every": 0, "data.train": f"{self.corpus}:train", "data.valid": "''",
            "data.reader": "threads", "data.workers": 1, "data.bucket_seconds": "(1.0,)",
            "data.batch_seconds": 4.0, "mesh.data": 1, "model.num_layers": 1,
            "model.conv_layers": "((16,10,10),(16,8,8),(16,4,4))", "model.d_model": 16,
            "model.num_heads": 2, "model.ffn_dim": 16, "model.position_kernel": 4,
            "model.position_groups": 2,
        }  # fmt: skip
        overrides = [f"--config.{name}={value}" for name, value in values.items()]
        recipe = f"{ROOT}/experiments/quickstart.py:pretrain,smoke"
        return ["--config", recipe, "--workdir", str(workdir), *overrides]

    @property
    def workdir(self) -> Path:
        return self.out / f"run{self.runs}"

    def _whole(self) -> list[dict]:
        workdir = self.out / "whole"
        for _ in range(2):  # the first fills the store of compiled programs
            shutil.rmtree(workdir, ignore_errors=True)
            life = Life(train.main, self.options(workdir), self.log)
            assert life.ends_within(PATIENCE) == 0, self.log.read_text()
            self.usual = time.monotonic() - life.began
        return losses(workdir)

    def once(self, random: np.random.Generator) -> str:
        """One life; what it was doing when it was killed, or "ended"."""
        life = Life(train.main, self.options(self.workdir), self.log)
        status = life.ends_within(float(random.uniform(0, 0.8 * self.usual)))
        if status is not None:
            self.finish(status)
            return "ended"
        life.kill()
        before = len(losses(self.workdir))
        text = self.log.read_text()
        assert "damaged" not in text and "Traceback" not in text, text
        resumed = re.search(r"resuming .* at step (\d+)", text)
        assert not resumed or int(resumed[1]) >= self.newest, (text, self.newest)
        folder = self.workdir / "checkpoints"
        saving = folder.is_dir() and any("tmp" in path.name for path in folder.iterdir())
        newest = max(map(int, finished(folder)), default=-1)
        assert newest >= self.newest, (newest, self.newest)
        self.newest = newest
        return "in save" if saving else "in step" if resumed or before else "in start"

    def finish(self, status: int = 0) -> None:
        assert status == 0, self.log.read_text()
        assert losses(self.workdir) == self.reference, f"{self.workdir}: other losses"
        shutil.rmtree(self.workdir)
        self.runs, self.newest = self.runs + 1, -1

    def live_out(self) -> None:
        life = Life(train.main, self.options(self.workdir), self.log)
        self.finish(life.ends_within(PATIENCE))


class Preparer:
    """Corpora prepared from one folder, one after the other, each killed until it is whole."""

    def __init__(self, out: Path, speech: Path):
        self.out, self.speech, self.runs, self.log = out, speech, 0, out / "prepare.log"
        life = Life(prepare.main, self.options(out / "corpus"), self.log)
        assert life.ends_within(PATIENCE) == 0, self.log.read_text()
        self.usual = time.monotonic() - life.began
        self.fingerprints = self.check(out / "corpus")

    def options(self, target: Path) -> list[str]:
        workers = "1" if self.runs % 4 else "2"
        source = ["--source", f"folder:{self.speech}", "--out", str(target), "--holdout", "dev=0.2"]
        return [*source, "--workers", workers]

    def check(self, target: Path) -> dict[str, str]:
        """Fingerprints of the splits; every sample has its checksum."""
        corpora = {split: open_corpus(f"{target}:{split}") for split in ("dev", "train")}
        for corpus in corpora.values():
            assert corpus.verify_index() and all(map(corpus.verify, range(len(corpus))))
        return {split: corpus.fingerprint() for split, corpus in corpora.items()}

    def once(self, random: np.random.Generator) -> str:
        target = self.out / f"prepared{self.runs}"
        life = Life(prepare.main, self.options(target), self.log)
        status = life.ends_within(float(random.uniform(0, 1.1 * self.usual)))
        if status is None:
            life.kill()
            splits = [p for p in target.glob("*") if not p.name.startswith(".")]
            for split in splits:  # what has its name is whole
                assert (split / "corpus.json").is_file() and open_corpus(split).verify_index()
            if splits:  # between two renames: the next run is told to say what it wants
                shutil.rmtree(target)
            return "in prepare"
        assert status == 0 and self.check(target) == self.fingerprints, self.log.read_text()
        self.usual = min(self.usual, time.monotonic() - life.began)  # the first may have waited
        shutil.rmtree(target)
        self.runs += 1
        return "ended"


def finished(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return [p.name for p in folder.iterdir() if p.name.isdigit()]


def losses(workdir: Path) -> list[dict]:
    """All records but alarms (waiting for data is one), without what depends on time; the last
    line may be cut off by a kill."""
    path = workdir / "metrics.jsonl"
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record["split"] != "health":
            rows.append({k: v for k, v in record.items() if k not in TIMING})
    return rows


def kill_many(kills: int, out: Path, seed: int, share: float) -> collections.Counter:
    """Kills so many lives; counts what they were doing, and the runs that ended in between."""
    write_speech(out / "speech")
    random, done = np.random.default_rng(seed), collections.Counter()
    preparer = Preparer(out, out / "speech")
    trainer = Trainer(out, out / "corpus")
    while sum(n for what, n in done.items() if "ended" not in what) < kills:
        one = trainer if random.random() >= share else preparer
        what = one.once(random)
        done[f"{type(one).__name__.lower()} {what}"] += 1
        print(dict(done), flush=True)
    if trainer.workdir.exists():
        trainer.live_out()
        done["trainer ended"] += 1
    return done


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--prepare", type=float, default=0.25, help="share of lives that prepare")
    arguments = parser.parse_args(argv)
    began = time.monotonic()
    done = kill_many(arguments.kills, arguments.out, arguments.seed, arguments.prepare)
    killed = sum(n for what, n in done.items() if "ended" not in what)
    print(f"{killed} kills in {time.monotonic() - began:.0f} s, nothing lost: {dict(done)}")


if __name__ == "__main__":
    main()
