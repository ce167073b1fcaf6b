"""Pretrains or fine-tunes a network; the same command resumes the run.

w2v2 train --config RECIPE[:arg] --workdir DIR [--config.a.b=value ...]
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any, NamedTuple

import jax

import w2v2_jax
from w2v2_jax.checkpoint.description import Description, Loaded
from w2v2_jax.checkpoint.files import describe_newest
from w2v2_jax.data import duplicate_clips
from w2v2_jax.data.feed import Feed, check_corpora, train_feed, valid_feed
from w2v2_jax.data.joined import VALIDATION, validation_beside
from w2v2_jax.data.mixture import paths_of
from w2v2_jax.errors import InputError, counted, run_command
from w2v2_jax.experiment import build as experiment
from w2v2_jax.experiment import catalogue
from w2v2_jax.experiment.auto_accumulate import is_auto
from w2v2_jax.experiment.recipe import load_config, override
from w2v2_jax.experiment.settings import ExperimentSettings, read_settings
from w2v2_jax.experiment.states import started_from
from w2v2_jax.interop.load import load_start
from w2v2_jax.paths import AnyPath, is_remote, to_path
from w2v2_jax.system import compile_cache, cpu_memory, hosts, join
from w2v2_jax.system.arguments import whole
from w2v2_jax.train import dry_run, fit, loop, memory, run_record
from w2v2_jax.train.resume_check import check_resumed
from w2v2_jax.train.start_check import check_start, report_start
from w2v2_jax.train.validation import check_best_metric
from w2v2_jax.train.warm_start import (
    choose_vocabulary,
    report_left_out,
    report_texts,
    report_unknown,
    take_epsilon,
    warm_start,
)
from w2v2_jax.train.workdir import lock, save_record
from w2v2_jax.train_step import TrainState


def main(argv: list[str] | None = None) -> None:
    parser = catalogue.recipe_parser("w2v2 train", __doc__.splitlines()[0])
    parser.add_argument(
        "--workdir", help="a folder, gs://... or s3://... (required, except with --dry-run)"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="train nothing and write nothing; print the shapes of the batches, the parameters, "
        "the audio and memory of an update, what is compiled, and what to change if recipe and "
        "data do not fit; compiles the step for the longest rows, which takes minutes on a CPU",
    )
    parser.add_argument(
        "--stopped-status",
        type=whole(0, 255),
        default=0,
        metavar="N",
        help="exit status of a run that a signal stopped (0); schedulers restart any other status",
    )
    join.add_flags(parser)
    arguments, rest = parser.parse_known_args(argv)
    if not arguments.workdir and not arguments.dry_run:
        parser.error("the following arguments are required: --workdir")
    raw = load_config(arguments.config)
    override(raw, rest)
    note = choose_validation(raw, rest)
    settings = read_settings(raw)
    cpu_memory.keep_for_training()
    with join.joined(join.find(arguments)):
        if note:
            hosts.log_on_chief(note)
        workdir = to_path(arguments.workdir) if arguments.workdir else None
        if arguments.dry_run:
            rehearse(settings, workdir)
            return
        outcome = run(settings, workdir)
    if outcome.stopped and arguments.stopped_status:
        sys.exit(arguments.stopped_status)


def choose_validation(raw: dict, overrides: list[str]) -> str:
    """A recipe's validation corpus belongs to its training corpus. If the command line names
    another training corpus and no validation corpus, a validation split of that corpus is used, or
    none if it has none; returns the line that says so."""
    named = {item.partition("=")[0] for item in overrides}
    if "--config.data.train" not in named or "--config.data.valid" in named:
        return ""
    data = raw["data"]
    trained, usual = paths_of(data["train"]), data.get("valid") or ""
    usual = usual if isinstance(usual, str) else ""
    beside = {path: validation_beside(path, usual) for path in trained}
    chosen = tuple(dict.fromkeys(filter(None, beside.values())))
    data["valid"] = chosen if len(chosen) > 1 else "".join(chosen)
    without = [path for path, valid in beside.items() if not valid]
    none = f"there is no split {' or '.join(VALIDATION)} beside {', '.join(without)}"
    if chosen:
        also = f"; {none}" if without else ""
        return (
            f"validation: {', '.join(chosen)} (config.data.valid names another, or none if empty)"
            f"{also}"
        )
    return (
        f"no validation: {none}; name one by "
        "--config.data.valid=DIR:split, or make one with prepare --holdout dev=0.05"
    )


class _Start(NamedTuple):
    """What a run starts or resumes with. before: its newest checkpoint; source: init_from."""

    settings: ExperimentSettings
    before: Description | None
    source: Loaded | None
    built: experiment.Experiment
    train: Feed
    valid: Feed | None


def _start(settings: ExperimentSettings, workdir: AnyPath | None) -> _Start:
    """Builds the experiment and opens the data; writes nothing. workdir None: a fresh run."""
    if workdir is not None and not is_remote(workdir) and workdir.is_file():
        raise InputError(f"--workdir {workdir} is a file; name a folder")
    check_corpora(settings.data)
    compile_cache.enable()
    before = describe_newest(workdir) if workdir is not None else None
    # A resumed run has network, symbols and scale in its checkpoint: init_from need not exist.
    source = load_start(settings.init_from) if settings.init_from and before is None else None
    settings = take_epsilon(settings, before or (source.description if source else None))
    built = dataclasses.replace(_build(settings, before, source, workdir), tell=hosts.log_on_chief)
    symbols: Any = built.vocabulary  # classes have what a feed needs of a vocabulary
    train = train_feed(settings.data, symbols, seed=settings.seed)
    valid = valid_feed(settings.data, symbols)
    return _Start(settings, before, source, built, train, valid)


def rehearse(settings: ExperimentSettings, workdir: AnyPath | None) -> None:
    """Prints what the run would be. Raises InputError if it would be refused. Nothing is written,
    and nothing is trained."""
    start = _start(settings, workdir)
    train, valid = start.train, start.valid
    _introduce(start.built, train, valid)
    report_start(start.source, start.built.model, start.settings)
    _check(start.built, train, valid)
    if start.source is not None:
        params = start.built.abstract_state.params
        where = start.settings.init_from
        warm_start(params, start.source, start.built.vocabulary, where=where)
    if start.before is not None:
        told = run_record.check_facts(workdir, _facts(start.built, train, valid))
        last = (
            run_record.not_compared(workdir) or "the settings are those of the run in this workdir"
        )
        for line in (*told, last):
            hosts.log_on_chief(f"{workdir}: {line}")
    built, chosen, _ = memory.choose(start.built, train)
    for line in dry_run.lines(built, train, valid, chosen):
        if hosts.is_chief():
            print(line, flush=True)


def run(settings: ExperimentSettings, workdir: AnyPath) -> loop.RunEnd:
    """Trains as one of the hosts of the job; every host runs the same lines."""
    settings, before, source, built, train, valid = _start(settings, workdir)
    vocabulary = built.vocabulary
    facts = _facts(built, train, valid)
    hosts.require_same(
        {
            "configuration": settings.raw,
            "version of w2v2_jax": w2v2_jax.__version__,
            "training corpus (data.train)": train.corpus.fingerprint(),
            "noise and rooms (data.augment)": run_record.mixed_in(train),
            "validation corpus (data.valid)": valid.corpus.fingerprint() if valid else None,
            "newest checkpoint": before.to_json() if before else None,
        }
    )
    _introduce(built, train, valid)
    for line in fit.left_out(train, valid):
        hosts.log_on_chief(line)
    if fit.mostly_fillers(train):
        hosts.log_on_chief("train: with --dry-run, this command says which batches have fewer")
    report_start(source, built.model, settings)
    _check(built, train, valid)

    def fresh() -> TrainState:
        nonlocal source
        state = built.init()
        if source:
            params = warm_start(state.params, source, vocabulary, where=settings.init_from)
            params = cpu_memory.owned(params)
            state, source = started_from(built, state, params), None  # its arrays are not kept
        return state

    with lock(workdir):
        save_record(workdir, settings.raw, facts)
        if vocabulary is not None:
            hosts.run_on_chief(lambda: vocabulary.save(workdir / "vocabulary.json"))
        built = memory.settled(built, train, hosts.log_on_chief)
        description = Description(
            settings.kind, built.model, vocabulary, settings.data.normalise, settings.data.epsilon
        )
        end = loop.run(built, train, valid, workdir, description=description, fresh=fresh)
    if hosts.is_chief():
        _conclude(end, workdir)
    return end


def _facts(built: experiment.Experiment, train: Feed, valid: Feed | None) -> dict:
    """What is compared when a run resumes; with labels, also the text rules."""
    facts = run_record.facts(built, train, valid)
    if built.vocabulary is not None:
        facts["data"]["train"]["text"] = run_record.text_rules(train)
    return facts


def _build(
    settings: ExperimentSettings,
    before: Description | None,
    source: Loaded | None,
    workdir: AnyPath | None,
) -> experiment.Experiment:
    """The experiment, with what it takes from the run's own checkpoint or from init_from."""
    if before is not None:
        check_resumed(settings, before, workdir=str(workdir))
        return experiment.build(settings, vocabulary=before.vocabulary, inherited=before.model)
    start = source.description if source else None
    vocabulary = choose_vocabulary(settings, start.vocabulary if start else None)
    built = experiment.build(
        settings, vocabulary=vocabulary, inherited=start.model if start else None
    )
    if source:
        parts = settings.objective_class.parts
        check_start(built.model, parts, source, where=settings.init_from)
    return built


def _check(built: experiment.Experiment, train: Feed, valid: Feed | None) -> None:
    """Raises an InputError now for what would end the run at its first update or validation."""
    fit.check_batches(built, train, valid)
    built.check_shapes(train.plan.shapes, 1 if is_auto(built) else built.accumulate, "training")
    if valid is not None:
        built.check_validation_shapes(valid.plan.shapes)
        check_best_metric(built, valid)


def _introduce(built: experiment.Experiment, train: Feed, valid: Feed | None) -> None:
    """Prints the training and validation data, which parameters are validated, and rates of none,
    before the first update."""
    if built.ema_decay:
        hosts.log_on_chief(
            f"average of the parameters (config.optimizer.ema_decay={built.ema_decay}): it is "
            "validated, ranked and loaded; the trained parameters are kept for resuming"
        )
    for line in built.unmatched_rates():
        hosts.log_on_chief(line)
    for name, feed in (("train", train), ("valid", valid)):
        if feed is not None:
            hosts.log_on_chief(f"{name} {feed.corpus.directory}: {feed.plan.summary()}")
            for part, (share, repeats) in feed.shares().items():
                hosts.log_on_chief(f"{name}: {100 * share:.3g} % {part} ({repeats:.3g} per epoch)")
    if told := fit.head_alone(built.objective, steps=built.settings.train.steps):
        hosts.log_on_chief(told)
    for line in duplicate_clips.warnings(train.corpus, valid.corpus if valid else None):
        hosts.log_on_chief(line)
    if train.vocabulary is not None:
        report_left_out(train, valid)
        report_texts(train, valid)
        report_unknown(train)


def _conclude(end: loop.RunEnd, workdir: AnyPath) -> None:
    word = f"stopped by {end.stopped}" if end.stopped else "done"
    resume = "; the same command resumes from there" if end.stopped else ""
    print(
        f"{word} at step {end.step}; wrote {workdir} "
        f"({counted(jax.device_count(), f'{jax.devices()[0].device_kind} device')}, "
        f"{counted(jax.process_count(), 'process')}){resume}"
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
