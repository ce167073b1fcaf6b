"""How fast int8 is in onnxruntime: the table of docs/results/exporting.md.

Run `python -m tests.helpers.int8_speed`.
BASE with random values, one recording of 5 s, one thread. The models take turns, and the figure is
the median of the process's CPU time. Needs what the suite `deploy` installs.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import QuantType, matmul_nbits_quantizer, quantize_dynamic

from tests.helpers.interop_cases import VOCABULARY, random_checkpoint
from w2v2_jax.export import onnx_network
from w2v2_jax.models.config import ModelConfig

ROUNDS, SECONDS, RATE = 5, 5, 16_000
NBITS = {  # name -> block, accuracy level
    "--int8 (MatMulNBits)": (32, 0),
    "the same, 8-bit activations": (32, 4),
    "the same, blocks of 128": (128, 4),
}


def write(folder: Path) -> dict[str, Path]:
    """The models to compare, float32 first."""
    loaded = random_checkpoint(ModelConfig(), parts=("encoder", "head"), vocabulary=VOCABULARY)
    params = jax.tree.map(lambda x: 0.05 * x if x.ndim > 1 else x, loaded.params)
    plain = folder / "float32.onnx"
    onnx.save_model(onnx_network.build(onnx, loaded._replace(params=params)), plain)
    files = {"float32": plain}
    for number, (name, (block, level)) in enumerate(NBITS.items()):
        config = matmul_nbits_quantizer.DefaultWeightOnlyQuantConfig(
            block_size=block, is_symmetric=True, bits=8, accuracy_level=level
        )
        quantizer = matmul_nbits_quantizer.MatMulNBitsQuantizer(
            onnx.load(plain), algo_config=config
        )
        quantizer.process()
        files[name] = folder / f"{number}.onnx"
        onnx.save_model(quantizer.model.model, files[name])
    files["dynamic int8"] = folder / "dynamic.onnx"
    quantize_dynamic(
        plain,
        files["dynamic int8"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm"],
    )
    return files


def main() -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    samples = SECONDS * RATE
    noise = np.random.default_rng(0).standard_normal((1, samples))
    inputs = {
        "waveforms": (0.1 * noise).astype(np.float32),
        "num_samples": np.array([samples], np.int32),
    }
    with tempfile.TemporaryDirectory() as folder:
        files = write(Path(folder))
        sessions = {
            name: onnxruntime.InferenceSession(file, options) for name, file in files.items()
        }
        seconds: dict[str, list[float]] = {name: [] for name in files}
        logits = {}
        for _ in range(ROUNDS):
            for name, session in sessions.items():
                start = time.process_time()
                logits[name] = session.run(None, inputs)[0]
                seconds[name].append(time.process_time() - start)
        for name, file in files.items():
            ratio = np.median(seconds[name]) / np.median(seconds["float32"])
            difference = np.abs(logits[name] - logits["float32"]).max()
            size = file.stat().st_size / 2**20
            print(f"{name}: {ratio:.2f} of float32's CPU time, {size:.0f} MiB, {difference:.4f}")


if __name__ == "__main__":
    main()
