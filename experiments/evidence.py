"""Whether pretraining helps, on real speech and two CPU cores: `:pretrain`, `:finetune_10m`,
`:finetune_1h` and the pretrainings with one thing changed.

Source: the paper's experiments of section 5 (pretrain on all audio, fine-tune on 10 min and 1 h of
labels, against no pretraining; Tables 4 and 13 for the ablations) at the quickstart's size.

Run: bash launch/evidence.sh --source folder:DIR does all of it, cell by cell. One alone, R=runs/my:
    python -m w2v2_jax.train --config experiments/evidence.py:pretrain --workdir $R/pretrain
    python -m w2v2_jax.train --config experiments/evidence.py:finetune_10m --workdir $R/10m \
        --config.init_from=$R/pretrain
    without --config.init_from the same recipe starts from scratch: same labels, same updates.
    `:pretrain,short` is a third of the updates; `:pretrain,CHANGE` is the short one with one change
    of CHANGES. `,smoke` is toy size.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from w2v2_jax.smoke import shrink

CORPUS = "data/evidence/corpus"
NO_DROPOUT = dict(
    dropout=0.0, attention_dropout=0.0, input_dropout=0.0, quantizer_dropout=0.0, layer_drop=0.0
)
MODEL = dict(family="small", norm_order="post", dtype="bfloat16", **NO_DROPOUT)
# As in the quickstart: what is to be predicted holds still while the context network learns.
SLOW_TARGETS = (("quantizer|target_projection", 0.05),)
STEPS, SHORT_STEPS = 6_000, 2_000
# One thing at a time, as sections of the configuration (the paper's Tables 4 and 13).
CHANGES = {
    "no_diversity": dict(objective=dict(diversity_weight=0.0)),
    "no_gumbel": dict(objective=dict(gumbel_noise=False)),
    "negatives_10": dict(objective=dict(num_negatives=10)),
    "span_10": dict(model=dict(mask_length=10, mask_start_prob=0.065)),
}
LABELS = {"10m": ("train_10min", 1_600), "1h": ("train_10min+train_1h", 3_000)}


def pretrain(steps: int) -> dict:
    """Self-supervised on every clip but dev's and test's, rows of one speaker's joined clips."""
    return dict(
        model={**MODEL, "mask_length": 5, "mask_start_prob": 0.1},
        objective=dict(
            name="contrastive",
            diversity_group_rows=8,
            diversity_weight=0.4,
            feature_penalty_weight=0.0,
            gumbel_decay=0.999,
        ),
        schedule=dict(name="polynomial", peak=1.5e-3, warmup=steps // 16),
        optimizer=dict(b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.01, rate_by_path=SLOW_TARGETS),
        data=dict(
            train=f"{CORPUS}:unlabeled+train_10min+train_1h",
            valid=f"{CORPUS}:dev",
            mode="concatenate",
            bucket_seconds=(3.0,),
            batch_seconds=48.0,
            row_multiple=8,
            valid_bucket_seconds=(2.0,),
            valid_batch_seconds=16.0,
            normalise=True,
        ),
        train=dict(
            steps=steps,
            log_every=50,
            eval_every=500,
            checkpoint_every=500,
            keep_last=1,
            keep_best=0,
            best_metric="contrastive_loss",
        ),
    )


def finetune(splits: str, steps: int) -> dict:
    """CTC on the labels, the whole network trained, from init_from or from scratch."""
    return dict(
        model={**MODEL, "feature_grad_scale": 1.0, "mask_start_prob": 0.0, "dropout": 0.1},
        objective=dict(name="ctc"),
        schedule=dict(name="tri_stage", peak=1e-3),
        optimizer=dict(b1=0.9, b2=0.98, eps=1e-8, weight_decay=0.0),
        vocabulary=dict(name="librispeech"),
        data=dict(
            train=f"{CORPUS}:{splits}",
            valid=f"{CORPUS}:dev",
            mode="pad",
            bucket_seconds=(1.5, 3.0, 5.0, 16.0),
            batch_seconds=12.0,
            row_multiple=2,
            valid_batch_seconds=64.0,
            normalise=True,
        ),
        train=dict(
            steps=steps,
            log_every=steps // 40,
            eval_every=steps // 4,
            checkpoint_every=steps // 4,
            keep_last=1,
            best_metric="cer",
        ),
    )


def get_config(arg: str = "pretrain") -> ConfigDict:
    """arg: "pretrain", with ",short" or one of CHANGES, "finetune_10m" or "finetune_1h"; each with
    ",smoke"."""
    name, *rest = arg.removesuffix("smoke").removesuffix(",").split(",")
    change = rest.pop(0) if rest else ""
    _, _, labels = name.partition("finetune_")
    if rest or change not in ("", "short", *CHANGES) or (change and labels):
        raise ValueError(_unknown(arg))
    if name == "pretrain":
        made = pretrain(SHORT_STEPS if change else STEPS)
    elif labels in LABELS:
        made = finetune(*LABELS[labels])
    else:
        raise ValueError(_unknown(arg))
    config = ConfigDict(dict(seed=1, init_from="", **made, mesh=dict(data=-1, fsdp=1, tensor=1)))
    config.update(CHANGES.get(change, {}))
    return shrink(config) if arg.endswith("smoke") else config


def _unknown(arg: str) -> str:
    return (
        f"evidence.py:{arg} is not known; use pretrain[,short|{'|'.join(CHANGES)}], "
        f"{', '.join(f'finetune_{labels}' for labels in LABELS)}, each also with ,smoke"
    )
