"""The part of a recording to read: a range of time, and one channel or the mean of all."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

from w2v2_jax.data.containers import Damaged
from w2v2_jax.errors import printable

SLACK_SECONDS = 0.05  # by which a given duration may be shorter than the recording's
OVERSHOOT_SECONDS = 0.5  # by which a segment may end after its recording, as in Kaldi
UNDECODED = "some of its frames are damaged and cannot be decoded; they are silent"
SEVERAL_TRACKS = (
    "it has several audio tracks, of which the first is read; ffmpeg -i IN -map 0:a:1 OUT.flac "
    "takes the second"
)
CANCELLED = 0.2  # share of the power that the mean of unrelated channels would have


class Excerpt:
    """start, seconds: the range (None: to the end). channel: from 0, None for the mean.

    An Excerpt is used for one reading of a recording. It measures how much power the mean of the
    channels loses.
    """

    def __init__(
        self, *, start: float = 0.0, seconds: float | None = None, channel: int | None = None
    ):
        self.start, self.seconds, self.channel = start, seconds, channel
        self.undecoded = False  # whether the decoder left something out or made it silent
        self.several_tracks = False  # beside which the one that is read lies
        self.channels = 0  # of the recording, known after the first block
        self._powers = [0.0, 0.0]  # of the mean, and the mean of the channels'
        self._passed = 0.0  # seconds of streams that lie before the present one

    @property
    def whole(self) -> bool:
        """Whether the range is the whole recording."""
        return self.start == 0 and self.seconds is None

    @property
    def ended(self) -> bool:
        """Whether everything up to the end of the range was read."""
        return self._passed == np.inf

    @property
    def cancelled(self) -> bool:
        """Whether the channels were averaged and cancelled each other."""
        mixed, apart = self._powers
        return self.channels > 1 and mixed < CANCELLED * apart / self.channels

    def warn(self, name: str) -> None:
        """A line on stderr each if the channels cancelled each other, which leaves near silence, if
        something could not be decoded, and if there are tracks that are not read."""
        lines = {
            "its channels cancel each other in their mean, so that little is left to hear; give a "
            "file with one channel, as made by `sox IN OUT remix 1`": self.cancelled,
            UNDECODED: self.undecoded,
            SEVERAL_TRACKS: self.several_tracks,
        }
        for line in (line for line, holds in lines.items() if holds):
            print(f"warning: {printable(f'{name}: {line}')}", file=sys.stderr)

    def mono(self, block: np.ndarray) -> np.ndarray:
        """[n, channels] -> [n]; Damaged if the recording lacks the channel."""
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
        """The number of frames of a stream that come before the range."""
        return max(0, round((self.start - self._passed) * rate))

    def cut(self, blocks: Iterator[np.ndarray], rate: int, skipped: int) -> Iterator[np.ndarray]:
        """The part of a stream's blocks [n] within the range; the first `skipped` frames are
        already left out. Damaged if the recording ends before the range."""
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
        """What follows a range that begins with the recording, if it is no more than the rounding
        of a duration removes."""
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
        """Damaged if all streams together ended before the range."""
        wanted = self.start if self.seconds is None else self.start + self.seconds
        overshoot = wanted - self._passed
        if not self.whole and (self._passed <= self.start or overshoot > OVERSHOOT_SECONDS):
            detail = f"{self.start:.2f} to {wanted:.2f} s of a recording of {self._passed:.2f} s"
            raise Damaged("outside the recording", detail)
