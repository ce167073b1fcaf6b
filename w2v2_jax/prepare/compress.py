"""From plain shards to FLAC shards (`data.flac_shard`), each compared with its source."""

from __future__ import annotations

import concurrent.futures
from pathlib import Path

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.corpus import COMPRESSED
from w2v2_jax.data.flac_frames import frame_header
from w2v2_jax.data.flac_shard import open_flac_shard
from w2v2_jax.data.shards import flac_name, shard_name
from w2v2_jax.errors import InputError
from w2v2_jax.paths import SPLIT, AnyPath, is_remote, read_json, write_json

CODECS = ("flac",)
AT_ONCE = 1 << 22  # samples


def check_codec(codec: str, out: AnyPath) -> None:
    """Raises InputError for an unknown codec ("" is none), or an object store."""
    if codec and (codec not in CODECS or is_remote(out)):
        raise InputError(f"--compress {codec}: use {', '.join(CODECS)}, and a local --out")


def compress_split(directory: Path, *, workers: int) -> None:
    """Replaces the plain shards of a split, which is not in use yet, by compressed ones, each after
    it was decoded to the same samples; corpus.json is changed last. The index stays unchanged."""
    info = read_json(directory / SPLIT)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda k: _compress(directory, k), range(info["shards"])))
    write_json(directory / SPLIT, {**info, "version": COMPRESSED, "codec": "flac"})


def _compress(directory: Path, number: int) -> None:
    import soundfile

    plain, path = directory / shard_name(number), directory / flac_name(number)
    samples = np.memmap(plain, "<i2", mode="r")
    options = dict(samplerate=SAMPLE_RATE, channels=1, subtype="PCM_16", format="FLAC")
    with soundfile.SoundFile(path, "w", **options) as file:
        for start in range(0, len(samples), AT_ONCE):
            file.write(samples[start : start + AT_ONCE])
    frame_places(path.read_bytes()).tofile(path.with_suffix(".frames"))
    shard = open_flac_shard(path)
    for start in range(0, len(samples), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        if not np.array_equal(shard[part], samples[part]):
            raise RuntimeError(f"{path} does not hold the samples of {plain.name}")
    plain.unlink()


def frame_places(content: bytes) -> np.ndarray:
    """[frames + 1] "<u8": where the frames of a FLAC file begin, whose blocks are of one size, and
    where it ends."""
    place, last = 4, False
    while not last:  # the blocks of metadata
        last = bool(content[place] & 0x80)
        place += 4 + int.from_bytes(content[place + 1 : place + 4], "big")
    sync, places = content[place : place + 2], list[int]()
    while place >= 0:
        header = frame_header(content, place)
        if header is not None and header.number == len(places):
            places.append(place)
        place = content.find(sync, place + 1)
    return np.array([*places, len(content)], "<u8")
