"""The only file that uses flashlight-text and KenLM; both are optional and loaded on use."""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from w2v2_jax.decode.hypothesis import NO_TEXT, Result
from w2v2_jax.decode.lexicon import BOUNDARY
from w2v2_jax.errors import InputError, lacking
from w2v2_jax.errors.streams import without_chatter
from w2v2_jax.ngram import arpa

INSTALL = "pip install flashlight-text ufal.kenlm"


def _library():
    try:
        import kenlm  # noqa: F401  (brings libkenlm.so, which flashlight's KenLM binding links)
        from flashlight.lib.text import decoder
    except ImportError as error:
        needed = "this beam search needs flashlight-text and KenLM"
        raise InputError(lacking(error, needed, INSTALL)) from error
    return decoder


def installed() -> bool:
    """Whether both packages are installed."""
    try:
        _library()
    except InputError:
        return False
    return True


@contextlib.contextmanager
def _unpacked(path: str) -> Iterator[str]:
    """The model as a file that every build of KenLM reads: some have no gzip."""
    with open(path, "rb") as file:
        if file.read(2) != b"\x1f\x8b":
            yield path
            return
    with tempfile.NamedTemporaryFile(suffix=".arpa") as plain:
        try:
            with gzip.open(path, "rb") as packed:
                shutil.copyfileobj(packed, plain)
            plain.flush()
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path}: cannot be unpacked: {error}") from error
        yield plain.name


def language_model(path: str | None, words: Sequence[str]):
    """KenLM's model, used by the index into `words`; None gives every word probability 1.

    Raises InputError that names the file when there is none or KenLM cannot read it.
    """
    library = _library()
    if path is None:
        return library.ZeroLM()
    if not os.path.isfile(path):
        raise InputError(f"{path}: there is no such language model file")
    arpa.check_counts(path)
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary

    dictionary = Dictionary()
    for word in words:
        dictionary.add_entry(word)
    try:
        with _unpacked(path) as plain, without_chatter():
            return KenLM(plain, dictionary)
    except RuntimeError as error:
        reason = str(error).split("\n", 1)[-1]
        raise InputError(f"{path}: KenLM cannot read this language model: {reason}") from error


def known_words(path: str, words: Sequence[str]) -> list[str]:
    """Those of the words that a KenLM model (ARPA or binary) has."""
    _library()
    import kenlm

    arpa.check_counts(path)
    config = kenlm.Config()
    config.load_method = kenlm.LoadMethod.LAZY
    config.show_progress = False
    try:
        with _unpacked(path) as plain, without_chatter():
            model = kenlm.Model(plain, config)
    except OSError as error:
        raise InputError(f"{path}: KenLM cannot read this language model: {error}") from error
    return [word for word in words if word in model]


def trie(
    model,
    lexicon: Sequence[tuple[str, tuple[str, ...]]],
    words: Sequence[str],
    *,
    symbols: Sequence[str],
    bonuses: Mapping[int, float],
    path: str | None,
):
    """The tree of spellings; a node knows the best score of a word below it (after `<s>`).

    Raises InputError, naming the language model's path, on a word without a finite probability.
    """
    library = _library()
    ids = {symbol: index for index, symbol in enumerate(symbols)}
    numbers = {word: index for index, word in enumerate(words)}
    start = model.start(False)
    scores = [
        model.score(start, number)[1] + bonuses.get(number, 0.0) for number in range(len(words))
    ]
    for word, score in zip(words, scores, strict=True):
        if not math.isfinite(score):
            raise InputError(
                f"{path}: the log probability of {word!r} is {score}; write -99 for a word that "
                "never occurs, or leave it out"
            )
    tree = library.Trie(len(symbols), ids[BOUNDARY])
    for word, spelling in lexicon:
        number = numbers[word]
        tree.insert([ids[symbol] for symbol in spelling], number, scores[number])
    tree.smear(library.SmearingMode.MAX)
    return tree


def boosted(model, bonuses: Mapping[int, float]):
    """The model with a bonus on some words."""
    library = _library()

    class Boosted(library.LM):  # type: ignore[name-defined]
        """States are the model's own."""

        def __init__(self):
            library.LM.__init__(self)

        def start(self, start_with_nothing):
            return model.start(start_with_nothing)

        def score(self, state, word):
            after, score = model.score(state, word)
            return after, score + bonuses.get(word, 0.0)

        def finish(self, state):
            return model.finish(state)

    return Boosted()


def _shared_settings(options, symbols: Sequence[str]) -> dict:
    """The options of both searches."""
    return dict(
        beam_size=options.beam,
        beam_size_token=min(options.beam_tokens or len(symbols), len(symbols)),
        beam_threshold=options.beam_threshold,
        lm_weight=options.lm_weight,
        sil_score=options.silence_score,
        log_add=options.log_add,
        criterion_type=_library().CriterionType.CTC,
    )


def with_lexicon(options, tree, model, *, symbols: Sequence[str], blank: int, unknown: int):
    """flashlight's LexiconDecoder for CTC and a word model."""
    library = _library()
    settings = library.LexiconDecoderOptions(
        word_score=options.word_score,
        unk_score=options.unknown_score,
        **_shared_settings(options, symbols),
    )
    boundary = list(symbols).index(BOUNDARY)
    return library.LexiconDecoder(settings, tree, model, boundary, blank, unknown, [], False)


def lexicon_free(options, model, *, symbols: Sequence[str], blank: int):
    """flashlight's LexiconFreeDecoder for CTC."""
    library = _library()
    settings = library.LexiconFreeDecoderOptions(**_shared_settings(options, symbols))
    boundary = list(symbols).index(BOUNDARY)
    return library.LexiconFreeDecoder(settings, model, boundary, blank, [])


def decode(search, log_probs: np.ndarray) -> list:
    """Results of log probabilities [T, C] (float32, contiguous), best first; InputError if the
    search loses every text, which it does where a score is no finite number."""
    results = search.decode(log_probs.ctypes.data, *log_probs.shape)
    if not results or not math.isfinite(results[0].score):
        raise InputError(NO_TEXT)
    return results


def results(search, log_probs: np.ndarray) -> Iterator[Result]:
    """The same, one entry per frame, without the entries before the first and after the last."""
    end = len(log_probs) + 1
    for result in decode(search, log_probs):
        yield Result(
            np.array(result.tokens[1:end], np.int64),
            np.array(result.words[1:end], np.int64),
            result.score,
            result.emittingModelScore,
            result.lmScore,
        )
