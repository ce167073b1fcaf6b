"""Stored outputs of Hugging Face's PyTorch code beside ours for the same weights and draws.

The files come from tests/golden/make_hugging_face.py; no torch is needed here.
"""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np

from tests.helpers.places import GOLDEN
from w2v2_jax import trees
from w2v2_jax.batch import Batch
from w2v2_jax.interop import names
from w2v2_jax.interop.hugging_face_config import to_model
from w2v2_jax.interop.hugging_face_names import HUGGING_FACE
from w2v2_jax.models import masking
from w2v2_jax.models.feature_extractor import FeatureExtractor
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.objectives.contrastive import Contrastive, Draws
from w2v2_jax.objectives.ctc import CTC

PRETRAINING = ("encoder", "quantizer", "target_projection", "context_projection")
TUNED = ("encoder", "head")
HUGGING_FACE_CASES = (
    "group_post", "large_ls", "layer_pre", "xls_r", "group_pre_bias", "three_codebooks"
)  # fmt: skip
HIDDEN, LOSS, GRADIENT = 1e-4, 1e-5, 1e-3  # relative tolerances
# Compiling is nearly all the time these tests take; XLA's optimiser is not what they are about.
compiled = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def difference(ours, theirs, real=None) -> float:
    """Largest absolute difference over the largest value, on real frames."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    if real is not None:
        ours, theirs = ours[..., real, :], theirs[..., real, :]
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def mean(metric) -> float:
    return metric.total / metric.weight


def relative(ours, theirs) -> float:
    """Difference of two numbers relative to the second; 0 where both are 0."""
    ours, theirs = float(ours), float(theirs)
    return abs(ours - theirs) / abs(theirs) if theirs else abs(ours)


def gradient_differences(ours, theirs) -> dict[str, float]:
    """Each parameter's gradients: norm of the difference over the norm of theirs.

    Some gradients are 0 but for rounding (a bias before a norm, say): theirs are measured against
    1e-4 of the largest norm instead.
    """
    ours, theirs = trees.flatten(ours), trees.flatten(theirs)
    assert ours.keys() == theirs.keys()
    overall = max(np.linalg.norm(x) for x in theirs.values())
    return {
        name: float(
            np.linalg.norm(np.asarray(ours[name]) - expected)
            / max(np.linalg.norm(expected), 1e-4 * overall)
        )
        for name, expected in theirs.items()
    }


class HuggingFaceCase:
    """One stored file with our network of the same configuration and weights."""

    def __init__(self, name: str):
        self.stored = dict(np.load(GOLDEN / f"hugging_face_{name}.npz"))
        model = to_model(json.loads(str(self.stored["config"])), where=name)
        # Their code has no gradient scale; the released recipe's 0.1 would show in every gradient.
        self.model = dataclasses.replace(model, feature_grad_scale=1.0)
        counts = frame_counts(self.stored["num_samples"], self.model.conv_layers)
        self.real = np.arange(self.stored["mask"].shape[1]) < counts[:, None]  # [B, T]
        self.batch = Batch(
            jnp.asarray(self.stored["waveforms"]),
            jnp.asarray(self.stored["num_samples"]),
            jnp.ones(len(counts)),
            jnp.asarray(self.stored["labels"]),
            jnp.asarray(self.stored["num_labels"]),
        )
        self.contrastive = Contrastive(
            self.model, len(counts), num_negatives=5, feature_penalty_weight=0.0
        )
        self.ctc = CTC(self.model, 9)

    def parameters(self, parts, prefix="weight"):
        """Their tensors under a prefix -> our tree; gradients move like weights."""
        start = f"{prefix}/"
        tensors = {k.removeprefix(start): v for k, v in self.stored.items() if k.startswith(start)}
        shapes = names.expected(self.model, parts=parts, classes=9)
        return names.join(tensors, shapes, HUGGING_FACE, where=prefix)

    def draws(self, negatives: str, *, gumbel: bool) -> Draws:
        """Their mask, negatives (numbers in B*T) and noise in our buffer of masked slots."""
        mask = self.stored["mask"]
        slots = masking.masked_slots(jnp.asarray(mask), int(mask.sum(1).max()))
        frames = np.asarray(slots.frames)
        slot_of = np.cumsum(mask, 1) - 1  # [B, T]
        rows = np.arange(len(mask))[:, None]
        theirs = self.stored[negatives] % mask.shape[1]
        ours = slot_of[rows[..., None], theirs[rows, frames]]
        ours = np.where(np.asarray(slots.valid)[..., None], ours, 0)
        noise = jnp.asarray(self.stored["gumbel"][rows, frames]) if gumbel else None
        return Draws(jnp.asarray(mask), slots, jnp.asarray(ours), noise)

    @functools.cached_property
    def evaluated(self):
        """Everything without noise: the parts of the encoder, ids, projections and metrics."""
        draws = self.draws("eval_negatives", gumbel=False)
        audio = self.batch.waveforms, self.batch.num_samples

        def run(params):
            apply = functools.partial(self.contrastive.network.apply, {"params": params}, *audio)
            extractor = params["encoder"]["feature_extractor"]
            return {
                "conv": FeatureExtractor(self.model).apply({"params": extractor}, *audio),
                "encoded": apply(method="encode", hidden_states=True),
                "ids": apply(method="units"),
                "contrast": apply(mask=draws.mask, slots=draws.slots, gumbel=None, temperature=1.0),
                "metrics": self.contrastive.terms(params, self.batch, draws, None, 0).metrics,
            }

        return compiled(run)(self.parameters(PRETRAINING))

    @functools.cached_property
    def pretraining(self):
        """Loss, metrics and gradients of the training form."""
        draws = self.draws("negatives", gumbel=True)

        def loss(params):
            sums = self.contrastive.terms(params, self.batch, draws, None, 0)
            return sums.loss, sums.metrics

        run = compiled(jax.value_and_grad(loss, has_aux=True))
        (total, metrics), gradient = run(self.parameters(PRETRAINING))
        return total, metrics, gradient

    @functools.cached_property
    def tuned(self):
        """Logits, summed loss and gradients of CTC."""

        def loss(params):
            logits, counts = self.ctc.network.apply(
                {"params": params}, self.batch.waveforms, self.batch.num_samples
            )
            return self.ctc.terms(logits, counts, self.batch).loss, logits

        run = compiled(jax.value_and_grad(loss, has_aux=True))
        (total, logits), gradient = run(self.parameters(("encoder", "head")))
        return total, logits, gradient

    def hidden_differences(self) -> dict[str, float]:
        """The convolutions' output, the features, every block's input and output, the context."""
        encoded = self.evaluated["encoded"]
        pairs = {
            "conv": (self.evaluated["conv"], self.stored["conv"]),
            "features": (encoded.features, self.stored["features"]),
            "context": (encoded.context, self.stored["context"]),
        }
        for layer, state in enumerate(self.stored["states"]):
            pairs[f"states {layer}"] = (encoded.states[layer], state)
        return {name: difference(*pair, self.real) for name, pair in pairs.items()}

    def ids_equal(self) -> bool:
        ours, theirs = np.asarray(self.evaluated["ids"]), self.stored["ids"]
        return bool((ours[self.real] == theirs[self.real]).all())

    def logit_difference(self) -> float:
        """Of the projections whose similarities are the contrastive logits, which it keeps."""
        out, mask = self.evaluated["contrast"], self.stored["mask"]
        valid = np.asarray(self.draws("eval_negatives", gumbel=False).slots.valid)
        pairs = ((out.context, "projected_context"), (out.targets, "projected_targets"))
        return max(difference(np.asarray(a)[valid], self.stored[b][mask]) for a, b in pairs)

    def loss_differences(self) -> dict[str, float]:
        """Loss terms and perplexities, of the training form and ("eval") without noise."""
        total, metrics, _ = self.pretraining
        without = self.evaluated["metrics"]
        pairs = {
            "loss": (total, "loss"),
            "contrastive": (metrics["contrastive_loss"].total, "contrastive_loss"),
            "diversity": (metrics["diversity_loss"].total, "diversity_loss"),
            "prob_perplexity": (mean(metrics["prob_perplexity"]), "prob_perplexity"),
            "eval contrastive": (without["contrastive_loss"].total, "eval_contrastive_loss"),
            "eval code_perplexity": (mean(without["code_perplexity"]), "eval_code_perplexity"),
        }
        return {name: relative(ours, self.stored[key]) for name, (ours, key) in pairs.items()}

    def gradient_differences(self) -> dict[str, float]:
        theirs = self.parameters(PRETRAINING, prefix="pretraining_gradient")
        return gradient_differences(self.pretraining[2], theirs)

    def ctc_differences(self) -> tuple[float, float]:
        """Of the logits and of the summed loss."""
        total, logits, _ = self.tuned
        return (
            difference(logits, self.stored["logits"], self.real),
            relative(total, self.stored["ctc_loss"]),
        )

    def ctc_gradient_differences(self) -> dict[str, float]:
        theirs = self.parameters(TUNED, prefix="ctc_gradient")
        return gradient_differences(self.tuned[2], theirs)
