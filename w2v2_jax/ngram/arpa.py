"""The ARPA text format of backoff language models: writes models, and reads their word lists."""

from __future__ import annotations

import contextlib
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.ngram.kneser_ney import Estimated
from w2v2_jax.ngram.text import END
from w2v2_jax.texts import packed_by

BLOCK = 1 << 16  # lines written at once
BINARY = "mmap lm http://kheafield.com/code"
MOST_LINE = 1 << 16
MOST_GRAMS = 1 << 40
MOST_LETTERS = 1 << 28  # of all words together
MOST_INFLATED = 1032  # deflate's limit
SHORTEST_LINE = 4  # bytes: "0 a" and its end


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
        if level == len(model) - 1 and level:
            yield [f"{p:.7g}\t{g}\n" for p, g in zip(probability, text, strict=True)]
        else:
            table = zip(probability, text, backoff, strict=True)
            yield [f"{p:.7g}\t{g}\t{b:.7g}\n" for p, g, b in table]


def write(path: Path, model: Sequence[Estimated], words: Sequence[str]) -> list[int]:
    """Writes a model to a new file; returns the number of n-grams of each order.

    KenLM cannot read a model of only 1-grams. Such a model also gets the 2-gram `<s> </s>`, with
    the probability that it has anyway, so the probabilities of sentences do not change.
    """
    names = np.array(words, object)
    sizes = [int(np.count_nonzero(part.kept)) for part in model]
    alone = []
    if len(model) == 1:
        alone = [f"\n\\2-grams:\n{np.log10(model[0].probability[END]):.7g}\t<s> </s>\n"]
    with path.open("w", encoding="utf-8") as file:
        file.write("\\data\\\n")
        counts = [*sizes, *(1 for _ in alone)]
        file.writelines(f"ngram {k}={size}\n" for k, size in enumerate(counts, 1))
        for level in range(len(model)):
            file.write(f"\n\\{level + 1}-grams:\n")
            for block in _lines(model, level, names):
                file.writelines(block)
        file.writelines(alone)
        file.write("\n\\end\\\n")
    return sizes


def vocabulary(path: str | Path) -> list[str]:
    """The words (1-grams) of an ARPA file, plain or gzip; InputError when it is not one, or says
    more than a language model can hold."""
    path = Path(path)
    with opened(path) as file:
        lines = text_lines(file)
        counts, line = announced(path, lines)
        count = counts[0] if counts else 0
        while line.rstrip("\n") != "\\1-grams:":
            line = next(lines, "")
            if not line:
                raise InputError(f"{path}: a broken ARPA language model: it has no 1-grams")
        words: list[str] = []
        letters = 0
        for line in lines:
            if not line.strip() and len(words) < count:
                continue  # KenLM passes over blank lines
            if not line.strip() or line.startswith("\\"):
                break
            _, (word,), _ = gram(line)
            words.append(word)
            letters += len(word)
            if len(words) > count or letters > MOST_LETTERS:
                raise InputError(f"{path}: more 1-grams than the {count} it announces")
        if not words:
            raise InputError(f"{path}: a broken ARPA language model: it has no 1-grams")
        if len(words) < count:
            raise InputError(f"{path}: {len(words)} of the {count} 1-grams that it announces")
        return words


def gram(line: str) -> tuple[float, list[str], float | None]:
    """The log10 probability, words and log10 backoff (None if it has none) of an n-gram's line:
    words between single spaces, the rest between tabs, as KenLM has it. ValueError for another."""
    probability, *rest = line.rstrip("\n").split("\t")
    gram, backoff = rest[0].split(" ") if rest else [], rest[1:]
    if not rest or len(backoff) > 1 or not all(gram):
        raise ValueError(f"{line[:80]!r} is no n-gram; write probability<TAB>words<TAB>backoff")
    return number(probability), gram, number(backoff[0]) if backoff else None


def number(text: str) -> float:
    """A number in plain digits, without what only Python reads as one."""
    if "_" in text or not text.isascii() or text != text.strip():
        raise ValueError(f"{text[:80]!r} is no number")
    return float(text)


def is_binary(path: str | Path) -> bool:
    """Whether a file is a model in KenLM's binary form, whatever its name."""
    with Path(path).open("rb") as file:
        return file.read(len(BINARY)) == BINARY.encode()


def check_counts(path: str | Path) -> None:
    """Refuses an ARPA file that announces more n-grams than fit into its size, because KenLM
    allocates memory for them before it reads any. KenLM checks the size of binary files itself."""
    path = Path(path)
    with opened(path, errors="replace") as file:
        if not file.read(len(BINARY)).startswith(BINARY):
            file.seek(0)
            announced(path, text_lines(file))


def announced(path: Path, lines: Iterator[str]) -> tuple[list[int], str]:
    """Reads the head `\\data\\`: how many n-grams of each order it announces, and the line behind
    it."""
    first = next((line for line in lines if line.strip()), "")
    if first.startswith("\ufeff"):
        raise InputError(f"{path}: begins with a byte order mark; save it without one, for KenLM")
    if first.rstrip("\n") != "\\data\\":
        raise InputError(f"{path}: not an ARPA language model: no \\data\\ at its start")
    counts: list[int] = []
    line = ""
    for line in lines:
        said = re.fullmatch(rf"ngram {len(counts) + 1}=([0-9]{{1,20}})\n", line)
        if said is None and line.startswith("ngram"):
            raise InputError(f"{path}: {line.strip()[:80]!r} is not ngram {len(counts) + 1}=COUNT")
        if said is None:
            break
        counts.append(int(said[1]))
        if not 0 <= counts[-1] <= MOST_GRAMS:
            raise InputError(f"{path}: announces {counts[-1]} n-grams")
    with path.open("rb") as file:
        inflated = MOST_INFLATED if file.read(2) == b"\x1f\x8b" else 1
    possible = path.stat().st_size * inflated // SHORTEST_LINE
    if sum(counts) > possible:
        raise InputError(
            f"{path}: announces {sum(counts)} n-grams, but has room for {possible} at most"
        )
    return counts, line


def text_lines(file) -> Iterator[str]:
    """Lines of a bounded length."""
    while line := file.readline(MOST_LINE + 1):
        if len(line) > MOST_LINE:
            raise ValueError(f"a line of more than {MOST_LINE} characters")
        yield line


@contextlib.contextmanager
def opened(path: Path, *, errors: str = "strict") -> Iterator:
    """An ARPA file as text, plain or gzip; damage becomes InputError."""
    try:
        with path.open("rb") as plain:
            packing = packed_by(plain.read(6))
        if packing not in (None, "gzip"):
            raise InputError(f"{path}: packed by {packing}; unpack it first, or pack it by gzip")
        with (gzip.open if packing else open)(path, "rt", encoding="utf-8", errors=errors) as file:
            yield file
    except InputError:
        raise
    except (OSError, ValueError, EOFError, IndexError, zlib.error) as error:
        raise InputError(f"{path}: cannot read this ARPA language model: {error}") from error
