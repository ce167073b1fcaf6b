"""From raw audio to logits as with transformers' feature extractor, stored; and its settings."""

import dataclasses
import json

import numpy as np
import pytest

from tests.helpers.interop_cases import LAYER_NORM, VOCABULARY, edit, random_checkpoint
from tests.helpers.parity_cases import TUNED, HuggingFaceCase, difference
from tests.helpers.places import GOLDEN
from tests.helpers.recipes import RECIPES, smoke
from w2v2_jax.checkpoint.description import Description, describe
from w2v2_jax.errors import InputError
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.export.deployment import input_settings
from w2v2_jax.input_scale import EPSILON, HUGGING_FACE_EPSILON
from w2v2_jax.interop import files, hugging_face, hugging_face_input, lora
from w2v2_jax.models.families import model_config
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.recognition.network import Network

STORED = dict(np.load(GOLDEN / "preprocessing.npz"))
NETWORKS = {"layer_pre": 1e-4, "group_post": 1e-4}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    case = HuggingFaceCase(request.param)
    description = Description("ctc", case.model, VOCABULARY, True, HUGGING_FACE_EPSILON)
    return request.param, Network("stored", description, case.parameters(TUNED))


def worst(name, model, number) -> float:
    """Over both rows of a padded batch, of real frames."""
    rms, offset = STORED["cases"][number]
    waveforms = (rms * STORED["noise"] + offset).astype(np.float32)
    ours, theirs = model.logits(waveforms, STORED["lengths"]), STORED[name][number]
    counts = frame_counts(STORED["lengths"], model.description.model.conv_layers)
    return max(difference(ours[r, :n], theirs[r, :n]) for r, n in enumerate(counts))


@pytest.mark.parametrize(
    "number", range(len(STORED["cases"])), ids=lambda n: f"{STORED['cases'][n]}"
)
def test_logits_of_quiet_offset_and_padded_audio_are_those_stored_of_transformers(network, number):
    name, model = network
    assert worst(name, model, number) < NETWORKS[name]


def test_the_stored_logits_of_quiet_audio_tell_the_two_epsilons_apart(network):
    name, model = network
    description = model.description._replace(normalise_epsilon=EPSILON)
    other = Network("stored", description, model.params)
    quiet = int(np.argmin(STORED["cases"][:, 0]))
    assert worst(name, other, quiet) > 4 * NETWORKS[name]  # a group norm hides the most of it


@pytest.mark.parametrize("changes", [{}, LAYER_NORM], ids=["group", "layer"])
@pytest.mark.parametrize("masks", [False, True])
def test_every_setting_of_the_feature_extractor_comes_back_as_it_was(
    tiny, tmp_path, changes, masks
):
    model = dataclasses.replace(tiny, **changes)
    made = random_checkpoint(model, parts=TUNED, vocabulary=VOCABULARY)
    hugging_face.save(made, tmp_path / "a")
    edit(
        tmp_path / "a" / "preprocessor_config.json",
        return_attention_mask=masks, do_normalize=masks, padding_value=0.5,
    )  # fmt: skip
    loaded = hugging_face.load(tmp_path / "a")
    description = describe(json.loads(json.dumps(loaded.description.to_json())), "stored")
    hugging_face.save(loaded._replace(description=description), tmp_path / "b")
    before, after = (tmp_path / x / "preprocessor_config.json" for x in "ab")
    assert json.loads(before.read_text()) == json.loads(after.read_text())


@pytest.mark.parametrize(
    ("setting", "value"),
    [("padding_side", "left"), ("feature_size", 80), ("sampling_rate", 8000),
     ("feature_extractor_type", "SeamlessM4TFeatureExtractor")],
)  # fmt: skip
def test_a_setting_that_the_network_cannot_follow_is_refused_by_name(folder, setting, value):
    edit(folder / "preprocessor_config.json", **{setting: value})
    with pytest.raises(InputError, match=f"{setting}={value!r}"):
        hugging_face.load(folder)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("do_normalize", "false"), ("do_normalize", 2), ("return_attention_mask", "no"),
     ("padding_value", "0"), ("padding_value", float("nan")), ("padding_value", float("-inf")),
     ("padding_value", True)],
)  # fmt: skip
def test_a_setting_of_another_type_is_refused_and_not_taken_for_true(folder, setting, value):
    edit(folder / "preprocessor_config.json", **{setting: value})
    with pytest.raises(InputError, match=f"hf: {setting}={value!r} must be"):
        hugging_face.load(folder)


def test_deployed_forms_say_rate_epsilon_and_that_normalisation_is_inside(tuned):
    description = tuned.description._replace(normalise=True, normalise_epsilon=1e-7)
    said = input_settings(description)
    assert said["sampling_rate"] == 16000 and said["normalised_inside"]
    assert said["normalise_epsilon"] == 1e-7


def test_every_recipe_at_toy_size_goes_to_hugging_face_or_is_refused_by_its_option(tmp_path):
    """The networks of recipes alone: their tensors are named and their settings read back."""
    seen = {}
    for spec in RECIPES:
        config = smoke(spec)
        values = {k: v for k, v in config["model"].items() if k != "family"}
        model = model_config(config["model"]["family"], **values)
        seen.setdefault((model, read_settings(config).objective_class), spec)
    refused = []
    for (model, objective), spec in seen.items():
        vocabulary = VOCABULARY if objective.needs_vocabulary else None
        made = lora.merged(random_checkpoint(model, parts=objective.parts, vocabulary=vocabulary))
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        try:
            hugging_face.save(made, folder)
        except InputError as error:
            refused.append(str(error))
            assert "\n" not in str(error) and "model." in str(error), spec
            continue
        assert hugging_face.read(folder).left == []
    assert refused


def test_an_epsilon_that_a_format_cannot_store_is_told_with_what_to_do(tuned):
    other = tuned.description._replace(normalise=True, normalise_epsilon=1e-3)
    (note,) = files.epsilon_notes(other, "fairseq", 1e-5)
    assert note.startswith("fairseq adds 1e-05 to a waveform's variance, this checkpoint 0.001: ")
    assert "usual loudness needs nothing" in note
    assert "--config.data.normalise_epsilon=1e-05 (docs/parity.md)" in note
    for same in (other._replace(normalise_epsilon=1e-5), other._replace(normalise=False)):
        assert files.epsilon_notes(same, "fairseq", 1e-5) == []


@pytest.mark.parametrize("changes", [{}, LAYER_NORM], ids=["group", "layer"])
@pytest.mark.parametrize(
    ("settings", "normalise", "masks"),
    [({}, True, False), ({"do_normalize": None}, False, False), ({"do_normalize": 0}, False, False),
     ({"return_attention_mask": None}, True, False), ({"return_attention_mask": True}, True, True)],
)  # fmt: skip
@pytest.mark.parametrize("place", ["preprocessor", "processor"])
def test_what_a_file_leaves_out_is_what_it_is_in_transformers(
    tiny, place, settings, normalise, masks, changes, tmp_path
):
    # As transformers 5.23 has it: absent is normalised without a mask; null is false.
    folder = tmp_path / "hf"
    model = dataclasses.replace(tiny, **changes)
    hugging_face.save(random_checkpoint(model, parts=TUNED, vocabulary=VOCABULARY), folder)
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").unlink()
    said = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", **settings}
    if place == "processor":
        (folder / "preprocessor_config.json").write_text(
            json.dumps({"do_normalize": not normalise})
        )
        said = {"processor_class": "Wav2Vec2Processor", "feature_extractor": said}
    (folder / f"{place}_config.json").write_text(json.dumps(said))
    found = hugging_face.read(folder)
    description = found.loaded.description
    assert description.normalise is normalise
    assert hugging_face_input.settings(description)["return_attention_mask"] is masks
    assert not any("feature extractor" in note for note in found.notes)


@pytest.mark.parametrize(("changes", "usual"), [({}, False), (LAYER_NORM, True)])
def test_without_any_file_the_settings_are_those_of_the_family_and_a_note_says_so(
    tiny, changes, usual, tmp_path
):
    folder = tmp_path / "hf"
    model = dataclasses.replace(tiny, **changes)
    hugging_face.save(random_checkpoint(model, parts=TUNED, vocabulary=VOCABULARY), folder)
    for name in ("preprocessor_config.json", "processor_config.json"):
        (folder / name).unlink()
    found = hugging_face.read(folder)
    assert found.loaded.description.normalise is usual
    assert any(f"assumed: {usual}" in note for note in found.notes)


def test_the_activation_gelu_python_is_gelu(folder):
    edit(folder / "config.json", hidden_act="gelu_python")
    hugging_face.load(folder)
    edit(folder / "config.json", hidden_act="gelu_new")
    with pytest.raises(InputError, match="hidden_act='gelu_new' is not supported; only 'gelu'"):
        hugging_face.load(folder)
