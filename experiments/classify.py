"""A class for each recording, such as a keyword, a language or an emotion: `:tuned`, `:frozen`.

tuned: trains the whole network except its feature encoder, after 500 updates of only the head.
frozen: trains only the head, on a learned sum of all layers, as SUPERB does to compare encoders.

A corpus's transcripts are its classes: `transcripts.tsv` has `relative/path<TAB>class`. The classes
are the different texts of the training split; utterances of others are left out and counted.

Source: tuned, transformers' `run_audio_classification.py` for SUPERB keyword spotting (batches of
32, rate 3e-5, a tenth warm-up, feature encoder frozen; 5 epochs are 8000 updates of its 51 094
clips); frozen, SUPERB (arXiv 2105.01051; s3prl's downstream `speech_commands`: Adam, rate 1e-4).

Run:
    w2v2 prepare --source folder:keywords --out data/keywords --holdout dev=0.1 --holdout-by clip
    w2v2 train --config classify:tuned --workdir runs/keywords \\
        --config.init_from=runs/base --config.data.train=data/keywords:train
    w2v2 classify --checkpoint runs/keywords --data data/keywords:dev
    `--holdout-by clip` leaves clips of every class on both sides (by default, clips of equal texts
    stay together, and so whole classes); `speaker` keeps a speaker's clips on one side.
    `init_from` is a pretraining workdir, a step or a Hugging Face folder. Append `,smoke` for the
    same recipe at toy size from scratch.

Hardware and time: at most 64 s of audio per update including padding; one GPU of 8 GB.
Expected: accuracy .9643 on SUPERB's keyword test set with the head of `frozen` over BASE (the model
card of `superb/wav2vec2-base-superb-ks`; s3prl .9623). tuned: no published figure is known here.
Got: not run at full size.

Differences from the source: rows of one length bucket, a padded row's mean is over its real frames;
tuned first trains only its head.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from w2v2_jax.experiment.smoke import shrink

HEAD_ALONE = ("^(layer_weights|projector|classifier)", 1.0), (".", 0.0)
RECIPES = {
    "tuned": dict(
        layer_sum=False,
        freeze=500,
        rates=(),
        schedule=dict(name="polynomial", peak=3e-5, warmup=800),
    ),
    "frozen": dict(
        layer_sum=True, freeze=0, rates=HEAD_ALONE, schedule=dict(name="constant", peak=1e-4)
    ),
}


def get_config(arg: str = "tuned") -> ConfigDict:
    """arg: `tuned` or `frozen`, with `,smoke` for toy size."""
    name, _, size = arg.partition(",")
    name = name or "tuned"
    if name not in RECIPES or size not in ("", "smoke"):
        known = list(RECIPES)
        raise ValueError(f"{arg!r} is not known; use {known}, each also with ,smoke")
    recipe = RECIPES[name]
    config = ConfigDict(
        dict(
            seed=1,
            init_from="runs/base",
            model=dict(
                family="inherit",
                layer_sum=recipe["layer_sum"],
                mask_start_prob=0.0,
                channel_mask_start_prob=0.0,
                layer_drop=0.0,
                feature_grad_scale=0.0,
            ),
            execution=dict(dtype="bfloat16"),
            objective=dict(name="classify", freeze_updates=recipe["freeze"]),
            schedule=recipe["schedule"],
            optimizer=dict(
                b1=0.9, b2=0.98, eps=1e-8, weight_decay=0.0, rate_by_path=recipe["rates"]
            ),
            data=dict(
                train="data/keywords:train",
                valid="data/keywords:dev",
                mode="pad",
                bucket_seconds=(1.0, 2.0, 4.0, 8.0, 16.0),
                batch_seconds=64.0,
                row_multiple=4,
                min_seconds=0.1,
                normalise=True,
            ),
            train=dict(
                steps=8_000,
                accumulate=1,
                log_every=50,
                eval_every=500,
                checkpoint_every=500,
                keep_last=2,
                best_metric="accuracy",
                best_mode="max",
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),
        )
    )
    return shrink(config) if size == "smoke" else config
