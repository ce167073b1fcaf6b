"""Tunes LM weight and word score on saved logits of a dev set.

w2v2 sweep --logits DIR --lm FILE.arpa|.bin [--lexicon FILE] --out best.json
`evaluate`, `transcribe` and `decode` take the result by --decoder-settings best.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.decode import options
from w2v2_jax.decode.beam import (
    MOST_WEIGHT,
    BeamOptions,
    LexiconDecoder,
    LexiconFreeDecoder,
)
from w2v2_jax.decode.emissions import Emissions
from w2v2_jax.decode.greedy import GreedyDecoder
from w2v2_jax.decode.hypothesis import Decoder
from w2v2_jax.decode.make import DecoderSettings, make, save_settings
from w2v2_jax.decode.references import references_of
from w2v2_jax.errors import InputError, lacking, run_command
from w2v2_jax.evaluation.rates import word_rate
from w2v2_jax.evaluation.scoring import ErrorCounts, count_errors, total
from w2v2_jax.system.arguments import CommandParser, number, whole
from w2v2_jax.system.outputs import try_outputs

WORD_SCORES = (-5.0, 5.0)
SLICE = 16  # utterances given to a process at once

Searchable = LexiconDecoder | LexiconFreeDecoder


class Trial(NamedTuple):
    """Two weights and the dev set's errors with them."""

    lm_weight: float
    word_score: float
    words: ErrorCounts


class _Work(NamedTuple):
    """What a process needs; sent to it once."""

    decoder: Searchable
    emissions: Emissions

    @property
    def referenced(self) -> list[int]:
        """Numbers of the utterances that the search is scored on."""
        return self.emissions.referenced(words=self.decoder.writes_words)


_work: _Work | None = None  # of a worker process


def _receive(work: _Work) -> None:
    global _work
    _work = work


def _errors(beam: BeamOptions, start: int) -> ErrorCounts:
    assert _work is not None  # the pool's initializer has run
    return errors_of(_work, beam, start)


def errors_of(work: _Work, beam: BeamOptions, start: int) -> ErrorCounts:
    """Word errors of one slice of the dev set's utterances with a reference."""
    decoder = work.decoder.with_options(beam)
    rows = work.referenced[start : start + SLICE]
    return total([errors_of_one(work.emissions, i, decoder) for i in rows])


def errors_of_one(emissions: Emissions, number: int, decoder: Decoder) -> ErrorCounts:
    """Word errors of the best hypothesis of one utterance."""
    words = decoder.writes_words
    hypothesis = emissions.vocabulary.as_scored(decoder(emissions[number])[0].text, words=words)
    reference = emissions.reference(number, words=words)
    return count_errors(reference.split(), hypothesis.split())


def random_points(seed: int, ranges) -> Iterator[tuple[tuple[float, float], Callable]]:
    """Points drawn uniformly from the ranges [(low, high)] * 2, whatever the results are."""
    rng = np.random.default_rng(seed)
    while True:
        first, second = (float(rng.uniform(low, high)) for low, high in ranges)
        yield (first, second), lambda rate: None


def bayesian_points(seed: int, ranges) -> Iterator[tuple[tuple[float, float], Callable]]:
    """Points of optuna's TPE sampler, which learns from the error rates that it is told."""
    try:
        import optuna
    except ImportError as error:
        needed = "--search bayes needs optuna"
        raise InputError(lacking(error, needed, "pip install optuna")) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    names = ("lm_weight", "word_score")
    while True:
        trial = study.ask()
        point = tuple(
            trial.suggest_float(name, low, high)
            for name, (low, high) in zip(names, ranges, strict=True)
        )
        yield point, lambda rate, trial=trial: study.tell(trial, rate)


SEARCHES = {"random": random_points, "bayes": bayesian_points}


def run(
    work: _Work, beam: BeamOptions, points: Iterator, *, trials: int, jobs: int
) -> Iterator[Trial]:
    """Decodes the dev set once per trial; slices of it go to `jobs` processes."""
    starts = range(0, len(work.referenced), SLICE)
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, spawn, _receive, (work,)) if jobs > 1 else None
    try:
        for _ in range(trials):
            (lm_weight, word_score), tell = next(points)
            options = dataclasses.replace(beam, lm_weight=lm_weight, word_score=word_score, nbest=1)
            if pool:
                waiting = [pool.submit(_errors, options, start) for start in starts]
                parts = [future.result() for future in waiting]
            else:
                parts = [errors_of(work, options, start) for start in starts]
            trial = Trial(lm_weight, word_score, total(parts))
            tell(trial.words.rate)
            yield trial
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def greedy_errors(emissions: Emissions) -> ErrorCounts:
    """Word errors of greedy decoding, for comparison."""
    vocabulary = emissions.vocabulary
    decoder = GreedyDecoder(vocabulary.symbols, units=vocabulary.units)
    numbers = emissions.referenced(words=False)
    return total([errors_of_one(emissions, i, decoder) for i in numbers])


def _write(
    out: Path,
    decoder_settings: DecoderSettings,
    report: dict[str, Any],
    rate: str,
    best: Trial,
    trials: list[Trial],
) -> None:
    """The file. report: further entries. rate: "wer", or "per" where the trials wrote phonemes."""
    beam = dataclasses.asdict(decoder_settings.beam)
    values = {
        **beam,
        "kind": "beam",
        "lm": decoder_settings.lm,
        "lexicon": decoder_settings.lexicon,
    }
    values |= {"lm_weight": round(best.lm_weight, 4), "word_score": round(best.word_score, 4)}
    rows = [[round(t.lm_weight, 4), round(t.word_score, 4), t.words.rate] for t in trials]
    save_settings(
        out,
        {name: value for name, value in values.items() if value is not None},
        **{f"dev_{rate}": best.words.rate},
        trials=rows,
        **report,
    )


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(prog="w2v2 sweep", description=__doc__.splitlines()[0])
    parser.add_argument("--logits", required=True, metavar="DIR", help="logits from `w2v2 emit`")
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FILE.json",
        help="the file for the best weights, for `--decoder-settings`",
    )
    parser.add_argument("--search", choices=SEARCHES, default="random", help="bayes needs optuna")
    parser.add_argument(
        "--trials", type=int, default=128, help="number of trials (128, as in the paper)"
    )
    parser.add_argument(
        "--lm-weights",
        type=number(-MOST_WEIGHT, MOST_WEIGHT),
        nargs=2,
        default=[0.0, 5.0],
        metavar="N",
        help="lowest and highest weight of the language model (0 5)",
    )
    parser.add_argument(
        "--word-scores",
        type=number(-MOST_WEIGHT, MOST_WEIGHT),
        nargs=2,
        metavar="N",
        help="lowest and highest score of a word (-5 5)",
    )
    parser.add_argument(
        "--seed", type=whole(0, 2**32 - 1), default=0, help="seed of the search (0)"
    )
    options.add_arguments(parser)
    options.add_jobs(parser)
    return parser.parse_args(argv)


def _work_of(arguments: argparse.Namespace) -> tuple[_Work, DecoderSettings]:
    emissions = Emissions(arguments.logits)
    if not emissions.referenced(words=True):
        raise InputError(f"--logits {arguments.logits} has no references to tune on")
    if arguments.trials < 1:
        raise InputError(f"--trials {arguments.trials} must be at least 1")
    for name in ("lm_weights", "word_scores"):
        if getattr(arguments, name) is None:
            continue
        low, high = getattr(arguments, name)
        if not low <= high:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} {low} {high}: give the lower number, then the higher")
    try_outputs(arguments, "out")
    for name in ("lm_weight", "word_score"):
        if getattr(arguments, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} is what sweep tunes: give its range by {option}s")
    decoder_settings = options.read_arguments(arguments)
    if decoder_settings.lm is None or decoder_settings.rescore or decoder_settings.hot_words:
        raise InputError("sweep tunes the weight of --lm, without --rescore and --hot-word")
    decoder = make(
        decoder_settings, emissions.vocabulary, seconds_per_frame=emissions.seconds_per_frame
    )
    options.check_words(arguments, decoder)
    if arguments.word_scores is not None and not isinstance(decoder, LexiconDecoder):
        raise InputError("--word-scores changes nothing without words; --lm is a model of symbols")
    assert isinstance(decoder, Searchable)  # what --lm without --rescore makes
    work = _Work(decoder, emissions)
    if not references_of(
        (emissions.references[i] or "" for i in work.referenced), emissions.vocabulary, decoder
    ):
        raise InputError(f"--logits {arguments.logits} has no reference of known words")
    return work, decoder_settings


def main(argv: list[str] | None = None) -> None:
    arguments = _arguments(argv)
    work, decoder_settings = _work_of(arguments)
    greedy = greedy_errors(work.emissions)
    missing = len(work.emissions) - len(work.emissions.referenced(words=False))
    left_out = f"; {missing} without a reference left out" if missing else ""
    vocabulary = work.emissions.vocabulary
    phonemes = vocabulary.writes_phonemes(words=False)
    rate = word_rate(phonemes=phonemes)
    size = f"{greedy.reference_length} {'phonemes' if phonemes else 'words'}{left_out}"
    print(f"greedy: {rate.upper()} {100 * greedy.rate:.2f} % of {size}", flush=True)
    # Without a lexicon there are no words to score while searching.
    spoken = isinstance(work.decoder, LexiconDecoder)
    word_scores = tuple(arguments.word_scores or WORD_SCORES) if spoken else (0.0, 0.0)
    points = SEARCHES[arguments.search](arguments.seed, [tuple(arguments.lm_weights), word_scores])
    phonemes = vocabulary.writes_phonemes(words=work.decoder.writes_words)
    found = word_rate(phonemes=phonemes)
    trials: list[Trial] = []
    best: Trial | None = None
    report: dict[str, Any] = {f"greedy_{rate}": greedy.rate, "logits": arguments.logits}
    save = functools.partial(_write, arguments.out, decoder_settings, report, found)
    found = found.upper()
    running = run(work, decoder_settings.beam, points, trials=arguments.trials, jobs=arguments.jobs)
    for trial in running:
        trials.append(trial)
        if best is None or trial.words.errors < best.words.errors:
            best = trial
            # Written at each improvement: an interrupted sweep leaves its best so far.
            save(best, trials)
            print(
                f"trial {len(trials)} of {arguments.trials}: lm_weight {trial.lm_weight:.2f}, "
                f"word_score {trial.word_score:.2f}: {found} {100 * trial.words.rate:.2f} %",
                flush=True,
            )
    assert best is not None  # there is a trial at least
    save(best, trials)
    print(f"wrote {arguments.out}: {found} {100 * best.words.rate:.2f} % (best of {len(trials)})")


if __name__ == "__main__":
    sys.exit(run_command(main))
