"""Which words a search may write, and how the symbols spell each of them: those of a lexicon, or of
the language model where the vocabulary can spell them."""

from __future__ import annotations

import collections
import itertools
import sys
from collections.abc import Sequence

from w2v2_jax.decode import engines
from w2v2_jax.decode.lexicon import BOUNDARY, Entries, read_lexicon, spell, why_unknown
from w2v2_jax.errors import InputError
from w2v2_jax.ngram import arpa
from w2v2_jax.ngram.text import SPECIALS
from w2v2_jax.texts import normal_form
from w2v2_jax.vocabulary import SPECIALS as SYMBOLS
from w2v2_jax.vocabulary import Vocabulary
from w2v2_jax.vocabulary.units import MARK, PHONEMES


def words_to_search(
    vocabulary: Vocabulary, *, lm: str | None, lexicon: str | None, engine: str
) -> Entries | None:
    """The lexicon given, or that of the LM's own words; None to decode without one."""
    if lexicon:
        entries = read_lexicon(lexicon, vocabulary.symbols, units=vocabulary.units)
        return _by_rules(entries, lexicon, vocabulary)
    if lm is None:
        return None
    pronounced = _known_words(lm, engine, vocabulary)
    if _is_of_symbols(lm, engine, vocabulary, pronounced):
        return None
    if not arpa.is_binary(lm):
        words = [word for word in arpa.vocabulary(lm) if word not in SPECIALS]
    elif vocabulary.pronunciations:
        words = pronounced
    else:
        raise InputError(f"--lm {lm} is a binary model of words: give its words with --lexicon")
    if not words:
        raise InputError(f"--lm {lm} has no word; make it from text with 'w2v2 lm'")
    entries, unknown = spell(words, vocabulary)
    if not entries:
        raise InputError(
            f"--lm {lm}: none of its {len(words)} words, such as {words[0]!r}, consists of "
            "the model's symbols; is it in another case?"
        )
    if unknown:
        print(
            f"{lm}: {len(unknown)} of {len(words)} words have {why_unknown(vocabulary)} "
            f"and are left out, such as {unknown[0]!r}",
            file=sys.stderr,
        )
    return entries


def _is_of_symbols(lm: str, engine: str, vocabulary: Vocabulary, pronounced: list[str]) -> bool:
    """Whether the LM is a model of the symbols: it has `|`, pieces that begin words or phonemes
    alone. With phonemes, a model of words without pronunciations is an InputError. pronounced: the
    LM's words that have a pronunciation."""
    if not {*pronounced}.issubset(vocabulary.symbols):
        return False
    known_words = engines.ENGINES[engine].known_words
    if vocabulary.units == PHONEMES:
        if not known_words(lm, vocabulary.symbols[len(SYMBOLS) :]):
            raise InputError(
                f"--lm {lm}: has none of the model's phonemes; with a model of words give "
                "--lexicon, lines word<TAB>p h o n e m e s"
            )
        return True
    marked = [s for s in vocabulary.symbols if s.startswith(MARK)] or [BOUNDARY]
    return bool(known_words(lm, marked))


def _known_words(lm: str, engine: str, vocabulary: Vocabulary) -> list[str]:
    """The words with a pronunciation that the LM has."""
    if not vocabulary.pronunciations:
        return []
    if arpa.is_binary(lm):  # which does not list its words
        several = ((word, word.upper(), word.lower()) for word, _ in vocabulary.pronunciations)
        words = [*dict.fromkeys(itertools.chain.from_iterable(several))]
        return engines.ENGINES[engine].known_words(lm, words)
    return [word for word in arpa.vocabulary(lm) if vocabulary.has_words(word)]


def _by_rules(entries: Entries, lexicon: str, vocabulary: Vocabulary) -> Entries:
    """A lexicon's words with the text rules of references and language models, each entry once."""
    phonemes_alone = vocabulary.units == PHONEMES and not vocabulary.pronunciations
    if vocabulary.rules is None or phonemes_alone:
        return entries
    for word, _ in entries:
        if len(vocabulary.normalise(word).split()) != 1:
            raise InputError(
                f"--lexicon {lexicon}: {word!r} is {vocabulary.normalise(word)!r} by the "
                "model's text rules; give words as they are spoken, one per line"
            )
    return list(dict.fromkeys((vocabulary.normalise(word), symbols) for word, symbols in entries))


def with_hot_words(
    entries: Entries, hot: Sequence[tuple[str, float]], vocabulary: Vocabulary
) -> tuple[Entries, tuple[tuple[str, float], ...]]:
    """Entries with the hot words they lack (spelled by letters), and the words in their case."""
    hot = tuple((vocabulary.normalise(word), bonus) for word, bonus in hot)
    known = {normal_form(word): word for word, _ in entries}
    if vocabulary.pronunciations:  # which words have in every case
        folded = {word.casefold(): known[word] for word in reversed(known)}
        asked = (word for word, _ in hot if word not in known)
        known |= {word: folded[word.casefold()] for word in asked if word.casefold() in folded}
    for word, _ in hot:
        if " " in word or not word:
            raise InputError(f"--hot-word {word!r}: one word without spaces")
    twice = [word for word, count in collections.Counter(w for w, _ in hot).items() if count > 1]
    if twice:
        raise InputError(f"--hot-word {twice[0]!r} is given more than once; keep one")
    spelled, unknown = spell([word for word, _ in hot if word not in known], vocabulary)
    if unknown:
        raise InputError(f"--hot-word {unknown[0]!r} has {why_unknown(vocabulary)}")
    return entries + spelled, tuple((known.get(word, word), bonus) for word, bonus in hot)
