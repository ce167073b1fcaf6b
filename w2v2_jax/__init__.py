"""wav2vec 2.0 in JAX/Flax: pretraining, CTC fine-tuning, and weights any framework can load."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from w2v2_jax.inference import Model
    from w2v2_jax.models.execution import Execution

__version__ = "0.2.0"


def load(
    path: str | Path, *, language: str | None = None, execution: Execution | None = None
) -> Model:
    """A checkpoint as an object with logits, features, units and transcribe; see `inference`.

    language: whose adapters to take from a Hugging Face directory that has several (MMS).
    execution: how it is computed (`w2v2_jax.models.execution`), by default in float32."""
    from w2v2_jax.inference import load as load_model
    from w2v2_jax.models.execution import PLAIN

    return load_model(path, language=language, execution=PLAIN if execution is None else execution)
