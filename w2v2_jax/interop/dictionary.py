"""fairseq's dictionaries (`dict.ltr.txt`) <-> our vocabulary, with the row behind each symbol.

A dictionary file has lines "symbol count", after four implied rows `<s> <pad> </s> <unk>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from w2v2_jax.errors import InputError
from w2v2_jax.interop.tokenizer import Rows, case_of
from w2v2_jax.interop.torch_write import Instance
from w2v2_jax.texts import text_lines
from w2v2_jax.vocabulary import LIBRISPEECH, SPECIALS, Vocabulary, load_vocabulary

IMPLIED = ("<s>", "<pad>", "</s>", "<unk>")
# torchaudio's released English heads leave out <pad>, </s> and <unk>.
SHORT_ENGLISH = tuple(s for s in LIBRISPEECH.symbols if s not in IMPLIED[1:])


def read_symbols(path: str | Path) -> list[str]:
    """Symbols in row order of a dict.*.txt, or of a vocabulary.json of this package."""
    path = Path(path)
    if path.suffix == ".json":
        return list(load_vocabulary(path).symbols)
    symbols = list(IMPLIED)
    for number, line in enumerate(text_lines(path), 1):
        symbol, space, count = line.removesuffix(" #fairseq:overwrite").rpartition(" ")
        if not space or not count.lstrip("-").isdigit():
            raise InputError(f'{path}:{number}: {line!r} is not "symbol count"')
        symbols.append(symbol)
    return symbols


def guess(classes: int, where: str) -> list[str]:
    """Symbols of a head whose file names none: LibriSpeech's if the number of rows matches."""
    for symbols in (LIBRISPEECH.symbols, SHORT_ENGLISH):
        if classes == len(symbols):
            return list(symbols)
    raise InputError(
        f"{where} has a CTC head of {classes} rows and nothing that names them; "
        "give --dictionary dict.ltr.txt"
    )


def like(path: str | Path | None) -> Vocabulary | None:
    """The vocabulary that a vocabulary.json of this package is; None for other files."""
    return load_vocabulary(path) if path is not None and Path(path).suffix == ".json" else None


def to_rows(
    symbols: Sequence[str], *, classes: int, where: str, vocabulary: Vocabulary | None = None
) -> Rows:
    """Symbols in the order of a head's `classes` rows -> our vocabulary and the row of each symbol.

    vocabulary: the vocabulary of the symbols, if more is known than their names.
    Raises InputError if rows have no name, the blank `<s>` is absent, or a symbol is not a
    character.
    """
    if len(symbols) != classes:
        raise InputError(f"{where}: its CTC head has {classes} rows, its dictionary {len(symbols)}")
    index = {symbol: row for row, symbol in enumerate(symbols)}
    if "<s>" not in index:
        raise InputError(f"{where}: its dictionary has no <s>, the CTC blank")
    if vocabulary is not None:
        return Rows(vocabulary, tuple(range(classes)))
    characters = tuple(s for s in symbols if s not in SPECIALS)
    for symbol in characters:
        if len(symbol) != 1:
            raise InputError(
                f"{where}: {symbol!r} is not one character; give symbols of phonemes or pieces by "
                "--dictionary vocabulary.json"
            )
    vocabulary = Vocabulary(SPECIALS + characters, case_of(characters, lowered=False))
    return Rows(vocabulary, tuple(index.get(symbol) for symbol in vocabulary.symbols))


def to_object(vocabulary: Vocabulary) -> Instance:
    """The fairseq Dictionary that a fine-tuned file carries in its task_state."""
    symbols = list(vocabulary.symbols)
    state: dict[str, Any] = {
        "bos_word": "<s>",
        "pad_word": "<pad>",
        "eos_word": "</s>",
        "unk_word": "<unk>",
        "symbols": symbols,
        "count": [1] * len(symbols),
        "indices": {symbol: row for row, symbol in enumerate(symbols)},
        "bos_index": 0,
        "pad_index": 1,
        "eos_index": 2,
        "unk_index": 3,
        "nspecial": 4,
    }
    return Instance("fairseq.data.dictionary", "Dictionary", state)
