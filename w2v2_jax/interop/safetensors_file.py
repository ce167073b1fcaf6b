"""Plain safetensors: our own names "a/b/c", our layouts, and the description as metadata."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from w2v2_jax import trees
from w2v2_jax.checkpoint.description import Loaded, describe
from w2v2_jax.errors import InputError
from w2v2_jax.interop import names
from w2v2_jax.interop.files import Imported, left_over, read_tensors, understood

METADATA = "w2v2_jax"


def save(loaded: Loaded, path: str | Path) -> None:
    """Writes one file of float32 arrays that any safetensors reader opens."""
    flat = {
        name: np.ascontiguousarray(x) for name, x in sorted(trees.flatten(loaded.params).items())
    }
    save_file(flat, path, metadata={METADATA: json.dumps(loaded.description.to_json())})


def read(path: str | Path) -> Imported:
    """The inverse of `save`. InputError: damaged, not ours, or tensors that do not fit."""
    with understood(Path(path)):
        return _read(Path(path))


def _read(path: Path) -> Imported:
    tensors, metadata = read_tensors(path)
    if METADATA not in metadata:
        raise InputError(f"{path} has no {METADATA!r} metadata; it was not written by this package")
    try:
        description = describe(json.loads(metadata[METADATA]), str(path))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: its {METADATA!r} metadata is unusable: {error}") from error
    parts = {"encoder"} | {name.split("/")[0] for name in tensors}
    classes = len(description.vocabulary or ())
    shapes = names.expected(
        description.model, parts=parts, classes=classes, objective=description.objective_class
    )
    for name, shape in shapes.items():
        if name not in tensors:
            raise InputError(f"{path} has no tensor {name}")
        if tensors[name].shape != shape:
            raise InputError(
                f"{path}: {name} is {list(tensors[name].shape)}, "
                f"its description needs {list(shape)}"
            )
    params = trees.nest({name: tensors[name] for name in shapes})
    left = left_over(tensors, shapes, where=path)
    return Imported(Loaded(path, description, params), list(shapes), left, [])
