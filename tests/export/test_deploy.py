"""Deployed forms give our logits at any length and in padded batches, and their READMEs run."""

import contextlib
import dataclasses
import io
import json
import re

import jax
import numpy as np
import pytest
import soundfile

from tests.helpers.interop_cases import ENCODER, LAYER_NORM, VOCABULARY, random_checkpoint
from tests.helpers.places import GOLDEN
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.export import command as export
from w2v2_jax.export import deployment, onnx_file, saved_model, stablehlo
from w2v2_jax.inference import Model
from w2v2_jax.interop import native
from w2v2_jax.objectives.classes import Classes
from w2v2_jax.objectives.classification import Classification, FrameClassification, XVector

FAMILIES = {
    "group_post": {},
    "layer_pre_adapters": dict(**LAYER_NORM, adapter_dim=3),
    "unmasked_group_pre_bias": dict(norm_order="pre", masked_group_norm=False, conv_bias=True),
    "layer_post_square": dict(extractor_norm="layer", d_model=8, position_kernel=7),
    "group_post_square_projected": dict(d_model=8, always_project_features=True),
}
LENGTHS = (601, 1237)
DIFFERENCE = 1e-3  # absolute, of logits up to 5


def checkpoint(tiny, family):
    """Random parameters of moderate size; layer-norm models normalise their input."""
    model = dataclasses.replace(tiny, **FAMILIES[family])
    made = random_checkpoint(
        model,
        parts=("encoder", "head"),
        vocabulary=VOCABULARY,
        normalise=model.extractor_norm == "layer",
    )
    made = made._replace(description=made.description._replace(normalise_epsilon=1e-7))
    return made._replace(params=jax.tree.map(lambda x: 0.3 * x if x.ndim > 1 else x, made.params))


def batch(samples, rms=0.1):
    """Two rows far from zero mean and unit variance, the second padded with noise."""
    waveforms = rms * np.random.default_rng(samples).standard_normal((2, samples)) + 0.05
    return waveforms.astype(np.float32), np.array([samples, samples * 4 // 5], np.int32)


def difference(loaded, call, samples) -> float:
    """Largest difference of the real frames' logits, of quiet audio too where the model
    normalises it; the frame counts must be equal."""
    loudness = (0.1, 0.001) if loaded.description.normalise else (0.1,)
    return max(difference_at(loaded, call, samples, rms) for rms in loudness)


def difference_at(loaded, call, samples, rms) -> float:
    waveforms, num_samples = batch(samples, rms)
    logits, frames = map(np.asarray, call(waveforms, num_samples))
    model = Model(loaded.path, loaded.description, loaded.params)
    expected = model.logits(waveforms, num_samples)
    assert logits.shape == expected.shape and logits.dtype == np.float32
    assert frames.tolist() == [
        int(model_frames(n, loaded.description.model)) for n in num_samples.tolist()
    ]
    rows = zip(logits, expected, frames, strict=True)
    return max(float(np.abs(ours[:n] - theirs[:n]).max()) for ours, theirs, n in rows)


def model_frames(samples, model):
    for _, kernel, stride in model.conv_layers:
        samples = (samples - kernel) // stride + 1
    return samples


def run_readme(folder, monkeypatch) -> str:
    """What the README's program prints for a clip."""
    clip = np.random.default_rng(3).standard_normal(4000).astype(np.float32) * 0.1
    soundfile.write(folder / "clip.wav", clip, 16000, subtype="FLOAT")
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]
    monkeypatch.chdir(folder)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    return printed.getvalue().strip()


def transcript(loaded, folder) -> str:
    model = Model(loaded.path, loaded.description, loaded.params)
    return model.transcribe(str(folder / "clip.wav"))[0].text


def check_stablehlo(loaded, folder, lengths):
    from safetensors.numpy import load_file

    stablehlo.save(loaded, folder)
    program = jax.export.deserialize(bytearray((folder / stablehlo.PROGRAM).read_bytes()))
    weights = load_file(folder / stablehlo.WEIGHTS)
    call = jax.jit(program.call)
    for samples in lengths:
        assert difference(loaded, lambda w, n: call(weights, w, n), samples) < DIFFERENCE


@pytest.mark.slow
def test_one_stablehlo_program_gives_our_logits_at_any_length(tiny, tmp_path):
    check_stablehlo(checkpoint(tiny, "group_post"), tmp_path / "out", LENGTHS)
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {
        "model.stablehlo", "weights.safetensors", "vocabulary.json", "input.json", "README.md",
    }  # fmt: skip
    symbols = json.loads((tmp_path / "out" / "vocabulary.json").read_text())["symbols"]
    assert tuple(symbols) == VOCABULARY.symbols


@pytest.mark.slow
@pytest.mark.parametrize("family", list(FAMILIES)[1:])
def test_stablehlo_gives_our_logits_for_every_kind_of_network(tiny, tmp_path, family):
    check_stablehlo(checkpoint(tiny, family), tmp_path / "out", LENGTHS[1:])


@pytest.mark.slow
def test_the_stablehlo_readme_prints_our_transcript(tiny, tmp_path, monkeypatch):
    loaded = checkpoint(tiny, "layer_pre_adapters")
    stablehlo.save(loaded, tmp_path)
    assert run_readme(tmp_path, monkeypatch) == transcript(loaded, tmp_path) != ""


@pytest.mark.slow
@pytest.mark.parametrize("family", ["group_post", "layer_pre_adapters"])
def test_a_saved_model_gives_our_logits_in_tensorflow(
    tiny, tmp_path, family, monkeypatch, record_property
):
    import tensorflow as tf

    loaded = checkpoint(tiny, family)
    saved_model.save(loaded, tmp_path)
    model = tf.saved_model.load(str(tmp_path))
    for samples in LENGTHS:
        found = difference(loaded, model, samples)
        record_property(f"difference at {samples} samples", found)
        assert found < DIFFERENCE
    waveforms, num_samples = batch(LENGTHS[0])
    named = model.signatures["serving_default"](
        waveforms=tf.constant(waveforms), num_samples=tf.constant(num_samples)
    )
    np.testing.assert_array_equal(named["logits"], model(waveforms, num_samples)[0])
    assert run_readme(tmp_path, monkeypatch) == transcript(loaded, tmp_path)


@pytest.mark.deploy
@pytest.mark.parametrize("family", FAMILIES)
def test_onnxruntime_gives_our_logits_at_any_length(tiny, tmp_path, family, record_property):
    onnxruntime = pytest.importorskip("onnxruntime")
    loaded = checkpoint(tiny, family)
    onnx_file.save(loaded, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / onnx_file.MODEL)

    def call(waveforms, num_samples):
        return session.run(None, {"waveforms": waveforms, "num_samples": num_samples})

    for samples in LENGTHS:
        found = difference(loaded, call, samples)
        record_property(f"difference at {samples} samples", found)
        assert found < DIFFERENCE


@pytest.mark.deploy
def test_eight_bit_weights_are_smaller_and_near(tiny, tmp_path, record_property):
    onnxruntime = pytest.importorskip("onnxruntime")
    wide = dataclasses.replace(tiny, d_model=64, ffn_dim=256, num_heads=4)
    loaded = checkpoint(wide, "layer_pre_adapters")
    onnx_file.save(loaded, tmp_path / "float")
    onnx_file.save(loaded, tmp_path / "int8", int8=True)
    sizes = [(tmp_path / kind / onnx_file.MODEL).stat().st_size for kind in ("float", "int8")]
    record_property("bytes", sizes)
    assert sizes[1] < 0.5 * sizes[0]
    session = onnxruntime.InferenceSession(tmp_path / "int8" / onnx_file.MODEL)

    def call(waveforms, num_samples):
        return session.run(None, {"waveforms": waveforms, "num_samples": num_samples})

    found = difference(loaded, call, LENGTHS[1])
    record_property("difference", found)
    assert DIFFERENCE < found < 0.1  # it is quantised, and logits are of size 5


@pytest.mark.deploy
def test_weights_of_large_models_lie_in_a_second_file(tiny, tmp_path, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnx_file, "INLINE_BYTES", 10_000)
    onnx_file.save(checkpoint(tiny, "group_post"), tmp_path)
    assert (tmp_path / onnx_file.WEIGHTS).stat().st_size > 10_000
    session = onnxruntime.InferenceSession(tmp_path / onnx_file.MODEL)
    assert [x.name for x in session.get_outputs()] == ["logits", "frames"]


@pytest.mark.deploy
def test_the_onnx_readme_prints_our_transcript(tiny, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    loaded = checkpoint(tiny, "group_post")
    onnx_file.save(loaded, tmp_path)
    assert run_readme(tmp_path, monkeypatch) == transcript(loaded, tmp_path) != ""


@pytest.mark.parametrize("save", [onnx_file.save, stablehlo.save, saved_model.save])
def test_a_pretraining_checkpoint_is_refused_and_nothing_written(tiny, tmp_path, save):
    with pytest.raises(InputError, match="needs a CTC head"):
        save(random_checkpoint(tiny, parts=ENCODER), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "stablehlo", "--int8"], "--int8 goes with --to onnx"),
        (["--to", "onnx"], "pip install onnx"),
        (
            ["--to", "tflite"],
            "use one of hf, fairseq, fairseq2, torchaudio, safetensors, onnx",
        ),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_status_2(
    tiny, tmp_path, capsys, monkeypatch, arguments, message
):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    native.write_initial(tmp_path / "native", checkpoint(tiny, "group_post"))
    out = ["--checkpoint", str(tmp_path / "native"), "--out", str(tmp_path / "out")]
    assert run_command(export.main, [*arguments, *out]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_shortest_input_is_25_ms_in_the_released_families():
    from w2v2_jax.models.config import ModelConfig

    assert deployment.shortest_input(ModelConfig()) == 400


HEADS = {
    "classify": (Classification, {}, "class_logits"),
    "classify_sum": (Classification, LAYER_NORM | dict(layer_sum=True), "class_logits"),
    "frames": (FrameClassification, LAYER_NORM, "frame_logits"),
    "xvector": (XVector, dict(tdnn_layers=((10, 5, 1), (10, 3, 2), (12, 1, 1))), "embeddings"),
}


def headed(tiny, name):
    """A classifier or x-vector model with random parameters of moderate size."""
    objective, changes, _ = HEADS[name]
    model = dataclasses.replace(tiny, **changes)
    made = random_checkpoint(
        model,
        parts=objective.parts,
        vocabulary=Classes(("no", "stop it", "yes")),
        normalise=model.extractor_norm == "layer",
        objective=objective.name,
    )
    return made._replace(params=jax.tree.map(lambda x: 0.3 * x if x.ndim > 1 else x, made.params))


@pytest.mark.deploy
@pytest.mark.parametrize("name", HEADS)
def test_onnxruntime_gives_the_outputs_of_classifiers_and_x_vectors(
    tiny, tmp_path, name, monkeypatch, record_property
):
    onnxruntime = pytest.importorskip("onnxruntime")
    loaded, method = headed(tiny, name), HEADS[name][2]
    onnx_file.save(loaded, tmp_path / "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / onnx_file.MODEL)
    model = Model(loaded.path, loaded.description, loaded.params)
    for samples in LENGTHS:
        waveforms, num_samples = batch(samples)
        results = session.run(None, {"waveforms": waveforms, "num_samples": num_samples})
        expected = getattr(model, method)(waveforms, num_samples)
        assert results[0].shape == expected.shape
        counts = [model.num_frames(n) for n in num_samples.tolist()]
        if name == "frames":
            assert results[1].tolist() == counts
        for row, count in enumerate(counts):
            real = slice(None, count) if name == "frames" else slice(None)
            difference = float(np.abs(results[0][row][real] - expected[row][real]).max())
            record_property(f"difference at {samples} samples, row {row}", difference)
            assert difference < 1e-4
    printed = run_readme(tmp_path / "onnx", monkeypatch)
    if name.startswith("classify"):
        assert printed == model.classify("clip.wav")[0].label
        names = json.loads((tmp_path / "onnx" / "classes.json").read_text())["classes"]
        assert tuple(names) == loaded.description.vocabulary.symbols
    else:
        assert printed.startswith("[") and not printed.startswith("[]")


@pytest.mark.parametrize("save", [stablehlo.save, saved_model.save])
def test_other_forms_of_a_classifier_are_refused_and_nothing_written(tiny, tmp_path, save):
    with pytest.raises(InputError, match=r"has no CTC head.*export --to onnx, hf or safetensors"):
        save(headed(tiny, "classify"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_program_that_an_earlier_jax_wrote_still_gives_its_logits():
    stored = dict(np.load(GOLDEN / "stablehlo.npz"))
    weights = {k.removeprefix("weight/"): x for k, x in stored.items() if k.startswith("weight/")}
    program = jax.export.deserialize(bytearray(stored["program"].tobytes()))
    call = jax.jit(program.call)
    logits, frames = call(weights, stored["waveforms"], stored["num_samples"])
    assert frames.tolist() == stored["frames"].tolist()
    for row, count in enumerate(stored["frames"]):
        expected = stored["logits"][row, :count]
        np.testing.assert_allclose(logits[row, :count], expected, rtol=1e-4, atol=1e-4)
    assert str(stored["made"]).startswith("2026-11-29, jax 0.10.2"), "made anew: say why"
