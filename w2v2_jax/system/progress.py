"""Progress on stderr in seconds of audio: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

import tqdm

from w2v2_jax.errors.streams import without_chatter

LOG_SECONDS = 30.0  # between two lines where stderr is no terminal


def total_seconds(paths: Sequence[str]) -> float | None:
    """The length of all files by their headers, or None if one does not say; files that cannot be
    read are reported when they are read."""
    import soundfile

    lengths = []
    for path in paths:
        refused = (soundfile.LibsndfileError, OSError, TypeError, ValueError)
        with contextlib.suppress(*refused), without_chatter():
            lengths.append(soundfile.info(os.fsencode(path)).duration)
    return sum(lengths) if lengths else None


def audio_bar(total: float | None, *, disable: bool = False) -> tqdm.tqdm:
    """A bar whose `update` takes seconds of audio; silent unless it has to wait."""
    terminal = sys.stderr.isatty()
    return tqdm.tqdm(
        total=total,
        unit="s",
        unit_scale=True,
        desc="audio",
        file=sys.stderr,
        disable=disable,
        mininterval=0.5 if terminal else LOG_SECONDS,
        delay=2.0 if terminal else LOG_SECONDS,
        leave=False,
    )
