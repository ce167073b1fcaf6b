"""Writes tests/golden/fairseq_*.npz: what fairseq's wav2vec 2.0 gives for tiny networks.

Run by hand where torch and what fairseq needs are installed, with W2V2_FAIRSEQ naming a checkout
of facebookresearch/fairseq (stored files: commit 3d262bb2 of 2025-09-30, torch 2.13.0); the tests
that read the files need neither.

    W2V2_FAIRSEQ=/path/to/fairseq python -m tests.golden.make_fairseq [NAME...]

Each fairseq_NAME.npz holds settings, random weights for every tensor of Wav2Vec2Model and of
Wav2VecCtc's head, a batch, and given masks, negatives and Gumbel noise; then the quantizer's
entries in evaluation and, of one training pass through Wav2vecCriterion, the input and output of
every block, the context, the contrastive logits, every loss term and every gradient; and logits,
loss and gradients of CtcCriterion. Dropout and LayerDrop are 0. Negatives include some whose
entries equal the positive's.
"""

import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch.nn import functional

HERE = Path(__file__).parent
from tests.helpers import fairseq_oracle  # noqa: E402

fairseq_oracle.prepare()
from fairseq.criterions.ctc import CtcCriterion, CtcCriterionConfig  # noqa: E402
from fairseq.criterions.wav2vec_criterion import Wav2vecCriterion  # noqa: E402
from fairseq.data import Dictionary  # noqa: E402
from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Config, Wav2Vec2Model  # noqa: E402
from fairseq.tasks.audio_finetuning import AudioFinetuningTask  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402

VERSIONS = f"fairseq 3d262bb2, torch {torch.__version__}"
RATES = dict.fromkeys(
    ("dropout", "attention_dropout", "activation_dropout", "dropout_input", "dropout_features",
     "encoder_layerdrop"), 0.0,
)  # fmt: skip
TINY = dict(
    encoder_embed_dim=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_embed_dim=20,
    conv_feature_layers="[(8, 10, 5)] + [(8, 3, 2)] * 1 + [(12, 2, 2)]", conv_pos=8,
    conv_pos_groups=4, quantize_targets=True, latent_vars=6, latent_groups=2, final_dim=10,
    num_negatives=5, mask_length=4, feature_grad_mult=0.1, **RATES,
)  # fmt: skip
LAYER = dict(extractor_mode="layer_norm", conv_bias=True)
PRE = dict(layer_norm_first=True)
PENALTY, NO_PENALTY = [0.1, 10.0], [0.1, 0.0]  # its mean counts padding: only without padding
CASES = {  # name: (settings, loss weights, lengths); group norms see padding: equal lengths
    "base": (TINY, PENALTY, (987, 987)),
    "large_ls": (
        TINY | dict(encoder_ffn_embed_dim=16, encoder_layers=3, encoder_attention_heads=4,
                    final_dim=14), PENALTY, (601, 601, 601),
    ),
    "lv60k": (TINY | LAYER | PRE | dict(feature_grad_mult=1.0), NO_PENALTY, (787, 641, 403)),
    "xls_r": (
        TINY | LAYER | PRE | dict(encoder_layers=3, encoder_attention_heads=4, final_dim=12,
                                  encoder_ffn_embed_dim=16, feature_grad_mult=1.0),
        NO_PENALTY, (713, 455),
    ),
    "group_pre_bias": (TINY | PRE | dict(conv_bias=True), PENALTY, (861, 861)),
    "square": (
        TINY | dict(encoder_embed_dim=12, encoder_attention_heads=3), PENALTY, (933, 933),
    ),
    "three_codebooks": (
        TINY | LAYER | dict(latent_groups=3, latent_dim=9, final_dim=8, conv_pos=7), NO_PENALTY,
        (913, 655),
    ),
    # Quantized inputs and continuous targets; an input's perplexity counts padding: equal lengths.
    "quantized_input": (TINY | dict(quantize_input=True), PENALTY, (787, 787)),
    "same_quantizer": (
        TINY | LAYER | PRE | dict(quantize_input=True, same_quantizer=True), NO_PENALTY, (713, 455),
    ),
    "input_alone": (
        TINY | dict(quantize_input=True, quantize_targets=False, latent_dim=6), PENALTY, (787, 787),
    ),
    "continuous_targets": (TINY | dict(quantize_targets=False), PENALTY, (787, 787)),
}  # fmt: skip
SYMBOLS, CLASSES = "|ABCD", 9
TEMPERATURE = 2.0


def random_weights(model: torch.nn.Module, rng: np.random.Generator) -> None:
    """Every tensor gets noise, biases and norms too, so that no mapping error can hide."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            noise = torch.from_numpy(rng.standard_normal(tuple(tensor.shape)).astype(np.float32))
            if tensor.ndim == 1:
                norm = "norm" in name or ".2." in name
                tensor.copy_((1.0 if norm and name.endswith("weight") else 0.0) + 0.2 * noise)
            elif name.endswith("weight_g"):
                tensor.copy_(1.0 + 0.2 * noise)
            else:
                fan_in = 1 if name.endswith("vars") else tensor[0].numel()
                tensor.copy_(noise * (1.5 if "weight_proj" in name else 1.0) * fan_in**-0.5)


def make_batch(lengths, rng) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Waveforms [B, S], zero past each row's end, and their padding mask, None without padding."""
    samples = np.arange(max(lengths))
    rows = rng.standard_normal((len(lengths), len(samples)))
    rows += 2 * np.sin(samples * rng.uniform(0.01, 0.3, (len(lengths), 1)))
    padding = samples >= np.array(lengths)[:, None]
    waveforms = torch.tensor(rows * ~padding, dtype=torch.float32)
    return waveforms, torch.tensor(padding) if padding.any() else None


def make_mask(counts, total, rng) -> np.ndarray:
    """[B, T] bool: three spans of 4 a row, cut to one number of frames a row as fairseq does."""
    mask = np.zeros((len(counts), total), bool)
    for row, count in enumerate(counts):
        for start in rng.choice(count - 4, 3, replace=False):
            mask[row, start : start + 4] = True
    fewest = mask.sum(1).min()
    for row in mask:
        row[rng.choice(np.flatnonzero(row), row.sum() - fewest, replace=False)] = False
    return mask


def make_negatives(rows: int, slots: int, number: int, rng) -> np.ndarray:
    """[B, M, K] slots of the same row, never the own one."""
    drawn = rng.integers(0, slots - 1, (rows, slots, number))
    return drawn + (drawn >= np.arange(slots)[:, None])


def inject(model, negatives: np.ndarray) -> None:
    """Its sample_negatives with given draws: from y [B, M, F] to [K, B, M, F]."""
    rows, slots, number = negatives.shape

    def sample_negatives(y, num, padding_count=None):
        assert num == slots
        index = torch.tensor(negatives + np.arange(rows)[:, None, None] * slots).reshape(-1)
        negs = y.reshape(-1, y.shape[-1])[index].view(rows, slots, number, -1)
        return negs.permute(2, 0, 1, 3), index

    model.sample_negatives = sample_negatives


def gumbel_softmax(*noises):
    """functional.gumbel_softmax with given noise [B, M, G, V], that of the first call first: hard
    sample forward, soft gradient backward.

    torch computes hard - soft + soft, which in float32 is 1 but for rounding, so that equal
    entries give vectors whose last bits differ and fairseq's test "negative equals positive"
    depends on rounding. Here, as in the half precision it trains in, the sample is exactly 0 or 1.
    """

    left = list(noises)

    def sample(logits, tau, hard):
        assert hard and tau == TEMPERATURE
        noise = torch.tensor(left.pop(0)).reshape(logits.shape)
        assert_no_near_tie(logits.detach() + noise)
        soft = functional.softmax((logits + noise) / tau, dim=-1)
        chosen = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
        return chosen + (soft - soft.detach())

    return mock.patch.object(functional, "gumbel_softmax", sample)


def project_rows_alike(model) -> None:
    """Its project_q as a sum a row, so that equal codes give equal vectors.

    A matrix product may round its rows differently, and "negative equals positive" compares bits.
    """
    projection = model.project_q

    def forward(x):
        return (x.unsqueeze(-2) * projection.weight).sum(-1) + projection.bias

    projection.forward = forward


def assert_no_near_tie(logits: torch.Tensor) -> None:
    top = logits.topk(2, -1).values
    assert (top[..., 0] - top[..., 1]).min() > 1e-4, "a near tie: use another seed"


def packed(prefix: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Many small tensors as one array and a list of their names and shapes: half the file."""
    return {
        f"{prefix}/names": np.array(json.dumps([[k, x.shape] for k, x in tensors.items()])),
        f"{prefix}/values": np.concatenate([x.ravel() for x in tensors.values()]),
    }


def gradients(model, prefix: str) -> dict[str, np.ndarray]:
    found = {
        name: (torch.zeros_like(p) if p.grad is None else p.grad).numpy()
        for name, p in model.named_parameters(remove_duplicate=False)  # a shared one by both
    }
    return packed(prefix, found)


def evaluation_ids(model, waveforms) -> np.ndarray:
    """[B, T, G] entries the quantizer chooses without noise."""
    model.eval()
    with torch.no_grad():
        _, ids = model.quantize(waveforms)
        features = model.layer_norm(model.feature_extractor(waveforms).transpose(1, 2))
        logits = model.quantizer.weight_proj(features)
        assert_no_near_tie(logits.view(*ids.shape, -1))
    return ids.numpy()


def draw_noise(rows: int, places: int, model, rng) -> np.ndarray:
    shape = (rows, places, model.cfg.latent_groups, model.cfg.latent_vars)
    return rng.gumbel(size=shape).astype(np.float32)


def pretraining(model, loss_weights, waveforms, padding, mask, rng) -> dict[str, np.ndarray]:
    """One training pass through Wav2vecCriterion with given mask, negatives and noise."""
    rows, slots = len(mask), int(mask[0].sum())
    given = {}
    if model.input_quantizer is not None:
        given["input_gumbel"] = draw_noise(rows, mask.shape[1], model, rng)
    if model.quantizer is not None:
        given["gumbel"] = draw_noise(rows, slots, model, rng)
    negatives = make_negatives(rows, slots, model.n_negatives, rng)
    inject(model, negatives)
    project_rows_alike(model)
    seen: dict[str, torch.Tensor] = {}
    states: list[torch.Tensor] = []
    blocks = model.encoder.layers
    blocks[0].register_forward_pre_hook(lambda module, args: states.append(args[0]))
    for block in blocks:
        block.register_forward_hook(lambda module, args, out: states.append(out[0]))
    model.encoder.register_forward_hook(lambda m, a, out: seen.update(context=out[0]))
    model.register_forward_hook(lambda m, a, out: seen.update(out))
    if model.quantizer is not None:
        model.quantizer.weight_proj.register_forward_hook(lambda m, a, out: seen.update(codes=out))
    model.train()
    terms = ["diversity_loss", "feature_penalty"][0 if given else 1 :]
    weights = loss_weights[-len(terms) :]
    criterion = Wav2vecCriterion(None, infonce=True, loss_weights=weights)
    net_input = {"source": waveforms, "padding_mask": padding, "mask_indices": torch.tensor(mask)}
    sample = {"net_input": net_input, "id": torch.arange(rows)}
    with gumbel_softmax(*given.values()):
        loss, sample_size, log = criterion(model, sample)
    loss.backward()
    if "gumbel" in given:
        noisy = seen["codes"].detach().view(given["gumbel"].shape) + torch.tensor(given["gumbel"])
        given["training_ids"] = noisy.argmax(-1).numpy()
    if "prob_perplexity" in seen:
        given["prob_perplexity"] = seen["prob_perplexity"].detach().numpy()
        given["code_perplexity"] = seen["code_perplexity"].numpy()
    given |= {name: np.array(log.get(f"loss_{i}", 0.0)) for i, name in enumerate(terms, 1)}
    total = mask.shape[1]
    return {
        "mask": mask, "negatives": negatives, **given,
        "states": torch.stack(states).detach()[:, :total].transpose(1, 2).numpy(),
        "context": seen["context"].detach().numpy(),
        "logits": seen["x"].detach().permute(1, 2, 0).numpy(),  # [B, M, 1 + K]
        "loss": loss.detach().numpy(), "sample_size": np.array(int(sample_size)),
        "contrastive_loss": np.array(log["loss_0"]),
        "correct": np.array(log["correct"]), "count": np.array(log["count"]),
        **gradients(model, "pretraining_gradient"),
    }  # fmt: skip


def make_task() -> AudioFinetuningTask:
    symbols = Dictionary()
    for symbol in SYMBOLS:
        symbols.add_symbol(symbol)
    cfg = OmegaConf.create({"labels": "ltr", "data": "", "normalize": False, "eval_wer": False})
    task = AudioFinetuningTask(cfg)
    task.state.merge_state_dict({"target_dictionary": symbols})
    return task


def make_tuned(task, settings):
    inner = {
        "model": {"_name": "wav2vec2", **settings},
        "task": {"_name": "audio_pretraining", "data": "", "normalize": False, "tpu": False,
                 "seed": 1},
    }  # fmt: skip
    cfg = {
        "_name": "wav2vec_ctc", "w2v_path": "", "data": "", "normalize": False, "w2v_args": inner,
        "apply_mask": False, "ddp_backend": "legacy_ddp",
        "feature_grad_mult": settings["feature_grad_mult"],
    }  # fmt: skip
    return task.build_model(OmegaConf.create({"model": cfg}).model, from_checkpoint=True)


def ctc(model, task, waveforms, padding, frames, rng) -> dict[str, np.ndarray]:
    """Logits, summed loss and gradients; a third row has more labels than frames: no path."""
    num_labels = np.array([7, 5, frames[-1] + 1][: len(frames)])
    labels = rng.integers(3, CLASSES, (len(frames), num_labels.max()))
    labels[0, 2] = labels[0, 1]  # a repeated label needs a blank between
    real = np.arange(labels.shape[1]) < num_labels[:, None]
    target = np.where(real, labels, task.target_dictionary.pad())
    cfg = OmegaConf.structured(CtcCriterionConfig(zero_infinity=True, sentence_avg=True))
    criterion = CtcCriterion(cfg, task)
    model.train()
    seen = {}
    model.register_forward_hook(lambda m, a, out: seen.update(logits=out["encoder_out"].clone()))
    if padding is None:
        padding = torch.zeros_like(waveforms, dtype=torch.bool)
    sample = {
        "net_input": {"source": waveforms, "padding_mask": padding},
        "target": torch.tensor(target), "target_lengths": torch.tensor(num_labels),
        "ntokens": int(num_labels.sum()), "id": torch.arange(len(frames)),
    }  # fmt: skip
    given = {}
    if model.w2v_encoder.w2v_model.input_quantizer is not None:  # it stays, noise included
        inner = model.w2v_encoder.w2v_model
        given["ctc_gumbel"] = draw_noise(len(frames), max(frames), inner, rng)
    with gumbel_softmax(*given.values()):
        loss, _, _ = criterion(model, sample)
    loss.backward()
    return {
        **given,
        "labels": np.where(real, labels, 0), "num_labels": num_labels,
        "ctc_logits": seen["logits"].detach().transpose(0, 1).numpy(),
        "ctc_loss": loss.detach().numpy(), **gradients(model, "ctc_gradient"),
    }  # fmt: skip


def make(name: str, settings, loss_weights, lengths, seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = Wav2Vec2Model(Wav2Vec2Config(**settings))
    random_weights(model, rng)
    task = make_task()
    tuned = make_tuned(task, settings)
    shared = tuned.w2v_encoder.w2v_model.load_state_dict(model.state_dict(), strict=False)
    assert not shared.missing_keys
    assert (tuned.w2v_encoder.w2v_model.input_quantizer is None) == (model.input_quantizer is None)
    random_weights(tuned.w2v_encoder.proj, rng)
    waveforms, padding = make_batch(lengths, rng)
    frames = model._get_feat_extract_output_lengths(torch.tensor(lengths)).tolist()
    mask = make_mask(frames, max(frames), rng)
    head = {k: v for k, v in tuned.state_dict().items() if ".proj." in k and "w2v_model" not in k}
    found = {
        "config": np.array(json.dumps(settings)),
        "loss_weights": np.array(loss_weights),
        "versions": np.array(VERSIONS),
        "waveforms": waveforms.numpy(),
        "num_samples": np.array(lengths),
        **packed("weight", {k: v.numpy() for k, v in (model.state_dict() | head).items()}),
        **({"ids": evaluation_ids(model, waveforms)} if model.quantizer is not None else {}),
        **pretraining(model, loss_weights, waveforms, padding, mask, rng),
        **ctc(tuned, task, waveforms, padding, frames, rng),
    }
    write(f"fairseq_{name}", found)


def write(name: str, found: dict[str, np.ndarray]) -> None:
    narrow = {k: v.astype(np.int32) if v.dtype == np.int64 else v for k, v in found.items()}
    path = HERE / f"{name}.npz"
    np.savez_compressed(path, **narrow)
    print(f"wrote {path} ({path.stat().st_size} bytes)")


if __name__ == "__main__":
    for seed, (name, (settings, loss_weights, lengths)) in enumerate(CASES.items()):
        if name in (sys.argv[1:] or CASES):
            make(name, settings, loss_weights, lengths, seed)
