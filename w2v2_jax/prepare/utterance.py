"""What a source yields: one recording, or a part of one, before it is decoded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

DEFAULT_SPLIT = "train"  # of utterances for which nothing names one


class Clip(NamedTuple):
    """Where audio lies that is no whole file.

    path: a file. start, seconds: the part of the recording (None: to its end). channel: from 0;
    None if the source does not say. inside: what of the file holds the recording,
    ("bytes", first, count), ("member", name) of a tar archive or ("row", number, column) of a
    parquet or arrow file; None: all of it.
    """

    path: str
    start: float = 0.0
    seconds: float | None = None
    channel: int | None = None
    inside: tuple | None = None


class Utterance(NamedTuple):
    """One recording before it is decoded.

    audio: a path, a Clip, the bytes of a file, or samples [S] or [S, channels] at `rate` Hz. text,
    split, speaker and language are None if the source does not say. frames: samples of each
    channel, according to a list.
    """

    id: str
    audio: str | Clip | bytes | np.ndarray
    rate: int | None = None
    text: str | None = None
    split: str | None = None
    speaker: str | None = None
    language: str | None = None
    frames: int | None = None


class SourceOptions(NamedTuple):
    """tfds_data_dir: where TensorFlow Datasets keeps its data. phones: how many kinds of TIMIT's
    phones are told apart, "61", "48" or "39"."""

    tfds_data_dir: str | None = None
    phones: str = "61"
