"""Recordings to mix into others (noise, impulse responses): a prepared corpus, or a small folder
of audio files that is decoded when a run begins."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.joined import open_corpora
from w2v2_jax.data.splits import list_splits
from w2v2_jax.errors import InputError
from w2v2_jax.paths import SPLIT, to_path

MOST_HOURS = 4  # in a folder; held in memory as int16, which is 460 MB
FULL_SCALE = np.float32(1 / 32768)


class Clips(NamedTuple):
    """lengths: [C] samples of each clip. read: (clip, start, length) -> int16 samples.
    fingerprint: equal for equal clips in the same order."""

    lengths: np.ndarray
    read: Callable[[int, int, int], np.ndarray]
    fingerprint: str

    def stretch(self, position: float, length: int) -> np.ndarray:
        """[length] float32 samples at `position`, in [0, 1) of all clips laid end to end. If the
        clip ends too soon, the part begins earlier in that clip; a shorter clip is repeated. So
        every second of the clips is equally likely."""
        ends = np.cumsum(self.lengths)
        place = int(position * int(ends[-1]))
        clip = int(np.searchsorted(ends, place, side="right"))
        size = int(self.lengths[clip])
        start = place - (int(ends[clip]) - size)
        if size >= length:
            samples = self.read(clip, min(start, size - length), length)
        else:
            samples = np.resize(np.roll(self.read(clip, 0, size), -start), length)
        return samples * FULL_SCALE

    def whole(self, position: float) -> np.ndarray:
        """[n] float32 of one clip; all clips are equally likely. position: in [0, 1)."""
        clip = int(position * len(self.lengths))
        return self.read(clip, 0, int(self.lengths[clip])) * FULL_SCALE


def open_clips(where: str, setting: str) -> Clips:
    """The clips of a prepared corpus ("DIR[:split]"), or of a folder and all folders below it.

    Raises InputError that begins with the setting if there are none, or too many in a folder.
    """
    folder = to_path(where)
    try:
        if not folder.is_dir() or (folder / SPLIT).is_file() or list_splits(folder):
            corpus = open_corpora(where)
            if not len(corpus):
                raise InputError(f"{where}: a corpus without an utterance")
            return Clips(corpus.num_samples, corpus.read, corpus.fingerprint())
        return _decoded(folder)
    except InputError as error:
        raise InputError(f"config.{setting}: {error}") from None


def _decoded(folder) -> Clips:
    from w2v2_jax.data.audio import AUDIO_SUFFIXES, load_audio

    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    if not paths:
        raise InputError(f"{folder}: neither a prepared corpus nor a folder with recordings")
    clips, total = [], 0
    for path in paths:
        samples = np.clip(np.rint(load_audio(path) * 32768), -32768, 32767).astype("<i2")
        clips.append(samples)
        total += len(samples)
        if total > MOST_HOURS * 3600 * SAMPLE_RATE:
            raise InputError(
                f"{folder}: more than {MOST_HOURS} h of recordings; prepare them first (w2v2 "
                f"prepare --source folder:{folder} --out DIR) and name DIR here"
            )
    digest = hashlib.sha256()
    for samples in clips:
        digest.update(f"{len(samples)} ".encode() + samples.tobytes())
    lengths = np.array([len(samples) for samples in clips])
    return Clips(lengths, lambda k, start, n: clips[k][start : start + n], digest.hexdigest())
