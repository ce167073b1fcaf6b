"""Writes tests/golden/preprocessing.npz: transformers' logits of quiet, offset and padded audio.

Run by hand where torch and transformers are installed (stored files: torch 2.13.0, transformers
5.23.0); the tests that read the file need neither.

    python -m tests.golden.make_preprocessing

The networks are those of hugging_face_layer_pre.npz and hugging_face_group_post.npz. Two
recordings go through Wav2Vec2FeatureExtractor and Wav2Vec2ForCTC at several loudnesses and
offsets: with layer norm as one padded batch, with group norm alone, as the released models do.
"""

import json

import numpy as np
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

from tests.helpers.places import GOLDEN

NETWORKS = ("layer_pre", "group_post")
LENGTHS = (987, 741)
CASES = [(rms, offset) for rms in (0.3, 0.03, 0.003, 0.0003) for offset in (0.0, 0.05, -0.1)]


def network(name: str):
    """Their CTC model with the stored weights."""
    stored = dict(np.load(GOLDEN / f"hugging_face_{name}.npz"))
    config = Wav2Vec2Config(**json.loads(str(stored["config"])), attn_implementation="eager")
    model = Wav2Vec2ForCTC(config).eval()
    weights = {k[7:]: torch.tensor(v) for k, v in stored.items() if k.startswith("weight/")}
    model.load_state_dict({k: weights[k] for k in model.state_dict()})
    return model


def logits(model, rows, *, padded: bool) -> np.ndarray:
    """[2, T, C], zero beyond a row's frames."""
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=padded)
    batches = [rows] if padded else [[row] for row in rows]
    outputs = []
    for batch in batches:
        inputs = extractor(batch, sampling_rate=16000, return_tensors="pt", padding=True)
        with torch.no_grad():
            outputs += list(model(**inputs).logits.numpy())
    counts = [int(model._get_feat_extract_output_lengths(n)) for n in LENGTHS]
    result = np.zeros((len(rows), max(counts), outputs[0].shape[-1]), np.float32)
    for row, count in enumerate(counts):
        result[row, :count] = outputs[row][:count]
    return result


if __name__ == "__main__":
    noise = np.random.default_rng(0).standard_normal((2, LENGTHS[0])).astype(np.float32)
    stored = {"noise": noise, "lengths": np.array(LENGTHS, np.int32), "cases": np.array(CASES)}
    for name in NETWORKS:
        model = network(name)
        cut = [x[:n] for x, n in zip(noise, LENGTHS, strict=True)]
        batches = [[(rms * x + offset).astype(np.float32) for x in cut] for rms, offset in CASES]
        padded = name == "layer_pre"
        stored[name] = np.stack([logits(model, rows, padded=padded) for rows in batches])
    path = GOLDEN / "preprocessing.npz"
    np.savez_compressed(path, **stored)
    print(f"wrote {path} ({path.stat().st_size} bytes)")
