"""Timing of the data pipeline: from prepared records to batches for a device."""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
from collections.abc import Generator
from pathlib import Path

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE, Batch
from w2v2_jax.bench.measure import spread, timed, versions
from w2v2_jax.bench.step import largest_shape, settings_of
from w2v2_jax.data.corpus import Corpus, Entry, open_corpus
from w2v2_jax.data.pipeline import batches
from w2v2_jax.data.plan import Plan
from w2v2_jax.data.writer import CorpusWriter


def synthetic_corpus(folder: Path, *, utterances: int, seconds: float) -> None:
    """A prepared corpus of noise, for timing the pipeline without a real corpus."""
    random = np.random.default_rng(0)
    writer = CorpusWriter(folder)
    for i in range(utterances):
        samples = random.integers(-3000, 3000, round(seconds * SAMPLE_RATE)).astype("<i2")
        entry = Entry(f"noise-{i:05}", "", "", len(samples), 0.0, 0.05, 0, i)
        writer.add(entry, iter([samples.tobytes()]))
    writer.close(split="train", source="noise")


def cpu_seconds() -> float:
    """Processor time of all threads of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _crops(corpus: Corpus, shape: tuple[int, int], **how) -> Generator[Batch]:
    """Endless batches of crops, all of one shape (rows, samples)."""
    rows, samples = shape
    plan = Plan(
        corpus.num_samples,
        seed=0,
        mode="crop",
        bucket_samples=(samples,),
        batch_samples=rows * samples,
        row_multiple=rows,
        min_samples=1,
    )
    return batches(corpus, plan, first_step=0, num_steps=None, **how)


def bench_data(arguments) -> dict:
    """Batches of float32 crops from prepared records, per worker thread and per core: of --rows of
    --seconds, normalised, or of a recipe's longest rows, normalised as it says."""
    rows, longest, normalise = arguments.rows, round(arguments.seconds * SAMPLE_RATE), True
    if arguments.config:
        settings = settings_of(arguments)
        (rows, longest), normalise = largest_shape(settings), settings.data.normalise
    with tempfile.TemporaryDirectory() as temporary:
        corpus_place = arguments.data
        if not corpus_place:
            corpus_place = str(Path(temporary) / "train")
            synthetic_corpus(Path(corpus_place), utterances=256, seconds=15.0)
        corpus = open_corpus(corpus_place)
        samples = min(longest, int(corpus.num_samples.max()))
        stream = _crops(
            corpus,
            (rows, samples),
            normalise=normalise,
            workers=arguments.workers,
            reader=arguments.reader,
        )
        count = max(1, round(4 * 3600 * SAMPLE_RATE / (rows * samples)))
        used = []

        def run():
            before = cpu_seconds()
            for _ in range(count):
                next(stream)
            used.append(cpu_seconds() - before)

        seconds = timed(run, warmup=1, repeats=arguments.repeats)
        stream.close()
    audio = count * rows * samples / SAMPLE_RATE
    median = statistics.median(seconds)
    return {
        "what": "data",
        "reader": arguments.reader,
        "codec": corpus.info.get("codec", "plain"),
        "workers": arguments.workers,
        "cores": os.cpu_count(),
        "versions": versions("numpy"),
        "shape": [rows, samples],
        "repeats": len(seconds),
        **spread(seconds),
        "audio_seconds_per_second": audio / median,
        "audio_hours_per_second": audio / median / 3600,
        "audio_hours_per_second_per_worker": audio / median / 3600 / arguments.workers,
        "audio_hours_per_second_per_core": audio / statistics.median(used[1:]) / 3600,
    }
