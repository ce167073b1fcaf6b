"""Long recordings without a transcript cut into utterances where somebody speaks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.recognition import vad

LONG_SECONDS = vad.DEFAULTS.longest  # shorter recordings stay as they are


class Cut(NamedTuple):
    """A part of a recording as blocks [n]. name: what is added to the recording's id, "-START-END"
    in seconds, or "" if the part is all of it."""

    name: str
    blocks: Iterator[np.ndarray]


def speech_cuts(blocks: Iterator[np.ndarray]) -> Iterator[Cut]:
    """The stretches of speech in a recording of more than LONG_SECONDS, none longer than that;
    a shorter recording as it is. Blocks are taken as they are asked for."""
    head, count = [], 0
    for block in blocks:
        head.append(block)
        count += len(block)
        if count > LONG_SECONDS * SAMPLE_RATE:
            break
    else:
        yield Cut("", iter(head))
        return
    for stretch in vad.stretches(itertools.chain(head, blocks), vad.silero()):
        end = stretch.start + len(stretch.samples)
        times = (f"{place / SAMPLE_RATE:09.3f}" for place in (stretch.start, end))
        yield Cut("-" + "-".join(times), iter([stretch.samples]))
