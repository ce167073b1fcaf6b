"""BASE pretraining on LibriSpeech 960 h.

Source: paper section 4.2; fairseq `wav2vec2_base_librispeech.yaml`, which agrees with it.

Run:
    w2v2 prepare --source tfds:librispeech --out data/librispeech
    w2v2 train --config pretrain_base --workdir runs/base
    (`:smoke` is the same recipe at toy size; data.train and data.valid name prepared corpora)

Hardware and time: the paper's 64 V100 took 1.6 days. An update is 64 groups (384 rows of 15.6 s to
2944 of 2 s), which can be divided over 1, 2, 4, ... 64 devices; train.accumulate saves memory at
the cost of time, without changing the mathematics. The 23 row lengths need 23 compilations, which
the compilation cache keeps.

Expected: contrastive accuracy by update, mean of 8 seeds (NVIDIA DeepLearningExamples): 50k .491,
100k .537, 200k .580, 300k .610, 400k .629; test-clean/test-other after 10 h of labels with a 4-gram
LM 4.3/9.5 % WER (paper Table 9).
Got: not run.

Differences from the paper: 12 heads, as in every released model, where the text prints 8; the rows
of a batch have one of 23 lengths (1.59 to 1.67 h; 96 % of the audio in fairseq's crops, for lengths
like LibriSpeech's) instead of 1.6 h of mixed crops; masks are not trimmed to the batch's smallest
count; the diversity loss averages over 6 rows, as on one V100; the feature penalty is weighted by
each row's masked frames, so that microbatches change nothing.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from w2v2_jax.experiment import crop_lengths
from w2v2_jax.experiment.smoke import shrink


def get_config(arg: str = "") -> ConfigDict:
    """arg: "" or "smoke"."""
    if arg not in ("", "smoke"):
        raise ValueError(f"pretrain_base.py takes no argument but smoke, not {arg!r}")
    config = ConfigDict(
        dict(
            seed=1,
            init_from="",
            model=dict(family="base"),
            execution=dict(dtype="bfloat16", remat="dots"),
            objective=dict(name="contrastive", diversity_group_seconds=93.75),
            schedule=dict(name="polynomial", peak=5e-4, warmup=32_000),
            optimizer=dict(b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.01),
            data=dict(
                train="data/librispeech:train_clean100+train_clean360+train_other500",
                valid="data/librispeech:dev_other",
                mode="crop",
                bucket_seconds=crop_lengths.BASE,
                batch_seconds=6000.0,
                row_multiple=64,
                valid_bucket_seconds=(4.0, 7.8, 11.7, 15.625),
                min_seconds=2.0,
                normalise=False,
            ),
            train=dict(
                steps=400_000,
                accumulate=1,
                log_every=200,
                eval_every=5_000,
                checkpoint_every=1_000,
                keep_last=3,
                best_metric="contrastive_loss",
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),
        )
    )
    return shrink(config) if arg == "smoke" else config
