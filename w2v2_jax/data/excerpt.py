"""Which part of a recording is wanted: a stretch of time, a channel or the mean of all."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

from w2v2_jax.data.containers import Damaged
from w2v2_jax.errors import printable

SLACK_SECONDS = 0.05  # by which a written duration may fall short of a recording's
OVERSHOOT_SECONDS = 0.5  # by which a segment may end after its recording, as in Kaldi
CANCELLED = 0.2  # of the power that channels which have nothing in common leave in their mean


class Excerpt:
    """start, seconds: the stretch (None: to the end). channel: from 0, None for the mean.

    One is for one reading of a recording; it counts what the mean of the channels loses.
    """

    def __init__(
        self, *, start: float = 0.0, seconds: float | None = None, channel: int | None = None
    ):
        self.start, self.seconds, self.channel = start, seconds, channel
        self.channels = 0  # of the recording, once a block was read
        self._powers = [0.0, 0.0]  # of the mean, and the mean of the channels'
        self._passed = 0.0  # seconds of streams that lie before the present one

    @property
    def whole(self) -> bool:
        """Whether all of the time is wanted."""
        return self.start == 0 and self.seconds is None

    @property
    def ended(self) -> bool:
        """Whether the stretch is behind what was read."""
        return self._passed == np.inf

    @property
    def cancelled(self) -> bool:
        """Whether the channels were mixed and took each other away."""
        mixed, apart = self._powers
        return self.channels > 1 and mixed < CANCELLED * apart / self.channels

    def warn(self, name: str) -> None:
        """One line on stderr where the channels took each other away: near silence is heard."""
        if self.cancelled:
            line = printable(
                f"{name}: its channels cancel each other in their mean, so that little is left to "
                "hear; give one channel alone as a file, as `sox IN OUT remix 1` makes it"
            )
            print(f"warning: {line}", file=sys.stderr)

    def mono(self, block: np.ndarray) -> np.ndarray:
        """[n, channels] -> [n]; Damaged where the recording lacks the channel."""
        self.channels = max(self.channels, block.shape[1])
        if self.channel is not None:
            if self.channel >= block.shape[1]:
                detail = f"channel {self.channel + 1} of {block.shape[1]}"
                raise Damaged("no such channel", detail)
            return np.ascontiguousarray(block[:, self.channel])
        if block.shape[1] == 1:
            return np.ascontiguousarray(block[:, 0])
        mixed = block.mean(axis=1)
        self._powers[0] += float(np.einsum("n,n->", mixed, mixed))
        self._powers[1] += float(np.einsum("nc,nc->", block, block)) / block.shape[1]
        return mixed

    def frames_before(self, rate: int) -> int:
        """How many frames of a stream come before the stretch."""
        return max(0, round((self.start - self._passed) * rate))

    def cut(self, blocks: Iterator[np.ndarray], rate: int, skipped: int) -> Iterator[np.ndarray]:
        """What of a stream's blocks [n] lies in the stretch; the first `skipped` frames were left
        out already. Damaged where the recording ends before it."""
        place, first = skipped, self.frames_before(rate)
        last = None
        if self.seconds is not None:
            last = max(0, round((self.start + self.seconds - self._passed) * rate))
        for block in blocks:
            begin, place = place, place + len(block)
            if last is not None and place > last:
                yield block[max(0, first - begin) : last - begin]
                yield from self._rest(block[last - begin :], blocks, rate)
                self._passed = np.inf
                return
            if place > first:
                yield block[max(0, first - begin) :]
        self._passed += place / rate

    def _rest(self, block: np.ndarray, blocks: Iterator[np.ndarray], rate: int):
        """What follows a stretch that begins with the recording, where it is no more than a
        duration's rounding takes away."""
        most, rest = round(SLACK_SECONDS * rate), [block]
        if self.start > 0:
            return
        while sum(map(len, rest)) <= most:
            following = next(blocks, None)
            if following is None:
                yield from rest
                return
            rest.append(following)

    def check_end(self) -> None:
        """Damaged where all streams together ended before the stretch."""
        wanted = self.start if self.seconds is None else self.start + self.seconds
        overshoot = wanted - self._passed
        if not self.whole and (self._passed <= self.start or overshoot > OVERSHOOT_SECONDS):
            detail = f"{self.start:.2f} to {wanted:.2f} s of a recording of {self._passed:.2f} s"
            raise Damaged("outside the recording", detail)
