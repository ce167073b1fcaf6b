"""XLS-R pretraining (cross-lingual, 436 k hours, 128 languages): `:300m`, `:1b`, `:2b`.

Source: Babu et al. 2021 (arXiv 2111.09296): sizes of the released models, crops of at most 20 s,
one million updates, 32 k of them warm-up. The peak rates are not from the paper: they are those of
fairseq's `wav2vec2_large_librivox.yaml`, the same pre-LN network without dropout.

Run: w2v2 train --config pretrain_xlsr:1b --workdir runs/xlsr_1b
     (append `,smoke` for the same recipe at toy size). Each corpus is a folder of prepared folders,
     one per language, with splits train and dev: `w2v2 prepare --source ... --out data/xlsr/mls/de
     --holdout dev=0.01`. A missing corpus is an error: remove its row from CORPORA.

Hardware and time: estimates of the compiler are in docs/results/aot.md. 1b and 2b shard parameters
and moments (fsdp). `w2v2 aot --rows N` says how many microbatches a smaller machine
needs.

Expected: the paper publishes no pretraining curve; its tables are of fine-tuned models.
Got: not run.

Sampling: as in the paper, alpha 0.5 over the languages of each corpus and then over the corpora
(`w2v2_jax/data/mixture.py`). The hours are those of the prepared utterances.

Differences from the paper: every epoch has each language's share, where fairseq repeats its files a
whole number of times or draws them; batches are 2.53 to 2.8 h in rows of one of 26 lengths (96 % of
the audio in fairseq's crops, for lengths like Common Voice's), the longest 19.7 s, as in
pretrain_large.py.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from w2v2_jax.experiment import crop_lengths
from w2v2_jax.experiment.smoke import shrink

# Folders of data/xlsr, each of folders of one language. The paper's, of 128 languages together:
# VoxPopuli, Multilingual LibriSpeech, Common Voice, VoxLingua107 and BABEL.
CORPORA = ("voxpopuli", "mls", "common_voice", "voxlingua107", "babel")

# Name -> family, peak rate, whether parameters are sharded over the pod's fsdp axis.
RECIPES = {
    "300m": dict(family="xls_r_300m", peak=5e-3, fsdp=1),
    "1b": dict(family="xls_r_1b", peak=5e-3, fsdp=4),
    "2b": dict(family="xls_r_2b", peak=5e-3, fsdp=8),
}


def get_config(arg: str = "300m") -> ConfigDict:
    """arg: a recipe's name, with `,smoke` for toy size."""
    name, _, size = arg.partition(",")
    name = name or "300m"
    if name not in RECIPES or size not in ("", "smoke"):
        raise ValueError(f"{arg!r} is not known; use {', '.join(RECIPES)}, each also with ,smoke")
    recipe = RECIPES[name]
    config = ConfigDict(
        dict(
            seed=1,
            init_from="",
            model=dict(
                family=recipe["family"],
                attention_dropout=0.0,
                quantizer_dropout=0.0,
                feature_grad_scale=1.0,
            ),
            execution=dict(dtype="bfloat16", remat="full", scan_layers=True),
            objective=dict(
                name="contrastive",
                diversity_group_seconds=78.75,
                feature_penalty_weight=0.0,
                gumbel_end=0.1,
            ),
            schedule=dict(name="polynomial", peak=recipe["peak"], warmup=32_000),
            optimizer=dict(b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.01),
            data=dict(
                train=tuple(dict(path=f"data/xlsr/{c}/*:train", corpus=c) for c in CORPORA),
                alpha=0.5,
                valid=tuple(f"data/xlsr/{c}/*:dev" for c in CORPORA),
                mode="crop",
                bucket_seconds=crop_lengths.LARGE,
                batch_seconds=10_080.0,
                row_multiple=128,
                valid_bucket_seconds=(5.0, 10.0, 15.0, 19.6875),
                min_seconds=2.0,
                normalise=True,
            ),
            train=dict(
                steps=1_000_000,
                accumulate=1,
                log_every=200,
                eval_every=5_000,
                checkpoint_every=1_000,
                keep_last=3,
                best_metric="contrastive_loss",
            ),
            mesh=dict(data=-1, fsdp=recipe["fsdp"], tensor=1),
        )
    )
    if size != "smoke":
        return config
    config.mesh.fsdp = 1
    return shrink(config)
