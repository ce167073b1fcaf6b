"""The Python interface as other programs use it: copies, threads, tracing, and what is no input."""

import io
import pickle
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

import w2v2_jax
from w2v2_jax.errors import InputError
from w2v2_jax.inference import Model
from w2v2_jax.models.layer_stack import join_layers


@pytest.fixture(scope="module")
def model(tuned) -> Model:
    return Model(Path("tiny"), tuned.description, tuned.params)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, size=4000).astype(np.float32)


def test_a_model_that_was_used_can_be_pickled(model, noise):
    expected = model.logits(noise)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).logits(noise), expected)


def test_models_are_equal_if_they_are_the_same_one_and_can_be_keys(model, tuned):
    other = Model(Path("tiny"), tuned.description, dict(tuned.params))
    assert model == model and model != other
    assert {model: 1, other: 2}[model] == 1


@pytest.mark.parametrize("change", [jax.jit, jax.vmap, lambda f: jax.grad(lambda x: f(x).sum())])
def test_a_model_within_a_traced_function_names_the_flax_module(model, noise, change):
    message = r"inside jit, grad or vmap .* model\.description\.network\(\)"
    with pytest.raises(InputError, match=message):
        change(model.logits)(np.stack([noise, noise]))
    with pytest.raises(InputError, match=message):
        change(lambda x: model.logits(x, [4000, 4000]))(np.stack([noise, noise]))


def test_the_flax_module_gives_the_models_numbers(model, noise):
    network, params = model.description.network(), join_layers(model.params)
    logits, frames = jax.jit(network.apply)(
        {"params": params}, noise[None], jnp.asarray([len(noise)])
    )
    np.testing.assert_allclose(logits, model.logits(noise), atol=1e-5)
    assert frames.tolist() == [model.num_frames(len(noise))]


@pytest.mark.parametrize("execution", ["bfloat16", {"dtype": "bfloat16"}])
def test_an_execution_that_is_none_is_refused(folder, execution):
    with pytest.raises(InputError, match=r"is no w2v2_jax.models.execution.Execution, such as"):
        w2v2_jax.load(folder, execution=execution)


@pytest.mark.parametrize("counts", [[4000, 3000.5], [1.0, 0.5], [True, True], [4000, None], "4000"])
@pytest.mark.parametrize("call", ["logits", "features"])
def test_counts_that_are_no_whole_numbers_are_refused(model, noise, call, counts):
    with pytest.raises(InputError, match=r"num_samples=.* must be whole numbers of samples"):
        getattr(model, call)(np.stack([noise, noise]), counts)


def test_a_layer_is_a_number_and_no_truth_value(model, noise):
    with pytest.raises(InputError, match="layer=True must be a whole number"):
        model.features(noise, layer=True)


@pytest.mark.parametrize(
    ("waveforms", "counts", "message"),
    [
        ([np.zeros(4000), np.zeros(1000)], [4000, 1000], "a list of arrays .*without num_samples"),
        ("a.wav", [4000], "'a.wav' is a path, and only"),
        (None, None, "NoneType is no array of samples"),
        ((np.zeros(800) for _ in range(2)), None, "generator is no array of samples"),
        (np.zeros(800, jnp.bfloat16), None, r"an array of bfloat16 .*x\.astype\('float32'\)"),
        (np.ma.masked_less(np.arange(800) / 800, 0.5), None, "some samples are masked"),
    ],
)
def test_what_is_no_array_of_samples_is_one_line(model, waveforms, counts, message):
    with pytest.raises(InputError, match=message):
        model.logits(waveforms, counts)


def test_an_empty_list_gives_an_empty_list(model, pretrained):
    pretraining = Model(Path("tiny"), pretrained.description, pretrained.params)
    for result in (model.logits([]), model.features([]), pretraining.units([])):
        assert result == []


def test_waveforms_of_unit_variance_may_have_different_lengths(model, noise):
    rows = [4 * noise, 4 * noise[:1500]]
    for found, row in zip(model.logits(rows), rows, strict=True):
        np.testing.assert_allclose(found, model.logits(row)[0], atol=1e-4)


SOUND = np.zeros(800, np.float32)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (b"RIFF", r"bytes is neither a path nor an array; of a file in memory give soundfile"),
        (io.BytesIO(b"RIFF"), "BytesIO is neither a path nor an array; of a file in memory"),
        ([io.BytesIO(b"RIFF")], "array 0: BytesIO is no array of samples"),
        (None, "NoneType is neither a path nor an array, nor a list"),
        ((SOUND, 16000), r'array 1: int is no array of samples; .*{"array": samples'),
        ([0.1, 0.2], "array 0: float is no array of samples"),
        (np.zeros((1, 800)), re.escape("x.T if it is [channels, S], list(x) if its rows are")),
    ],
)
def test_what_is_no_recording_is_one_line_with_the_remedy(model, inputs, message):
    with pytest.raises(InputError, match=message):
        model.transcribe(inputs, batch_seconds=1)


class Place:
    def __init__(self, path: str):
        self.path = path

    def __fspath__(self) -> str:
        return self.path


def test_a_column_of_paths_or_of_arrays_is_many_recordings(model, noise, tmp_path):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, noise, 16000)
    for column in ([path, path], np.array([path, path]), np.array([path, path], object)):
        assert [r.path for r in model.transcribe(column, batch_seconds=1)] == [path, path]
    two = np.empty(2, object)
    two[:] = [noise, noise[:1500]]
    assert [r.path for r in model.transcribe(two, batch_seconds=1)] == ["array 0", "array 1"]
    (one,) = model.transcribe(Place(path), batch_seconds=1)
    assert one.path == path


@pytest.mark.parametrize(
    ("call", "options", "message"),
    [
        ("align", {"vad": True}, "align has no option 'vad'; known: batch_seconds"),
        ("align", {"decoder": len}, "align has no option 'decoder'"),
        ("align", {"on_error": print}, "align has no option 'on_error'"),
        ("transcribe", {"romanise": True}, "transcribe has no option 'romanise'"),
        ("transcribe", {"on_spelled": print}, "transcribe has no option 'on_spelled'"),
        ("transcribe", {"vad": "no"}, "vad='no' must be True or False"),
        ("align", {"romanise": "no"}, "romanise='no' must be True or False"),
        ("transcribe", {"progress": 3}, "progress=3 must be a function"),
        ("transcribe", {"on_error": True}, "on_error=True must be a function"),
    ],
)
def test_an_option_without_a_use_or_of_another_type_is_refused(model, call, options, message):
    arguments = {"align": (SOUND, "ab"), "transcribe": (SOUND,)}[call]
    with pytest.raises(InputError, match=message):
        getattr(model, call)(*arguments, **options)


@pytest.mark.parametrize("lines", [3, None, ["ab", 3], [b"ab"]])
def test_lines_that_are_no_text_are_refused(model, lines):
    with pytest.raises(InputError, match=r"text: .* is no line of text; give a string"):
        model.align(SOUND, lines)
