"""Whether pretraining helps, on real speech and two CPU cores or (`,gpu`) one GPU: `:pretrain`,
`:finetune_10m`, `:finetune_1h`, `:finetune_all` and the pretrainings with one thing changed.

Source: the paper's experiments of section 5 (pretrain on all audio, fine-tune on 10 min and 1 h of
labels, against no pretraining; Tables 4 and 13 for the ablations) at the quickstart's size.

Run: bash launch/evidence.sh --source folder:DIR does all of it, cell by cell. One alone, R=runs/my:
    w2v2 train --config evidence:pretrain --workdir $R/pretrain
    w2v2 train --config evidence:finetune_10m --workdir $R/10m \\
        --config.init_from=$R/pretrain
    without --config.init_from the same recipe starts from scratch: same labels, same updates.
    `:pretrain,short` is a quarter of the updates; `:pretrain,CHANGE` is the short one with one
    change of CHANGES, the last two of which are other objectives. `,gpu` after any of these is the
    size for minutes on one GPU of 80 GB, `,filterbank` the network of from_scratch.py, `,strong`
    the usual one tuned as from_scratch.py trains, a number so many updates (`:pretrain,gpu,12000`),
    `,smoke` toy size.

Hardware and time: 2 CPU cores (Intel Xeon), busy with other work (2026-11-26, recorded in commit
a6e43cd): 23 min pretraining at 60 to 130 audio-s/s, 6 min a fine-tuning at 40 to 100. `,gpu` on one
H200 (2026-11-26, commit b93afc9): some 30 s a process before its first update; pretraining alone 11
500 audio-s/s (17 ms an update of 192 s), 3 000 to 5 500 beside eleven fine-tunings; the only
fine-tuning beside it 6 400 (10 ms an update of 64 s), each of six at once 1 500. Pretraining and 17
cells took six minutes.

Expected: a character error rate (CER) at least 30 % lower, relatively, at 10 min of labels.
Got (2026-11-26, the same cores, by launch/evidence.sh, recorded in commits a6e43cd, 092c5db and
    cced9e0; 16.7 h unlabelled, 10 min of one speaker's prompts, 8.4 of them in clips of at most
    16 s; docs/results/evidence.md):
    contrastive accuracy on dev .184 (18.5 times chance), code perplexity 247 of 640
    seed   test CER from scratch, pretrained   change     test WER
    1      69.0, 57.1 %                        -17.2 %    103.4, 95.0 %
    2      66.1, 57.1 %                        -13.6 %    101.1, 95.9 %
    3      69.4, 56.4 %                        -18.7 %    103.2, 95.7 %
    The learning rate of the pretraining decayed to 0 at 8000 for its first 2356 updates, at 6000 to
    update 4265 and at 5000 from there on: the run was cut to the time there was.
    With a quarter of the updates and one change each (CHANGES): docs/results/evidence.md.
    `pretrain,continuous_targets,5000`, the same labels (2026-11-26, AMD EPYC, commit d35f0fa):
        47.7, 52.3, 48.0 % where from scratch 71.9, 67.3, 69.2 (-29.0 %), WER 91.1, 96.6, 94.5 %.
    `,gpu`, mixed labels of 44 voices (2026-11-26, one H200, commit b93afc9, pretraining stopped at
    5384 of 8000 updates: accuracy on dev .384, code perplexity 169; fine-tuning 1500 updates of 64
    s):
    labels  seeds     test CER, pretrained with masks   from scratch, with   without masks
    10m     1, 2, 3   62.0, 100.0, 69.1 %               100.0, 100.0, 72.5   74.1, 76.7, 75.5
    1h      1, 2, 3   54.7, 58.5, 64.5 %                100.0, 100.0, 79.6   60.4, 62.0, not run
    100.0 is blanks alone to the end. Masks of .065 x 5 frames and .008 x 32 channels with LayerDrop
    .1 keep CTC from starting, so the recipe is without them; pretrained without: not run so.
    `,filterbank`, the ten minutes of prompts (2026-11-29, AMD EPYC, commit d43529c; 155 audio-s/s a
    core): from scratch 58.5, 58.5 %; continuous targets, 1250 updates 54.5, 55.6, 55.9, 7000
    updates 57.5; the published objective, 7000 updates 66.4 % (accuracy on dev .32).
    `,strong`, the same labels (2026-11-30, Intel Xeon, commit 94e88f9): from scratch 67.2, the
    published objective 56.5, continuous targets (5000 updates) 46.9, 45.9 %. `,filterbank` with
    random targets 74.0 %.
    `,strong` with updates of 8 s, as it is now (2026-11-30, the same cores, commit 5f1306d):
    continuous targets 40.2 %, from_scratch with updates of 8 s 53.0 %; prompts in five languages
    44.7 and 60.5 %.
    the published objective 47.8 % (2026-11-30, AMD EPYC, commit 83ffbba). Second seeds (2026-12-01,
    another Intel Xeon, commit abc1d5b): 40.2 and 52.5 %, the published objective 59.9. Third seeds
    (2026-12-01, AMD EPYC, commit 70af490): 39.8 and 52.0 %, the published objective 49.0; with
    phonemes PER 33.1, 48.0 and 46.0 %.
Before: 10 min of mixed labels (3.3 of prompts, 6.7 of acted speech of 43 voices) from the same
    encoder, in bfloat16, 1053 updates of 12 s: blanks alone (CER 99.9 % on dev at 900; 2026-11-26,
    the same cores, commit a6e43cd).
    `,gpu` at a rate of 5e-4 without clipping or masks, in float32 (2026-11-26, one H200, commit
    6ac531d; the pretraining stopped at 984 of 2933 updates, contrastive accuracy on dev .253): of
    six cells from scratch five diverged (loss 80 to 280 within 429 updates, blanks or noise: CER 97
    to 100 % on dev) and one came to 76.1 %; pretrained 68.3 and 69.3 % on dev after 1000 (seeds 1
    and 2; 10 min), with the labels by heart after 600 (loss .1, 213 on dev). Hence 3e-4 and the
    clipping.
    On CPU, the short pretraining, 10m, seed 1 (60.0 %): feature encoder frozen and the head alone
    for 160 updates as in the paper 65.4 % (2026-11-26, commit b93afc9).

Differences from the paper: 2 M parameters; five convolutions instead of seven; the quickstart's
    spans, diversity weight, quantizer rate and missing dropout; no masks in fine-tuning, and no
    frozen parts. A quantized input has a quantizer of its own, as fairseq's by default (the paper
    does not say), which stays in fine-tuning, with noise, as in fairseq's code.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from w2v2_jax.experiment.recipe import beside
from w2v2_jax.experiment.smoke import shrink

CORPUS = "data/evidence/corpus"
NO_DROPOUT = dict(
    dropout=0.0, attention_dropout=0.0, input_dropout=0.0, quantizer_dropout=0.0, layer_drop=0.0
)
# Five layers instead of seven: the same 20 ms a frame, 1.6 times as fast on these cores, whose time
# goes into the first layers' norms and GELUs.
CONV_LAYERS = ((32, 10, 5), (64, 4, 4), (128, 4, 4), (128, 2, 2), (128, 2, 2))
MODEL = dict(family="small", conv_layers=CONV_LAYERS, norm_order="post", **NO_DROPOUT)
# As in the quickstart: what is to be predicted holds still while the context network learns.
SLOW_TARGETS = (("quantizer|target_projection", 0.05),)
# The input's quantizer is no target: it learns as fast as the context network that reads it.
ONLY_TARGETS = (("^quantizer|target_projection", 0.05),)
# One thing at a time, as sections of the configuration (the paper's Tables 4 and 13).
CHANGES = {
    "no_diversity": dict(objective=dict(diversity_weight=0.0)),
    "no_gumbel": dict(objective=dict(gumbel_noise=False)),
    "negatives_10": dict(objective=dict(num_negatives=10)),
    "span_10": dict(model=dict(mask_length=10, mask_start_prob=0.065)),
    "quantized_input": dict(
        model=dict(quantize_input=True), optimizer=dict(rate_by_path=ONLY_TARGETS)
    ),
    "continuous_targets": dict(model=dict(quantize_targets=False)),
    "random_targets": {},
    "ema_teacher": {},
}
# Other objectives on the same features, masks and encoder, instead of the contrastive one. A tenth
# of the published number of codes, and a teacher that follows within these few updates.
OBJECTIVES = {
    "random_targets": dict(name="random_targets", entries=1024),
    "ema_teacher": dict(
        name="ema_teacher", top_layers=3, decay=0.99, end_decay=0.999, anneal_updates=1000
    ),
}
LABELS = {
    "10m": "train_10min",
    "1h": "train_10min+train_1h",
    "all": "train_10min+train_1h+train_rest",
}
# By size: updates of the pretraining and of a short one, and of fine-tuning by its labels.
PRETRAIN_STEPS = {
    "": (5_000, 1_250),
    "gpu": (10_000, 1_500),
    "filterbank": (7_000, 1_250),
    "strong": (5_000, 1_250),
}
LABEL_STEPS = {
    "": {"10m": 1_600, "1h": 2_000, "all": 8_000},
    "gpu": {"10m": 1_500, "1h": 1_500, "all": 6_000},  # the first two share programs
    "filterbank": {"10m": 2_000, "1h": 3_000, "all": 12_000},
    "strong": {"10m": 4_000, "1h": 2_000, "all": 8_000},
}
# Targets that need not be learned first can be further from what is heard.
LONGER_SPANS = dict(mask_length=7, mask_start_prob=0.07)
FILTERBANK_MASKS = dict.fromkeys(("continuous_targets", *OBJECTIVES), LONGER_SPANS)

# What differs on a GPU, whose minutes hold some ten times the updates, of eight times the audio.
GPU_MODEL = dict(
    conv_layers=((256, 10, 5), *(((256, 3, 2),) * 4), *(((256, 2, 2),) * 2)),
    d_model=512,
    num_layers=8,
    num_heads=8,
    ffn_dim=2048,
    position_kernel=32,
    position_groups=4,
    final_dim=256,
)


def pretrain(steps: int) -> dict:
    """Self-supervised on every clip but dev's and test's, rows of one speaker's joined clips."""
    return dict(
        model={**MODEL, "mask_length": 5, "mask_start_prob": 0.1},
        execution=dict(dtype="bfloat16"),
        objective=dict(
            name="contrastive",
            diversity_group_seconds=24.0,
            diversity_weight=0.4,
            feature_penalty_weight=0.0,
            gumbel_decay=0.9995,
        ),
        schedule=dict(name="polynomial", peak=1.5e-3, warmup=max(1, steps // 16)),
        optimizer=dict(b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.01, rate_by_path=SLOW_TARGETS),
        data=dict(
            train=f"{CORPUS}:unlabeled+train_10min+train_1h",
            valid=f"{CORPUS}:dev",
            mode="concatenate",
            bucket_seconds=(3.0,),
            batch_seconds=24.0,
            row_multiple=8,
            valid_bucket_seconds=(2.0,),
            valid_batch_seconds=16.0,
            normalise=True,
        ),
        train=dict(
            steps=steps,
            log_every=50,
            eval_every=500,
            checkpoint_every=250,
            keep_last=1,
            keep_best=0,
            best_metric="contrastive_loss",
        ),
    )


def finetune(splits: str, steps: int) -> dict:
    """CTC on the labels, the whole network trained, from init_from or from scratch."""
    return dict(
        model={
            **MODEL,
            "feature_grad_scale": 1.0,
            "mask_start_prob": 0.0,
            "dropout": 0.1,
        },
        execution=dict(dtype="float32"),
        objective=dict(name="ctc"),
        schedule=dict(name="tri_stage", peak=1e-3),
        optimizer=dict(b1=0.9, b2=0.98, eps=1e-8, weight_decay=0.0),
        vocabulary=dict(name="librispeech"),
        data=dict(
            train=f"{CORPUS}:{splits}",
            valid=f"{CORPUS}:dev",
            mode="pad",
            bucket_seconds=(1.0, 2.0, 3.0, 5.0, 16.0),
            batch_seconds=8.0,
            row_multiple=2,
            valid_batch_seconds=64.0,
            normalise=True,
        ),
        train=dict(
            steps=steps,
            log_every=max(1, steps // 40),
            eval_every=max(1, steps // 4),
            checkpoint_every=max(1, steps // 4),
            keep_last=1,
            best_metric="cer",
        ),
    )


def gpu_pretrain(steps: int) -> dict:
    """What `pretrain` has else on a GPU; so many updates that the rate is lower and the Gumbel
    temperature takes longer, and fewer validations, which stop the GPU's work."""
    return dict(
        model=GPU_MODEL,
        objective=dict(
            diversity_group_seconds=32.0,
            gumbel_decay=0.25 ** (1 / (0.55 * steps)),  # 2 to .5 in 55 % of the updates
        ),
        schedule=dict(peak=7e-4, warmup=max(1, steps // 12)),
        data=dict(
            bucket_seconds=(4.0,), batch_seconds=192.0, valid_batch_seconds=128.0, reader="threads"
        ),
        train=dict(
            steps=steps, eval_every=max(1, steps // 10), checkpoint_every=max(1, steps // 10)
        ),
    )


def gpu_finetune(steps: int) -> dict:
    """What `finetune` has else on a GPU: two row lengths and scanned layers, which compile in a
    third of the time; a lower rate and clipping, without which most cells from scratch diverged."""
    return dict(
        model={**GPU_MODEL, "attention_dropout": 0.1},
        execution=dict(dtype="bfloat16", scan_layers=True),
        schedule=dict(peak=3e-4),
        optimizer=dict(clip_norm=50.0),  # of a loss summed over labels, not averaged: 40 to 650
        data=dict(
            bucket_seconds=(5.0, 16.0),
            batch_seconds=64.0,
            valid_batch_seconds=128.0,
            reader="threads",
            workers=2,
        ),
        train=dict(
            steps=steps,
            log_every=max(1, steps // 30),
            eval_every=max(1, steps // 5),
            checkpoint_every=max(1, steps // 5),
        ),
    )


def filterbank_pretrain(steps: int) -> dict:
    """What `pretrain` has else for the network of from_scratch.py, whose frames are 30 ms and
    overlap: spans of 150 ms, and rows of 4 s. Post-LN learns faster here, pre-LN from scratch."""
    network = beside(__file__, "from_scratch.py").model
    shape = {name: network[name] for name in ("conv_layers", "filterbank_init", "num_layers")}
    return dict(
        model=shape,
        execution=dict(dtype="float32", scan_layers=True),
        objective=dict(diversity_group_seconds=32.0, diversity_weight=0.5),
        data=dict(bucket_seconds=(4.0,), batch_seconds=32.0),
        train=dict(
            steps=steps, eval_every=max(1, steps // 10), checkpoint_every=max(1, steps // 20)
        ),
    )


def filterbank_finetune(labels: str, steps: int) -> ConfigDict:
    """from_scratch.py's training on the labels, from init_from or from scratch."""
    config = beside(__file__, "from_scratch.py", f"hours,{steps}")
    config.data.train, config.data.valid = f"{CORPUS}:{LABELS[labels]}", f"{CORPUS}:dev"
    return config


def strong_finetune(labels: str, steps: int) -> ConfigDict:
    """The same training of the five convolutions, whose frames are 20 ms: masks of 120 ms. With ten
    minutes, a quarter of the audio per update: CTC leaves the blanks after so many updates, not so
    much audio. With more labels such updates are too noisy for this rate."""
    config = filterbank_finetune(labels, steps)
    config.model.update(conv_layers=CONV_LAYERS, filterbank_init=False, num_layers=3, mask_length=6)
    if labels == "10m":
        config.data.batch_seconds = 8.0
    return config


KNOWN = (
    f"pretrain[,short|{'|'.join(CHANGES)}], "
    f"{', '.join(f'finetune_{labels}' for labels in LABELS)}, each also with ,gpu or ,filterbank "
    "or ,strong, a number of updates, ,smoke"
)


def get_config(arg: str = "pretrain") -> ConfigDict:
    """arg: "pretrain", with ",short" or one of CHANGES, or "finetune_" and one of LABELS; each with
    ",gpu", ",filterbank" or ",strong", a number of updates and ",smoke"."""
    name, *words = arg.split(",") if arg not in ("", "smoke") else ["pretrain", arg]
    changes = [word for word in words if word in ("short", *CHANGES)]
    sizes = [word for word in words if word in LABEL_STEPS and word]
    numbers = [word for word in words if word.isdecimal() and int(word) > 0]
    _, _, labels = name.partition("finetune_")
    odd = [word for word in words if word not in ("", "smoke", *changes, *sizes, *numbers)]
    if name != "pretrain" and (labels not in LABELS or name != f"finetune_{labels}"):
        odd.insert(0, name)
    if why := _odd(odd) or _too_many(sizes, numbers, changes, labels):
        raise ValueError(f"{arg!r}: {why}; use {KNOWN}")
    size = sizes[0] if sizes else ""
    usual = LABEL_STEPS[size][labels] if labels else PRETRAIN_STEPS[size][bool(changes)]
    steps = int(numbers[0]) if numbers else usual
    config = ConfigDict(dict(seed=1, init_from="", mesh=dict(data=-1, fsdp=1, tensor=1)))
    as_from_scratch = {"filterbank": filterbank_finetune, "strong": strong_finetune}
    if labels and size in as_from_scratch:
        config.update(as_from_scratch[size](labels, steps))
    elif labels:
        config.update(finetune(LABELS[labels], steps))
        config.update(gpu_finetune(steps) if size else {})
    else:
        more = {"gpu": gpu_pretrain, "filterbank": filterbank_pretrain}
        config.update(pretrain(steps))
        config.update(more[size](steps) if size in more else {})
    for change in changes:
        config.update(CHANGES.get(change, {}))
        config.model.update(FILTERBANK_MASKS.get(change, {}) if size == "filterbank" else {})
        if change in OBJECTIVES:
            config.objective = ConfigDict(OBJECTIVES[change])
            config.optimizer.rate_by_path = ()
            config.train.best_metric = "loss"
    return shrink(config, steps=steps if numbers else None) if "smoke" in words else config


def _odd(words: list[str]) -> str:
    """Why the first of the words that nothing knows is none, "" without one."""
    if not words:
        return ""
    if words[0].lstrip("+-").replace(".", "", 1).isdecimal():
        return f"{words[0]} is no number of updates, which is a whole one from 1 on"
    return f"{words[0]!r} is not known"


def _too_many(sizes: list[str], numbers: list[str], changes: list[str], labels: str) -> str:
    """Which of the words do not go together, "" if all do."""
    for several in (sizes, numbers, changes):
        if len(several) > 1:
            return f"{' and '.join(several)} do not go together"
    return f"{changes[0]} is for pretrain alone" if labels and changes else ""
