"""Writes tests/golden/hugging_face_*.npz: what transformers' wav2vec 2.0 gives for tiny networks.

Run by hand where torch and transformers are installed (stored files: torch 2.13.0, transformers
5.23.0); the tests that read the files need neither.

    python -m tests.golden.make_hugging_face [CASE ...]

Each file holds a configuration, random weights for every tensor of Wav2Vec2ForPreTraining and
Wav2Vec2ForCTC, a batch, and given masks, negatives and Gumbel noise, then outputs, losses and
every gradient. Dropout and LayerDrop are 0. In the training pass torch's Gumbel softmax is
replaced by the same formula with the given noise.
"""

import functools
import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from torch.nn import functional
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC, Wav2Vec2ForPreTraining

HERE = Path(__file__).parent
TINY = dict(
    hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=32,
    conv_dim=[12, 12, 16], conv_kernel=[10, 3, 2], conv_stride=[5, 2, 2],
    num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4,
    num_codevectors_per_group=6, num_codevector_groups=2, codevector_dim=12,
    proj_codevector_dim=10, vocab_size=9, num_negatives=5, ctc_zero_infinity=True,
    hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, feat_proj_dropout=0.0,
    feat_quantizer_dropout=0.0, final_dropout=0.0, layerdrop=0.0,
    mask_time_prob=0.5, mask_time_length=4,
)  # fmt: skip
GROUP, LAYER = dict(feat_extract_norm="group"), dict(feat_extract_norm="layer", conv_bias=True)
POST, PRE = dict(do_stable_layer_norm=False), dict(do_stable_layer_norm=True)
DEEP = dict(num_hidden_layers=3, num_attention_heads=4, intermediate_size=16)
CASES = {  # name: (configuration, lengths); group norms see padding, so theirs are equal
    "group_post": (dict(**TINY, **GROUP, **POST), (987, 987)),
    "layer_pre": (dict(**TINY, **LAYER, **PRE), (987, 741, 403)),
    "group_pre_bias": (dict(**TINY, **GROUP, **PRE, conv_bias=True), (861, 861)),
    "three_codebooks": (
        dict(**TINY, **LAYER, **POST) | dict(num_codevector_groups=3, num_conv_pos_embeddings=7),
        (913, 655),
    ),
    # Deeper and narrower: the shapes' proportions of LARGE on LibriSpeech and of XLS-R.
    "large_ls": (
        dict(**TINY, **GROUP, **POST) | DEEP | dict(proj_codevector_dim=14),
        (787, 787, 787),
    ),
    "xls_r": (dict(**TINY, **LAYER, **PRE) | DEEP | dict(proj_codevector_dim=12), (713, 455)),
}
TEMPERATURE = 2.0


def random_weights(model: torch.nn.Module, rng: np.random.Generator) -> None:
    """Every tensor gets noise, biases and norms too, so that no mapping error can hide."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            noise = torch.from_numpy(rng.standard_normal(tuple(tensor.shape)).astype(np.float32))
            if tensor.ndim == 1:
                centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                tensor.copy_(centre + 0.2 * noise)
            elif name.endswith("original0"):
                tensor.copy_(1.0 + 0.2 * noise)
            else:
                fan_in = tensor[0].numel() if "codevectors" not in name else 1
                tensor.copy_(noise * (1.5 if "weight_proj" in name else 1.0) * fan_in**-0.5)


def gumbel_softmax(logits, tau=1.0, hard=True, *, noise):
    """functional.gumbel_softmax with given noise: hard sample forward, soft gradient backward."""
    assert hard and tau == TEMPERATURE
    soft = functional.softmax((logits + noise) / tau, dim=-1)
    chosen = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
    return chosen - soft.detach() + soft


def frames_of(model, lengths) -> list[int]:
    return [int(model._get_feat_extract_output_lengths(length)) for length in lengths]


def make_batch(lengths, rng) -> tuple[torch.Tensor, torch.Tensor]:
    """Waveforms [B, S] with slow and fast components, zero past each row's end; attention mask."""
    samples = np.arange(max(lengths))
    rows = rng.standard_normal((len(lengths), len(samples))) + 2 * np.sin(
        samples * rng.uniform(0.01, 0.3, (len(lengths), 1))
    )
    real = samples < np.array(lengths)[:, None]
    return torch.tensor(rows * real, dtype=torch.float32), torch.tensor(real.astype(np.int64))


def make_mask(counts, total, rng) -> np.ndarray:
    """[B, T] bool: spans of 4, a different number of masked frames in each row."""
    mask = np.zeros((len(counts), total), bool)
    for row, count in enumerate(counts):
        for start in rng.choice(count - 4, 3 + row, replace=False):
            mask[row, start : start + 4] = True
    return mask


def make_negatives(mask, ids, number, rng) -> np.ndarray:
    """[B, T, K] indices into B*T: masked frames of the row; with ids, of another code than t's."""
    negatives = np.zeros((*mask.shape, number), np.int64)
    for row, frame in zip(*np.nonzero(mask), strict=True):
        pool = np.setdiff1d(np.flatnonzero(mask[row]), [frame])
        if ids is not None:
            pool = pool[(ids[row, pool] != ids[row, frame]).any(-1)]
        negatives[row, frame] = row * mask.shape[1] + rng.choice(pool, number)
    return negatives


def code_ids(model, features, noise=None) -> np.ndarray:
    """[B, T, G] entries chosen by the quantizer; asserts that no choice is a near tie."""
    quantizer = model.quantizer
    logits = quantizer.weight_proj(features)
    logits = logits.view(*features.shape[:2], quantizer.num_groups, quantizer.num_vars)
    logits = logits if noise is None else logits + noise.view(logits.shape)
    top = logits.topk(2, -1).values
    assert (top[..., 0] - top[..., 1]).min() > 1e-4, "a near tie: use another seed"
    return logits.argmax(-1).numpy()


def encoder_outputs(model, batch) -> dict[str, np.ndarray]:
    """Convolution output, normalised features, input and output of every block, context."""
    states = []
    blocks = model.wav2vec2.encoder.layers
    hooks = [blocks[0].register_forward_pre_hook(lambda module, args: states.append(args[0]))]
    for block in blocks:
        hooks.append(block.register_forward_hook(lambda module, args, out: states.append(out)))
    with torch.no_grad():
        conv = model.wav2vec2.feature_extractor(batch["input_values"]).transpose(1, 2)
        out = model.wav2vec2(**batch)
    for hook in hooks:
        hook.remove()
    states = [state[0] if isinstance(state, tuple) else state for state in states]
    return {
        "conv": conv.numpy(),
        "features": out.extract_features.numpy(),
        "states": torch.stack(states).numpy(),
        "context": out.last_hidden_state.numpy(),
    }


def gradients(model, prefix: str) -> dict[str, np.ndarray]:
    return {
        f"{prefix}/{name}": (torch.zeros_like(p) if p.grad is None else p.grad).numpy()
        for name, p in model.named_parameters()
    }


def pretraining(model, batch, counts, rng) -> dict[str, np.ndarray]:
    """Outputs without noise, then losses and gradients of the training form with given noise."""
    model.eval()
    found = encoder_outputs(model, batch)
    total = found["features"].shape[1]
    mask = make_mask(counts, total, rng)
    features = torch.tensor(found["features"])
    quantizer = model.quantizer
    found["mask"] = mask
    with torch.no_grad():
        found["ids"] = code_ids(model, features)
    negatives = make_negatives(mask, None, model.config.num_negatives, rng)
    given = {**batch, "mask_time_indices": torch.tensor(mask)}
    with torch.no_grad():
        out = model(**given, sampled_negative_indices=torch.tensor(negatives))
    found |= {
        "eval_negatives": negatives,
        "eval_contrastive_loss": out.contrastive_loss.numpy(),
        "eval_code_perplexity": out.codevector_perplexity.numpy(),
        "projected_context": out.projected_states.numpy(),
        "projected_targets": out.projected_quantized_states.numpy(),
    }
    shape = (len(counts), total, quantizer.num_groups, quantizer.num_vars)
    noise = rng.gumbel(size=shape).astype(np.float32)
    flat = torch.tensor(noise).reshape(-1, quantizer.num_vars)
    with torch.no_grad():
        ids = code_ids(model, features, flat)
    negatives = make_negatives(mask, ids, model.config.num_negatives, rng)
    model.train()
    model.set_gumbel_temperature(TEMPERATURE)
    original = functional.gumbel_softmax
    functional.gumbel_softmax = functools.partial(gumbel_softmax, noise=flat)
    try:
        out = model(**given, sampled_negative_indices=torch.tensor(negatives))
    finally:
        functional.gumbel_softmax = original
    out.loss.backward()
    return found | {
        "gumbel": noise,
        "negatives": negatives,
        "loss": out.loss.detach().numpy(),
        "contrastive_loss": out.contrastive_loss.detach().numpy(),
        "diversity_loss": out.diversity_loss.detach().numpy(),
        "prob_perplexity": out.codevector_perplexity.detach().numpy(),
        **gradients(model, "pretraining_gradient"),
    }


def ctc(model, batch, counts, rng) -> dict[str, np.ndarray]:
    """Logits, summed loss and gradients; a third row has more labels than frames: no path."""
    num_labels = np.array([7, 5, counts[-1] + 1][: len(counts)])
    labels = rng.integers(1, model.config.vocab_size, (len(counts), num_labels.max()))
    labels[0, 2] = labels[0, 1]  # a repeated label needs a blank between
    padded = np.where(np.arange(labels.shape[1]) < num_labels[:, None], labels, -100)
    model.eval()
    out = model(**batch, labels=torch.tensor(padded))
    out.loss.backward()
    return {
        "labels": np.where(padded < 0, 0, padded),
        "num_labels": num_labels,
        "logits": out.logits.detach().numpy(),
        "ctc_loss": out.loss.detach().numpy(),
        **gradients(model, "ctc_gradient"),
    }


def make(name: str, settings: dict, lengths: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = Wav2Vec2Config(**settings, attn_implementation="eager")
    pretrained, tuned = Wav2Vec2ForPreTraining(config), Wav2Vec2ForCTC(config)
    random_weights(pretrained, rng)
    random_weights(tuned.lm_head, rng)
    tuned.wav2vec2.load_state_dict(pretrained.wav2vec2.state_dict())
    waveforms, attention = make_batch(lengths, rng)
    batch = {"input_values": waveforms}
    if settings["feat_extract_norm"] == "layer":
        batch["attention_mask"] = attention
    counts = frames_of(pretrained, lengths)
    weights = pretrained.state_dict() | tuned.state_dict()
    found = {
        "config": np.array(json.dumps({"model_type": "wav2vec2", **settings})),
        "versions": np.array(f"torch {torch.__version__}, transformers {transformers.__version__}"),
        "waveforms": waveforms.numpy(),
        "num_samples": np.array(lengths),
        **{f"weight/{k}": v.numpy() for k, v in weights.items()},
        **pretraining(pretrained, batch, counts, rng),
        **ctc(tuned, batch, counts, rng),
    }
    narrow = {k: v.astype(np.int32) if v.dtype == np.int64 else v for k, v in found.items()}
    path = HERE / f"hugging_face_{name}.npz"
    np.savez_compressed(path, **narrow)
    print(f"wrote {path} ({path.stat().st_size} bytes)")


if __name__ == "__main__":
    chosen = sys.argv[1:] or CASES
    for seed, (name, (settings, lengths)) in enumerate(CASES.items()):
        if name in chosen:
            make(name, settings, lengths, seed)
