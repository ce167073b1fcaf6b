"""Writes tests/golden/adapters.npz: what transformers gives for a tiny MMS network.

Run by hand where torch and transformers are installed (stored: torch 2.13.0, transformers 5.23.0);
the tests that read the file need neither.

    python -m tests.golden.make_adapters

The file holds every file of the directory that `AutoModelForCTC.from_pretrained(target_lang=...)`
reads (JSON as text, tensors as `tensor/` and `adapter/<lang>/`), waveforms, and the logits of each
language.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

from tests.golden.make_hugging_face import LAYER, PRE, TINY, make_batch, random_weights

SPECIALS = ["<pad>", "<s>", "</s>", "<unk>", "|"]
LANGUAGES = {"eng": "abcd", "fra": "éabùc'"}  # heads of different sizes
LENGTHS = (987, 741)


def directory(folder: Path) -> None:
    """A directory as the released ones are: English inside, an adapter file a language."""
    vocabularies = {
        language: {symbol: row for row, symbol in enumerate([*SPECIALS, *characters])}
        for language, characters in LANGUAGES.items()
    }
    rng = np.random.default_rng(0)
    for language, rows in reversed(vocabularies.items()):
        config = Wav2Vec2Config(
            **{**TINY, "vocab_size": len(rows)}, **LAYER, **PRE, adapter_attn_dim=4
        )
        if language == "fra":
            torch.manual_seed(0)
        model = Wav2Vec2ForCTC(config)
        random_weights(model, rng)
        tensors = {n: x.detach().clone().contiguous() for n, x in model._get_adapters().items()}
        save_file(tensors, folder / f"adapter.{language}.safetensors", metadata={"format": "pt"})
        model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabularies))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "Wav2Vec2CTCTokenizer", "target_lang": "eng"})
    )
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)


def main() -> None:
    from safetensors.numpy import load_file

    waveforms, _ = make_batch(LENGTHS, np.random.default_rng(1))
    waveforms = waveforms.numpy()
    stored = {"waveforms": waveforms, "num_samples": np.array(LENGTHS, np.int32)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        directory(folder)
        for file in folder.glob("*.json"):
            stored[f"json/{file.name}"] = np.array(file.read_text())
        for tensor, value in load_file(folder / "model.safetensors").items():
            stored[f"tensor/{tensor}"] = value
        extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
        rows = [row[:length] for row, length in zip(waveforms, LENGTHS, strict=True)]
        inputs = extractor(rows, sampling_rate=16000, return_tensors="pt", padding=True)
        for language in LANGUAGES:
            for tensor, value in load_file(folder / f"adapter.{language}.safetensors").items():
                stored[f"adapter/{language}/{tensor}"] = value
            model = Wav2Vec2ForCTC.from_pretrained(
                folder, target_lang=language, ignore_mismatched_sizes=True,
                attn_implementation="eager",
            ).eval()  # fmt: skip
            with torch.no_grad():
                stored[f"logits/{language}"] = model(**inputs).logits.numpy()
    path = Path(__file__).with_name("adapters.npz")
    np.savez_compressed(path, **stored)
    print(f"wrote {path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
