"""Converted parameters as the first checkpoint of a workdir, the way training writes them."""

from __future__ import annotations

from pathlib import Path

import orbax.checkpoint as ocp

from w2v2_jax.checkpoint.description import Loaded
from w2v2_jax.checkpoint.files import FOLDER


def write_initial(out: str | Path, loaded: Loaded) -> None:
    """Writes OUT/checkpoints/0: parameters and description, no optimizer state.

    `--checkpoint OUT` and `config.init_from = OUT` read it.
    """
    folder = Path(out).absolute() / FOLDER
    folder.mkdir(parents=True)
    with ocp.CheckpointManager(folder) as checkpoints:
        checkpoints.save(
            0,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(loaded.params),
                model=ocp.args.JsonSave(loaded.description.to_json()),
            ),
        )
        checkpoints.wait_until_finished()
