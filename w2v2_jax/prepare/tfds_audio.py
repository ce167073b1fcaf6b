"""How TensorFlow Datasets reads the recordings of a corpus that it builds: with libsndfile here.

Its own reader is the package pydub, which TFDS does not require, and which runs the program ffmpeg
for all but WAV: both would be found missing only after the download.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

READER = "_pydub_load_audio"


def read_with_libsndfile() -> None:
    """Makes TFDS read recordings by `load`, in this process."""
    from tensorflow_datasets.core.features import audio_feature

    if hasattr(audio_feature, READER):
        setattr(audio_feature, READER, load)


def load(file: BinaryIO, file_format: str | None, channels: int) -> np.ndarray:
    """A recording as int16 [S] or, with several channels, [S, channels], as pydub gives those of 16
    bits. Other channels than the `channels` of the corpus become their mean.

    Raises soundfile.LibsndfileError for what libsndfile cannot read."""
    import soundfile

    samples, _ = soundfile.read(file, dtype="int16", always_2d=True)
    if samples.shape[1] != channels:
        mean = np.rint(samples.mean(axis=1, keepdims=True)).astype(np.int16)
        samples = np.repeat(mean, channels, axis=1)
    return samples[:, 0] if channels == 1 else samples
