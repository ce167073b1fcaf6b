"""Writes tests/golden/stablehlo.npz: a StableHLO program of a tiny network, with its logits.

The file stays as it is when jax changes: the test that runs it asks whether this jax still reads
what an earlier one wrote. It is made again, by hand, only where that is given up:

    python -m tests.golden.make_stablehlo

It holds the files of `export --to stablehlo` (program and weights), waveforms, and what the program
gave for them when it was made.
"""

import time

import jax
import jaxlib
import numpy as np

from tests.helpers.interop_cases import VOCABULARY, random_checkpoint
from tests.helpers.places import GOLDEN
from w2v2_jax import trees
from w2v2_jax.export import deployment
from w2v2_jax.models.config import ModelConfig

MODEL = ModelConfig(
    conv_layers=((6, 10, 5), (6, 3, 2)),
    d_model=8,
    num_layers=2,
    num_heads=2,
    ffn_dim=12,
    position_kernel=4,
    position_groups=2,
)


def main() -> None:
    loaded = random_checkpoint(
        MODEL, parts=("encoder", "head"), vocabulary=VOCABULARY, normalise=True
    )
    program = deployment.trace(loaded).serialize()
    waveforms = np.random.default_rng(0).standard_normal((2, 400)).astype(np.float32)
    num_samples = np.array([400, 311], np.int32)
    weights = {name: np.asarray(x, np.float32) for name, x in trees.flatten(loaded.params).items()}
    exported = jax.export.deserialize(bytearray(program))
    logits, frames = jax.jit(exported.call)(weights, waveforms, num_samples)
    path = GOLDEN / "stablehlo.npz"
    np.savez_compressed(
        path,
        made=np.array(
            f"{time.strftime('%Y-%m-%d')}, jax {jax.__version__}, jaxlib {jaxlib.__version__}"
        ),
        program=np.frombuffer(bytes(program), np.uint8),
        waveforms=waveforms,
        num_samples=num_samples,
        logits=np.asarray(logits),
        frames=np.asarray(frames),
        **{f"weight/{name}": x for name, x in weights.items()},
    )
    print(f"wrote {path} ({path.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
