"""The first convolution's kernels as band-pass filters, for networks that train for hours only.

Random kernels have to become filters before anything else can be learned. Here they start as Gabor
filters at mel frequencies, as in arXiv 1711.01161, but each in four phases a quarter of a period
apart instead of a complex pair: after GELU, the sum of the four follows the band's envelope.
"""

from __future__ import annotations

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE

PHASES = 4
LEAST_WIDTH = SAMPLE_RATE // 100  # 10 ms: shorter kernels cannot tell low bands apart
LOWEST, HIGHEST = 60.0, 7600.0  # Hz, edges of the first and the last filter
LONGEST_DEVIATION = 0.0055  # seconds; the window's energy then lies in 25 ms
PRE_EMPHASIS = 0.97


def _mel(hertz):
    return 2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0)


def gabor_kernels(width: int, channels: int) -> np.ndarray:
    """[width, channels] float32: channels / PHASES filters from low to high, phase after phase.

    width: samples of a kernel, at least LEAST_WIDTH. Each filter is a cosine in a Gaussian that is
    as wide at half its height, over frequency, as a triangular mel filter. They are weighted as by
    pre-emphasis, because speech falls with frequency. The variance of all is that of torch's
    kaiming_normal_.
    """
    points = np.linspace(_mel(LOWEST), _mel(HIGHEST), channels // PHASES + 2)
    edges = 700.0 * (10.0 ** (points / 2595.0) - 1.0)
    centres, bandwidths = edges[1:-1], (edges[2:] - edges[:-2]) / 2
    time = ((np.arange(width) - (width - 1) / 2) / SAMPLE_RATE)[:, None]
    deviation = np.sqrt(2 * np.log(2)) / (np.pi * bandwidths)
    window = np.exp(-0.5 * (time / np.minimum(deviation, LONGEST_DEVIATION)) ** 2)
    turns = 2 * np.pi * np.arange(PHASES) / PHASES
    filters = [window * np.cos(2 * np.pi * centres * time + turn) for turn in turns]
    emphasis = np.abs(1 - PRE_EMPHASIS * np.exp(-2j * np.pi * centres / SAMPLE_RATE))
    bank = np.concatenate([one / np.linalg.norm(one, axis=0) * emphasis for one in filters], 1)
    return (bank / bank.std() * np.sqrt(2 / width)).astype(np.float32)
