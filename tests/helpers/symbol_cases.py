"""Small vocabularies of phonemes and of pieces, and logits that say what is wanted."""

import io

import numpy as np
import pytest

from w2v2_jax.decode import emissions
from w2v2_jax.vocabulary import SPECIALS, Vocabulary, make_vocabulary

# As TIMIT writes an utterance.
PHONES = ("h# sh iy hv ae dcl d y er dcl d aa r kcl k h#", "h# q ih n gcl g r iy s iy h#")
SENTENCES = ("the cat sat on the mat", "that hat is on the cat", "a mat and a hat", "the bat")


def phoneme_vocabulary(**options):
    return make_vocabulary("phonemes", PHONES, **options)


def espeak_vocabulary():
    """Symbols of espeak's kind, of one letter and of more."""
    return Vocabulary(
        (*SPECIALS, "n", "a\u026a", "\u0254\u0303", "t\u0283", "l\u0329", "i5"), "keep", "phonemes"
    )


def piece_model(folder, *, kind="unigram", size=32):
    """The file of a small sentencepiece model of SENTENCES."""
    sentencepiece = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 4), model_writer=model, vocab_size=size,
        model_type=kind, hard_vocab_limit=False, minloglevel=2, character_coverage=1.0,
    )  # fmt: skip
    path = folder / f"{kind}.model"
    path.write_bytes(model.getvalue())
    return path


def piece_vocabulary(folder, **options):
    return make_vocabulary(f"sentencepiece:{piece_model(folder, **options)}")


def saying(ids, classes, *, seed=0):
    """Logits [T, C] whose best path says the ids: two frames each, a blank between two."""
    rng = np.random.default_rng(seed)
    path = [frame for i in ids for frame in (int(i), int(i), 0)]
    logits = rng.normal(0, 0.1, (len(path), classes)).astype(np.float32)
    logits[np.arange(len(path)), path] += 12.0
    return logits


def saved_logits(folder, vocabulary, text, *references):
    """Options of a command for saved logits of utterances that all say the text, one for each
    reference."""
    logits = saying(vocabulary.encode(text), len(vocabulary))
    emissions.write(
        folder,
        [emissions.Utterance(f"u{i}", logits, known) for i, known in enumerate(references)],
        vocabulary=vocabulary,
        num_frames=len(logits) * len(references),
        seconds_per_frame=0.02,
    )
    return ["--logits", str(folder)]
