"""The ARPA text format of backoff language models: written, and its word list read."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.ngram.kneser_ney import Estimated

BLOCK = 1 << 16  # lines written at once


def _lines(model: Sequence[Estimated], level: int, words: np.ndarray) -> Iterator[list[str]]:
    """Blocks of one order's lines: log10 probability, words, log10 backoff."""
    part = model[level]
    rows = np.flatnonzero(part.kept)
    for start in range(0, len(rows), BLOCK):
        index = rows[start : start + BLOCK]
        probability = np.minimum(np.log10(part.probability[index]), 0.0)
        backoff = np.log10(part.backoff[index])
        columns = []
        for k in range(level, -1, -1):
            columns.append(words[model[k].grams.first[index]])
            index = model[k].grams.suffix[index]
        text = [" ".join(gram) for gram in zip(*columns, strict=True)]
        if level == len(model) - 1:
            yield [f"{p:.7g}\t{g}\n" for p, g in zip(probability, text, strict=True)]
        else:
            table = zip(probability, text, backoff, strict=True)
            yield [f"{p:.7g}\t{g}\t{b:.7g}\n" for p, g, b in table]


def write(path: Path, model: Sequence[Estimated], words: Sequence[str]) -> list[int]:
    """Writes a model whole or not at all; returns the number of n-grams of each order."""
    names = np.array(words, object)
    sizes = [int(np.count_nonzero(part.kept)) for part in model]
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write("\\data\\\n")
            file.writelines(f"ngram {k}={size}\n" for k, size in enumerate(sizes, 1))
            for level in range(len(model)):
                file.write(f"\n\\{level + 1}-grams:\n")
                for block in _lines(model, level, names):
                    file.writelines(block)
            file.write("\n\\end\\\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return sizes


def vocabulary(path: str | Path) -> list[str]:
    """The words (1-grams) of an ARPA file, plain or gzip; InputError when it is not one."""
    path = Path(path)
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
        with (gzip.open if packed else open)(path, "rt", encoding="utf-8") as file:
            if next((line for line in file if line.strip()), "").strip() != "\\data\\":
                raise InputError(f"{path}: not an ARPA language model: no \\data\\ at its start")
            for line in file:
                if line.strip() == "\\1-grams:":
                    break
            found = []
            for line in file:
                fields = line.split()
                if not fields or fields[0].startswith("\\"):
                    break
                found.append(fields[1])
            if not found:
                raise InputError(f"{path}: a broken ARPA language model: it has no 1-grams")
            return found
    except (OSError, UnicodeDecodeError, EOFError, IndexError) as error:
        raise InputError(f"{path}: cannot read this language model: {error}") from error
