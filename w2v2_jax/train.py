"""Command line: pretrain or fine-tune; the same command resumes.

python -m w2v2_jax.train --config experiments/X.py[:arg] --workdir DIR [--config.a.b=value ...]
"""

from __future__ import annotations

import argparse
import ast
import runpy
import sys
from pathlib import Path

import jax

import w2v2_jax
from w2v2_jax import checkpoint, compile_cache, experiment, heap, hosts, loop
from w2v2_jax.checkpoint import Loaded
from w2v2_jax.data.feed import Feed, train_feed, valid_feed
from w2v2_jax.data.joined import open_splits
from w2v2_jax.data.vocabulary import (
    EXTEND,
    FROM_TRANSCRIPTS,
    Vocabulary,
    extend_vocabulary,
    make_vocabulary,
    shared_rows,
)
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.experiment import Settings
from w2v2_jax.inference import load_any
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.paths import AnyPath, to_path
from w2v2_jax.workdir import lock, save_config


def load_config(spec: str) -> dict:
    """FILE.py[:arg] -> the nested dict of its `get_config(arg)`."""
    file, _, argument = spec.partition(":")
    if not Path(file).is_file():
        raise InputError(f"--config {file} is not a file")
    if not file.endswith(".py"):  # a zip archive would be run as a program too
        raise InputError(f"--config {file} is not a Python file, which a recipe is")
    get_config = runpy.run_path(file).get("get_config")
    if get_config is None:
        raise InputError(f"--config {file} has no get_config(arg)")
    config = get_config(argument)
    return config.to_dict() if hasattr(config, "to_dict") else config


def override(config: dict, overrides: list[str]) -> None:
    """Applies --config.a.b=value in place; the section must exist, values are Python literals."""
    for item in overrides:
        path, equals, value = item.partition("=")
        if not path.startswith("--config.") or not equals:
            raise InputError(f"{item} is not an option; overrides look like --config.train.steps=5")
        *sections, name = path.removeprefix("--config.").split(".")
        place = config
        for section in sections:
            if not isinstance(place.get(section), dict):
                raise InputError(
                    f"config.{'.'.join(sections)} is not a section; known: "
                    f"{', '.join(k for k in place if isinstance(place[k], dict))}"
                )
            place = place[section]
        try:
            place[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            place[name] = value


def choose_vocabulary(settings: Settings, inherited: Vocabulary | None) -> Vocabulary | None:
    """The vocabulary of a CTC run, None when pretraining; a tuned start keeps its own, or adds
    the transcripts' further characters to it ("extend")."""
    if settings.kind != "ctc":
        return None
    if inherited is not None and "vocabulary" not in settings.raw:
        return inherited
    chosen = settings.vocabulary
    if chosen.name == EXTEND:
        if inherited is None:
            raise InputError(
                "config.vocabulary.name='extend' needs config.init_from to be a tuned checkpoint; "
                "use 'from_transcripts'"
            )
        texts = open_splits(settings.data.train).texts()
        return extend_vocabulary(inherited, texts, min_count=chosen.min_count)
    texts = open_splits(settings.data.train).texts() if chosen.name == FROM_TRANSCRIPTS else ()
    return make_vocabulary(chosen.name, texts, case=chosen.case, min_count=chosen.min_count)


def check_input(model: ModelConfig, start: ModelConfig, *, where: str) -> None:
    """Raises InputError where one of the two networks has a quantized input and the other not.

    Fine-tuning keeps the input's quantizer, as fairseq does, so the recipe must say that it is
    there: it is another network, which the other's weights do not fit."""
    if model.quantize_input != start.quantize_input:
        raise InputError(
            f"config.model.quantize_input={model.quantize_input}, but {where} has "
            f"{start.quantize_input}; set config.model.quantize_input={start.quantize_input}"
        )


def warm_start(params, source: Loaded, vocabulary: Vocabulary | None, *, where: str):
    """The parameters with the source's in them; a CTC head is taken over symbol by symbol."""
    rows, old = None, source.description.vocabulary
    if vocabulary is not None and old is not None and vocabulary.symbols != old.symbols:
        rows = shared_rows(vocabulary, old)
    params, fresh = checkpoint.graft(params, source.params, where=where, rows=rows)
    hosts.say(f"started from {source.path}; fresh: {', '.join(fresh) or 'nothing'}")
    if rows is not None:
        new = [s for s, row in zip(vocabulary.symbols, rows, strict=True) if row is None]
        dropped = [s for s in old.symbols if s not in vocabulary.symbols]
        hosts.say(
            f"head: {len(rows) - len(new)} symbols keep their weights; fresh: "
            f"{' '.join(new) or 'none'}; dropped: {' '.join(dropped) or 'none'}"
        )
    return params


def report_unknown(feed: Feed) -> None:
    """Warns of transcript characters the vocabulary lacks, before step 0 (docs/traps.md#u20)."""
    unknown = feed.vocabulary.unknown(feed.corpus.texts())
    if unknown:
        hosts.say(
            f"warning: {sum(unknown.values())} characters of {feed.corpus.directory} are not in "
            f"the vocabulary and become <unk>: {dict(list(unknown.items())[:10])}"
        )


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
    hosts.add_flags(parser)
    arguments, rest = parser.parse_known_args(argv)
    raw = load_config(arguments.config)
    raw.setdefault("health", {})
    override(raw, rest)
    settings = experiment.read(raw)
    heap.keep()
    with hosts.joined(hosts.find(arguments)):
        outcome = run(settings, to_path(arguments.workdir))
    if outcome.stopped and arguments.stopped_status:
        sys.exit(arguments.stopped_status)


def run(settings: Settings, workdir: AnyPath) -> loop.Outcome:
    """Trains as one of the hosts of the job; every host runs the same lines."""
    compile_cache.enable()
    source = load_any(settings.init_from) if settings.init_from else None
    description = source.description if source else None
    vocabulary = choose_vocabulary(settings, description.vocabulary if description else None)
    built = experiment.build(
        settings, vocabulary=vocabulary, inherited=description.model if description else None
    )
    if description:
        check_input(built.model, description.model, where=settings.init_from)
    train = train_feed(settings.data, vocabulary, seed=settings.seed)
    valid = valid_feed(settings.data, vocabulary)
    hosts.agree(
        {
            "configuration": settings.raw,
            "version of w2v2_jax": w2v2_jax.__version__,
            "training corpus (data.train)": train.corpus.fingerprint(),
            "validation corpus (data.valid)": valid.corpus.fingerprint() if valid else None,
        }
    )
    hosts.say(f"train {train.corpus.directory}: {train.plan.summary()}")
    if vocabulary is not None:
        report_unknown(train)
    if description and description.normalise != settings.data.normalise:
        hosts.say(
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
            description=checkpoint.Description(
                settings.kind, built.model, vocabulary, settings.data.normalise
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
