"""Writes the ONNX model, in float32 or with int8 weights, as a folder with a README.

int8 quantises only the weights, with onnxruntime's own quantizer (MatMulNBits: 32 weights share a
scale, sums in float32). On a tuned network the logits change a third as much as with onnxruntime's
dynamic quantisation, which also rounds the activations. It saves space, not time
(docs/results/exporting.md). Convolutions stay float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from w2v2_jax.checkpoint.description import Loaded
from w2v2_jax.errors import InputError, lacking
from w2v2_jax.export import deployment, head_folder, onnx_network

MODEL, WEIGHTS = "model.onnx", "model.onnx.data"
INLINE_BYTES = 1 << 30  # a protobuf holds 2 GiB; larger models keep their weights in a second file
BLOCK = 32


def save(loaded: Loaded, out: str | Path, *, int8: bool = False) -> None:
    """Writes model.onnx (with model.onnx.data when large), vocabulary.json or classes.json, and
    README.md.

    int8: 8-bit weights for every matrix product with a constant, for onnxruntime.
    Raises InputError for a checkpoint without a head, or if a package is missing.
    """
    out = Path(out)
    has_classes = loaded.description.objective_class.class_labels
    description = loaded.description if has_classes else deployment.check(loaded)
    if description.model.quantize_input:
        raise InputError(
            f"{loaded.path}: model.quantize_input=True: the ONNX graph has no quantized input; "
            "export --to stablehlo or savedmodel"
        )
    onnx = import_onnx()
    quantize = _quantizer() if int8 else None
    model = onnx_network.build(onnx, loaded)
    if quantize is not None:
        model = quantize(model)
    large = sum(len(x.raw_data) for x in model.graph.initializer) > INLINE_BYTES
    out.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model, out / MODEL, save_as_external_data=large, location=WEIGHTS)
    if not int8:  # the checker does not know onnxruntime's operators
        onnx.checker.check_model(out / MODEL, full_check=True)
    write_folder = head_folder.write if has_classes else deployment.write_folder
    write_folder(
        out,
        loaded,
        title="ONNX model, 8-bit weights" if int8 else "ONNX model",
        files=f"`{MODEL}`{f' with `{WEIGHTS}`' if large else ''}: opset {onnx_network.OPSET}, any "
        "batch and length.",
        packages="onnxruntime soundfile",
        imports="import numpy as np\nimport onnxruntime\n",
        load=f'session = onnxruntime.InferenceSession("{MODEL}")',
        call='inputs = {"waveforms": waveforms, "num_samples": num_samples}\n'
        + ("results" if has_classes else "logits, frames")
        + " = session.run(None, inputs)",
        notes="The 8-bit matrix products are onnxruntime's operator MatMulNBits; other runtimes "
        "take the float32 export."
        if int8
        else "Everything is in the standard operator set.",
    )


def require(*, int8: bool) -> None:
    """InputError if a package that the export needs is not installed."""
    import_onnx()
    if int8:
        _quantizer()


def import_onnx() -> Any:
    """The onnx module; InputError if it is not installed."""
    try:
        import onnx
    except ImportError as error:
        needed = "--to onnx needs the onnx package"
        raise InputError(lacking(error, needed, "pip install onnx")) from error
    return onnx


def _quantizer():
    """ModelProto -> ModelProto with 8-bit weights."""
    try:
        from onnxruntime.quantization import matmul_nbits_quantizer as tools
    except ImportError as error:
        install = "pip install onnxruntime onnx-ir"
        raise InputError(lacking(error, "--int8 needs onnxruntime's tools", install)) from error

    def quantize(model):
        config = tools.DefaultWeightOnlyQuantConfig(
            block_size=BLOCK, is_symmetric=True, bits=8, accuracy_level=0
        )
        quantizer = tools.MatMulNBitsQuantizer(model, algo_config=config)
        quantizer.process()
        return quantizer.model.model

    return quantize
