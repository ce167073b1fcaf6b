"""Random-projection targets against float64 NumPy, closed forms, and what must change nothing."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.interop_cases import assert_same, random_checkpoint
from tests.helpers.invariances import assert_close, padded, reordered, with_fillers
from tests.helpers.places import ROOT
from w2v2_jax.errors import InputError
from w2v2_jax.export import command as export
from w2v2_jax.interop import hugging_face, native
from w2v2_jax.metrics import compute
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.objectives.log_mel import log_mel, mel_filters
from w2v2_jax.objectives.masked_frames import draw_mask
from w2v2_jax.objectives.random_targets import RandomTargets, constants

WINDOW, HOP, BANDS = 30, 10, 6  # of the tiny network: a receptive field, half a frame
GOLDEN = (
    -0.1564585268497467,
    -0.041265230625867844,
    0.2727091610431671,
    -0.06742724031209946,
)


@pytest.fixture(scope="module")
def objective(quiet):
    return RandomTargets(quiet, codebooks=2, entries=32, code_dim=4, mel_bands=BANDS)


@pytest.fixture(scope="module")
def spectra(objective):
    return jax.jit(objective.spectra)


def spectra_of_a_row(waveform):
    """Normalised filterbanks [T, 2 * BANDS] of one row without padding, frame by frame."""
    frames = int(frame_counts(len(waveform), ((8, 10, 5), (8, 3, 2), (8, 2, 2))))
    padded = np.concatenate([waveform.astype(np.float64), np.zeros(WINDOW)])
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    rows = []
    for start in range(0, 2 * frames * HOP, HOP):
        power = np.abs(np.fft.rfft(padded[start : start + WINDOW] * hann, 32)) ** 2
        rows.append(np.log(np.maximum(power @ mel_filters(BANDS, 32), 1e-10)))
    mel = np.array(rows).reshape(frames, 2 * BANDS)
    return (mel - mel.mean(0)) / np.maximum(mel.std(0), 1e-5)


def test_filters_are_librosas_htk_triangles():
    with np.load(ROOT / "tests/golden/mel_filters.npz") as stored:
        np.testing.assert_allclose(mel_filters(80, 512), stored["filters"], atol=1e-6)


def test_filterbanks_are_those_of_a_transform_frame_by_frame():
    waveform = np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32)
    ours = log_mel(waveform[None], 20, window=400, hop=160, bands=40)[0]
    windows = np.stack([waveform[160 * t :][:400] for t in range(20)]) * np.hanning(401)[:400]
    power = np.abs(np.fft.rfft(windows, 512)) ** 2
    np.testing.assert_allclose(ours, np.log(power @ mel_filters(40, 512)), atol=1e-4)


def test_spectra_of_a_row_know_neither_its_padding_nor_other_rows(spectra, make_batch):
    batch = make_batch(labels=False)
    found = np.asarray(spectra(batch))
    for row, count in enumerate(batch.num_samples):
        expected = spectra_of_a_row(batch.waveforms[row, :count])
        np.testing.assert_allclose(found[row, : len(expected)], expected, atol=2e-3)


def test_codes_are_the_nearest_of_unit_vectors(objective, spectra, make_batch):
    found = spectra(make_batch(labels=False))
    projection, codebook = constants(0, 2 * BANDS, 2, 32, 4)
    projected = np.einsum("btf,fgd->btgd", np.asarray(found, np.float64), projection)
    projected /= np.linalg.norm(projected, axis=-1, keepdims=True)
    distance = np.linalg.norm(projected[..., None, :] - codebook, axis=-1)
    codes = np.asarray(jax.jit(objective.codes)(found))
    taken = np.take_along_axis(distance, codes[..., None], -1)[..., 0]
    np.testing.assert_allclose(taken, distance.min(-1), atol=1e-5)
    assert len(np.unique(codes)) > 16 and (codes[..., 0] != codes[..., 1]).any()


def test_the_frozen_quantizer_is_the_same_for_ever():
    projection, codebook = constants(7, 160, 1, 8192, 16)
    assert np.abs(projection).max() <= np.sqrt(6 / 176) and projection.shape == (160, 1, 16)
    np.testing.assert_allclose(np.linalg.norm(codebook, axis=-1), 1, rtol=1e-6)
    np.testing.assert_allclose(
        [projection[0, 0, 0], projection[-1, 0, -1], codebook[0, 0, 0], codebook[0, -1, -1]],
        GOLDEN, rtol=1e-6,
    )  # fmt: skip
    assert not np.array_equal(projection, constants(8, 160, 1, 8192, 16)[0])


def test_the_loss_is_the_cross_entropy_of_masked_frames(objective, params, keys, make_batch, terms):
    batch = make_batch(labels=False)
    mask, slots = draw_mask(objective.model, keys, batch.num_samples, 1000)
    sums = terms(params, batch, mask, slots, None)

    @jax.jit
    def logits_and_codes(params, batch):
        audio = batch.waveforms, batch.num_samples
        logits = objective.network.apply({"params": params}, *audio, mask=mask, slots=slots)
        return logits, objective.codes(objective.spectra(batch))

    logits, codes = jax.device_get(logits_and_codes(params, batch))
    logits = logits.astype(np.float64)
    total, right, count = 0.0, 0.0, 0
    for row in range(8):
        for slot, frame in enumerate(np.flatnonzero(mask[row])):
            for book in range(2):
                scores = logits[row, slot].reshape(2, 32)[book]
                code = codes[row, frame, book]
                total += (np.log(np.exp(scores).sum()) - scores[code]) / 2
                right += (scores.argmax() == code) / 2
            count += 1
    np.testing.assert_allclose([sums.loss, sums.weight], [total, count], rtol=1e-4)
    assert compute(sums.metrics)["accuracy"] == pytest.approx(right / count, rel=1e-5)


def test_a_head_without_a_preference_costs_ln_of_the_entries(objective, params, keys, make_batch):
    flat = {**params, "target_head": jax.tree.map(jnp.zeros_like, params["target_head"])}
    sums, outputs = jax.jit(objective.evaluate)(flat, make_batch(labels=False), keys, 3)
    assert compute(sums.metrics)["loss"] == pytest.approx(np.log(32), rel=1e-5) and outputs == {}


def test_the_order_of_rows_changes_nothing(loss, params, keys, make_batch):
    batch = make_batch(labels=False)
    moved, moved_keys = reordered(batch, keys)
    assert_close(loss(params, batch, keys, 3), loss(params, moved, moved_keys, 3))


def test_filler_rows_of_weight_0_change_nothing(loss, params, keys, make_batch):
    one, other = with_fillers(make_batch(labels=False))
    assert_close(loss(params, one, keys, 3), loss(params, other, keys, 3))


def test_padding_rows_longer_changes_nothing(objective, params, keys, make_batch, terms):
    batch = make_batch(labels=False)
    mask, slots = draw_mask(objective.model, keys, batch.num_samples, 1000)
    longer, longer_mask = padded(batch, mask, objective.model.conv_layers)
    found = terms(params, longer, longer_mask, slots, None)
    assert_close(terms(params, batch, mask, slots, None), found)


def test_the_targets_have_no_gradient_and_everything_else_has_one(
    objective, params, keys, make_batch
):
    gradient = jax.jit(
        jax.grad(lambda p: objective.loss(p, make_batch(labels=False), keys, 3).loss)
    )
    largest = jax.tree.map(lambda x: float(jnp.abs(x).max()), gradient(params))
    assert set(largest) == {"encoder", "target_head"}
    assert all(0 < value < np.inf for value in jax.tree.leaves(largest))


def test_pairs_of_one_code_are_counted(objective):
    codes = jnp.asarray([[[0, 1], [0, 2], [3, 1], [9, 9]]])
    valid = jnp.asarray([[True, True, True, False]])
    share = objective._same_code(codes, valid, jnp.ones(1))
    # Of three pairs of frames one shares the first code, another the second.
    assert float(share.total / share.weight) == pytest.approx((0.5 + 0.5 + 0) / 3)


@pytest.mark.parametrize(
    ("field", "value"), [("entries", 0), ("codebooks", -1), ("code_dim", 0), ("target_seed", -3)]
)
def test_a_setting_out_of_range_is_named(quiet, field, value):
    with pytest.raises(InputError, match=f"objective.{field}={value} must"):
        RandomTargets(quiet, **{field: value})


def test_a_quantized_input_is_refused(quiet):
    model = dataclasses.replace(quiet, quantize_input=True, input_code_dim=8)
    with pytest.raises(InputError, match=r"has no noise for model\.quantize_input=True"):
        RandomTargets(model)


def test_its_checkpoint_leaves_as_an_ordinary_encoder(tiny, tmp_path, capsys):
    loaded = random_checkpoint(tiny, parts=RandomTargets.parts, objective="random_targets")
    native.write_initial(tmp_path / "native", loaded)
    export.main([
        "--checkpoint", f"{tmp_path}/native", "--to", "hf", "--out", f"{tmp_path}/hf",
    ])  # fmt: skip
    assert "left over: target_head/bias, target_head/kernel" in capsys.readouterr().out
    there = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert there["architectures"] == ["Wav2Vec2Model"]
    assert_same(hugging_face.load(tmp_path / "hf").params, {"encoder": loaded.params["encoder"]})
