"""Writes layers, quantizer units or logits of a corpus to a file for probes and other programs.

w2v2 extract --checkpoint DIR --data DIR[:split] --out FILE.npz|FILE.parquet
    [--what layers|units|logits] [--layers 0,6,-1] [--pool mean] [--dtype float16]
npz: arrays named ID/layer_6, ID/units or ID/logits. parquet: one row per utterance with
the columns id, text, speaker, frames and one list per kind, named by its shape (layer_6:768).
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.data.corpus import Corpus, open_corpus
from w2v2_jax.errors import InputError, counted, lacking, run_command
from w2v2_jax.inference import Model, load
from w2v2_jax.paths import refuse_special, writing
from w2v2_jax.recognition.computation import add_dtype, execution_of
from w2v2_jax.recognition.corpus import corpus_frames, tell_too_short
from w2v2_jax.system.arguments import (
    CommandParser,
    add_batch_seconds,
    add_checkpoint,
    add_data,
    add_overwrite,
)
from w2v2_jax.system.new_output import new_file
from w2v2_jax.system.outputs import try_outputs

WHAT = ("layers", "units", "logits")
ROWS_AT_ONCE = 64  # utterances per row group of parquet


class Item(NamedTuple):
    """One utterance of the corpus: its index, its frames, and arrays [T, N], or [N] if pooled."""

    index: int  # type: ignore[assignment]
    frames: int
    arrays: dict[str, np.ndarray]


def read_layers(text: str) -> list[int] | None:
    """Numbers of a comma-separated list; None for "all"."""
    try:
        layers = None if text == "all" else [int(n) for n in text.split(",")]
    except ValueError:
        layers = [-2]
    if layers is not None and min(layers) < -1:
        raise InputError(f"--layers {text!r}: numbers from -1 (the output) on, as 0,6,-1, or all")
    return layers


def layers_of(model: Model, layers: list[int] | None) -> list[int]:
    """The layers to extract; InputError names what the model has."""
    last = model.description.model.num_layers
    layers = [*range(last), -1] if layers is None else layers
    if max(layers) > last:
        given = ",".join(map(str, layers))
        raise InputError(f"--layers {given!r}: numbers in -1 (the output) to {last}, or all")
    return layers


def require_parquet() -> None:
    """InputError if the package that writes parquet is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        install = "pip install pyarrow; or use .npz"
        raise InputError(lacking(error, "parquet needs the package pyarrow", install)) from error


def extractor(model: Model, what: str, layers: list[int]) -> tuple[Callable, list[str]]:
    """The model's method that returns [B, T, K, N] or [B, T, N], and the names of the K."""
    if what == "units":
        return model.units, ["units"]
    if what == "logits":
        return model.logits, ["logits"]
    names = ["layer_output" if layer == -1 else f"layer_{layer}" for layer in layers]
    return lambda w, n, statistics=None: model.layers(
        w, n, layers=layers, statistics=statistics
    ), names


def extracted(
    model: Model,
    corpus: Corpus,
    what: str,
    layers: list[int],
    *,
    pool: bool,
    dtype: str,
    batch_seconds: float,
    without: Collection[int] = (),
) -> Iterator[Item]:
    """Every utterance but those of the indices `without`, in the order in which they are
    computed."""
    apply, names = extractor(model, what, layers)
    for i, values in corpus_frames(
        model, corpus, apply, batch_seconds=batch_seconds, without=without
    ):
        parts = [values] if values.ndim == 2 else [values[:, k] for k in range(len(names))]
        if pool:
            parts = [part.mean(0) for part in parts]
        kind = "int32" if what == "units" else dtype
        where = f"{corpus.directory}: utterance {corpus.id(i)}"
        named = zip(names, parts, strict=True)
        arrays = {name: _stored(part, kind, f"{where}: {name}") for name, part in named}
        yield Item(i, len(values), arrays)


def _stored(values: np.ndarray, dtype: str, where: str) -> np.ndarray:
    """The values in a dtype; InputError if they are not finite, or not finite in it. A logit may be
    minus infinity, which rules out its class."""
    if dtype == "int32":
        return values.astype(dtype)
    possible = np.isfinite(values) | (where.endswith("logits") & np.isneginf(values))
    if not possible.all():
        raise InputError(
            f"{where}: {np.count_nonzero(~possible)} of {values.size} values are NaN or infinite; "
            "is the checkpoint or the file damaged?"
        )
    largest = float(np.abs(values[np.isfinite(values)]).max(initial=0))
    if largest > float(np.finfo(dtype).max):
        raise InputError(f"{where}: {largest:g} is beyond {dtype}; use --dtype float32")
    return values.astype(dtype)


def write_npz(path: Path, corpus: Corpus, items: Iterator[Item]) -> int:
    """One array per utterance and kind, written as computed; returns the number of utterances."""
    count = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for item in items:
            count += 1
            for name, array in item.arrays.items():
                place = f"{corpus.id(item.index)}/{name}.npy"
                with archive.open(place, "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.ascontiguousarray(array))
    return count


def write_parquet(path: Path, corpus: Corpus, items: Iterator[Item]) -> int:
    """One row per utterance, written in groups; returns the number of utterances."""
    import pyarrow
    import pyarrow.parquet

    writer, rows, count = None, list[dict[str, Any]](), 0

    def flush(writer):
        table = pyarrow.Table.from_pylist(rows)
        writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
        rows.clear()
        return writer

    for i, frames, arrays in items:
        count += 1
        row = {"id": corpus.id(i), "text": corpus.text(i), "speaker": corpus.speaker(i)}
        lists = {f"{name}:{a.shape[-1]}": a.reshape(-1) for name, a in arrays.items()}
        rows.append({**row, "frames": frames, **lists})
        if len(rows) == ROWS_AT_ONCE:
            writer = flush(writer)
    if rows:
        writer = flush(writer)
    if writer is not None:
        writer.close()
    return count


WRITERS = {".npz": write_npz, ".parquet": write_parquet}


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(prog="w2v2 extract", description=__doc__.splitlines()[0])
    add_checkpoint(parser)
    add_data(parser)
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FILE.npz|FILE.parquet", help="the file to write"
    )
    parser.add_argument("--what", default="layers", choices=WHAT, help="what to extract (layers)")
    parser.add_argument("--layers", default="-1", help="with --what layers: 0,6,-1 or all")
    parser.add_argument("--pool", default="none", choices=("none", "mean"), help="over frames")
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=("float16", "float32"),
        help="type of the stored values (float32)",
    )
    add_batch_seconds(parser, 60.0)
    add_dtype(parser, "--compute-dtype")
    add_overwrite(parser)
    arguments = parser.parse_args(argv)
    try_outputs(arguments, "out")
    refuse_special(arguments.out, "--out")
    if arguments.out.suffix not in WRITERS:
        raise InputError(f"--out {arguments.out}: end it in {' or '.join(WRITERS)}")
    if arguments.pool == "mean" and arguments.what == "units":
        raise InputError("--pool mean goes with layers or logits; units have no mean")
    if arguments.out.exists() and not arguments.overwrite:
        raise InputError(f"--out {arguments.out} exists; add --overwrite or choose another")
    layers = read_layers(arguments.layers)
    if arguments.out.suffix == ".parquet":
        require_parquet()
    corpus = open_corpus(arguments.data)
    model = load(arguments.checkpoint, execution=execution_of(arguments))
    chosen = layers_of(model, layers)
    where = f"--data {arguments.data}"
    short = tell_too_short(model, corpus, where=where, then="the file does not have them")
    items = extracted(
        model,
        corpus,
        arguments.what,
        chosen,
        pool=arguments.pool == "mean",
        dtype=arguments.dtype,
        batch_seconds=arguments.batch_seconds,
        without=frozenset(short),
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with writing("--out", arguments.out), new_file(arguments.out) as partial:
        count = WRITERS[arguments.out.suffix](partial, corpus, items)
    print(f"{counted(count, 'utterance')}; wrote {arguments.out}")


if __name__ == "__main__":
    sys.exit(run_command(main))
