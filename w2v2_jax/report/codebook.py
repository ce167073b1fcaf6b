"""Shows how a pretraining checkpoint uses its codebooks, and one clip with its mask.

python -m w2v2_jax.report.codebook --checkpoint DIR --data DIR[:split] --out FILE.npz
writes waveform [S], mask [T] (one draw of the model's span mask) and code_counts [G, V].
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.corpus import Corpus, open_corpus
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.inference import Model, load
from w2v2_jax.models import masking, row_random
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.paths import refuse_special, writing
from w2v2_jax.system.arguments import CommandParser, add_data
from w2v2_jax.system.new_output import new_file
from w2v2_jax.system.outputs import try_outputs

ROW_SECONDS = 4  # every clip is cut into rows of this length: one compiled shape
ROWS = 8


def rows_of(corpus: Corpus) -> np.ndarray:
    """The corpus end to end as rows [N, S] float32; the last, shorter row is left out."""
    stream = np.concatenate(
        [corpus.read(i, 0, int(corpus.num_samples[i])) for i in range(len(corpus))]
    )
    size = ROW_SECONDS * SAMPLE_RATE
    count = len(stream) // (size * ROWS) * ROWS
    if not count:
        raise InputError(f"{corpus.directory} has less than {ROW_SECONDS * ROWS} s of audio")
    return stream[: count * size].reshape(count, size).astype(np.float32) / 32768


def code_counts(model: Model, rows: np.ndarray) -> np.ndarray:
    """How often each entry of each codebook is chosen over all frames: [G, V] int64."""
    config = model.description.model
    counts = np.zeros((config.codebooks, config.entries), np.int64)
    for first in range(0, len(rows), ROWS):
        units = model.units(rows[first : first + ROWS])  # [B, T, G]
        for book in range(config.codebooks):
            counts[book] += np.bincount(units[..., book].ravel(), minlength=config.entries)
    return counts


def example(model: Model, corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """The corpus's clip of median length and one draw of its span mask."""
    order = np.argsort(corpus.num_samples, kind="stable")
    i = int(order[len(order) // 2])
    waveform = corpus.read(i, 0, int(corpus.num_samples[i])).astype(np.float32) / 32768
    config = model.description.model
    frames = int(frame_counts(len(waveform), config.conv_layers))
    mask = masking.span_mask(
        row_random.row_keys(jax.random.key(0), jnp.arange(1)),
        jnp.array([frames]),
        frames,
        start_prob=config.mask_start_prob,
        span=config.mask_length,
        min_spans=config.mask_min_spans,
    )
    return waveform, np.asarray(mask[0])


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(prog="w2v2_jax.report.codebook", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True, help="a pretraining workdir or step")
    add_data(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.npz")
    arguments = parser.parse_args(argv)
    try_outputs(arguments, "out")
    refuse_special(arguments.out, "--out")
    corpus = open_corpus(arguments.data)
    model = load(arguments.checkpoint)
    counts = code_counts(model, rows_of(corpus))
    waveform, mask = example(model, corpus)
    out = arguments.out
    out.parent.mkdir(parents=True, exist_ok=True)
    with writing("--out", out), new_file(out) as partial, partial.open("wb") as file:
        # Not by name, of which numpy would change the ending.
        np.savez(file, waveform=waveform, mask=mask, code_counts=counts)
    used = (counts > 0).sum(1)
    print(f"entries used: {', '.join(map(str, used))} of {counts.shape[1]} in each codebook")
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    sys.exit(run_command(main))
