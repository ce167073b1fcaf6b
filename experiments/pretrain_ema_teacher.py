"""data2vec pretraining of a BASE encoder on LibriSpeech 960 h: masked frames predict the output of
a slowly moving copy of the network for the whole input.

Source: arXiv 2202.03555, section 4.2; fairseq `examples/data2vec/config/audio/pretraining/
base_librispeech.yaml`, which says what the text leaves open (layer norm in the feature encoder,
normalised waveforms, three stages of the rate, no penalty and no smaller gradient for the feature
encoder, five positional convolutions of 19 frames, the run's end where targets or predictions
collapse). What it trains leaves as Hugging Face's data2vec-audio (`w2v2 export --to hf`).

Run:
    w2v2 prepare --source tfds:librispeech --out data/librispeech
    w2v2 train --config pretrain_ema_teacher --workdir runs/data2vec
    (`:smoke` is the same recipe at toy size; data.train and data.valid name prepared corpora)

Hardware and time: the published configuration is for 16 GPUs. Compared with `pretrain_base.py`, an
update also has the teacher's forward pass over the Transformer, and the state has one more copy of
its parameters. An update is 48 groups of rows, which can be divided over 1, 2, 3, 4, 6, 8, ... 48
devices.

Expected: test-other with a 4-gram LM 12.3, 9.1, 8.1, 6.8, 5.5 % WER after 10 min, 1 h, 10 h, 100 h,
960 h of labels (paper Table 2); no curve of its pretraining is published.
Got: not run.

Differences from the paper: batches are rows of one of 26 lengths up to 19.6875 s, 57 to 63 min of
audio, instead of 63 min of crops of at most 20 s; masks are not trimmed to the batch's smallest
count; the bounds that end a run are on deviations within rows, not over the batch; the teacher
moves once an update, also with microbatches, where fairseq moves it at each of them.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from w2v2_jax.experiment import crop_lengths
from w2v2_jax.experiment.smoke import shrink


def get_config(arg: str = "") -> ConfigDict:
    """arg: "" or "smoke"."""
    if arg not in ("", "smoke"):
        raise ValueError(f"pretrain_ema_teacher.py takes no argument but smoke, not {arg!r}")
    config = ConfigDict(
        dict(
            seed=1,
            init_from="",
            model=dict(
                family="base", extractor_norm="layer", input_dropout=0.0, feature_grad_scale=1.0,
                mask_min_spans=1, position_depth=5, position_kernel=19,
            ),
            execution=dict(dtype="bfloat16", remat="dots"),
            objective=dict(
                name="ema_teacher", top_layers=8, decay=0.999, end_decay=0.9999,
                anneal_updates=30_000,
            ),
            schedule=dict(
                name="tri_stage", peak=5e-4, warmup=0.03, hold=0.9, decay=0.07, start_scale=0.01,
                end_scale=0.01,
            ),
            optimizer=dict(b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.01),
            data=dict(
                train="data/librispeech:train_clean100+train_clean360+train_other500",
                valid="data/librispeech:dev_other",
                mode="crop",
                bucket_seconds=crop_lengths.LARGE,
                batch_seconds=3780.0,
                row_multiple=48,
                valid_bucket_seconds=(5.0, 10.0, 15.0, 19.6875),
                min_seconds=2.0,
                normalise=True,
            ),
            health=dict(stop=("collapsed-targets", "collapsed-predictions")),
            train=dict(
                steps=400_000,
                accumulate=1,
                log_every=200,
                eval_every=5_000,
                checkpoint_every=1_000,
                keep_last=3,
                best_metric="loss",
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),
        )
    )  # fmt: skip
    return shrink(config) if arg == "smoke" else config
