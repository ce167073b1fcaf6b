"""PEFT itself reads what is written here, and what it writes is read (needs torch and peft)."""

import dataclasses
import re

import numpy as np
import pytest

from tests.helpers.interop_cases import VOCABULARY, random_checkpoint
from w2v2_jax import trees
from w2v2_jax.export import command as export
from w2v2_jax.interop import hugging_face, lora, native
from w2v2_jax.recognition.network import Network
from w2v2_jax.vocabulary import SPECIALS, Vocabulary

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]


@pytest.fixture
def folders(tiny, tmp_path):
    """An adapted checkpoint, its base network as a Hugging Face folder, its updates as PEFT's."""
    model = dataclasses.replace(tiny, lora_rank=3, lora_alpha=6.0)
    made = random_checkpoint(model, parts=("encoder", "head"), vocabulary=VOCABULARY)
    flat = {name: 0.3 * x for name, x in trees.flatten(made.params).items()}
    adapted = made._replace(params=trees.nest(flat))
    plain = {name: x for name, x in flat.items() if "lora_" not in name}
    description = made.description._replace(model=tiny)
    base = made._replace(description=description, params=trees.nest(plain))
    hugging_face.save(base, tmp_path / "hf")
    lora.save(adapted, tmp_path / "peft")
    return adapted, tmp_path


WAVEFORM = np.random.default_rng(0).standard_normal((1, 1003)).astype(np.float32)


def logits(loaded) -> np.ndarray:
    return Network(loaded.path, loaded.description, loaded.params).logits(WAVEFORM)


def difference(ours, theirs) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def test_peft_gives_the_logits_of_the_updates_written_here(folders):
    adapted, path = folders
    base = transformers.Wav2Vec2ForCTC.from_pretrained(path / "hf")
    theirs = peft.PeftModel.from_pretrained(base, path / "peft").eval()
    with torch.no_grad():
        expected = theirs(torch.tensor(WAVEFORM)).logits.numpy()
    assert difference(logits(adapted), expected) < 1e-4


def test_a_head_with_other_symbols_loads_as_the_card_says(folders):
    adapted, path = folders
    symbols = Vocabulary((*SPECIALS, *"xyzabc"), "lower")
    made = random_checkpoint(
        adapted.description.model, parts=("encoder", "head"), vocabulary=symbols
    )
    native.write_initial(path / "run", made)
    arguments = ["--checkpoint", str(path / "run"), "--to", "peft"]
    export.main([*arguments, "--out", str(path / "other")])
    code = re.search(r"```python\n(.*?)```", (path / "other/README.md").read_text(), re.DOTALL)[1]
    code = code.replace('"BASE"', repr(str(path / "hf"))).replace('"."', repr(str(path / "other")))
    made_by_card: dict = {}
    exec(code, made_by_card)
    head = made_by_card["model"].base_model.model.lm_head.modules_to_save["default"]
    np.testing.assert_array_equal(head.bias.detach().numpy(), made.params["head"]["bias"])
    ids = [symbols.symbols.index(c) for c in "zaz"]
    assert made_by_card["processor"].tokenizer.decode(ids) == "zaz"


def test_what_peft_saves_gives_its_logits_here(folders):
    _, path = folders
    base = transformers.Wav2Vec2ForCTC.from_pretrained(path / "hf")
    settings = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], modules_to_save=["lm_head"]
    )
    model = peft.get_peft_model(base, settings).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "lora_" in name or "lm_head" in name:
                tensor.copy_(0.3 * torch.randn_like(tensor))
        expected = model(torch.tensor(WAVEFORM)).logits.numpy()
    model.save_pretrained(path / "saved")
    found = lora.with_updates(hugging_face.read(path / "hf"), path / "saved")
    assert difference(logits(found.loaded), expected) < 1e-4
    assert found.notes[0] == "no updates of k_proj, out_proj: they are 0"
    assert "its rows are taken for the base's symbols" in found.notes[1]
