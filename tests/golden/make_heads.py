"""Writes tests/golden/heads.npz: transformers' classifiers and x-vectors for tiny networks.

Run by hand where torch and transformers are installed (stored file: torch 2.13.0, transformers
5.23.0); the tests that read it need neither.

    python -m tests.golden.make_heads

For each class and network: configuration, random weights, waveforms of odd lengths (group norm: one
length, as its statistics see padding) and the head's outputs. X-vectors are of single recordings:
transformers counts a padded row's frames without the dilation.
"""

import json

import numpy as np
import torch
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2ForAudioFrameClassification,
    Wav2Vec2ForSequenceClassification,
    Wav2Vec2ForXVector,
)

from tests.golden.make_hugging_face import GROUP, LAYER, POST, PRE, TINY, random_weights
from tests.helpers.places import GOLDEN

HEADS = {
    "classify": Wav2Vec2ForSequenceClassification,
    "frames": Wav2Vec2ForAudioFrameClassification,
    "xvector": Wav2Vec2ForXVector,
}
SIZES = dict(
    num_labels=5, classifier_proj_size=14, tdnn_dim=[10, 10, 12], tdnn_kernel=[5, 3, 1],
    tdnn_dilation=[1, 2, 1], xvector_output_dim=8,
)  # fmt: skip
NETWORKS = {
    "group_post": (dict(**TINY, **GROUP, **POST, **SIZES), (787, 787)),
    "layer_pre_sum": (
        dict(**TINY, **LAYER, **PRE, **SIZES, use_weighted_layer_sum=True), (713, 655)
    ),
}  # fmt: skip


def outputs(name: str, model, waveforms, lengths, *, masked: bool) -> np.ndarray:
    """[B, ...]: logits, embeddings for x-vectors; zero past a row's frames."""
    rows = [torch.tensor(x[None, :n]) for x, n in zip(waveforms, lengths, strict=True)]
    with torch.no_grad():
        if name == "xvector":
            return np.concatenate([model(row).embeddings.numpy() for row in rows])
        real = torch.tensor(np.arange(waveforms.shape[1]) < np.array(lengths)[:, None]).long()
        given = {"attention_mask": real} if masked else {}
        logits = model(torch.tensor(waveforms), **given).logits.numpy()
    if name == "frames":
        for row, n in enumerate(lengths):
            logits[row, int(model._get_feat_extract_output_lengths(n)) :] = 0
    return logits


if __name__ == "__main__":
    stored = {}
    for network, (settings, lengths) in NETWORKS.items():
        rng = np.random.default_rng(len(stored))
        noise = rng.standard_normal((2, max(lengths))).astype(np.float32)
        waveforms = noise * (np.arange(max(lengths)) < np.array(lengths)[:, None])
        for name, kind in HEADS.items():
            config = Wav2Vec2Config(**settings, attn_implementation="eager")
            model = kind(config).eval()
            random_weights(model, rng)
            masked = settings["feat_extract_norm"] == "layer"
            case = {
                "config": np.array(
                    json.dumps(
                        {"model_type": "wav2vec2", "architectures": [kind.__name__], **settings}
                    )
                ),
                "waveforms": waveforms,
                "lengths": np.array(lengths, np.int32),
                "outputs": outputs(name, model, waveforms, lengths, masked=masked),
                **{f"weight/{k}": v.numpy() for k, v in model.state_dict().items()},
            }
            stored |= {f"{name} {network}/{key}": value for key, value in case.items()}
    path = GOLDEN / "heads.npz"
    np.savez_compressed(path, **stored)
    print(f"wrote {path} ({path.stat().st_size} bytes)")
