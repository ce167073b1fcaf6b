"""The train command with faults, for processes of their own.

python -m tests.helpers.faulty_train [--alarm-at N] [--slow-saves SECONDS] [--unreadable I:STEP]
    [options of the train command]
"""

import argparse
import sys
import time

import jax
import orbax.checkpoint as ocp

from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.errors import run_command
from w2v2_jax.health import monitor
from w2v2_jax.train import command as train


def alarm_at(update: int) -> None:
    """The rule loss-spike speaks once, at this update of the process."""
    fire = lambda seen: "too loud" if len(seen.steps["loss"]) == update else None  # noqa: E731
    monitor.RULES = tuple(
        rule._replace(check=fire) if rule.name == "loss-spike" else rule for rule in monitor.RULES
    )


def slow_saves(seconds: float) -> None:
    """Every save waits this long, after Orbax has looked whether it is due."""
    wait = checkpoint.Manager.wait_until_finished

    def slowly(self):
        time.sleep(seconds)
        wait(self)

    checkpoint.Manager.wait_until_finished = slowly


def unreadable(host: int, step: str) -> None:
    """One host cannot read a checkpoint's arrays."""
    restore = ocp.StandardCheckpointHandler.restore

    def fail(self, directory, *args, **kwargs):
        if jax.process_index() == host and directory.parent.name == step:
            raise ValueError("a node of the file system answers nonsense")
        return restore(self, directory, *args, **kwargs)

    ocp.StandardCheckpointHandler.restore = fail


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--alarm-at", type=int)
    parser.add_argument("--slow-saves", type=float)
    parser.add_argument("--unreadable")
    faults, rest = parser.parse_known_args(argv)
    if faults.alarm_at:
        alarm_at(faults.alarm_at)
    if faults.slow_saves:
        slow_saves(faults.slow_saves)
    if faults.unreadable:
        host, _, step = faults.unreadable.partition(":")
        unreadable(int(host), step)
    train.main(rest)


if __name__ == "__main__":
    sys.exit(run_command(main))
