"""CTC fine-tuning on LibriSpeech and its Libri-Light limited splits: `:<model>_<labels>`.

model: base, large (LARGE LS-960) or lv60k (LARGE LV-60k); labels: 10m, 1h, 10h, 100h, 960h.

Source: for base and lv60k the fairseq YAMLs (`config/finetuning/{base,vox}_*.yaml`), because the
released checkpoints come from them; they are followed where they differ from the paper's Table 6
(12 k updates at 10 min, 50 k at 100 h, a 10 k freeze for all). There is no YAML for LARGE LS-960:
it follows Table 6, with only the head for 10 k updates and the rate 3e-5, one of the two that the
paper searched. The decay of the tri-stage schedule is exponential, as in the code, and not linear,
as printed.

Run:
    w2v2 train --config finetune:base_10h --workdir runs/base_10h \\
        --config.init_from=runs/base --config.data.train=data/librispeech:train_10h
    `init_from` is a pretraining workdir, a step or an exported Hugging Face folder, which decides
    the network's shape and norms. Append `,smoke` for the same recipe at toy size from scratch.
    100h is LibriSpeech's train_clean100 and 960h all of its training sets. The Libri-Light limited
    splits are picked from it by utterance id, from the lists that Libri-Light publishes:
    w2v2 prepare --source tfds:librispeech --ids 10h.txt --split train_10h \\
        --out data/librispeech

Hardware and time: at most 1600 s of audio per update including padding (1920 s for LARGE with
960 h); the paper used 8 to 24 V100. Computed for lengths like LibriSpeech's (mean 12.3 s):
    labels       clips per update  updates per epoch  rows of weight 0
    10m          48                1                  none
    1h           72 to 73          4                  7 %
    10h          40 to 114         30                 1.5 %
    100h         40 to 119         291                .4 %
    960h         40 to 119         2790               .3 %
Batches with rows of up to 36 s have the fewest clips. Each clip is used once per epoch. The first
line of `train` gives these numbers for your corpus.

Expected, WER on test-clean/test-other without LM (paper Table 9): base 10m 46.9/50.9, 1h 24.5/29.7,
10h 11.1/17.6, 100h 6.1/13.3, 960h 3.4/8.5; large 43.5/45.3, 21.6-25.3 (1h), 8.0/12.1, 4.7/9.0,
2.8/6.3; lv60k 40.2/38.7, 17.2/20.3, 6.3/10.0, 3.1/6.3, 2.2/4.5.
Got: not run.

Differences from the paper: rows have one length bucket; unalignable utterances are not counted in
the denominator.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from w2v2_jax.experiment.smoke import shrink

# (time mask start probability x 10, channel mask start probability x 64, LayerDrop, peak rate,
#  updates, head-only updates)
RECIPES = {
    "base_10m": (0.65, 0.25, 0.1, 5e-5, 13_000, 10_000),
    "base_1h": (0.65, 0.25, 0.1, 5e-5, 13_000, 10_000),
    "base_10h": (0.65, 0.5, 0.05, 5e-5, 20_000, 10_000),
    "base_100h": (0.65, 0.5, 0.1, 3e-5, 80_000, 0),
    "base_960h": (0.5, 0.1, 0.1, 1e-4, 320_000, 0),
    "large_10m": (0.75, 0.512, 0.1, 3e-5, 12_000, 10_000),
    "large_1h": (0.75, 0.256, 0.1, 3e-5, 13_000, 10_000),
    "large_10h": (0.65, 0.256, 0.1, 3e-5, 20_000, 10_000),
    "large_100h": (0.5, 0.512, 0.1, 3e-5, 50_000, 10_000),
    "large_960h": (0.5, 0.1024, 0.1, 3e-5, 320_000, 10_000),
    "lv60k_10m": (0.65, 0.25, 0.1, 1e-4, 13_000, 10_000),
    "lv60k_1h": (0.75, 0.25, 0.1, 3e-4, 13_000, 10_000),
    "lv60k_10h": (0.75, 0.25, 0.1, 1e-4, 20_000, 10_000),
    "lv60k_100h": (0.5, 0.5, 0.1, 3e-5, 80_000, 10_000),
    "lv60k_960h": (0.5, 0.25, 0.1, 3e-5, 320_000, 10_000),
}


ALL = "train_clean100+train_clean360+train_other500"
SPLITS = {"100h": "train_clean100", "960h": ALL}


def get_config(arg: str = "base_10h") -> ConfigDict:
    """arg: `<model>_<labels>`, with `,smoke` for toy size."""
    name, _, size = (arg or "base_10h").partition(",")
    if name not in RECIPES or size not in ("", "smoke"):
        raise ValueError(f"{arg!r} is not known; use {', '.join(RECIPES)}, each also with ,smoke")
    family, labels = name.split("_")
    time_mask, channel_mask, layer_drop, peak, steps, freeze = RECIPES[name]
    big = family != "base" and labels == "960h"
    config = ConfigDict(
        dict(
            seed=1,
            init_from=f"runs/{family}",
            model=dict(
                family="inherit",
                dropout=0.0,
                attention_dropout=0.0,
                activation_dropout=0.1,
                input_dropout=0.0,
                final_dropout=0.0,
                layer_drop=layer_drop,
                feature_grad_scale=0.0,
                mask_start_prob=time_mask / 10,
                mask_length=10,
                channel_mask_start_prob=channel_mask / 64,
                channel_mask_length=64,
            ),
            execution=dict(dtype="bfloat16", remat="dots", scan_layers=family != "base"),
            objective=dict(name="ctc", freeze_updates=freeze),
            schedule=dict(name="tri_stage", peak=peak),
            optimizer=dict(b1=0.9, b2=0.98, eps=1e-8, weight_decay=0.0),
            vocabulary=dict(name="librispeech"),
            data=dict(
                train=f"data/librispeech:{SPLITS.get(labels, f'train_{labels}')}",
                valid="data/librispeech:dev_other",
                mode="pad",
                bucket_seconds=(4.0, 8.0, 12.0, 16.0, 20.0, 25.0, 36.0),
                batch_seconds=1920.0 if big else 1600.0,
                row_multiple=8,
                min_seconds=0.1,
                normalise=family == "lv60k",
            ),
            train=dict(
                steps=steps,
                accumulate=1,
                log_every=100,
                eval_every=1_000,
                checkpoint_every=1_000,
                keep_last=2,
                best_metric="wer",
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),
        )
    )
    return shrink(config) if size == "smoke" else config
