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
    for path in filter(os.path.isfile, paths):  # a pipe would be waited for, or read empty
        refused = (soundfile.LibsndfileError, OSError, TypeError, ValueError)
        with contextlib.suppress(*refused), without_chatter():
            lengths.append(soundfile.info(os.fsencode(path)).duration)
    return sum(lengths) if lengths else None


class _Bar(tqdm.tqdm):
    """A bar that ends at what came: a length by a header is an estimate, and sums are rounded.
    tqdm would warn."""

    total: float | None

    def update(self, n: float | None = 1) -> bool | None:
        if self.total is not None:
            self.total = max(self.total, self.n + (n or 0))
        return super().update(n)


class _Lines(_Bar):
    """A bar for a log, where nothing can be written over: a line each time."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        if msg is None:  # else the bar is to be cleared
            self.fp.write(f"{self}\n")
            self.fp.flush()
        return False


def audio_bar(total: float | None, *, disable: bool = False) -> tqdm.tqdm:
    """`bar` whose `update` takes seconds of audio."""
    return bar(total, "s", scaled=True, what="audio", disable=disable)


def bar(
    total: float | None,
    unit: str,
    *,
    scaled: bool = False,
    what: str | None = None,
    disable: bool = False,
) -> tqdm.tqdm:
    """A bar that is silent unless it has to wait. scaled: whether thousands are written as k."""
    terminal = sys.stderr.isatty()
    interval = 0.5 if terminal else LOG_SECONDS
    return (_Bar if terminal else _Lines)(
        total=total,
        unit=unit,
        unit_scale=scaled,
        desc=what,
        file=sys.stderr,
        disable=disable,
        mininterval=interval,
        maxinterval=max(10.0, interval),  # that tqdm's own thread waits
        delay=2.0 if terminal else LOG_SECONDS,
        leave=False,
    )
