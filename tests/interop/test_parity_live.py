"""Exported directories load in transformers' Auto classes and give our outputs (needs torch)."""

import dataclasses
import re

import jax
import numpy as np
import pytest

import w2v2_jax
from tests.helpers.interop_cases import LAYER_NORM, PRETRAINING, random_checkpoint
from w2v2_jax.decode.greedy import GreedyDecoder
from w2v2_jax.interop import hugging_face, tokenizer
from w2v2_jax.objectives.classes import Classes
from w2v2_jax.objectives.classification import Classification
from w2v2_jax.vocabulary import LIBRISPEECH

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]

FAMILIES = {
    "group_post": {},
    "layer_pre": LAYER_NORM,
    "group_pre": dict(norm_order="pre"),
    "group_post_bias": dict(conv_bias=True),
    "group_pre_bias": dict(norm_order="pre", conv_bias=True),
    "layer_pre_without_bias": dict(extractor_norm="layer", norm_order="pre"),
    "layer_post_bias": dict(extractor_norm="layer", conv_bias=True),
    "as_wide_as_its_convolutions": dict(d_model=8, always_project_features=True),
    "as_wide_without_a_projection": dict(d_model=8),
    "layer_post_three_codebooks": dict(
        extractor_norm="layer", codebooks=3, code_dim=12, mask_start_prob=0.0
    ),
}
TUNED = ("encoder", "head")


def export(folder, model, *, parts, vocabulary=None, legacy=False):
    """Random parameters of moderate size, saved for Hugging Face."""
    made = random_checkpoint(model, parts=parts, vocabulary=vocabulary, normalise=True)
    params = jax.tree.map(lambda x: 0.3 * x if x.ndim > 1 else x, made.params)
    hugging_face.save(made._replace(params=params), folder, legacy_weight_norm=legacy)


def load_strictly(auto, folder):
    """The model in evaluation mode; no tensor of the file is missing, left over or of odd shape."""
    model, report = auto.from_pretrained(folder, output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[problem], (problem, report[problem])
    return model.eval()


def waveform(seed=0, samples=1237) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def without_specials(text: str) -> str:
    return re.sub("<s>|</s>|<unk>", "", text)


def difference(ours, theirs) -> float:
    return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("legacy", [False, True], ids=["parametrizations", "weight_g"])
@pytest.mark.parametrize("family", FAMILIES)
def test_exported_ctc_model_gives_our_logits(tiny, tmp_path, family, legacy, record_property):
    model = dataclasses.replace(tiny, **FAMILIES[family])
    export(tmp_path, model, parts=TUNED, vocabulary=LIBRISPEECH, legacy=legacy)
    theirs = load_strictly(transformers.AutoModelForCTC, tmp_path)
    processor = transformers.AutoProcessor.from_pretrained(tmp_path)
    ours = w2v2_jax.load(tmp_path)
    inputs = processor(waveform(), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        expected = theirs(**inputs).logits.numpy()
    found = ours.logits(waveform())
    record_property("difference", difference(found, expected))
    assert difference(found, expected) < 1e-4
    symbols = ours.description.vocabulary.symbols
    text = without_specials(processor.batch_decode(expected.argmax(-1))[0])
    assert text.replace(" ", "") == collapse(found[0].argmax(-1), symbols).replace("|", "")


VARIANTS = {
    "data2vec": dict(extractor_norm="layer", position_depth=3, position_kernel=5),
    "data2vec_even": dict(extractor_norm="layer", position_depth=2, position_kernel=4),
    "adapter": dict(**LAYER_NORM, output_adapter_layers=3),
    "wide_adapter": dict(
        output_adapter_layers=1, output_dim=12, output_adapter_kernel=5, output_adapter_stride=3
    ),
    "data2vec_adapter": dict(extractor_norm="layer", position_depth=2, output_adapter_layers=1),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_data2vec_and_adapters_after_the_transformer_give_our_logits(
    tiny, tmp_path, name, record_property
):
    export(
        tmp_path, dataclasses.replace(tiny, **VARIANTS[name]), parts=TUNED, vocabulary=LIBRISPEECH
    )
    theirs = load_strictly(transformers.AutoModelForCTC, tmp_path)
    assert type(theirs).__name__.startswith("Data2Vec" if "data2vec" in name else "Wav2Vec2")
    processor = transformers.AutoProcessor.from_pretrained(tmp_path)
    ours = w2v2_jax.load(tmp_path)
    for samples in (1237, 403):
        inputs = processor(waveform(0, samples), sampling_rate=16000, return_tensors="pt")
        with torch.no_grad():
            expected = theirs(**inputs).logits.numpy()
        found = ours.logits(waveform(0, samples))
        record_property(f"difference of {samples} samples", difference(found, expected))
        assert found.shape == expected.shape and difference(found, expected) < 1e-4


def test_the_bare_data2vec_model_and_its_classifier_give_our_outputs(tiny, tmp_path):
    model = dataclasses.replace(tiny, **VARIANTS["data2vec"])
    export(tmp_path / "bare", model, parts=("encoder",))
    theirs = load_strictly(transformers.AutoModel, tmp_path / "bare")
    assert type(theirs).__name__ == "Data2VecAudioModel"
    ours, audio = w2v2_jax.load(tmp_path / "bare"), waveform()[None]
    scaled = (audio - audio.mean()) / np.sqrt(audio.var() + 1e-7)
    with torch.no_grad():
        expected = theirs(torch.tensor(scaled)).last_hidden_state.numpy()
    assert difference(ours.features(audio), expected) < 1e-4
    made = random_checkpoint(
        dataclasses.replace(model, layer_sum=True), parts=Classification.parts,
        vocabulary=Classes(("no", "yes")), objective="classify",
    )  # fmt: skip
    hugging_face.save(made, tmp_path / "classes")
    theirs = load_strictly(transformers.AutoModelForAudioClassification, tmp_path / "classes")
    with torch.no_grad():
        expected = theirs(torch.tensor(audio)).logits.numpy()
    found = w2v2_jax.load(tmp_path / "classes").class_logits(audio)
    assert difference(found, expected) < 1e-4


def collapse(ids, symbols) -> str:
    """Greedy CTC: repeats and special rows go."""
    kept = [i for i, before in zip(ids, [-1, *ids[:-1]], strict=True) if i != before and i > 3]
    return "".join(symbols[i] for i in kept)


def test_processor_tokenises_texts_as_our_vocabulary_but_for_the_final_boundary(tiny, tmp_path):
    export(tmp_path, tiny, parts=TUNED, vocabulary=LIBRISPEECH)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("HELLO WORLD").input_ids
    assert ids == LIBRISPEECH.encode("hello world").tolist()[:-1]  # docs/traps.md#t44
    assert tokenizer.decode(ids) == "HELO WORLD"  # it collapses repeats, as CTC does
    assert tokenizer.pad_token_id == 0


def test_a_padded_batch_of_a_layer_norm_model_gives_our_logits(tiny, tmp_path):
    model = dataclasses.replace(tiny, **LAYER_NORM)
    export(tmp_path, model, parts=TUNED, vocabulary=LIBRISPEECH)
    theirs = load_strictly(transformers.AutoModelForCTC, tmp_path)
    processor = transformers.AutoProcessor.from_pretrained(tmp_path)
    rows = [waveform(0, 1237), waveform(1, 801)]
    inputs = processor(rows, sampling_rate=16000, return_tensors="pt", padding=True)
    assert "attention_mask" in inputs
    with torch.no_grad():
        expected = theirs(**inputs).logits.numpy()
    padded = np.zeros((2, 1237), np.float32)
    padded[0], padded[1, :801] = rows
    found = w2v2_jax.load(tmp_path).logits(padded, [1237, 801])
    for row, samples in enumerate((1237, 801)):
        frames = int(theirs._get_feat_extract_output_lengths(samples))
        assert difference(found[row, :frames], expected[row, :frames]) < 1e-4


@pytest.mark.parametrize("rms", [0.3, 0.03, 0.003, 0.0003])
def test_quiet_recordings_alone_and_padded_are_normalised_as_by_their_feature_extractor(
    tiny, tmp_path, rms, record_property
):
    model = dataclasses.replace(tiny, **LAYER_NORM)
    export(tmp_path, model, parts=TUNED, vocabulary=LIBRISPEECH)
    theirs = load_strictly(transformers.AutoModelForCTC, tmp_path)
    processor = transformers.AutoProcessor.from_pretrained(tmp_path)
    ours, lengths = w2v2_jax.load(tmp_path), (4000, 2801)
    rows = [rms * waveform(seed, n) + 0.05 for seed, n in enumerate(lengths)]
    inputs = processor(rows, sampling_rate=16000, return_tensors="pt", padding=True)
    with torch.no_grad():
        expected = theirs(**inputs).logits.numpy()
    padded = np.stack([np.pad(row, (0, lengths[0] - len(row))) for row in rows])
    batch = ours.logits(padded, lengths)
    for row, samples in enumerate(lengths):
        frames = int(theirs._get_feat_extract_output_lengths(samples))
        for found in (batch[row], ours.logits(rows[row])[0]):
            apart = difference(found[:frames], expected[row, :frames])
            record_property(f"difference of {samples} samples", apart)
            assert apart < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_exported_pretraining_model_gives_our_context_and_units(tiny, tmp_path, family):
    model = dataclasses.replace(tiny, **FAMILIES[family])
    export(tmp_path, model, parts=PRETRAINING)
    theirs = load_strictly(transformers.AutoModelForPreTraining, tmp_path)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    inputs = extractor(waveform(), sampling_rate=16000, return_tensors="pt")
    ours = w2v2_jax.load(tmp_path)
    with torch.no_grad():
        encoded = theirs.wav2vec2(**inputs)
        logits = theirs.quantizer.weight_proj(encoded.extract_features)
    assert difference(ours.features(waveform()), encoded.last_hidden_state.numpy()) < 1e-4
    units = logits.reshape(1, -1, model.codebooks, model.entries).argmax(-1).numpy()
    np.testing.assert_array_equal(ours.units(waveform()), units)


def test_exported_encoder_loads_as_the_bare_model(tiny, tmp_path):
    export(tmp_path, tiny, parts=("encoder",))
    theirs = load_strictly(transformers.AutoModel, tmp_path)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    inputs = extractor(waveform(), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        expected = theirs(**inputs).last_hidden_state.numpy()
    assert difference(w2v2_jax.load(tmp_path).features(waveform()), expected) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_what_transformers_saves_is_read_and_written_back_bit_exact(tiny, tmp_path, family):
    """Their fresh model -> save_pretrained -> ours -> their loader: the same tensors."""
    model = dataclasses.replace(tiny, **FAMILIES[family])
    export(tmp_path / "a", model, parts=TUNED, vocabulary=LIBRISPEECH)
    config = transformers.AutoConfig.from_pretrained(tmp_path / "a")
    config.mask_time_prob = 0.5
    fresh = transformers.Wav2Vec2ForCTC(config)
    fresh.save_pretrained(tmp_path / "b")
    transformers.AutoProcessor.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    found = hugging_face.read(tmp_path / "b")
    assert not found.left and not found.notes
    hugging_face.save(found.loaded, tmp_path / "c")
    again = load_strictly(transformers.AutoModelForCTC, tmp_path / "c").state_dict()
    assert again.keys() == fresh.state_dict().keys()
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, again[name]), name


def test_texts_of_transformers_are_ours_once_special_symbols_are_removed_from_them(tmp_path):
    """Its default writes them, and no file can say otherwise; skip_special_tokens drops the blank
    before repeats are merged, as docs/exporting.md warns."""
    tokenizer.write(tmp_path, LIBRISPEECH)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    bos, eos, unknown = 1, 2, 3  # rows, which both sides have; 0 is the blank
    h, e, el, o, space = (LIBRISPEECH.symbols.index(s) for s in "HELO|")
    rows = [bos, h, e, e, unknown, el, 0, el, o, space, h, o, eos]
    assert theirs.decode(rows) == "<s>HE<unk>LLO HO</s>"
    assert without_specials(theirs.decode(rows)) == "HELLO HO"
    assert theirs.decode(rows, skip_special_tokens=True) == "HELO HO"
    logits = np.full((1, len(rows), len(LIBRISPEECH)), -9.0, np.float32)
    logits[0, np.arange(len(rows)), rows] = 9.0
    assert GreedyDecoder(LIBRISPEECH.symbols)(logits[0])[0].text == "HELLO HO"
