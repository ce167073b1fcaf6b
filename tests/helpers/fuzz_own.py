"""What a person gives apart from files of others: options, a workdir's state, arrays."""

from __future__ import annotations

import copy
import functools
import json
import math
import types
import typing
from pathlib import Path

import numpy as np

from tests.helpers.recipes import smoke
from w2v2_jax.errors import InputError
from w2v2_jax.evaluation import reference_comparison
from w2v2_jax.evaluation.runs import read_run
from w2v2_jax.experiment.recipe import override
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.recognition.recordings import as_recording
from w2v2_jax.train.run_record import read_facts

Files = dict[str, bytes]
OPTIONS = (
    "train.steps=5", "train.best_mode=max", "train.keep_best=0", "data.normalise=false",
    "data.bucket_seconds=(1.0,2.0)", "data.min_seconds=2", "data.reader=threads", "seed=7",
    "execution.dtype=bfloat16", "execution.scan_layers=True", "model.dropout=0.2",
    "model.conv_layers=((32,10,5),(32,3,2))", "objective.num_negatives=10", "schedule.peak=1e-3",
    "optimizer.b1=0.9", "mesh.data=1", "health.stop=('non-finite',)", "init_from=",
)  # fmt: skip


@functools.cache
def recipe() -> dict:
    return smoke("quickstart.py:pretrain")


def option_seeds(folder: Path) -> list[Files]:
    lines = [f"--config.{option}" for option in OPTIONS]
    return [{"options.txt": line.encode()} for line in lines]


def read_options(folder: Path) -> None:
    config = copy.deepcopy(recipe())
    text = (folder / "options.txt").read_bytes().decode("utf-8", "surrogateescape")
    override(config, text.splitlines())
    settings = read_settings(config)
    for section in (settings.data, settings.train, settings.health, settings.execution):
        typed(section)


def typed(section) -> None:
    """Every value is of its field's type, and a number is one."""
    for name, kind in typing.get_type_hints(type(section)).items():
        value = getattr(section, name)
        assert fits(value, kind), f"{type(section).__name__}.{name}={value!r} is no {kind}"


def fits(value, kind) -> bool:
    """Whether a value is of a type as fields are annotated."""
    parts = typing.get_args(kind)
    match typing.get_origin(kind) or kind:
        case typing.Union | types.UnionType:
            return any(fits(value, part) for part in parts)
        case builtin if builtin is bool or builtin is str:
            return type(value) is builtin
        case builtin if builtin is int:
            return type(value) is int
        case builtin if builtin is float:
            return type(value) in (int, float) and math.isfinite(value)
        case types.NoneType:
            return value is None
        case builtin if builtin is tuple and parts:
            kinds = parts[:1] * len(value) if parts[-1] is ... else parts
            return isinstance(value, tuple) and all(map(fits, value, kinds))
    return True


def workdir_seeds(folder: Path) -> list[Files]:
    config = json.dumps(recipe()).encode()
    rows = [
        {"step": step, "split": split, "loss": 5.0, "contrastive_accuracy": 0.1}
        for step in (100, 200, 300, 400) for split in ("train", "valid")
    ]  # fmt: skip
    alarm = {"step": 300, "split": "health", "rule": "loss-spike", "message": "m", "action": "warn"}
    rows.append(alarm)
    metrics = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    facts = {"config": recipe(), "data": {"train": {"fingerprint": "ab"}}, "code": {"version": "1"}}
    record = json.dumps({"facts": facts, "starts": []}).encode()
    return [
        {"config.json": config, "metrics.jsonl": metrics},
        {"config.json": config, "metrics.jsonl": metrics, "run.json": record},
    ]


def read_workdir(folder: Path) -> None:
    read_facts(folder)
    read_run(folder)
    reference_comparison.stand(folder)


DTYPES = ("int8", "uint8", "int16", "int32", "float16", "float32", "float64")


def array_seeds(folder: Path) -> list[Files]:
    seeds = []
    for dtype in DTYPES:
        tone = 0.3 * np.sin(np.arange(1600) * 0.1)
        if dtype == "uint8":
            samples = (128 + 127 * tone).astype(dtype)
        elif "int" in dtype:
            samples = (tone * np.iinfo(dtype).max).astype(dtype)
        else:
            samples = tone.astype(dtype)
        about = json.dumps({"dtype": dtype, "channels": 1, "rate": 16000}).encode()
        seeds.append({"about.json": about, "samples.raw": samples.tobytes()})
    return seeds


def read_array(folder: Path) -> None:
    """Whatever is taken for sound is finite and within full scale, but for a codec's overshoot."""
    try:
        about = json.loads((folder / "about.json").read_bytes())
        raw = (folder / "samples.raw").read_bytes()
        dtype = np.dtype(str(about["dtype"]))
        array = np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype)
        channels = int(about["channels"])
        array = array if channels == 1 else array.reshape(-1, channels)
        rate = about["rate"]
    except (ValueError, TypeError, KeyError, OverflowError, ZeroDivisionError, OSError,
            SyntaxError, RecursionError) as error:  # fmt: skip
        raise InputError("no array at all") from error  # numpy's own, before anybody gives it
    for block in as_recording({"array": array, "sampling_rate": rate}, 0).blocks():
        assert block.dtype == np.float32 and np.isfinite(block).all()
        assert block.size == 0 or np.abs(block).max() <= 4.0, np.abs(block).max()
