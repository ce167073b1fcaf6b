"""Writes tests/golden/fairseq2.npz: fairseq2's wav2vec 2.0 in numpy, for tiny networks.

    python -m tests.golden.make_fairseq2

fairseq2 runs on GPU builds of its own native library, so its published source (commit 027bdebc of
2026-04-10: `models/wav2vec2/` frontend, feature_extractor, position_encoder and factory, and
`asr/model.py`) was read and its forward pass written in float64 numpy over its own parameter names,
one recording at a time. Nothing of this package is used.
"""

import math
from pathlib import Path

import numpy as np

DIM, FFN, HEADS, KERNEL, GROUPS, CLASSES = 24, 32, 3, 8, 4, 9
CONV = ((12, 10, 5), (12, 3, 2), (16, 2, 2))
CASES = {  # (pre-LN, layer norm in the convolutions, biases in them, a CTC head)
    "base": (False, False, False, False),
    "omni": (True, True, True, False),
    "omni_ctc": (True, True, True, True),
    "base_ctc": (False, False, False, True),
}
F = "encoder_frontend."
erf = np.vectorize(math.erf)


def linear(w, name, x):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def norm(w, name, x, axis=-1):
    centred = x - x.mean(axis, keepdims=True)
    scaled = centred / np.sqrt(np.square(centred).mean(axis, keepdims=True) + 1e-5)
    return scaled * w[name + ".weight"] + w[name + ".bias"]


def gelu(x):
    return x * 0.5 * (1 + erf(x / math.sqrt(2)))


def conv(x, weight, stride=1, groups=1):
    """x [T, I], weight [O, I / groups, k] -> [T', O]."""
    out, inner, width = weight.shape
    steps = (len(x) - width) // stride + 1
    parts = x.reshape(len(x), groups, inner)
    weight = weight.reshape(groups, out // groups, inner, width)
    windows = np.stack([parts[t * stride : t * stride + width] for t in range(steps)])
    return np.einsum("tkgi,goik->tgo", windows, weight).reshape(steps, out)


def extracted(w, waveform, layer_norm):
    x = waveform[:, None]
    for i, (_, _, stride) in enumerate(CONV):
        name = f"{F}feature_extractor.layers.{i}."
        x = conv(x, w[name + "conv.weight"], stride) + w.get(name + "conv.bias", 0)
        if layer_norm:
            x = norm(w, name + "layer_norm", x)
        elif i == 0:
            x = norm(w, name + "group_norm", x, axis=0)
        x = gelu(x)
    return norm(w, F + "post_extract_layer_norm", x)


def attention(w, name, x):
    size = DIM // HEADS
    q, k, v = (
        linear(w, f"{name}.{part}_proj", x).reshape(-1, HEADS, size).transpose(1, 0, 2)
        for part in "qkv"
    )
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(size)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = scores / scores.sum(-1, keepdims=True) @ v
    return linear(w, f"{name}.output_proj", mixed.transpose(1, 0, 2).reshape(-1, DIM))


def context(w, waveform, pre, layer_norm):
    x = linear(w, F + "model_dim_proj", extracted(w, waveform, layer_norm))
    direction = w[F + "pos_encoder.conv.weight_v"]
    length = np.sqrt(np.square(direction).sum((0, 1), keepdims=True))
    padded = np.pad(x, ((KERNEL // 2, KERNEL // 2), (0, 0)))
    weight = w[F + "pos_encoder.conv.weight_g"] * direction / length
    places = conv(padded, weight, groups=GROUPS)[: len(x)] + w[F + "pos_encoder.conv.bias"]
    x = x + gelu(places)
    x = x if pre else norm(w, F + "layer_norm", x)
    for i in range(2):
        name = f"encoder.layers.{i}."
        for part, run in (("self_attn", attention), ("ffn", feed_forward)):
            y = norm(w, f"{name}{part}_layer_norm", x) if pre else x
            x = x + run(w, name + part, y)
            x = x if pre else norm(w, f"{name}{part}_layer_norm", x)
    return norm(w, "encoder.layer_norm", x) if pre else x


def feed_forward(w, name, x):
    return linear(w, name + ".output_proj", gelu(linear(w, name + ".inner_proj", x)))


def shapes(pre, layer_norm, bias, tuned):
    """Their names and shapes."""
    found, channels = {}, 1
    for i, (out, width, _) in enumerate(CONV):
        name = f"{F}feature_extractor.layers.{i}."
        found[name + "conv.weight"] = (out, channels, width)
        if bias:
            found[name + "conv.bias"] = (out,)
        if layer_norm or i == 0:
            kind = "layer_norm" if layer_norm else "group_norm"
            found |= dict.fromkeys((f"{name}{kind}.weight", f"{name}{kind}.bias"), (out,))
        channels = out
    pairs = {F + "post_extract_layer_norm": (channels,), F + "model_dim_proj": (DIM, channels)}
    pairs["encoder.layer_norm" if pre else F + "layer_norm"] = (DIM,)
    for i in range(2):
        name = f"encoder.layers.{i}."
        pairs |= {f"{name}self_attn.{x}_proj": (DIM, DIM) for x in ("q", "k", "v", "output")}
        pairs |= {name + "ffn.inner_proj": (FFN, DIM), name + "ffn.output_proj": (DIM, FFN)}
        pairs |= {f"{name}{x}_layer_norm": (DIM,) for x in ("self_attn", "ffn")}
    if tuned:
        pairs["final_proj"] = (CLASSES, DIM)
    else:
        found |= {"quantizer.entries": (1, 12, 6), "masker.temporal_mask_embed": (DIM,)}
        pairs |= {"quantizer.entry_proj": (12, channels), "final_target_proj": (10, 12)}
        pairs["final_proj"] = (10, DIM)
    for name, shape in pairs.items():
        found |= {name + ".weight": shape, name + ".bias": shape[:1]}
    position = F + "pos_encoder.conv."
    return found | {
        position + "weight_v": (DIM, DIM // GROUPS, KERNEL),
        position + "weight_g": (1, 1, KERNEL),
        position + "bias": (DIM,),
    }


if __name__ == "__main__":
    stored = {}
    for seed, (name, (pre, layer_norm, bias, tuned)) in enumerate(CASES.items()):
        rng = np.random.default_rng(seed)
        weights = {}
        for key, shape in shapes(pre, layer_norm, bias, tuned).items():
            around = 1.0 if key.endswith(("norm.weight", "weight_g")) else 0.0
            width = 0.3 if len(shape) == 1 or key.endswith("weight_g") else shape[-1] ** -0.5
            weights[key] = (around + width * rng.standard_normal(shape)).astype(np.float32)
        waveform = rng.standard_normal(613).astype(np.float32)
        exact = {key: value.astype(np.float64) for key, value in weights.items()}
        out = context(exact, waveform.astype(np.float64), pre, layer_norm)
        case = {"waveform": waveform, "context": out.astype(np.float32)}
        if tuned:
            case["logits"] = linear(exact, "final_proj", out).astype(np.float32)
        else:
            scores = linear(exact, "quantizer.entry_proj", extracted(exact, waveform, layer_norm))
            case["ids"] = scores.reshape(-1, 2, 6).argmax(-1).astype(np.int32)
        case |= {f"weight/{key}": value for key, value in weights.items()}
        stored |= {f"{name}/{key}": value for key, value in case.items()}
    path = Path(__file__).with_name("fairseq2.npz")
    np.savez_compressed(path, **stored)
    print(f"wrote {path} ({path.stat().st_size} bytes)")
