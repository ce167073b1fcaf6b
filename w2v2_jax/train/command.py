"""Command line: pretrain or fine-tune; the same command resumes.

python -m w2v2_jax.train --config experiments/X.py[:arg] --workdir DIR [--config.a.b=value ...]
"""

from __future__ import annotations

import argparse
import sys

import jax

import w2v2_jax
from w2v2_jax.checkpoint.description import Description
from w2v2_jax.data.feed import train_feed, valid_feed
from w2v2_jax.errors import run_command
from w2v2_jax.experiment import build as experiment
from w2v2_jax.experiment.recipe import load_config, override
from w2v2_jax.experiment.settings import ExperimentSettings, read_settings
from w2v2_jax.interop.load import load_any
from w2v2_jax.paths import AnyPath, to_path
from w2v2_jax.system import compile_cache, cpu_memory, hosts, join
from w2v2_jax.train import loop
from w2v2_jax.train.warm_start import (
    check_input,
    choose_vocabulary,
    report_left_out,
    report_unknown,
    take_epsilon,
    warm_start,
)
from w2v2_jax.train.workdir import lock, save_config


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="w2v2 train", description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, metavar="FILE.py[:arg]")
    parser.add_argument("--workdir", required=True, help="a folder, gs://... or s3://...")
    parser.add_argument(
        "--stopped-status",
        type=int,
        default=0,
        metavar="N",
        help="exit status of a run that SIGTERM stopped (0); schedulers restart what is not 0",
    )
    join.add_flags(parser)
    arguments, rest = parser.parse_known_args(argv)
    raw = load_config(arguments.config)
    override(raw, rest)
    settings = read_settings(raw)
    cpu_memory.keep()
    with join.joined(join.find(arguments)):
        outcome = run(settings, to_path(arguments.workdir))
    if outcome.stopped and arguments.stopped_status:
        sys.exit(arguments.stopped_status)


def run(settings: ExperimentSettings, workdir: AnyPath) -> loop.RunEnd:
    """Trains as one of the hosts of the job; every host runs the same lines."""
    compile_cache.enable()
    source = load_any(settings.init_from) if settings.init_from else None
    description = source.description if source else None
    settings = take_epsilon(settings, description)
    vocabulary = choose_vocabulary(settings, description.vocabulary if description else None)
    built = experiment.build(
        settings, vocabulary=vocabulary, inherited=description.model if description else None
    )
    if description:
        check_input(built.model, description.model, where=settings.init_from)
    train = train_feed(settings.data, vocabulary, seed=settings.seed)
    valid = valid_feed(settings.data, vocabulary)
    hosts.require_same(
        {
            "configuration": settings.raw,
            "version of w2v2_jax": w2v2_jax.__version__,
            "training corpus (data.train)": train.corpus.fingerprint(),
            "validation corpus (data.valid)": valid.corpus.fingerprint() if valid else None,
        }
    )
    hosts.log_on_chief(f"train {train.corpus.directory}: {train.plan.summary()}")
    if vocabulary is not None:
        report_left_out(train, valid)
        report_unknown(train)
    if description and description.normalise != settings.data.normalise:
        hosts.log_on_chief(
            f"warning: config.data.normalise={settings.data.normalise}, but "
            f"{settings.init_from} was trained with {description.normalise}"
        )
    built.check_shapes(train.plan.shapes, settings.train.accumulate, "training")
    with lock(workdir):
        save_config(workdir, settings.raw)
        start = built.init()
        if source:
            params = warm_start(start.params, source, vocabulary, where=settings.init_from)
            start = start._replace(params=params)
        outcome = loop.run(
            built,
            train,
            valid,
            workdir,
            start=start,
            description=Description(
                settings.kind,
                built.model,
                vocabulary,
                settings.data.normalise,
                settings.data.epsilon,
            ),
        )
    word = "stopped by SIGTERM" if outcome.stopped else "done"
    if hosts.is_chief():
        print(
            f"{word} at step {int(outcome.state.step)}; wrote {workdir} "
            f"({jax.device_count()} {jax.devices()[0].device_kind} devices, "
            f"{jax.process_count()} processes)"
        )
    return outcome


if __name__ == "__main__":
    sys.exit(run_command(main))
