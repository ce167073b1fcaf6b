"""data2vec's targets, loss, gradients and average beside fairseq's own code (needs both)."""

import importlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.fairseq_oracle import hashable_dataclasses
from tests.helpers.parity_cases import GRADIENT, LOSS, compiled, gradient_differences, relative
from w2v2_jax.batch import Batch
from w2v2_jax.interop import names
from w2v2_jax.interop.fairseq_config import to_model
from w2v2_jax.interop.fairseq_names import FAIRSEQ
from w2v2_jax.models import masking
from w2v2_jax.objectives.ema_teacher import EMATeacher
from w2v2_jax.train_step import with_teacher

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]

RATES = dict.fromkeys(
    ("dropout", "attention_dropout", "activation_dropout", "dropout_input", "dropout_features",
     "encoder_layerdrop"), 0.0,
)  # fmt: skip
TINY = dict(
    encoder_embed_dim=16, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_embed_dim=20,
    conv_feature_layers="[(8, 10, 5)] + [(8, 3, 2)] * 1 + [(12, 2, 2)]", conv_pos=8,
    conv_pos_groups=4, extractor_mode="layer_norm", mask_length=4, feature_grad_mult=0.5, **RATES,
)  # fmt: skip
# As the configuration for BASE has them, but for the sizes and the decay, which moves much here.
TEACHER = dict(
    average_top_k_layers=2, instance_norm_target_layer=True, ema_decay=0.3, ema_end_decay=0.7,
    ema_anneal_end_step=4, ema_transformer_only=True, ema_layers_only=True, max_update=9,
)  # fmt: skip
CASES = {
    "base": (TINY, TEACHER, 2),
    "one_row": (TINY, TEACHER, 1),
    "stacked_positions": (TINY | dict(pos_conv_depth=2, conv_pos=10), TEACHER, 2),
    "pre_ln_all_layers": (
        TINY | dict(layer_norm_first=True, conv_bias=True),
        TEACHER | dict(average_top_k_layers=3, instance_norm_targets=True),
        2,
    ),
}
ENCODER = ("encoder",)


def random_weights(model, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            noise = torch.from_numpy(rng.standard_normal(tuple(tensor.shape)).astype(np.float32))
            scale = name.endswith(("layer_norm.weight", "2.1.weight", "weight_g"))
            vector = scale or tensor.ndim == 1
            tensor.copy_(scale + (0.2 if vector else tensor[0].numel() ** -0.5) * noise)


def tree(values, model):
    """Their tensors by name -> our tree of encoder and head."""
    arrays = {name: x.detach().numpy().copy() for name, x in values.items()}
    shapes = names.expected(model, parts=ENCODER, objective=EMATeacher)
    head = {"kernel": arrays["final_proj.weight"].T, "bias": arrays["final_proj.bias"]}
    return {**names.join(arrays, shapes, FAIRSEQ, where="fairseq"), "regression_head": head}


class Case:
    """One pass of their model after its first update, and ours with the same weights and masks."""

    def __init__(self, name, module):
        settings, teacher, rows = CASES[name]
        config = module.Data2VecAudioConfig(**settings, **teacher)
        theirs = module.Data2VecAudioModel(config).train()
        self.model = to_model(settings, where=name)
        self.objective = EMATeacher(
            self.model, top_layers=teacher["average_top_k_layers"], decay=0.3, end_decay=0.7,
            anneal_updates=4, normalise_mean=teacher.get("instance_norm_targets", False),
        )  # fmt: skip
        random_weights(theirs, 1)
        position = theirs.encoder.pos_conv[0]
        if hasattr(position, "weight_g"):  # or torch refuses to copy the module
            position.weight = position.weight.detach()
        self.start = tree(dict(theirs.named_parameters()), self.model)
        theirs.set_num_updates(0)  # makes its teacher
        random_weights(theirs, 2)
        theirs.set_num_updates(1)  # as after an update that gave these weights
        self.params = tree(dict(theirs.named_parameters()), self.model)
        self.averaged = {f"encoder.{k}": v for k, v in theirs.ema.fp32_params.items()}
        rng = np.random.default_rng(3)
        self.waveforms = rng.standard_normal((rows, 901)).astype(np.float32)
        frames = int(theirs._get_feat_extract_output_lengths(torch.tensor(901)))
        self.mask = rng.random((rows, frames)) < 0.4
        waveforms, mask = torch.from_numpy(self.waveforms), torch.from_numpy(self.mask)
        self.theirs = theirs(waveforms, mask_indices=mask)
        self.theirs["losses"]["regression"].backward()
        self.gradients = tree({name: x.grad for name, x in theirs.named_parameters()}, self.model)

    def ours(self):
        """Sums and gradients with the teacher that follows from the start."""
        objective, rows = self.objective, len(self.mask)
        batch = Batch(
            jnp.asarray(self.waveforms), jnp.full((rows,), 901, jnp.int32), jnp.ones(rows)
        )
        mask = jnp.asarray(self.mask)
        slots = masking.masked_slots(mask, int(mask.sum(1).max()))
        teacher = objective.follow(objective.teacher(self.start), self.params, jnp.int32(1))

        def loss(params):
            sums = objective.terms(with_teacher(params, teacher), batch, mask, slots, None)
            return sums.loss, sums

        (_, sums), gradients = compiled(jax.value_and_grad(loss, has_aux=True))(self.params)
        return teacher, sums, gradients


@pytest.fixture(scope="module")
def data2vec(checkpoint_utils):
    """fairseq's module of the model, which lies among its examples."""
    del checkpoint_utils  # it has put fairseq on the path
    with hashable_dataclasses():
        return importlib.import_module("fairseq.examples.data2vec.models.data2vec_audio")


@pytest.mark.parametrize("name", CASES)
def test_average_loss_and_gradients_are_fairseq_s(data2vec, name, record_property):
    case = Case(name, data2vec)
    teacher, sums, gradients = case.ours()
    shapes = names.expected(case.model, parts=ENCODER, objective=EMATeacher)
    places = ("encoder/transformer/layers", "encoder/transformer/norm")
    wanted = {path: shape for path, shape in shapes.items() if path.startswith(places)}
    arrays = {name: x.detach().numpy() for name, x in case.averaged.items()}
    averaged = names.join(arrays, wanted, FAIRSEQ, where="average")["encoder"]["transformer"]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), teacher, averaged
    )
    assert int(sums.weight) == case.theirs["sample_size"]
    loss = relative(sums.loss, case.theirs["losses"]["regression"])
    worst = max(gradient_differences(gradients, case.gradients).values())
    for what, value in (("loss", loss), ("gradients", worst)):
        record_property(what, value)
    assert loss < LOSS and worst < GRADIENT
    if len(case.mask) == 1:  # theirs are over all rows at once
        for ours, theirs in (("target", "target_var"), ("prediction", "pred_var")):
            mean = sums.metrics[f"{ours}_deviation"]
            assert math.isclose(mean.total / mean.weight, case.theirs[theirs], rel_tol=1e-4)


def test_the_line_of_its_decay_is_ours(data2vec):
    objective = EMATeacher.for_network(to_model(TINY, where="tiny"))
    for count in (1, 7_000, 29_999):
        theirs = data2vec.get_annealed_rate(0.999, 0.9999, count, 30_000)
        assert float(objective.new_share(count)) == pytest.approx(1 - theirs, rel=1e-5)
