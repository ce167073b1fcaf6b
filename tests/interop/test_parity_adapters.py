"""An MMS network of transformers and ours give the same logits, language by language (torch)."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import w2v2_jax
from tests.helpers.interop_cases import LAYER_NORM, VOCABULARY, random_checkpoint
from w2v2_jax.interop import adapters, hugging_face

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def mms(tmp_path_factory) -> Path:
    from tests.golden import make_adapters

    folder = tmp_path_factory.mktemp("mms")
    make_adapters.directory(folder)
    return folder


@pytest.mark.parametrize("language", ["eng", "fra"])
@pytest.mark.parametrize("samples", [403, 1301])
def test_adapters_of_a_language_give_the_logits_of_transformers(
    mms, language, samples, record_property
):
    waveform = np.random.default_rng(samples).standard_normal(samples).astype(np.float32)
    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(
        mms, target_lang=language, ignore_mismatched_sizes=True, attn_implementation="eager"
    ).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(mms)
    with torch.no_grad():
        inputs = extractor(waveform, sampling_rate=16000, return_tensors="pt")
        expected = theirs(**inputs).logits.numpy()
    found = w2v2_jax.load(mms, language=language).logits(waveform)
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    record_property("difference", difference)
    assert difference < 1e-4


def test_a_language_exported_for_transformers_gives_its_logits_there(mms, tmp_path):
    from w2v2_jax import convert
    from w2v2_jax.export import command as export

    native, out = str(tmp_path / "native"), str(tmp_path / "out")
    convert.main(["--from", "hf", "--input", str(mms), "--out", native, "--language", "fra"])
    export.main(["--checkpoint", native, "--to", "hf", "--out", out])
    model, report = transformers.AutoModelForCTC.from_pretrained(out, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    waveform = np.random.default_rng(0).standard_normal(999).astype(np.float32)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(out)
    with torch.no_grad():
        inputs = extractor(waveform, sampling_rate=16000, return_tensors="pt")
        expected = model.eval()(**inputs).logits.numpy()
    found = w2v2_jax.load(native).logits(waveform)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_an_adapter_that_is_written_here_is_loaded_by_its_language(tiny, tmp_path):
    model = dataclasses.replace(tiny, **LAYER_NORM, adapter_dim=4)
    made = random_checkpoint(model, parts=("encoder", "head"), vocabulary=VOCABULARY)
    hugging_face.save(made, tmp_path)
    adapters.write(made, tmp_path, "fra")
    whole = load_file(tmp_path / "model.safetensors")
    own = load_file(tmp_path / "adapter.fra.safetensors")
    save_file(
        {n: 0 * x if n in own else x for n, x in whole.items()}, tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )  # fmt: skip
    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(
        tmp_path, target_lang="fra", ignore_mismatched_sizes=True, attn_implementation="eager"
    ).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path, target_lang="fra")
    assert tokenizer("AB").input_ids == VOCABULARY.encode("AB").tolist()[:-1]
    waveform = np.random.default_rng(0).standard_normal((1, 1301)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.tensor(waveform)).logits.numpy()
    found = w2v2_jax.load(tmp_path, language="fra").logits(waveform)
    assert float(np.abs(found - expected).max() / np.abs(expected).max()) < 1e-4
