"""Masks that a configuration's numbers make impossible, refused before anything is trained.

A row that would be masked completely is left unmasked (`models.masking`). If all rows are like
that, the masks that a recipe asks for are none, and no figure is unusual.
"""

from __future__ import annotations

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.config import DataConfig
from w2v2_jax.errors import InputError
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.frames import frame_counts

MOST_SHARE = 0.95  # of the frames; published recipes mask .05 to .8


def check_masks(model: ModelConfig, data: DataConfig, *, pretraining: bool) -> None:
    """Raises InputError that names the setting with which no row can be masked as it says, or if
    the longest rows have no frame."""
    seconds = max(data.bucket_seconds)
    frames = int(frame_counts(round(seconds * SAMPLE_RATE), model.conv_layers))
    if frames < 1:
        raise InputError(
            f"config.data.bucket_seconds: the longest rows, {seconds:g} s, have no frame of "
            "config.model.conv_layers; use longer rows, or smaller strides"
        )
    if pretraining and not model.mask_start_prob:
        raise InputError(
            "config.model.mask_start_prob=0 masks nothing, and pretraining learns from masked "
            "frames; the paper has 0.065"
        )
    if model.mask_start_prob:
        _check_spans(model, frames, seconds)
    tuning = not pretraining  # pretraining masks no channels
    if tuning and model.channel_mask_start_prob and model.channel_mask_length >= model.d_model:
        raise InputError(
            f"config.model.channel_mask_length={model.channel_mask_length} must be below "
            f"model.d_model={model.d_model}, or config.model.channel_mask_start_prob=0"
        )


def _check_spans(model: ModelConfig, frames: int, seconds: float) -> None:
    start, length = model.mask_start_prob, model.mask_length
    rows = f"the {frames} frames of the longest rows ({seconds:g} s)"
    if length >= frames:
        raise InputError(f"config.model.mask_length={length} must be below {rows}")
    if model.mask_min_spans + length > frames:
        raise InputError(
            f"config.model.mask_min_spans={model.mask_min_spans} of mask_length={length} cover "
            f"{rows}; use at most {frames - length}"
        )
    share = 1 - (1 - start) ** length
    if share > MOST_SHARE:
        most = 1 - (1 - MOST_SHARE) ** (1 / length)
        raise InputError(
            f"config.model.mask_start_prob={start:g} with mask_length={length} masks {share:.1%} "
            f"of the frames; use at most {most:.2g} (fairseq's mask_prob is mask_length times it)"
        )
