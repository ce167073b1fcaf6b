"""Command line: speed of the train step, of inference or of the data pipeline on this machine.

python -m w2v2_jax.bench --what train|infer|data [--config FILE.py[:arg]] --json OUT
Without --config: a family's pretraining (or --objective ctc) step, --rows rows of --seconds. This
needs no TensorFlow, librosa or ml_collections.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from w2v2_jax import experiment, flops, partition
from w2v2_jax.batch import Batch
from w2v2_jax.data.pipeline import batches
from w2v2_jax.data.plan import Plan
from w2v2_jax.data.store import Entry, open_corpus
from w2v2_jax.data.vocabulary import LIBRISPEECH
from w2v2_jax.data.writer import CorpusWriter
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.models.config import FAMILIES, ModelConfig
from w2v2_jax.models.feature_extractor import frame_counts
from w2v2_jax.models.wav2vec2 import Wav2Vec2ForCTC

SAMPLE_RATE = 16000


def timed(run: Callable[[], object], *, warmup: int, repeats: int) -> list[float]:
    """Seconds of each of `repeats` calls after `warmup` calls; run must wait for its result."""
    for _ in range(warmup):
        run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds


def matmul_peak(dtype: str) -> float:
    """FLOP/s of a large square matmul on the default device: the measured ceiling."""
    size = 2048 if jax.default_backend() == "cpu" else 8192
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.dtype(dtype))
    product = jax.jit(lambda x: x @ x)
    seconds = timed(lambda: product(a).block_until_ready(), warmup=2, repeats=5)
    return 2.0 * size**3 / min(seconds)


def peak_memory_bytes() -> int:
    """The device's own peak where it counts one, else the process's resident peak."""
    stats = jax.local_devices()[0].memory_stats() or {}
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return int(stats.get("peak_bytes_in_use", resident))


def settings_of(arguments) -> experiment.Settings:
    """The settings of --config, or of a family's step at the given shape."""
    if arguments.config:
        from w2v2_jax.train import load_config

        return experiment.read(load_config(arguments.config))
    ctc = arguments.objective == "ctc"
    objective = (
        dict(name="ctc") if ctc else dict(name="contrastive", diversity_group_rows=arguments.rows)
    )
    return experiment.read(
        dict(
            model=dict(family=arguments.family, dtype=arguments.dtype, remat=arguments.remat),
            objective=objective,
            schedule=dict(name="constant", peak=1e-4),
            data=dict(
                train="none",
                mode="pad" if ctc else "crop",
                bucket_seconds=(arguments.seconds,),
                batch_seconds=arguments.rows * arguments.seconds,
                row_multiple=arguments.rows,
            ),
            train=dict(steps=1000),
        )
    )


def random_batch(settings: experiment.Settings) -> Batch:
    """One batch of noise in the largest bucket's shape, labelled for CTC."""
    data = settings.data
    seconds = max(data.bucket_seconds)
    samples = round(seconds * SAMPLE_RATE)
    multiple = data.row_multiple
    rows = max(multiple, int(data.batch_seconds / seconds) // multiple * multiple)
    random = np.random.default_rng(0)
    waveforms = random.standard_normal((rows, samples), np.float32)
    batch = Batch(waveforms, np.full(rows, samples, np.int32), np.ones(rows, np.float32))
    if settings.kind != "ctc":
        return batch
    width = 16 * max(1, round(seconds * 14 / 16))  # about 14 letters a second of English
    labels = random.integers(4, len(LIBRISPEECH), (rows, width)).astype(np.int32)
    return batch._replace(labels=labels, num_labels=np.full(rows, width, np.int32))


def summary(
    arguments, config: ModelConfig, seconds: list[float], *, rows, samples, work, compile_seconds
) -> dict:
    """The JSON object of a timing of the model."""
    median = statistics.median(seconds)
    peak = matmul_peak(config.dtype)
    frames = rows * int(frame_counts(samples, config.conv_layers))
    return {
        "what": arguments.what,
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "jax": jax.__version__,
        "shape": [rows, samples],
        "model": dataclasses.asdict(config),
        "repeats": len(seconds),
        "seconds_median": median,
        "seconds_min": min(seconds),
        "seconds_max": max(seconds),
        "audio_seconds_per_second": rows * samples / SAMPLE_RATE / median,
        "frames_per_second": frames / median,
        "model_flops": rows * work,
        "matmul_peak_flops_per_second": peak,
        "mfu": rows * work / median / (peak * jax.device_count()),
        "compile_seconds": compile_seconds,
        "peak_memory_bytes": peak_memory_bytes(),
    }


def bench_train(arguments) -> dict:
    """The very step that trains, fed the same batch again and again."""
    settings = settings_of(arguments)
    vocabulary = LIBRISPEECH if settings.kind == "ctc" else None
    built = experiment.build(settings, vocabulary=vocabulary)
    local = random_batch(settings)
    built.check_shapes([local.waveforms.shape], settings.train.accumulate, "benchmark")
    batch = partition.global_batch(local, built.mesh)
    start = time.perf_counter()
    step = built.step_function(built.objective.at(10**9), batch)
    compile_seconds = time.perf_counter() - start
    state = built.init()

    def run():
        nonlocal state
        state, metrics = step(state, batch)
        jax.block_until_ready((state, metrics))

    seconds = timed(run, warmup=2, repeats=arguments.repeats)
    rows, samples = local.waveforms.shape
    work = flops.train_flops(built.model, samples)
    return summary(
        arguments, built.model, seconds,
        rows=rows, samples=samples, work=work, compile_seconds=compile_seconds,
    )  # fmt: skip


def bench_infer(arguments) -> dict:
    """CTC logits from waveforms, parameters drawn at random."""
    config = ModelConfig(**{**FAMILIES[arguments.family], "dtype": arguments.dtype})
    network = Wav2Vec2ForCTC(config, len(LIBRISPEECH))
    samples = round(arguments.seconds * SAMPLE_RATE)
    waveforms = jax.random.normal(jax.random.key(0), (arguments.rows, samples))
    counts = jnp.full((arguments.rows,), samples)
    params = partition.unbox(jax.jit(network.init)(jax.random.key(1), waveforms, counts))
    start = time.perf_counter()
    apply = jax.jit(lambda p, w, n: network.apply(p, w, n)[0])
    apply = apply.lower(params, waveforms, counts).compile()
    compile_seconds = time.perf_counter() - start
    seconds = timed(
        lambda: apply(params, waveforms, counts).block_until_ready(),
        warmup=2, repeats=arguments.repeats,
    )  # fmt: skip
    work = flops.forward_flops(config, samples)
    return summary(
        arguments, config, seconds,
        rows=arguments.rows, samples=samples, work=work, compile_seconds=compile_seconds,
    )  # fmt: skip


def synthetic_corpus(folder: Path, *, utterances: int, seconds: float) -> None:
    """A prepared corpus of noise, for timing the pipeline without one's own."""
    random = np.random.default_rng(0)
    writer = CorpusWriter(folder)
    for i in range(utterances):
        samples = random.integers(-3000, 3000, round(seconds * SAMPLE_RATE)).astype("<i2")
        entry = Entry(f"noise-{i:05}", "", "", len(samples), 0.0, 0.05, 0, i)
        writer.add(entry, iter([samples.tobytes()]))
    writer.close(split="train", source="noise")


def bench_data(arguments) -> dict:
    """Batches of normalised float32 crops from prepared records, per worker thread."""
    with tempfile.TemporaryDirectory() as temporary:
        where = arguments.data
        if not where:
            where = str(Path(temporary) / "train")
            synthetic_corpus(Path(where), utterances=256, seconds=15.0)
        corpus = open_corpus(where)
        samples = round(min(arguments.seconds, float(corpus.num_samples.max()) / SAMPLE_RATE)
                        * SAMPLE_RATE)  # fmt: skip
        plan = Plan(
            corpus.num_samples, seed=0, mode="crop", bucket_samples=(samples,),
            batch_samples=arguments.rows * samples, row_multiple=arguments.rows, min_samples=1,
        )  # fmt: skip
        stream = batches(
            corpus, plan, first_step=0, num_steps=None, normalise=True,
            workers=arguments.workers, reader=arguments.reader,
        )  # fmt: skip
        count = max(1, round(600 / (arguments.rows * arguments.seconds)))

        def run():
            for _ in range(count):
                next(stream)

        seconds = timed(run, warmup=1, repeats=arguments.repeats)
        stream.close()
    audio = count * arguments.rows * samples / SAMPLE_RATE
    median = statistics.median(seconds)
    return {
        "what": "data",
        "reader": arguments.reader,
        "workers": arguments.workers,
        "shape": [arguments.rows, samples],
        "repeats": len(seconds),
        "audio_seconds_per_second": audio / median,
        "audio_hours_per_second": audio / median / 3600,
        "audio_hours_per_second_per_worker": audio / median / 3600 / arguments.workers,
    }


BENCHES = {"train": bench_train, "infer": bench_infer, "data": bench_data}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="w2v2 bench", description=__doc__.splitlines()[0])
    parser.add_argument("--what", required=True, choices=sorted(BENCHES))
    parser.add_argument("--config", metavar="FILE.py[:arg]", help="time this recipe's step")
    parser.add_argument("--json", required=True, type=Path, metavar="OUT")
    parser.add_argument("--family", default="base", choices=sorted(FAMILIES))
    parser.add_argument("--objective", default="contrastive", choices=("contrastive", "ctc"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--remat", default="none", choices=("none", "dots", "full"))
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--data", metavar="DIR[:split]", help="for --what data; default: noise")
    parser.add_argument("--reader", default="threads", choices=("threads", "tfdata"))
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args(argv)
    if arguments.rows < 1 or arguments.repeats < 1 or arguments.seconds < 0.1:
        raise InputError("--rows and --repeats must be at least 1, --seconds at least 0.1")
    result = BENCHES[arguments.what](arguments)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    for name, value in result.items():
        if isinstance(value, float):
            print(f"{name:36} {value:.6g}")
    print(f"wrote {arguments.json}")


if __name__ == "__main__":
    sys.exit(run_command(main))
