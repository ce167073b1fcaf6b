"""torchaudio's side of a comparison: `python -m w2v2_jax.bench.torchaudio_model FOLDER`.

The model of `hugging_face`, turned into torchaudio's by torchaudio's own importer; inference alone.
"""

from __future__ import annotations

from pathlib import Path

from w2v2_jax.bench import hugging_face
from w2v2_jax.errors import InputError


def import_torchaudio():
    """(torchaudio, its importer); InputError if it is missing or does not fit torch."""
    try:
        import torchaudio
        from torchaudio.models.wav2vec2.utils import import_huggingface_model
    except (ImportError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"--peer torchaudio needs torchaudio of the same version as torch ({reason}); "
            "pip install torch==2.11.0 torchaudio==2.11.0 transformers"
        ) from None
    return torchaudio, import_huggingface_model


class TorchaudioBench(hugging_face.HuggingFaceBench):
    """The task with torchaudio's Wav2Vec2Model."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.torchaudio, convert = import_torchaudio()
        self.attention = "sdpa"  # torchaudio's SelfAttention calls scaled_dot_product_attention
        self.model = convert(self.model).to(self.device)

    def logits_of(self, model, waveforms, real):
        lengths = None if real.all() else self.tensor(real.sum(1))
        return model(self.tensor(waveforms), lengths)[0]

    def facts(self) -> dict:
        facts = super().facts()
        facts["versions"]["torchaudio"] = self.torchaudio.__version__
        return facts


if __name__ == "__main__":
    hugging_face.main(TorchaudioBench)
