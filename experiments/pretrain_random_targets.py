"""BEST-RQ pretraining of a BASE encoder on LibriSpeech 960 h: random-projection targets instead of
learned ones, with wav2vec 2.0's encoder, masks, data and schedule.

Source: arXiv 2202.01855 for the targets (8192 codes of 16 numbers, one codebook, 80 bands, section
3); everything else is as in `pretrain_base.py`, so that the two runs differ only in the objective.

Run:
    w2v2 prepare --source tfds:librispeech --out data/librispeech
    w2v2 train --config pretrain_random_targets --workdir runs/best_rq
    (`:smoke` is the same recipe at toy size; data.train and data.valid name prepared corpora)

Hardware and time: as `pretrain_base.py`; logits over 8192 codes for every masked frame replace the
quantizer and the negatives.

Expected: no published result for this encoder; the paper trains Conformers on filterbanks.
Got: not run.

Differences from the paper: the encoder takes raw audio, and its latents are masked as in wav2vec
2.0 (spans of 200 ms over half of the frames), instead of replacing spans of 400 ms of the input
with noise; targets cover 20 ms (two spectra) instead of 40 ms; normalisation is over an utterance.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from w2v2_jax.experiment.recipe import beside
from w2v2_jax.experiment.smoke import shrink


def get_config(arg: str = "") -> ConfigDict:
    """arg: "" or "smoke"."""
    if arg not in ("", "smoke"):
        raise ValueError(f"pretrain_random_targets.py takes no argument but smoke, not {arg!r}")
    config = beside(__file__, "pretrain_base.py")
    config.objective = ConfigDict(
        dict(
            name="random_targets", codebooks=1, entries=8192, code_dim=16, mel_bands=80,
            target_seed=0,
        )
    )  # fmt: skip
    config.train.best_metric = "loss"
    return shrink(config) if arg == "smoke" else config
