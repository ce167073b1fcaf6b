"""Sound as arrays, tables and files in Python: scales, rates, lengths and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest

import w2v2_jax
from w2v2_jax.errors import InputError
from w2v2_jax.models.families import FAMILIES, family_of, model_config
from w2v2_jax.recognition.waveforms import as_floats


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32"])
def test_integers_are_divided_by_their_types_full_scale(noise, kind):
    info = np.iinfo(kind)
    middle, half = (info.max + info.min + 1) // 2, 2.0 ** (info.bits - 1)
    whole = np.round(noise.astype(np.float64) * half + middle).astype(kind)
    np.testing.assert_allclose(as_floats(whole, "x"), noise, atol=1.01 / half + 1e-7)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_floats_in_full_scale_stay_as_they_are(noise, kind):
    found = as_floats(noise.astype(kind), "x")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, noise.astype(kind).astype(np.float32))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.array([5, 3000]), "int64 samples have no known scale; give floats in -1 to 1, or int8"),
        (np.array([5], np.uint32), "uint32 samples have no known scale"),
        (np.array([True]), "bool samples have no known scale"),
        (np.array([1j]), "complex128 samples have no known scale"),
        (np.array(["a"]), "samples have no known scale"),
        (np.array([0.1, -32767.0]), "beyond full scale (peak 32767); floats belong in -1 to 1"),
        (np.array([0.1, 3.0]), "beyond full scale (peak 3)"),
        (np.array([0.1, np.nan]), "not finite"),
        (np.array([-np.inf]), "not finite"),
        (np.array([5, -30000], np.int32), "int32 samples of at most 30000 look like 16-bit ones"),
        (
            np.array([5, -8388608], np.int32),
            "int32 samples of at most 8388608 look like 24-bit ones",
        ),
    ],
)
def test_samples_without_a_known_scale_are_refused(samples, message):
    with pytest.raises(InputError, match=re.escape(message)):
        as_floats(samples, "x")


def test_quiet_24_bit_samples_at_the_full_scale_of_int32_are_taken(noise):
    samples = np.round(noise.astype(np.float64) * 2**15).astype(np.int32) << 8
    np.testing.assert_allclose(as_floats(samples, "x"), noise / 256, atol=1e-7)


@pytest.mark.parametrize("counts", [[4000, 4001], [4000], [4000, 4000, 4000], 4000])
@pytest.mark.parametrize("call", ["logits", "features"])
def test_counts_of_samples_that_do_not_fit_the_rows_are_refused(model, noise, call, counts):
    message = "do not fit waveforms [2, 4000]; give one number for each row, at most 4000"
    with pytest.raises(InputError, match=re.escape(message)):
        getattr(model, call)(np.stack([noise, noise]), counts)


def test_a_full_scale_int32_array_gives_what_its_floats_give(model, pretraining, noise):
    integers = (noise.astype(np.float64) * 2**31).astype(np.int32)
    np.testing.assert_allclose(model.logits(integers), model.logits(noise), atol=1e-5)
    np.testing.assert_allclose(
        pretraining.features(integers), pretraining.features(noise), atol=1e-4
    )
    np.testing.assert_array_equal(pretraining.units(integers), pretraining.units(noise))
    (one,), (other,) = (model.transcribe(x, batch_seconds=1) for x in (integers, noise))
    assert one.text == other.text
    lines = [model.align(x, "ab", batch_seconds=1)[0] for x in (integers, noise)]
    assert (lines[0].start, lines[0].end) == (lines[1].start, lines[1].end)


@pytest.mark.parametrize("call", ["logits", "features", "transcribe"])
def test_floats_in_units_of_int16_are_refused_by_every_function(model, noise, call):
    with pytest.raises(InputError, match="beyond full scale"):
        getattr(model, call)(noise * 32768)
    with pytest.raises(InputError, match="no known scale"):
        getattr(model, call)((noise * 32768).astype(np.int64))


def test_a_list_of_different_lengths_gives_a_list_of_each_ones_own_frames(
    model, pretraining, noise
):
    rows = [noise, noise[:1500], noise[:2100].tolist()]
    logits = model.logits(rows)
    assert [one.shape for one in logits] == [(model.num_frames(len(r)), 9) for r in rows]
    for one, row in zip(logits, rows, strict=True):
        np.testing.assert_allclose(one, model.logits(np.asarray(row, "f"))[0], atol=1e-4)
    features, units = pretraining.features(rows, layer=0), pretraining.units(tuple(rows))
    assert [len(x) for x in features] == [len(x) for x in units] == [len(x) for x in logits]
    with pytest.raises(InputError, match="waveform 1: 3 samples are too short"):
        model.logits([noise, noise[:3]])


def test_arrays_and_lists_of_one_length_give_one_array(model, noise):
    pair = np.stack([noise, -noise])
    expected = model.logits(pair)
    assert isinstance(expected, np.ndarray) and expected.shape[0] == 2
    np.testing.assert_array_equal(model.logits([noise, -noise]), expected)
    np.testing.assert_array_equal(model.logits(pair.tolist()), expected)
    assert (
        model.logits(noise).shape == model.logits(noise.tolist()).shape == (1, *expected.shape[1:])
    )


def test_rows_of_different_types_are_each_scaled_by_their_own(model, noise):
    integers = (noise * 32767).astype(np.int16)
    expected = model.logits([noise, noise])
    for rows in ([noise, integers], [integers, noise], [integers.astype(np.int32) << 16, integers]):
        np.testing.assert_allclose(model.logits(rows), expected, atol=0.01)


class OnAnotherDevice:
    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


@pytest.mark.parametrize(
    ("waveforms", "message"),
    [
        (np.zeros((0, 16000), np.float32), r"waveforms \[0, 16000\]: give \[S\] or \[B, S\]"),
        (np.zeros((2, 3, 800), np.float32), r"waveforms \[2, 3, 800\]: give"),
        (np.zeros((2880, 1), np.float32), r"waveforms are \[B, S\], not \[2880, 1\]"),
        (OnAnotherDevice(), "OnAnotherDevice is no array for NumPy .* give floats"),
        ([OnAnotherDevice(), np.zeros(800)], "waveform 0: OnAnotherDevice is no array"),
    ],
)
def test_what_is_no_batch_of_waveforms_is_one_line(model, waveforms, message):
    with pytest.raises(InputError, match=message):
        model.logits(waveforms)


@pytest.mark.parametrize("waveforms", ["a.wav", Path("a.wav"), ["a.wav", "b.wav"]])
@pytest.mark.parametrize("call", ["logits", "features"])
def test_functions_of_arrays_say_how_a_file_is_read(model, waveforms, call):
    with pytest.raises(InputError, match=r"'a\.wav' is a path, and only .* soundfile\.read\(path"):
        getattr(model, call)(waveforms)


def test_tables_of_hugging_face_datasets_are_resampled(model, noise):
    at_8k = {"path": "a.wav", "array": noise[::2].astype(np.float64), "sampling_rate": 8000}
    same = {"array": noise, "sampling_rate": 16000}
    (one,) = model.transcribe(at_8k, batch_seconds=1)
    assert one.duration == 0.25
    both = model.transcribe([same, noise], batch_seconds=1)
    assert both[0].text == both[1].text and both[0].path == "array 0"
    first, second = model.logits([at_8k, same])
    assert first.shape == second.shape == (model.num_frames(4000), 9)
    np.testing.assert_allclose(second, model.logits(noise)[0], atol=1e-4)
    np.testing.assert_allclose(model.logits(at_8k)[0], first, atol=1e-4)
    assert model.align(same, "ab", batch_seconds=1)[0].text == "ab"  # as it was written


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"array": [0.1] * 400}, r"array 0: a dict \['array'\] is not audio; it needs"),
        ({"array": [0.1] * 400, "sampling_rate": None}, "is not audio"),
        ({"array": [0.1] * 400, "sampling_rate": 3}, "sampling_rate=3 Hz is not a whole number"),
        ({"array": [0.1] * 400, "sampling_rate": float("inf")}, "sampling_rate=inf Hz is not"),
        ({"array": [0.1] * 400, "sampling_rate": float("nan")}, "sampling_rate=nan Hz is not"),
        ({"array": [0.1] * 400, "sampling_rate": 11025.5}, "sampling_rate=11025.5 Hz is not a wh"),
        ({"array": [0.1] * 400, "sampling_rate": 10**400}, "is not audio"),
        ({"text": "a"}, r"array 0: a dict \['text'\] is not audio"),
    ],
)
def test_a_table_that_is_no_sound_is_named(model, item, message):
    with pytest.raises(InputError, match=message):
        model.transcribe([item])


def test_a_string_is_one_file_and_one_line(model, clips, noise):
    (path,) = clips("ab.wav")
    (one,) = model.transcribe(path, batch_seconds=1)
    assert one.path == path
    assert [line.text for line in model.align(noise, "ab ba", batch_seconds=1)] == ["ab ba"]
    two = model.align(path, "ab\nba\n", batch_seconds=1)
    assert [line.text for line in two] == ["ab", "ba"]
    with pytest.raises(InputError, match="align takes one recording, not 2"):
        model.align([noise, noise], "ab")


def test_a_model_says_in_one_line_what_it_is(model, pretraining):
    assert re.fullmatch(r"Model\(tiny: ctc, .+, \d+ parameters, 9 symbols\)", repr(model))
    assert re.fullmatch(r"Model\(tiny: contrastive, .+, \d+ parameters\)", repr(pretraining))


def test_a_family_is_told_by_its_shapes():
    for name in ("small", "base", "large", "large_lv60k", "xls_r_1b", "mms_1b_adapters"):
        assert family_of(model_config(name, dropout=0.3)) == name
    assert family_of(model_config("base", num_layers=6)) == "6 x 768"
    assert {family_of(model_config(name)) for name in FAMILIES} <= set(FAMILIES)


def test_samples_are_counted_in_frames(model):
    frames = model.num_frames(np.array([16000, 4000, 0]))
    assert frames.tolist() == [model.num_frames(16000), model.num_frames(4000), 0]
    assert model.logits(np.zeros(4000, "f")).shape[1] == model.num_frames(4000)
    assert model.seconds_per_frame == model.description.model.stride / 16000


def test_the_package_says_that_it_is_typed():
    root = Path(w2v2_jax.__file__).parent
    assert (root / "py.typed").is_file()
    assert "w2v2_jax = py.typed" in (root.parent / "setup.cfg").read_text()
