"""Released checkpoints, fetched from the Hugging Face hub: `bash launch/test.sh hub`.

Without a hub, or the packages that the suite installs, everything here skips with one line. The
sentences are those that transformers' own integration tests expect of these models
(tests/models/wav2vec2/test_modeling_wav2vec2.py, commit 01080c62), spelled in upper case.
"""

import io
from pathlib import Path

import numpy as np
import pytest

import w2v2_jax
from tests.helpers.parity_cases import difference
from w2v2_jax.interop import hub, hugging_face

pytestmark = [pytest.mark.hub, pytest.mark.filterwarnings("default")]
SPEECH = "hf-internal-testing/librispeech_asr_dummy"
FIRST = "A MAN SAID TO THE UNIVERSE SIR I EXIST"
TUNED = {
    "facebook/wav2vec2-base-960h": {"1272-141231-0000": FIRST},
    "facebook/wav2vec2-large-960h-lv60-self": {
        "1272-141231-0000": FIRST,
        "1272-141231-0001": "SWEAT COVERED BRION'S BODY TRICKLING INTO THE TIGHT LOIN CLOTH "
        "THAT WAS THE ONLY GARMENT HE WORE",
        "1272-141231-0003": "HIS INSTANT PANIC WAS FOLLOWED BY A SMALL SHARP BLOW HIGH ON "
        "HIS CHEST",
    },
}
ENCODERS = (
    "facebook/wav2vec2-base",
    "facebook/data2vec-audio-base",
    "facebook/wav2vec2-xls-r-300m",
)


@pytest.fixture(scope="module", autouse=True)
def reachable():
    """Skips the module where there is no hub."""
    packages = pytest.importorskip("huggingface_hub")
    try:
        packages.HfApi().model_info("facebook/wav2vec2-base", timeout=10)
    except Exception as error:
        pytest.skip(f"no hub can be reached here: {type(error).__name__}")


@pytest.fixture(scope="module")
def speech() -> dict[str, np.ndarray]:
    """Utterances of LibriSpeech's dev-clean by their names, 16 kHz."""
    import huggingface_hub
    import soundfile

    tables = pytest.importorskip("pyarrow.parquet")
    files = huggingface_hub.list_repo_files(SPEECH, repo_type="dataset")
    file = next(name for name in files if name.endswith(".parquet") and "clean" in name)
    path = huggingface_hub.hf_hub_download(SPEECH, file, repo_type="dataset")
    rows = tables.read_table(path, columns=["id", "audio"]).to_pylist()
    return {row["id"]: soundfile.read(io.BytesIO(row["audio"]["bytes"]))[0] for row in rows}


@pytest.mark.parametrize("name", TUNED)
def test_a_released_model_writes_the_sentences_that_transformers_expects(speech, name):
    model = w2v2_jax.load(hub.folder(name))
    for utterance, sentence in TUNED[name].items():
        (result,) = model.transcribe([speech[utterance].astype(np.float32)])
        assert result.text.upper() == sentence


@pytest.mark.parametrize("name", [*TUNED, *ENCODERS])
def test_a_released_model_gives_the_context_of_transformers_and_no_tensor_is_left_over(name):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = hub.folder(name)
    # The mask embedding's and the weight norm's other spellings are all taken over.
    imported = hugging_face.read(folder)
    assert imported.left == []
    model = w2v2_jax.load(folder)
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    waveform = np.random.default_rng(0).standard_normal(24_000).astype(np.float32) / 10
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    inputs = extractor(waveform, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        expected = theirs(inputs.input_values).last_hidden_state.numpy()
    assert difference(model.features(waveform[None]), expected) < 1e-4


def test_a_name_of_the_hub_is_fetched_as_a_folder():
    folder = Path(hub.folder("facebook/wav2vec2-base"))
    assert (folder / "config.json").is_file()
