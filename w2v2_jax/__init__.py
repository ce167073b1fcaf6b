"""wav2vec 2.0 in JAX/Flax: pretraining, CTC fine-tuning, and weights any framework can load."""

__version__ = "0.1.0"


def load(path, *, language=None):
    """A checkpoint as an object with logits, features, units and transcribe; see `inference`.

    language: whose adapters to take from a Hugging Face directory that has several (MMS)."""
    from w2v2_jax.inference import load as load_model

    return load_model(path, language=language)
