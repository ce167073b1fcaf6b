"""A small language, a model of it and noisy logits of its sentences: no training, no library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from w2v2_jax import lm
from w2v2_jax.decode.hypothesis import log_softmax
from w2v2_jax.decode.lexicon import write_lexicon
from w2v2_jax.decode.make import make, settings
from w2v2_jax.vocabulary import SPECIALS, Vocabulary

LETTERS = "ABCDEFGH"
VOCABULARY = Vocabulary((*SPECIALS, *LETTERS), "upper")


def words(count: int, *, seed: int = 0) -> list[str]:
    """Different words of 1 to 5 letters."""
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(LETTERS[i] for i in rng.integers(0, 8, rng.integers(1, 6)))] = None
    return list(found)


def sentences(count: int, vocabulary: list[str], *, seed: int = 0) -> list[list[str]]:
    """A Markov chain of 1 to 9 words: half the time one of two successors, else Zipf's law."""
    rng = np.random.default_rng(seed)
    size = len(vocabulary)
    zipf = 1 / np.arange(1, size + 1)
    draws = rng.choice(size, (count, 10), p=zipf / zipf.sum())
    follow, which = rng.random((count, 10)) < 0.5, rng.integers(0, 2, (count, 10))
    lengths = rng.integers(1, 10, count)
    found = []
    for n in range(count):
        line = [draws[n, 0]]
        for k in range(1, lengths[n]):
            after = (line[-1] * 7 + which[n, k]) % size
            line.append(after if follow[n, k] else draws[n, k])
        found.append([vocabulary[i] for i in line])
    return found


def logits_of(text: str, rng: np.random.Generator, *, noise: float = 2.0) -> np.ndarray:
    """[T, C]: each symbol for 1 or 2 frames with blanks between, under Gaussian noise."""
    path = []
    for symbol in VOCABULARY.encode(text):
        path += [int(symbol)] * int(rng.integers(1, 3)) + [0] * int(rng.integers(1, 3))
    clean = 5.0 * np.eye(len(VOCABULARY))[path]
    clean[:, 1:4] -= 10.0  # the model never writes the special symbols
    return (clean + noise * rng.normal(size=clean.shape)).astype(np.float32)


# name: settings of a beam search, `lm` and `lexicon` by the names that `write_models` gives them
SEARCHES: dict[str, dict] = {
    "words": {"lm": "words"},
    "words, summed": {"lm": "words", "log_add": True},
    "words, a narrow beam": {"lm": "words", "beam": 5},
    "words, a low threshold": {"lm": "words", "beam_threshold": 6.0},
    "words, the 3 likeliest symbols": {"lm": "words", "beam_tokens": 3},
    "words, other weights": {"lm": "words", "lm_weight": 0.7, "word_score": 1.5},
    "words, silence": {"lm": "words", "silence_score": -0.7},
    "words, unknown ones": {"lm": "words", "unknown_score": -3.0, "lm_weight": 1.0},
    "words, the audio ends one": {"lm": "words", "end_word": True},
    "words, hot ones": {"lm": "words", "hot_words": (("HAHAHA", 12.0), ("A", 1.5))},
    "homophones": {"lm": "words", "lexicon": "homophones"},
    "a lexicon alone": {"lexicon": "plain"},
    "words without |": {"lm": "words", "lexicon": "joined"},
    "letters": {"lm": "letters"},
    "letters, summed": {"lm": "letters", "log_add": True},
    "letters, the 4 likeliest": {"lm": "letters", "beam_tokens": 4, "silence_score": 0.3},
    "no model": {"kind": "beam"},
}


def write_models(folder: Path) -> None:
    """Models of words and of letters, and lexicons: words of one spelling; without `|`."""
    text = folder / "text.txt"
    lines = sentences(400, words(60), seed=1)
    text.write_text("".join(" ".join(line) + "\n" for line in lines))
    for kind, options in (("words", ["--prune", "0", "1"]), ("letters", ["--characters"])):
        out = str(folder / f"{kind}.arpa")
        lm.main(["--text", str(text), "--out", out, "--order", "3", "--estimator", "own",
                 "--discount-fallback", *options])  # fmt: skip
    known = words(60)
    spelled = [(word, [*word, "|"]) for word in known]
    # Nine words share a spelling: more than flashlight's tree has room for.
    plain = list(spelled)
    spelled += [(word, [*known[7], "|"]) for word in known[10:18]] + [("AA", ["A", "|"])]
    joined = [(word, [*word]) for word in known]
    for name, entries in (("plain", plain), ("homophones", spelled), ("joined", joined)):
        write_lexicon(folder / name, [(word, tuple(symbols)) for word, symbols in entries])


def make_search(name: str, folder: Path, *, engine: str, nbest: int = 5):
    """A decoder of `SEARCHES` with the models of `write_models`."""
    options = {"nbest": nbest, "engine": engine, **SEARCHES[name]}
    if "lm" in options:
        options["lm"] = str(folder / f"{options['lm']}.arpa")
    if "lexicon" in options:
        options["lexicon"] = str(folder / options["lexicon"])
    return make(settings(options), VOCABULARY)


def search_logits(count: int, *, seed: int = 0) -> list[np.ndarray]:
    """Logits of noisy sentences of the models' language, and of no frame at all."""
    rng = np.random.default_rng(seed)
    lines = [" ".join(line) for line in sentences(count - 1, words(60), seed=9 + seed)]
    rows = [logits_of(line, rng, noise=2.5) for line in lines]
    return [*rows, rows[0][:0]]


# name: order, pruning thresholds
LMPLZ_MODELS = {"whole": (4, [0]), "pruned": (3, [0, 0, 1]), "words": (2, [1, 1])}


def lmplz_text() -> str:
    """The text of the stored lmplz models."""
    lines = sentences(600, words(400, seed=3), seed=4)
    return "".join(" ".join(line) + "\n" for line in lines)


def flashlights_own(
    arpa: Path, lexicon: Path, vocabulary: Vocabulary
) -> Callable[[np.ndarray], list[tuple[str, float]]]:
    """flashlight's own bindings with fairseq's defaults: logits [T, C] -> (text, score), best
    first."""
    from flashlight.lib.text import decoder as library
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import create_word_dict, load_words

    spelled = load_words(str(lexicon))
    dictionary = create_word_dict(spelled)
    model = KenLM(str(arpa), dictionary)
    silence = vocabulary.symbols.index("|")
    trie = library.Trie(len(vocabulary), silence)
    for word, spellings in spelled.items():
        index = dictionary.get_index(word)
        _, score = model.score(model.start(False), index)
        for spelling in spellings:
            trie.insert([vocabulary.symbols.index(s) for s in spelling], index, score)
    trie.smear(library.SmearingMode.MAX)
    options = library.LexiconDecoderOptions(
        50, len(vocabulary), 50.0, 2.0, -1.0, -np.inf, 0.0, False, library.CriterionType.CTC
    )
    unknown = dictionary.get_index("<unk>")
    search = library.LexiconDecoder(options, trie, model, silence, 0, unknown, [], False)

    def decode(logits: np.ndarray) -> list[tuple[str, float]]:
        log_probs = log_softmax(logits)
        found = search.decode(log_probs.ctypes.data, *log_probs.shape)
        return [
            (" ".join(dictionary.get_entry(w) for w in result.words if w >= 0), result.score)
            for result in found
        ]

    return decode
