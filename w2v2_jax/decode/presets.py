"""Language-model weights of the paper, by pretrained model and hours of fine-tuning data.

Tables 7 (pretrained on LibriSpeech) and 8 (on LibriVox, 60k hours) of arXiv 2006.11477, tuned on
dev-other by 128 trials; appendix D for the beams with which the test sets were decoded.
"""

from __future__ import annotations

from typing import Any

from w2v2_jax.errors import InputError

# split: lm weight and word score with the 4-gram, then with the Transformer
_LIBRISPEECH = {
    "10m": (3.23, -0.26, 1.20, -1.39),
    "1h": (2.90, -1.62, 1.15, -2.08),
    "10h": (2.46, -0.59, 1.06, -2.32),
    "100h": (2.15, -0.52, 0.87, -1.00),
    "960h": (1.74, 0.52, 0.92, -0.86),
}
_LIBRIVOX = {
    "10m": (3.86, -1.18, 1.47, -2.82),
    "1h": (3.09, -2.33, 1.33, -0.69),
    "10h": (2.12, -0.90, 0.94, -1.05),
    "100h": (2.15, -0.52, 0.87, -1.00),
    "960h": (1.57, -0.64, 0.90, -0.31),
}
_MODELS = {"base": _LIBRISPEECH, "large": _LIBRISPEECH, "lv60k": _LIBRIVOX}
NGRAM_BEAM, TRANSFORMER_BEAM, TRANSFORMER_NBEST = 1500, 500, 100


def _settings() -> dict[str, dict[str, Any]]:
    presets = {}
    for model, splits in _MODELS.items():
        for split, (lm, word, transformer, transformer_word) in splits.items():
            ngram = {"lm_weight": lm, "word_score": word}
            presets[f"{model}_{split}"] = {**ngram, "beam": NGRAM_BEAM}
            # The paper uses its Transformer within the search; here it ranks an n-best list.
            presets[f"{model}_{split}_transformer"] = {
                **ngram,
                "beam": TRANSFORMER_BEAM,
                "nbest": TRANSFORMER_NBEST,
                "rescore_weight": transformer,
                "rescore_word_score": transformer_word,
            }
    return presets


PRESETS = _settings()


def preset(name: str) -> dict[str, Any]:
    """Settings by name, such as base_10m or lv60k_1h_transformer; InputError lists the names."""
    if name not in PRESETS:
        raise InputError(f"--decoder-preset {name!r} is unknown; use one of {', '.join(PRESETS)}")
    return PRESETS[name]
