"""Lexicons: which words may be decoded, and how the model's symbols spell each of them.

A line has one spelling, `word<TAB>s y m b o l s |` (the format of fairseq and flashlight); a word
may have several. Of phonemes it may be written as for `vocabulary.name=pronunciations:FILE`: with
comments, with numbers of a word's further pronunciations and with HTK's column in brackets.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path

from w2v2_jax.errors import InputError
from w2v2_jax.ngram.text import SPECIALS
from w2v2_jax.paths import write_text
from w2v2_jax.texts import normal_form, text_lines
from w2v2_jax.vocabulary import SPECIALS as VOCABULARY_SPECIALS
from w2v2_jax.vocabulary import Vocabulary
from w2v2_jax.vocabulary.pronunciations import (
    COMMENT,
    is_comment,
    without_number,
    without_printed,
)
from w2v2_jax.vocabulary.units import CHARACTERS, PHONEMES

BOUNDARY = "|"
Entries = list[tuple[str, tuple[str, ...]]]  # (word, its symbols)


def spell(words: Iterable[str], vocabulary: Vocabulary) -> tuple[Entries, list[str]]:
    """Words with their symbols (letters and a final `|`, or each pronunciation), and the words with
    unknown symbols or none."""
    known = {*vocabulary.symbols[len(VOCABULARY_SPECIALS) :], BOUNDARY}
    entries: Entries = []
    unknown = []
    for word in words:
        spellings = vocabulary.spellings(word)
        if all(known.issuperset(s) and BOUNDARY not in s[:-1] for s in spellings):
            entries += [(word, tuple(symbols)) for symbols in spellings]
        else:
            unknown.append(word)
    return entries, unknown


def why_unknown(vocabulary: Vocabulary) -> str:
    """What the unknown words of `spell` have, for messages."""
    return "no pronunciation" if vocabulary.pronunciations else "symbols that the model lacks"


def write_lexicon(path: str | Path, entries: Entries) -> None:
    """A line for each entry: word<TAB>symbols, separated by spaces."""
    lines = [f"{word}\t{' '.join(symbols)}\n" for word, symbols in entries]
    write_text(path, "".join(lines))


def read_lexicon(path: str | Path, symbols: Iterable[str], *, units: str = CHARACTERS) -> Entries:
    """Reads and checks a lexicon; InputError names the file and line that does not fit. An entry
    that occurs again is one entry: a search would hold two hypotheses for it. units: what the
    symbols are."""
    known = {normal_form(symbol): symbol for symbol in symbols}
    known |= {symbol: symbol for symbol in symbols}
    entries: Entries = []
    for number, line in enumerate(text_lines(path), 1):
        if units == PHONEMES:
            if is_comment(line):
                continue
            line = without_printed(line)
        before, tab, _ = line.partition("\t")
        if tab and len(before.split()) > 1:
            raise InputError(
                f"{path}, line {number}: {before!r} is more than one word; write a line for each"
            )
        word, *spelling = line.split() or [""]
        if units == PHONEMES:
            word, spelling = _pronounced(word, spelling, known)
        if not word:
            continue
        if word in SPECIALS:
            raise InputError(f"{path}, line {number}: {word} is reserved; remove it")
        if not spelling:
            raise InputError(
                f"{path}, line {number}: {word!r} has no spelling; write word<TAB>w o r d |"
            )
        spelling = [s if s in known else normal_form(s) for s in spelling]
        strange = [symbol for symbol in spelling if symbol not in known]
        if strange:
            raise InputError(
                f"{path}, line {number}: {word!r} is spelled with {' '.join(strange)}, which the "
                f"model lacks; its symbols are {' '.join(sorted(known))}"
            )
        entries.append((word, tuple(known[symbol] for symbol in spelling)))
    if not entries:
        raise InputError(f"{path}: an empty lexicon; write lines word<TAB>w o r d |")
    return list(dict.fromkeys(entries))


def as_lexicon(entries: Entries) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Hashable form of a lexicon."""
    return tuple((word, tuple(spelling)) for word, spelling in entries)


def _pronounced(word: str, phonemes: list[str], known: Container[str]) -> tuple[str, list[str]]:
    """Word and phonemes without the number and without a comment behind them."""
    if COMMENT in phonemes and COMMENT not in known:
        phonemes = phonemes[: phonemes.index(COMMENT)]
    return without_number(word), phonemes
