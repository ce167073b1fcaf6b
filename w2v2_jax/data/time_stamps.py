"""Finds holes between the frames of a recording by their time stamps.

A decoder leaves out a packet that is damaged or missing and continues with the next one. All that
follows is then too early, by as little as 20 ms, without any message.
"""

from __future__ import annotations

import statistics
from collections import deque

from w2v2_jax.data.containers import Damaged

COMPARED = 5  # frames before and after a place
LOST_SHARE = 0.5  # of a frame: later than that by their stamps, at least a packet is missing
ROUNDED_SECONDS = 0.003  # stamps are whole milliseconds, and short frames add up to that
# It fills a hole with silence, so that all times stay right.
REMEDY = (
    "a decoder would leave that out: ffmpeg -i IN -af aresample=async=1:min_hard_comp=0.01 OUT.flac"
)


class TimeStamps:
    """Compares the stamp of each frame with the length of all frames before it.

    After a hole, all frames are late. The time of the frames in a browser's recording is not exact,
    so that single frames are late: the medians of several frames before and after are compared.
    """

    def __init__(self):
        self.first: float | None = None  # s, the stamp of the first frame
        self.ends = 0.0  # s, where the last frame ends by its stamp
        self.longest = 0.0  # s, of the longest frame
        self._seconds = 0.0  # of all frames
        self._late: deque[tuple[float, float]] = deque(maxlen=2 * COMPARED)  # s, and where

    def add(self, time: float, seconds: float) -> None:
        """A frame of so many seconds with the stamp `time`. Raises Damaged."""
        self.first = time if self.first is None else self.first
        self._late.append((time - self._seconds, self.ends))
        self.ends, self.longest = time + seconds, max(self.longest, seconds)
        self._seconds += seconds
        if len(self._late) > COMPARED:
            self._compare(len(self._late) - COMPARED)

    def finish(self) -> None:
        """Compares what only fewer frames follow. Raises Damaged."""
        for split in range(max(1, len(self._late) - COMPARED), len(self._late)):
            self._compare(split)

    def _compare(self, split: int) -> None:
        late = [value for value, _ in self._late]
        missing = statistics.median_low(late[split:]) - statistics.median_high(late[:split])
        if missing > max(ROUNDED_SECONDS, LOST_SHARE * self.longest):
            place = self._late[split][1]
            raise Damaged(
                "damaged inside", f"{missing:.2f} s missing after {place:.1f} s; {REMEDY}"
            )
