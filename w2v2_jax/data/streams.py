"""The streams of an audio file as files that libsndfile decodes one by one, each to its end."""

from __future__ import annotations

import functools
from collections.abc import Callable

from w2v2_jax.data import chunked, containers, pyav
from w2v2_jax.data.adts_frames import check_adts
from w2v2_jax.data.amr_frames import walk_amr
from w2v2_jax.data.containers import Buffer, Stream, Walked
from w2v2_jax.data.flac_frames import walk_flac
from w2v2_jax.data.matroska_elements import walk_matroska
from w2v2_jax.data.mov_boxes import walk_mov
from w2v2_jax.data.mp3_frames import walk_mp3
from w2v2_jax.data.ogg_pages import walk_ogg

MP3_IN_WAV = 0x55


def _walk_mpeg(data: Buffer, start: int) -> Walked | None:
    """MP3, or raw AAC, which is checked alone where there is something to read it."""
    walked = walk_mp3(data, start)
    if walked is None and pyav.is_installed():
        check_adts(data, start)
    return walked


WALKERS: dict[str, Callable[[Buffer, int], Walked | None]] = {
    "riff": functools.partial(chunked.walk_riff, encodings={MP3_IN_WAV: walk_mp3}),
    "aiff": chunked.walk_aiff,
    "w64": chunked.walk_w64,
    "caf": chunked.walk_caf,
    "au": chunked.walk_au,
    "nist": chunked.walk_nist,
    "ogg": walk_ogg,
    "flac": walk_flac,
    "mpeg": _walk_mpeg,
    "matroska": walk_matroska,
    "asf": chunked.walk_asf,
    "mov": walk_mov,
    "amr": walk_amr,
}


def find_streams(data: Buffer) -> list[Stream]:
    """Raises containers.Damaged."""
    return containers.streams(data, WALKERS)


def is_whole(stream: Stream, data: Buffer) -> bool:
    """Whether a decoder may read the file itself."""
    return not stream.head and stream.start == 0 and stream.stop == len(data)
