"""What a source yields: one recording before it is decoded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


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
