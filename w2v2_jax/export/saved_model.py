"""TensorFlow SavedModel: the StableHLO program inside TensorFlow's own XlaCallModule.

`jax.export` makes the program and TensorFlow runs it, as with jax2tf. jax2tf itself does not work
any more, because it serialises for readers that are newer than the newest TensorFlow. So the one
operation that is too new (a composite for erf) becomes a call, and the program is written in
version 1.9 of StableHLO. The weights are tf.Variables: they have no size limit, and one copy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jax import export

from w2v2_jax import trees
from w2v2_jax.checkpoint.description import Loaded
from w2v2_jax.data.tensorflow_host import import_tensorflow
from w2v2_jax.export import deployment

STABLEHLO_VERSION = "1.9.0"  # TensorFlow 2.21 reads up to 1.13
PLATFORMS = ("cpu", "cuda", "tpu")  # those TensorFlow knows by these names


def portable_bytes(exported: export.Exported) -> bytes:
    """The program in an older StableHLO, without composites."""
    from jax.interpreters.mlir import make_ir_context
    from jaxlib.mlir import ir, passmanager
    from jaxlib.mlir.dialects import stablehlo

    stablehlo.register_stablehlo_passes()
    with make_ir_context():
        module = ir.Module.parse(exported.mlir_module())
        pipeline = "builtin.module(func.func(stablehlo-legalize-composite-to-call))"
        passmanager.PassManager.parse(pipeline).run(module.operation)
        return stablehlo.serialize_portable_artifact(module, STABLEHLO_VERSION)


def save(loaded: Loaded, out: str | Path) -> None:
    """Writes a SavedModel folder with signature serving_default, vocabulary.json and README.md.

    GPUs are hidden from TensorFlow in this process: writing needs none. Raises InputError for a
    checkpoint without a CTC head, or if TensorFlow is not installed.
    """
    out = Path(out)
    deployment.check(loaded)
    tf = import_tensorflow("--to savedmodel")
    exported = deployment.trace(loaded, platforms=PLATFORMS)
    module = _module(tf, exported, sorted(trees.flatten(loaded.params).items()))
    tf.saved_model.save(module, str(out), signatures={"serving_default": module.signature})
    deployment.write_folder(
        out,
        loaded,
        title="TensorFlow SavedModel",
        files="`model(waveforms, num_samples)` and the signature `serving_default` take any batch "
        "and length.",
        packages="tensorflow soundfile",
        imports="import numpy as np\nimport tensorflow as tf\n",
        load='model = tf.saved_model.load(".")',
        call="logits, frames = model(waveforms, num_samples)  # compiles once a shape",
        notes="Pad recordings to a few lengths: TensorFlow compiles the program again for every "
        "shape it sees. It runs wherever TensorFlow has XLA (TensorFlow Serving too), not in "
        "TensorFlow Lite.",
    )


def _module(tf, exported: export.Exported, parameters: list[tuple[str, np.ndarray]]):
    """A tf.Module that holds the parameters and calls the program."""
    from tensorflow.compiler.tf2xla.python import xla

    program, used = portable_bytes(exported), set(exported.module_kept_var_idx)
    classes = exported.out_avals[0].shape[-1]
    inputs = [
        tf.TensorSpec((None, None), tf.float32, name="waveforms"),
        tf.TensorSpec((None,), tf.int32, name="num_samples"),
    ]

    class Deployed(tf.Module):
        def __init__(self):
            super().__init__(name="wav2vec2")
            self.parameters = [
                tf.Variable(np.asarray(x, np.float32), trainable=False, name=name.replace("/", "."))
                for name, x in parameters
            ]

        @tf.function(autograph=False, input_signature=inputs)
        def __call__(self, waveforms, num_samples):
            arguments = [*self.parameters, waveforms, num_samples]
            logits, frames = xla.call_module(
                [x for index, x in enumerate(arguments) if index in used],
                version=exported.calling_convention_version,
                module=program,
                Sout=[[None, None, classes], [None]],
                Tout=[tf.float32, tf.int32],
                platforms=[platform.upper() for platform in exported.platforms],
            )
            return logits, frames

        @tf.function(autograph=False, input_signature=inputs)
        def signature(self, waveforms, num_samples):
            logits, frames = self(waveforms, num_samples)
            return {"logits": logits, "frames": frames}

    return Deployed()
