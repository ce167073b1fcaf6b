"""wav2vec 2.0 on two hours of real speech, for two CPU cores: `:pretrain` and `:finetune`.

Source: the paper's BASE recipe (section 4.2) at a size for minutes instead of days. The speech is
Asterisk's core prompts (see `w2v2_jax/data/sample_speech.py`): 2.0 h in five languages without
transcripts for pretraining, 16 min of English with transcripts for fine-tuning, 4 min for testing.

Run: bash launch/quickstart.sh does all of it. One step alone, with R=runs/mine:
    python -m w2v2_jax.train --config experiments/quickstart.py:pretrain --workdir $R/pretrain
    python -m w2v2_jax.train --config experiments/quickstart.py:finetune --workdir $R/finetuned \
        --config.init_from=$R/pretrain
    without --config.init_from the same recipe starts from scratch: same labels, same updates.
    `:pretrain,gpu` and `:finetune,gpu` are the larger preset; `,smoke` is toy size.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from w2v2_jax.smoke import shrink

CORPUS = "data/quickstart/corpus"
NO_DROPOUT = dict(
    dropout=0.0, attention_dropout=0.0, input_dropout=0.0, quantizer_dropout=0.0, layer_drop=0.0
)
MODEL = dict(
    family="small",
    conv_layers=(
        (64, 10, 5), (128, 3, 2), (128, 3, 2), (256, 3, 2), (256, 3, 2), (256, 2, 2), (256, 2, 2),
    ),
    norm_order="pre",
    position_kernel=32,
)  # fmt: skip
GPU_MODEL = dict(family="base", dtype="bfloat16")


def pretrain(gpu: bool) -> dict:
    """Self-supervised on every clip but dev's and test's, rows of joined clips."""
    steps = 20_000 if gpu else 700
    return dict(
        model=dict(**GPU_MODEL) if gpu else dict(**MODEL, **NO_DROPOUT),
        objective=dict(
            name="contrastive",
            diversity_group_rows=6 if gpu else 4,
            gumbel_decay=0.9999 if gpu else 0.998,
        ),
        schedule=dict(name="polynomial", peak=5e-4 if gpu else 1e-3, warmup=2_000 if gpu else 70),
        optimizer=dict(b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.01),
        data=dict(
            train=f"{CORPUS}:train+unlabeled",
            valid=f"{CORPUS}:dev+test",
            mode="concatenate",
            bucket_seconds=(8.0,) if gpu else (3.0,),
            batch_seconds=384.0 if gpu else 12.0,
            row_multiple=6 if gpu else 4,
            valid_bucket_seconds=(2.0,),
            valid_batch_seconds=48.0 if gpu else 16.0,
            normalise=False,
        ),
        train=dict(
            steps=steps,
            log_every=steps // 70,
            eval_every=steps // 4,
            checkpoint_every=steps // 4,
            keep_last=1,
            best_metric="contrastive_loss",
        ),
    )


def finetune(gpu: bool) -> dict:
    """CTC on 16 minutes of transcripts, the whole network trained, from init_from or scratch."""
    steps = 4_000 if gpu else 250
    rates = dict(
        feature_grad_scale=1.0,
        mask_start_prob=0.03,
        channel_mask_start_prob=0.002,
        **{**NO_DROPOUT, "dropout": 0.1},
    )
    return dict(
        model=dict(**(GPU_MODEL if gpu else MODEL), **rates),
        objective=dict(name="ctc"),
        schedule=dict(name="tri_stage", peak=1e-4 if gpu else 1e-3),
        optimizer=dict(b1=0.9, b2=0.98, eps=1e-8, weight_decay=0.0),
        vocabulary=dict(name="librispeech"),
        data=dict(
            train=f"{CORPUS}:train",
            valid=f"{CORPUS}:dev",
            mode="pad",
            bucket_seconds=(4.0, 16.0),
            batch_seconds=128.0 if gpu else 32.0,
            row_multiple=2,
            valid_batch_seconds=64.0,
            normalise=False,
        ),
        train=dict(
            steps=steps,
            log_every=steps // 25,
            eval_every=steps // 2,
            checkpoint_every=steps // 2,
            keep_last=1,
            best_metric="cer",
        ),
    )


def get_config(arg: str = "pretrain") -> ConfigDict:
    """arg: "pretrain" or "finetune", with ",gpu" or ",smoke"."""
    name, _, size = arg.partition(",")
    if name not in ("pretrain", "finetune") or size not in ("", "gpu", "smoke"):
        raise ValueError(f"quickstart.py:{arg} is not known; use pretrain or finetune[,gpu|smoke]")
    make = pretrain if name == "pretrain" else finetune
    config = ConfigDict(
        dict(seed=1, init_from="", **make(size == "gpu"), mesh=dict(data=-1, fsdp=1, tensor=1))
    )
    return shrink(config) if size == "smoke" else config
