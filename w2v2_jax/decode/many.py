"""Decodes many utterances in several processes (flashlight holds Python's lock, so threads would
not help)."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np

from w2v2_jax.decode.hypothesis import Decoder, Hypothesis

IN_FLIGHT = 4  # utterances waiting for each process

_decoder: Decoder | None = None  # of a worker process


def _receive(decoder: Decoder) -> None:
    global _decoder
    _decoder = decoder


def _decode(logits: np.ndarray) -> list[Hypothesis]:
    assert _decoder is not None  # the pool's initializer has run
    return _decoder(logits)


def decode_many(
    decoder: Decoder, logits: Iterable[np.ndarray], *, jobs: int = 1
) -> Iterator[list[Hypothesis]]:
    """Hypotheses of each utterance's logits [T, C], in order, as they are ready.

    The logits are read only a little in advance, so a generator's memory stays bounded. Processes
    are spawned (a fork of a process in which JAX runs may hang) and each load the models.
    """
    if jobs == 1:
        yield from map(decoder, logits)
        return
    waiting: deque[Future] = deque()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, spawn, _receive, (decoder,)) as pool:
        for row in logits:
            waiting.append(pool.submit(_decode, row))
            if len(waiting) >= jobs * IN_FLIGHT:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
