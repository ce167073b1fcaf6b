"""A network as wide as its convolutions, in frameworks that always project features
(docs/traps.md#t58)."""

from __future__ import annotations

import dataclasses

import numpy as np

from w2v2_jax.checkpoint.description import Loaded


def projected(loaded: Loaded, framework: str) -> tuple[Loaded, list[str]]:
    """The checkpoint with a feature projection, and what to say of it: where it has none, one that
    changes nothing, the identity without a bias. A quantized input's projection is another."""
    model = loaded.description.model
    if model.projects_features or model.quantize_input:
        return loaded, []
    identity = {
        "kernel": np.eye(model.d_model, dtype=np.float32),
        "bias": np.zeros(model.d_model, np.float32),
    }
    encoder = {**loaded.params["encoder"], "feature_projection": identity}
    described = dataclasses.replace(model, always_project_features=True)
    description = loaded.description._replace(model=described)
    note = (
        f"{framework} always has a feature projection, this network none, as its convolutions are "
        f"{model.conv_dim} wide as well: written is one that changes nothing"
    )
    made = loaded._replace(description=description, params={**loaded.params, "encoder": encoder})
    return made, [note]
