"""Writes tests/golden/variants.npz: transformers' networks beside the usual wav2vec 2.0, tiny.

Run by hand where torch and transformers are installed (stored file: torch 2.13.0, transformers
5.23.0); the tests that read it need neither.

    python -m tests.golden.make_variants

data2vec: stacked positional convolutions (Data2VecAudioForCTC). adapter: convolutions after the
Transformer, with a projection before them (Wav2Vec2ForCTC, add_adapter). For each: config.json,
random weights, waveforms of odd lengths, and the logits of each row by itself: transformers lets a
padded row's last frames see padding.
"""

import json

import numpy as np
import torch
from transformers import (
    Data2VecAudioConfig,
    Data2VecAudioForCTC,
    Wav2Vec2Config,
    Wav2Vec2ForCTC,
)

from tests.golden.make_hugging_face import LAYER, PRE, TINY, make_batch, random_weights
from tests.helpers.places import GOLDEN

WAV2VEC2_ALONE = (
    "num_conv_pos_embeddings", "num_codevectors_per_group", "num_codevector_groups",
    "codevector_dim", "proj_codevector_dim", "num_negatives", "feat_quantizer_dropout",
)  # fmt: skip
PLAIN = {name: value for name, value in TINY.items() if name not in WAV2VEC2_ALONE}
CASES = {
    "data2vec": (
        Data2VecAudioForCTC, Data2VecAudioConfig,
        dict(**PLAIN, conv_bias=True, num_conv_pos_embeddings=3, conv_pos_kernel_size=5),
    ),
    "adapter": (
        Wav2Vec2ForCTC, Wav2Vec2Config,
        dict(**TINY, **LAYER, **PRE, add_adapter=True, num_adapter_layers=2, output_hidden_size=20),
    ),
}  # fmt: skip
LENGTHS = (1187, 721)  # 721 samples are 35 frames, and an odd last frame sees one of padding


def network(name: str):
    """A case's network with random weights, in evaluation mode."""
    kind, settings, values = CASES[name]
    model = kind(settings(**values, attn_implementation="eager")).eval()
    random_weights(model, np.random.default_rng(len(name)))
    return model


def main() -> None:
    waveforms, _ = make_batch(LENGTHS, np.random.default_rng(1))
    stored = {"waveforms": waveforms.numpy(), "lengths": np.array(LENGTHS, np.int32)}
    for name, (kind, settings, values) in CASES.items():
        model = network(name)
        config = {"model_type": settings.model_type, "architectures": [kind.__name__], **values}
        stored[f"{name}/config"] = np.array(json.dumps(config))
        for tensor, value in model.state_dict().items():
            stored[f"{name}/weight/{tensor}"] = value.numpy()
        for row, samples in enumerate(LENGTHS):
            with torch.no_grad():
                logits = model(waveforms[row : row + 1, :samples]).logits[0]
            stored[f"{name}/logits/{row}"] = logits.numpy()
    path = GOLDEN / "variants.npz"
    np.savez_compressed(path, **stored)
    print(f"wrote {path} ({path.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
