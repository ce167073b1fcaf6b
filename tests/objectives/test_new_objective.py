"""A new objective is one class and one row of OBJECTIVES: all else follows from the two."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.helpers.interop_cases import assert_same
from w2v2_jax.aot import step as aot_step
from w2v2_jax.aot.topology import Target
from w2v2_jax.batch import Batch
from w2v2_jax.bench import command as bench
from w2v2_jax.bench import step as bench_step
from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.checkpoint.description import Description, Loaded, describe
from w2v2_jax.errors import InputError
from w2v2_jax.evaluation.reference_comparison import choose
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.health.config import HealthConfig
from w2v2_jax.health.config import describe as describe_health
from w2v2_jax.health.monitor import Monitor
from w2v2_jax.inference import load
from w2v2_jax.interop import hugging_face, safetensors_file
from w2v2_jax.metrics import Mean, Sums, compute
from w2v2_jax.models import masking, row_random
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.frames import frame_counts, frame_mask
from w2v2_jax.models.layers import Dense
from w2v2_jax.models.wav2vec2 import Encoder
from w2v2_jax.objectives.base import Expectations, Objective
from w2v2_jax.objectives.table import OBJECTIVES

CONFIG = dict(
    model=dict(
        family="base", conv_layers=((4, 4, 4), (4, 2, 2)), d_model=8, num_layers=1, num_heads=2,
        ffn_dim=16, position_kernel=4, position_groups=2,
    ),
    objective=dict(name="regression", scale=0.5, groups=2),
    schedule=dict(name="constant", peak=1e-3),
    data=dict(train="none", mode="crop", bucket_seconds=(0.05,), batch_seconds=0.2, row_multiple=4),
    train=dict(steps=9),
)  # fmt: skip


class RegressionNetwork(nn.Module):
    """Encoder, and one linear layer from context to what the encoder's latents were."""

    config: ModelConfig
    execution: Execution

    def setup(self):
        self.encoder = Encoder(self.config, self.execution)
        self.decoder = Dense(self.config.conv_dim, ("embed", None))

    def __call__(self, waveforms, num_samples, *, mask=None, keys=None):
        encoded = self.encoder(waveforms, num_samples, mask=mask, keys=keys)
        return self.decoder(encoded.context.astype(jnp.float32)), encoded.features

    def encode(self, waveforms, num_samples, *, hidden_states=False):
        return self.encoder(waveforms, num_samples, hidden_states=hidden_states)


@dataclasses.dataclass(frozen=True)
class Regression(Objective):
    """Masked frames' latents by least squares."""

    name: ClassVar[str] = "regression"
    parts: ClassVar[tuple[str, ...]] = ("encoder", "decoder")

    model: ModelConfig
    groups: int
    scale: float = 1.0
    execution: Execution = PLAIN

    @classmethod
    def required_settings(cls, seconds):
        return {"groups": max(1, round(seconds))}

    @property
    def network(self):
        return RegressionNetwork(self.model, self.execution)

    def row_multiple(self, samples):
        return self.groups

    def init(self, key):
        samples = 40 * self.model.stride
        counts = jnp.full((1,), samples)
        return self.network.init(key, jnp.zeros((1, samples)), counts)["params"]

    def expectations(self):
        return Expectations(loss_spike=3.0)

    def loss(self, params, batch, keys, step):
        return self._sums(params, batch, keys, keys)

    def evaluate(self, params, batch, keys, step):
        return self._sums(params, batch, keys, None), {}

    def _sums(self, params, batch, keys, dropout_keys):
        counts = frame_counts(batch.num_samples, self.model.conv_layers)
        frames = int(frame_counts(batch.waveforms.shape[1], self.model.conv_layers))
        mask = masking.span_mask(
            row_random.fold(keys, row_random.MASK), counts, frames, start_prob=0.2, span=3,
            min_spans=1,
        )  # fmt: skip
        guess, truth = self.network.apply(
            {"params": params}, batch.waveforms, batch.num_samples, mask=mask, keys=dropout_keys
        )
        valid = mask * frame_mask(counts, frames) * batch.weights[:, None]
        errors = jnp.square(guess - jax.lax.stop_gradient(truth)).mean(-1)
        loss, weight = self.scale * (errors * valid).sum(), valid.sum()
        return Sums(loss, weight, {"loss": Mean(loss, weight)})


@pytest.fixture(scope="module", autouse=True)
def row():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OBJECTIVES, Regression.name, Regression)
        yield


@pytest.fixture(scope="module")
def outcome():
    """Its step, compiled as `aot` compiles one."""
    built = aot_step.build(CONFIG, Target(jax.devices()[:1], 1, "cpu"), None)
    return aot_step.compile_step(built, None)


@pytest.fixture(scope="module")
def trained(outcome):
    """(batch, decoder before an update, state after it, its metrics)."""
    built = outcome.built
    batch, start = bench_step.random_batch(built.settings), built.init()
    before = np.array(start.params["decoder"]["kernel"])
    state, metrics = outcome.compiled(start, batch, built.seed)
    return batch, before, state, jax.device_get(metrics)


@pytest.fixture(scope="module")
def saved(outcome, trained, tmp_path_factory):
    """A workdir with its checkpoint."""
    workdir, built = tmp_path_factory.mktemp("regression"), outcome.built
    description = Description(built.settings.kind, built.model, built.vocabulary, False)
    with checkpoint.manager(workdir, keep_last=1, keep_best=0) as checkpoints:
        checkpoint.save(checkpoints, trained[2], description)
    return workdir


def test_its_section_of_a_configuration_is_its_fields(outcome):
    assert outcome.built.objective == Regression(outcome.built.model, groups=2, scale=0.5)
    assert outcome.built.vocabulary is None
    bad = {**CONFIG, "objective": {"name": "regression", "groups": 2, "margin": 1}}
    with pytest.raises(InputError, match=r"margin is not a setting; known: name, groups, scale$"):
        aot_step.build(bad, Target(jax.devices()[:1], 1, "cpu"), None)
    known = "use one of contrastive, ctc, random_targets, ema_teacher, classify, regression$"
    with pytest.raises(InputError, match=known):
        read_settings({**CONFIG, "objective": {"name": "regress"}})


def test_it_trains_and_evaluates(outcome, trained):
    batch, before, state, metrics = trained
    assert batch.labels is None and int(state.step) == 1 and metrics["skipped"].total == 0
    assert np.abs(np.asarray(state.params["decoder"]["kernel"]) - before).max() > 0
    evaluate = outcome.built.eval_function(batch)
    sums, outputs = evaluate(state.params, batch, state.step, outcome.built.seed)
    assert outputs == {} and 0 < compute(jax.device_get(sums.metrics))["loss"] < 10


def test_the_health_rules_know_what_it_expects(outcome, trained):
    run = describe_health(outcome.built.objective, steps=1000)
    monitor = Monitor(HealthConfig(), run)
    metrics = trained[-1]
    flags = monitor.flags(metrics)
    assert flags.loss == metrics["loss"] and run.started_after == 400
    for step in range(1, 60):
        assert monitor.saw_step(step, flags) == []
    spike = flags._replace(loss=(flags.loss[0] * 4, flags.loss[1]))
    assert [alarm.rule for alarm in monitor.saw_step(60, spike)] == ["loss-spike"]
    # Nothing of another objective's figures is expected, whatever they are.
    odd = {"contrastive_loss": 9.0, "contrastive_accuracy": 0.0, "prob_perplexity": 1.0}
    odd |= {"masked_fraction": 0.9, "mean_span": 1.0, "weight": 1e9}
    assert [alarm for k in range(401, 410) for alarm in monitor.saw_record(k, odd)] == []


def test_its_checkpoint_gives_features_and_says_what_it_has_not(trained, saved):
    batch, _, state, _ = trained
    model = load(saved)
    assert model.description.objective == "regression"
    assert_same(checkpoint.load(saved).params, jax.device_get(state.params))
    waveforms = batch.waveforms[:2]
    features = model.features(waveforms)
    assert features.shape == (2, 100, 8) and np.ptp(features) > 0
    for ask, message in (
        (model.logits, "has no CTC head"),
        (model.units, "has no quantizer: its objective is"),
    ):
        with pytest.raises(InputError, match=message):
            ask(waveforms)
    with pytest.raises(InputError, match="is a pretraining checkpoint; fine-tune it first"):
        model.transcribe([waveforms[0]])


def test_its_parameters_go_into_safetensors_and_back_and_into_no_format_without_a_place(
    saved, tmp_path
):
    loaded = checkpoint.load(saved)
    safetensors_file.save(loaded, tmp_path / "a.safetensors")
    again = safetensors_file.read(tmp_path / "a.safetensors")
    assert again.loaded.description == loaded.description and again.left == []
    assert_same(again.loaded.params, loaded.params)
    with pytest.raises(InputError, match=r"parameter decoder/.* has no name in this format"):
        hugging_face.save(Loaded(saved, loaded.description, loaded.params), tmp_path / "hf")


def test_a_description_is_refused_by_a_version_without_the_row(saved, monkeypatch):
    said = checkpoint.load(saved).description.to_json()
    assert describe(said, "here").objective == "regression"
    monkeypatch.delitem(OBJECTIVES, Regression.name)
    with pytest.raises(
        InputError, match="objective='regression'; known: contrastive, ctc, random_targets"
    ):
        describe(said, "here")


def test_the_benchmark_times_it_and_compares_it_with_no_peer():
    options = ["--what", "train", "--objective", "regression", "--json", "x", "--rows", "4"]
    arguments = bench.make_parser().parse_args([*options, "--accumulate", "2"])
    settings = bench_step.settings_of(arguments)
    assert settings.raw["objective"] == {
        "name": "regression",
        "groups": round(2 * arguments.seconds),
    }
    batch = bench_step.random_batch(settings)
    assert isinstance(batch, Batch) and batch.labels is None and len(batch.waveforms) == 4
    with pytest.raises(InputError, match="--peer goes with --objective contrastive or ctc"):
        bench.main([*options, "--peer", "hf"])


def test_its_runs_have_no_reference_curves():
    with pytest.raises(InputError, match="no reference has the objective 'regression'"):
        choose({"objective": {"name": "regression"}, "model": {"family": "base"}})
