"""Vocabularies by name, from files and from transcripts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from w2v2_jax.errors import InputError
from w2v2_jax.paths import MOST_LARGE_JSON, read_json
from w2v2_jax.texts import CASES
from w2v2_jax.texts.rules import TextRules
from w2v2_jax.vocabulary.pieces import pieces_of, read_model
from w2v2_jax.vocabulary.pronunciations import phonemes_of, read_pronunciations
from w2v2_jax.vocabulary.symbols import SPECIALS, Vocabulary
from w2v2_jax.vocabulary.units import CHARACTERS, PHONEMES, PIECES

# Rows of every released LibriSpeech checkpoint (fairseq dict.ltr.txt after its four specials).
LIBRISPEECH = Vocabulary((*SPECIALS, *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"), "upper")

VOCABULARIES = {"librispeech": LIBRISPEECH}
FROM_TRANSCRIPTS, EXTEND = "from_transcripts", "extend"
PIECES_OF, PRONUNCIATIONS_OF = f"{PIECES}:", "pronunciations:"
FILE = "vocabulary.json"


def file_of(name: str) -> str:
    """The path in a vocabulary's name, "" if its symbols are of transcripts."""
    if name in (FROM_TRANSCRIPTS, PHONEMES, EXTEND):
        return ""
    return name.removeprefix(PIECES_OF).removeprefix(PRONUNCIATIONS_OF)


def load_vocabulary(path: str | Path) -> Vocabulary:
    """Reads what `Vocabulary.save` wrote; InputError names the file when it cannot."""
    try:
        return Vocabulary.from_json(read_json(path, most=MOST_LARGE_JSON))
    except KeyError as error:
        raise InputError(
            f"{path}: not a vocabulary: it has no {error.args[0]!r}; name the vocabulary.json of a "
            "run (for a Hugging Face folder: init_from, with vocabulary.name=extend)"
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a vocabulary: {error}") from error


def build_vocabulary(
    texts: Iterable[str],
    *,
    case: str,
    min_count: int,
    units: str = CHARACTERS,
    rules: TextRules | None = None,
) -> Vocabulary:
    """The special rows, then the characters (or phonemes) seen at least `min_count` times, by
    falling frequency (ties by code point). Characters outside those of the rules are none of them,
    nor is a `<unk>` that transcripts of phonemes have.
    Raises InputError when the texts hold no character."""
    empty = Vocabulary(SPECIALS, case, units, rules)
    counts = {c: n for c, n in empty.unknown(texts).items() if c not in SPECIALS}
    symbols = tuple(c for c, n in counts.items() if n >= min_count and not empty.is_outside(c))
    if not symbols:
        what = "phoneme" if units == PHONEMES else "character"
        raise InputError(
            f"vocabulary: no {what} occurs {min_count} times in the transcripts; "
            "does the corpus have transcripts?"
        )
    return dataclasses.replace(empty, symbols=SPECIALS + symbols)


def build_pieces(path: str, *, case: str, rules: TextRules | None) -> Vocabulary:
    """The special rows, then the pieces of a sentencepiece model in its order."""
    model = read_model(path)
    try:
        symbols = SPECIALS + pieces_of(model)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return Vocabulary(symbols, case, PIECES, rules, model)


def build_pronounced(path: str, *, case: str, rules: TextRules | None) -> Vocabulary:
    """The special rows, then the phonemes of a lexicon, for texts of its words."""
    said = read_pronunciations(path)
    try:
        return Vocabulary(SPECIALS + phonemes_of(said), case, PHONEMES, rules, pronunciations=said)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def extend_vocabulary(old: Vocabulary, texts: Iterable[str], *, min_count: int) -> Vocabulary:
    """The old symbols in their rows, then the characters of the texts they lack, most frequent
    first; characters seen less than `min_count` times stay unknown."""
    if old.units == PIECES:
        raise InputError("vocabulary: the pieces of a sentencepiece model cannot be extended")
    if old.pronunciations:
        raise InputError(
            "vocabulary: pronunciations are extended by a larger lexicon, "
            f"name={PRONUNCIATIONS_OF}FILE"
        )
    unknown = old.unknown(texts).items()
    new = tuple(
        c for c, n in unknown if n >= min_count and c not in SPECIALS and not old.is_outside(c)
    )
    return dataclasses.replace(old, symbols=old.symbols + new)


def shared_rows(new: Vocabulary, old: Vocabulary) -> tuple[int | None, ...]:
    """For each symbol of `new` the row `old` has it in, None if it has not: symbols of other
    units, except for the special ones, are others."""
    rows = {symbol: row for row, symbol in enumerate(old.symbols)}
    if new.units != old.units:
        rows = {symbol: row for row, symbol in enumerate(SPECIALS)}
    return tuple(rows.get(symbol) for symbol in new.symbols)


def lost_by_case(new: Vocabulary, old: Vocabulary) -> tuple[list[str], str]:
    """The symbols of `new` that `old` has only in another case, and the case of texts with which
    most symbols are shared; nothing and "" if no other case shares more than `new` does."""
    known, ours = set(old.symbols), new.symbols[len(SPECIALS) :]
    if new.units != old.units or new.units == PHONEMES:
        return [], ""
    shared = {case: len({change(s) for s in ours} & known) for case, change in CASES.items()}
    best = max((old.case, *CASES), key=lambda case: shared[case])
    if shared[best] <= shared["keep"]:
        return [], ""
    return [s for s in ours if s not in known and CASES[best](s) in known], best


def make_vocabulary(
    name: str,
    texts: Iterable[str] = (),
    *,
    case: str | None = None,
    min_count: int = 1,
    rules: TextRules | None = None,
) -> Vocabulary:
    """A vocabulary by name: one of VOCABULARIES, "from_transcripts" (then `texts` and `case`
    decide), "phonemes" (of the texts), "sentencepiece:FILE.model", "pronunciations:FILE", or the
    path of a saved `.json` or of a run's folder. rules: those that the texts were prepared with.
    Raises InputError that lists the known names."""
    if name in VOCABULARIES:
        return with_rules(VOCABULARIES[name], rules, where=f"vocabulary {name}")
    if name == FROM_TRANSCRIPTS:
        if case is None:
            raise InputError(f"vocabulary {name}: give its case: {', '.join(CASES)}")
        return build_vocabulary(texts, case=case, min_count=min_count, rules=rules)
    if name == PHONEMES:
        if rules is not None and rules.punctuation != "keep":
            raise InputError(
                f"vocabulary {name}: --text {rules.name} takes phonemes like h# apart; prepare the "
                "corpus with --text none"
            )
        build: dict[str, Any] = {"min_count": min_count, "units": PHONEMES, "rules": rules}
        return build_vocabulary(texts, case=case or "keep", **build)
    if name in (PIECES_OF, PRONUNCIATIONS_OF):
        raise InputError(f"vocabulary {name!r} names no file behind the colon")
    if name.startswith(PIECES_OF):
        return build_pieces(name.removeprefix(PIECES_OF), case=case or "keep", rules=rules)
    if name.startswith(PRONUNCIATIONS_OF):
        lexicon = name.removeprefix(PRONUNCIATIONS_OF)
        return build_pronounced(lexicon, case=case or "keep", rules=rules)
    path = Path(name, FILE) if Path(name, FILE).is_file() else Path(name)
    if path.suffix == ".json":
        return with_rules(load_vocabulary(path), rules, where=f"vocabulary {name}")
    of_file = (f"{PIECES_OF}FILE.model", f"{PRONUNCIATIONS_OF}FILE")
    names = [*VOCABULARIES, FROM_TRANSCRIPTS, PHONEMES, *of_file, EXTEND]
    known = f"{', '.join(names)}, FILE.json or a run's folder"
    raise InputError(f"vocabulary {name!r} is unknown; use one of {known}")


def with_rules(vocabulary: Vocabulary, rules: TextRules | None, *, where: str) -> Vocabulary:
    """The vocabulary with a corpus's text rules; one that has others is an InputError."""
    if rules is None or rules == vocabulary.rules:
        return vocabulary
    if vocabulary.rules is not None:
        raise InputError(
            f"{where} has the text rules {vocabulary.rules.name}, the corpus was prepared with "
            f"--text {rules.name}; prepare it with --text {vocabulary.rules.name}, or with none"
        )
    return dataclasses.replace(vocabulary, rules=rules)
