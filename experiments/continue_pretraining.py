"""Continued pretraining of a released model on your own unlabelled speech: `:base` and `:large`.

base: the group-norm models (BASE, LARGE LS-960). large: those with layer normalisation in the
feature encoder (LARGE LV-60k, XLSR-53, XLS-R, MMS). Quantizer and projections come with the
encoder, so the contrastive task continues where it stopped.

Source: rates, masks and loss weights of the recipes that made the models
(`wav2vec2_base_librispeech.yaml`, `wav2vec2_large_librivox.yaml` of fairseq). Two settings are our
own: the peak rate, a fifth of BASE's 5e-4 and a tenth of the 1e-3 stored in LV-60k's file; and a
Gumbel temperature that stays where theirs ended, because at 2 the first updates would destroy the
codebook.

Run:
    w2v2 convert --from hf --input wav2vec2-xls-r-300m --out runs/xls_r_300m
    w2v2 prepare --source folder:recordings --out data/mine --holdout dev=0.02
    w2v2 train --config continue_pretraining:large \\
        --workdir runs/continued --config.init_from=runs/xls_r_300m
    `init_from` may be the Hugging Face directory itself; it must hold the quantizer
    (Wav2Vec2ForPreTraining). Append `,smoke` for the same recipe at toy size from scratch.

Hardware and time: the same audio per update as for the released models, 1.6 h (base) and 2.5 to 2.8
h (large); on one 80 GB GPU raise train.accumulate until it fits. An epoch uses every clip once,
cropped, and rows that only fill up a batch have no weight. For a corpus with few updates per epoch,
say 20 h, make updates smaller, with N groups instead of 64 or 128. For base and N=16 use
    --config.data.row_multiple=16 --config.data.batch_seconds=1500   (N x 93.75; large: N x 78.75)
Expected: contrastive accuracy starts near the released model's own and rises on the new speech.
Got: not run at full size.

Differences from the paper: it pretrains once, from scratch.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from w2v2_jax.experiment import crop_lengths
from w2v2_jax.experiment.smoke import shrink

RECIPES = {
    "base": dict(
        peak=1e-4,
        steps=12_500,
        lengths=crop_lengths.BASE,
        groups=64,
        group_seconds=93.75,
        gumbel=0.5,
        penalty=10.0,
        normalise=False,
        model=dict(
            dropout=0.1,
            attention_dropout=0.1,
            input_dropout=0.1,
            quantizer_dropout=0.1,
            layer_drop=0.05,
            feature_grad_scale=0.1,
        ),
    ),
    "large": dict(
        peak=1e-4,
        steps=8_000,
        lengths=crop_lengths.LARGE,
        groups=128,
        group_seconds=78.75,
        gumbel=0.1,
        penalty=0.0,
        normalise=True,
        model=dict(
            dropout=0.0,
            attention_dropout=0.0,
            input_dropout=0.0,
            quantizer_dropout=0.0,
            layer_drop=0.0,
            feature_grad_scale=1.0,
        ),
    ),
}


def get_config(arg: str = "large") -> ConfigDict:
    """arg: `base` or `large`, with `,smoke` for toy size."""
    name, _, size = arg.partition(",")
    name = name or "large"
    if name not in RECIPES or size not in ("", "smoke"):
        raise ValueError(f"{arg!r} is not known; use {', '.join(RECIPES)}, also with ,smoke")
    recipe = RECIPES[name]
    config = ConfigDict(
        dict(
            seed=1,
            init_from="runs/released",
            model=dict(
                family="inherit",
                activation_dropout=0.0,
                mask_start_prob=0.065,
                mask_length=10,
                **recipe["model"],
            ),
            execution=dict(dtype="bfloat16", remat="dots", scan_layers=True),
            objective=dict(
                name="contrastive",
                diversity_group_seconds=recipe["group_seconds"],
                feature_penalty_weight=recipe["penalty"],
                gumbel_start=recipe["gumbel"],
                gumbel_end=recipe["gumbel"],
            ),
            schedule=dict(name="polynomial", peak=recipe["peak"], warmup=recipe["steps"] // 25),
            optimizer=dict(b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.01),
            data=dict(
                train="data/mine:train",
                valid="data/mine:dev",
                mode="crop",
                bucket_seconds=recipe["lengths"],
                batch_seconds=recipe["groups"] * recipe["group_seconds"],
                row_multiple=recipe["groups"],
                valid_bucket_seconds=(4.0, 8.0, 12.0, recipe["lengths"][-1]),
                min_seconds=2.0,
                normalise=recipe["normalise"],
            ),
            train=dict(
                steps=recipe["steps"],
                accumulate=1,
                log_every=50,
                eval_every=500,
                checkpoint_every=250,
                keep_last=2,
                best_metric="contrastive_loss",
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),
        )
    )
    return shrink(config) if size == "smoke" else config
