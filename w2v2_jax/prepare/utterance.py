"""What a source yields: one recording before it is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from w2v2_jax.errors import InputError

MOST_LINE = 1 << 20  # characters; the words of a day of speech


class Utterance(NamedTuple):
    """One recording before it is decoded.

    audio: a path, the bytes of a file, or samples [S] or [S, channels] at `rate` Hz. text, split
    and speaker are None where the source does not say.
    """

    id: str
    audio: str | bytes | np.ndarray
    rate: int | None = None
    text: str | None = None
    split: str | None = None
    speaker: str | None = None


def text_lines(path: Path) -> Iterator[str]:
    """Lines without their ends; InputError names a file that is not UTF-8, cannot be read, is no
    plain file (a pipe would be waited for) or has a line of more than MOST_LINE characters."""
    try:
        if not path.is_file():
            raise InputError(f"{path}: not a plain file")
        with open(path, encoding="utf-8-sig") as file:
            while line := file.readline(MOST_LINE + 1):
                if len(line) > MOST_LINE:
                    raise InputError(f"{path}: a line of more than {MOST_LINE} characters")
                yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
