"""StableHLO through `jax.export`: one program for every batch, length and platform.

jax.export is JAX's own versioned serialisation (readable for at least six months of releases)
and keeps the shapes symbolic. The weights are beside the program as safetensors, which any
language reads, and not inside it as gigabytes of constants.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from w2v2_jax import trees
from w2v2_jax.checkpoint.description import Loaded
from w2v2_jax.export import deployment

PROGRAM, WEIGHTS = "model.stablehlo", "weights.safetensors"


def save(loaded: Loaded, out: str | Path) -> None:
    """Writes model.stablehlo, weights.safetensors, vocabulary.json and README.md.

    Raises InputError for a checkpoint without a CTC head.
    """
    out = Path(out)
    program = deployment.trace(loaded).serialize()
    out.mkdir(parents=True, exist_ok=True)
    (out / PROGRAM).write_bytes(program)
    flat = trees.flatten(loaded.params)
    save_file(
        {n: np.ascontiguousarray(x, np.float32) for n, x in sorted(flat.items())}, out / WEIGHTS
    )
    deployment.write_folder(
        out,
        loaded,
        title="StableHLO program",
        files=f"`{PROGRAM}` is the program (`jax.export`; batch and length are symbolic; "
        f"{', '.join(deployment.PLATFORMS)}), `{WEIGHTS}` its parameters by name.",
        packages="jax safetensors soundfile",
        imports="import jax\nimport numpy as np\nfrom safetensors.numpy import load_file\n",
        load=f'model = jax.export.deserialize(bytearray(Path("{PROGRAM}").read_bytes()))\n'
        f'weights = jax.device_put(load_file("{WEIGHTS}"))\n'
        "call = jax.jit(model.call)  # compiles once a shape: pad to a few lengths",
        call="logits, frames = call(weights, waveforms, num_samples)",
        notes="`model.mlir_module()` is the StableHLO text for other compilers; its arguments are "
        "the platform's index, the parameters sorted by name, then the two inputs.",
    )
