"""Exported files load in fairseq's, torchaudio's and transformers' code and give our outputs."""

import argparse
import collections
import dataclasses

import jax
import numpy as np
import pytest

import w2v2_jax
from tests.helpers.interop_cases import LAYER_NORM, PRETRAINING, assert_same, random_checkpoint
from w2v2_jax import convert
from w2v2_jax.export import command as export
from w2v2_jax.inference import Model
from w2v2_jax.interop import fairseq as ours_fairseq
from w2v2_jax.interop import hugging_face, native, torchaudio_file
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.vocabulary import LIBRISPEECH

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]

FAMILIES = {
    "group_post": {},
    "layer_pre": LAYER_NORM,
    "group_pre_bias": dict(norm_order="pre", conv_bias=True),
    "three_codebooks": dict(extractor_norm="layer", codebooks=3, code_dim=12, position_kernel=7),
    "stacked_positions": dict(extractor_norm="layer", position_depth=3, position_kernel=5),
    "even_stacked_positions": dict(**LAYER_NORM, position_depth=2, position_kernel=4),
    "square": dict(d_model=8),
    "square_projected": dict(d_model=8, always_project_features=True),
}
FAIRSEQS = [name for name in FAMILIES if name != "square_projected"]  # the others have no "square"
TUNED = ("encoder", "head")


def checkpoint(tiny: ModelConfig, family: str, parts, *, normalise=False):
    """Random parameters of moderate size."""
    model = dataclasses.replace(tiny, **FAMILIES[family])
    vocabulary = LIBRISPEECH if parts == TUNED else None
    made = random_checkpoint(model, parts=parts, vocabulary=vocabulary, normalise=normalise)
    return made._replace(params=jax.tree.map(lambda x: 0.3 * x if x.ndim > 1 else x, made.params))


def waveform(samples=1237) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, samples)).astype(np.float32)


def difference(ours, theirs) -> float:
    theirs = theirs.numpy()
    return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())


def model_of(made, path):
    return Model(path, made.description, made.params)


@pytest.mark.parametrize("family", FAIRSEQS)
def test_exported_ctc_model_loads_in_fairseq_with_no_key_left_over(
    tiny, tmp_path, checkpoint_utils, family
):
    made = checkpoint(tiny, family, TUNED)
    ours_fairseq.save(made, tmp_path / "a.pt")
    (theirs,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(tmp_path / "a.pt")])
    assert task.target_dictionary.symbols == list(LIBRISPEECH.symbols)
    stored = torch.load(tmp_path / "a.pt", weights_only=False)["model"]
    assert stored.keys() == theirs.state_dict().keys()
    with torch.no_grad():
        source = torch.from_numpy(waveform())
        out = theirs.eval()(source=source, padding_mask=None)["encoder_out"].transpose(0, 1)
    assert difference(model_of(made, tmp_path).logits(waveform()), out) < 1e-4


@pytest.mark.parametrize("family", FAIRSEQS)
def test_exported_pretraining_model_loads_in_fairseq_with_no_key_left_over(
    tiny, tmp_path, checkpoint_utils, family
):
    made = checkpoint(tiny, family, PRETRAINING)
    ours_fairseq.save(made, tmp_path / "a.pt")
    (theirs,), _, _ = checkpoint_utils.load_model_ensemble_and_task([str(tmp_path / "a.pt")])
    stored = torch.load(tmp_path / "a.pt", weights_only=True)["model"]
    assert stored.keys() == theirs.state_dict().keys()
    theirs.eval()
    with torch.no_grad():
        out = theirs.extract_features(torch.from_numpy(waveform()), None)["x"]
        _, ids = theirs.quantize(torch.from_numpy(waveform()))
    ours = model_of(made, tmp_path)
    assert difference(ours.features(waveform()), out) < 1e-4
    np.testing.assert_array_equal(ours.units(waveform()), ids.numpy())


def test_exported_pretraining_model_starts_fairseqs_fine_tuning(tiny, tmp_path, checkpoint_utils):
    from omegaconf import OmegaConf

    made = checkpoint(tiny, "layer_pre", PRETRAINING, normalise=True)
    tuned = checkpoint(tiny, "layer_pre", TUNED, normalise=True)
    ours_fairseq.save(made, tmp_path / "start.pt")
    ours_fairseq.save(tuned, tmp_path / "tuned.pt")
    _, cfg, task = checkpoint_utils.load_model_ensemble_and_task([str(tmp_path / "tuned.pt")])
    settings = OmegaConf.to_container(cfg.model) | {"w2v_args": None}
    settings["w2v_path"] = str(tmp_path / "start.pt")
    theirs = task.build_model(OmegaConf.create({"model": settings}).model, from_checkpoint=True)
    weight = theirs.w2v_encoder.w2v_model.encoder.layers[1].fc1.weight.detach().numpy()
    kernel = made.params["encoder"]["transformer"]["layers"]["feed_forward_in"]["kernel"]
    np.testing.assert_array_equal(weight, kernel[1].T)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("style", ["cfg", "args"])
def test_what_torch_saves_of_a_fairseq_state_is_read_bit_exact(tiny, tmp_path, zipped, style):
    made = checkpoint(tiny, "group_post", PRETRAINING)
    ours_fairseq.save(made, tmp_path / "a.pt")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    state["model"] = collections.OrderedDict(state["model"])
    if style == "args":
        cfg = state.pop("cfg")
        state["args"] = argparse.Namespace(arch="wav2vec2", **cfg["model"], normalize=False)
    path = tmp_path / "b.pt"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    found = ours_fairseq.read(path)
    assert not found.left
    assert_same(found.loaded.params, made.params)


@pytest.mark.parametrize("legacy", [False, True], ids=["parametrizations", "weight_g"])
@pytest.mark.parametrize("family", [n for n in FAMILIES if n != "square" and "stack" not in n])
def test_exported_model_gives_the_same_logits_in_torchaudio(
    tiny, tmp_path, torchaudio_model, family, legacy
):
    made = checkpoint(tiny, family, TUNED)
    torchaudio_file.save(made, tmp_path / "a.pt", legacy_weight_norm=legacy)
    theirs = torchaudio_model.wav2vec2_model(**torchaudio_file.arguments(made.description)).eval()
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    new = any("parametrizations" in name for name in theirs.state_dict())
    if new is legacy:  # the other spelling of the weight norm than this torchaudio's
        names = torchaudio_file.LEGACY_WEIGHT_NORM
        names = {old: n for n, old in names.items()} if legacy else names
        state = {names.get(name, name): x for name, x in state.items()}
    theirs.load_state_dict(state, strict=True)
    with torch.no_grad():
        out, _ = theirs(torch.from_numpy(waveform()))
    assert difference(model_of(made, tmp_path).logits(waveform()), out) < 1e-4
    torch.save(theirs.state_dict(), tmp_path / "b.pt")
    hints = torchaudio_file.FileHints(
        norm_order=made.description.model.norm_order, num_heads=2, strides=(5, 2, 2),
        normalise=False,
    )  # fmt: skip
    found = torchaudio_file.read(tmp_path / "b.pt", hints).loaded
    mask = made.params["encoder"]["mask_embedding"]
    found.params["encoder"]["mask_embedding"] = mask  # it has none
    assert_same(found.params, made.params)


def test_the_speech_recognition_pipeline_gives_our_transcripts(tiny, tmp_path):
    transformers = pytest.importorskip("transformers")
    made = checkpoint(tiny, "layer_pre", TUNED, normalise=True)
    # Biases would make a random network say one letter for ever.
    for layer in (made.params["head"], made.params["encoder"]["transformer"]["norm"]):
        layer["bias"] = np.zeros_like(layer["bias"])
    hugging_face.save(made, tmp_path / "hf")
    recognise = transformers.pipeline("automatic-speech-recognition", str(tmp_path / "hf"))
    ours = w2v2_jax.load(tmp_path / "hf")
    texts = set()
    for samples in (1601, 3203, 8007):
        audio = waveform(samples)[0] / 8  # within full scale
        text = recognise(audio.copy())["text"]
        assert text.strip() == ours.transcribe([audio])[0].text
        texts.add(text)
    assert all(texts)


@pytest.mark.parametrize("target", ["hf", "fairseq", "torchaudio"])
def test_verify_prints_the_difference_to_the_other_framework(
    tiny, tmp_path, target, capsys, request
):
    if target != "hf":
        request.getfixturevalue("checkpoint_utils" if target == "fairseq" else "torchaudio_model")
    made = checkpoint(tiny, "layer_pre", TUNED)
    native.write_initial(tmp_path / "native", made)
    there, back = str(tmp_path / "there"), str(tmp_path / "back")
    export.main(
        ["--checkpoint", str(tmp_path / "native"), "--to", target, "--out", there, "--verify"]
    )
    convert.main(["--from", target, "--input", there, "--out", back, "--verify"])
    printed = capsys.readouterr().out
    assert printed.count(f"verified: CTC logits of {target}") == 2
