"""Every recipe of experiments/, and its configuration at toy size."""

from tests.helpers.places import ROOT
from w2v2_jax.experiment.recipe import load_config

RECIPES = [
    "quickstart.py:pretrain",
    "quickstart.py:finetune",
    *(f"quickstart.py:{name},hour" for name in ("pretrain", "finetune", "scratch")),
    *(
        f"evidence.py:{name}"
        for name in (
            *("pretrain", "pretrain,short", "finetune_10m", "finetune_1h"),
            *("pretrain,gpu", "pretrain,no_gumbel,gpu", "finetune_10m,gpu", "finetune_1h,gpu"),
            *(f"pretrain,{c}" for c in ("no_diversity", "no_gumbel", "negatives_10", "span_10")),
            *(f"pretrain,{c}" for c in ("quantized_input", "continuous_targets")),
            *("pretrain,quantized_input,gpu", "pretrain,continuous_targets,gpu"),
            *("pretrain,filterbank", "pretrain,continuous_targets,filterbank"),
            *(f"pretrain,{c},filterbank" for c in ("random_targets", "ema_teacher")),
            *("finetune_all", "finetune_10m,filterbank", "finetune_all,filterbank"),
            "finetune_10m,strong",
        )
    ),
    "pretrain_base.py",
    "pretrain_random_targets.py",
    "pretrain_ema_teacher.py",
    *(f"pretrain_large.py:{name}" for name in ("ls960", "lv60k", "lv60k_2021")),
    *(f"pretrain_xlsr.py:{size}" for size in ("300m", "1b", "2b")),
    *(
        f"finetune.py:{model}_{labels}"
        for model in ("base", "large", "lv60k")
        for labels in ("10m", "1h", "10h", "100h", "960h")
    ),
    *(f"continue_pretraining.py:{name}" for name in ("base", "large")),
    *(f"adapt.py:{name}" for name in ("language", "extend", "adapter", "lora")),
    *(f"classify.py:{name}" for name in ("tuned", "frozen")),
]


def smoke(spec: str) -> dict:
    file, _, argument = spec.partition(":")
    argument = f"{argument},smoke" if argument else "smoke"
    return load_config(f"{ROOT}/experiments/{file}:{argument}")
