"""The network, both losses and every gradient equal stored outputs of Hugging Face's PyTorch code.

The files come from golden/make_hugging_face.py; no torch is needed here.
"""

import dataclasses
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from w2v2_jax.batch import Batch
from w2v2_jax.interop import names
from w2v2_jax.interop.hugging_face_config import to_model
from w2v2_jax.models import masking
from w2v2_jax.models.feature_extractor import FeatureExtractor, frame_counts
from w2v2_jax.objectives.contrastive import Contrastive, Draws
from w2v2_jax.objectives.ctc import CTC

GOLDEN = Path(__file__).parent / "golden"
CASES = (
    "group_post",
    "layer_pre",
    pytest.param("group_pre_bias", marks=pytest.mark.slow),
    pytest.param("three_codebooks", marks=pytest.mark.slow),
)
PRETRAINING = ("encoder", "quantizer", "target_projection", "context_projection")
HIDDEN, LOSS, GRADIENT = 1e-4, 1e-5, 1e-3  # relative tolerances
# Compiling is nearly all the time these tests take; XLA's optimiser is not what they are about.
compiled = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


class Case:
    """One stored file with our network of the same configuration and weights."""

    def __init__(self, name: str):
        self.stored = dict(np.load(GOLDEN / f"hugging_face_{name}.npz"))
        model = to_model(json.loads(str(self.stored["config"])), where=name)
        # Their code has no gradient scale; the released recipe's 0.1 would show in every gradient.
        self.model = dataclasses.replace(model, feature_grad_scale=1.0, scan_layers=True)
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
        return names.join(tensors, shapes, where=prefix)

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


@pytest.fixture(scope="module", params=CASES)
def case(request) -> Case:
    return Case(request.param)


def difference(ours, theirs, real=None) -> float:
    """Largest absolute difference over the largest value, on real frames."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    if real is not None:
        ours, theirs = ours[..., real, :], theirs[..., real, :]
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def test_convolution_output_is_equal(case):
    assert difference(case.evaluated["conv"], case.stored["conv"], case.real) < HIDDEN


def test_every_hidden_state_and_the_context_are_equal(case):
    encoded = case.evaluated["encoded"]
    assert difference(encoded.features, case.stored["features"], case.real) < HIDDEN
    for layer, state in enumerate(case.stored["states"]):
        assert difference(encoded.states[layer], state, case.real) < HIDDEN, layer
    assert difference(encoded.context, case.stored["context"], case.real) < HIDDEN


def test_quantizer_chooses_the_same_entries(case):
    ours, theirs = np.asarray(case.evaluated["ids"]), case.stored["ids"]
    np.testing.assert_array_equal(ours[case.real], theirs[case.real])


def test_evaluation_loss_and_perplexity_are_equal_where_negatives_repeat_the_positive(case):
    metrics = case.evaluated["metrics"]
    assert metrics["negative_is_positive"].total > 0
    ours = metrics["contrastive_loss"].total
    np.testing.assert_allclose(ours, case.stored["eval_contrastive_loss"], rtol=LOSS)
    perplexity = metrics["code_perplexity"].total / metrics["code_perplexity"].weight
    np.testing.assert_allclose(perplexity, case.stored["eval_code_perplexity"], rtol=LOSS)


def test_projections_compared_by_the_contrastive_task_are_equal(case):
    out, mask = case.evaluated["contrast"], case.stored["mask"]
    valid = np.asarray(case.draws("eval_negatives", gumbel=False).slots.valid)
    for ours, theirs in ((out.context, "projected_context"), (out.targets, "projected_targets")):
        assert difference(np.asarray(ours)[valid], case.stored[theirs][mask]) < HIDDEN


def test_pretraining_loss_terms_are_equal_with_the_same_gumbel_noise(case):
    total, metrics, _ = case.pretraining
    assert metrics["negative_is_positive"].total == 0
    for name in ("contrastive_loss", "diversity_loss"):
        np.testing.assert_allclose(metrics[name].total, case.stored[name], rtol=LOSS, err_msg=name)
    np.testing.assert_allclose(total, case.stored["loss"], rtol=LOSS)
    perplexity = metrics["prob_perplexity"].total / metrics["prob_perplexity"].weight
    np.testing.assert_allclose(perplexity, case.stored["prob_perplexity"], rtol=LOSS)


def test_ctc_logits_and_loss_are_equal(case):
    total, logits, _ = case.tuned
    assert difference(logits, case.stored["logits"], case.real) < HIDDEN
    np.testing.assert_allclose(total, case.stored["ctc_loss"], rtol=LOSS)


@pytest.mark.parametrize(
    ("which", "parts"),
    [("pretraining", PRETRAINING), ("ctc", ("encoder", "head"))],
)
def test_gradient_of_every_parameter_is_equal(case, which, parts):
    gradient = (case.pretraining if which == "pretraining" else case.tuned)[2]
    theirs = names.flatten(case.parameters(parts, prefix=f"{which}_gradient"))
    ours = names.flatten(gradient)
    assert ours.keys() == theirs.keys()
    overall = max(np.linalg.norm(x) for x in theirs.values())
    for name, expected in theirs.items():
        # Some are 0 but for rounding (a bias before a norm, say): their norm says nothing.
        scale = max(np.linalg.norm(expected), 1e-4 * overall)
        assert np.linalg.norm(np.asarray(ours[name]) - expected) < GRADIENT * scale, name
