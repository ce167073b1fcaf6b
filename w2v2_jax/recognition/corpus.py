"""Runs a network on every utterance of a prepared corpus, in bounded memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.transcribed import AnyCorpus
from w2v2_jax.decode.greedy import GreedyDecoder
from w2v2_jax.decode.hypothesis import Decoder, broken_frames, check_finite
from w2v2_jax.decode.many import decode_many
from w2v2_jax.errors import InputError, counted
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.recognition.batches import batched
from w2v2_jax.recognition.network import Network
from w2v2_jax.system.progress import audio_bar

CHUNK = 1024  # utterances whose audio is held at once


def corpus_frames(
    network: Network,
    corpus: AnyCorpus,
    apply: Callable,
    *,
    batch_seconds: float,
    without: Collection[int] = (),
) -> Iterator[tuple[int, np.ndarray]]:
    """(index, [T, ...]) of every utterance of a corpus, in the order in which they are computed,
    with progress on stderr.

    apply: a method of the network, such as `network.logits`; see `batched`. without: the indices of
    utterances that are left out. Raises InputError that names an utterance whose samples have
    changed since they were prepared, and, before the work, one without a single frame.
    """
    _refuse(corpus, [i for i in too_short(network, corpus) if i not in without])
    seconds = corpus.num_samples / SAMPLE_RATE
    computed = [i for i in range(len(corpus)) if i not in without]
    with audio_bar(float(seconds[computed].sum())) as bar:
        for first in range(0, len(computed), CHUNK):
            indices = computed[first : first + CHUNK]
            waveforms = [_samples(corpus, i).astype(np.float32) / 32768 for i in indices]
            for offset, frames in batched(network, apply, waveforms, batch_seconds=batch_seconds):
                yield indices[offset], frames
                bar.update(float(seconds[indices[offset]]))


def too_short(network: Network, corpus: AnyCorpus) -> list[int]:
    """The indices of the utterances without a single frame, the shortest first."""
    layers = network.description.model.output_layers
    frames = np.asarray(frame_counts(np.asarray(corpus.num_samples), layers))
    found = np.flatnonzero(frames < 1)
    return [int(i) for i in found[np.argsort(corpus.num_samples[found], kind="stable")]]


def tell_too_short(network: Network, corpus: AnyCorpus, *, where: str, then: str) -> list[int]:
    """`too_short`, with a warning that counts them. where: the corpus as it was given; then: what
    becomes of them. InputError if no other utterance is left."""
    short = too_short(network, corpus)
    if len(short) == len(corpus):
        _refuse(corpus, short)
    warn_too_short(corpus, short, where=where, then=then)
    return short


def warn_too_short(corpus: AnyCorpus, short: list[int], *, where: str, then: str) -> None:
    """A line on stderr that counts the utterances without a frame and names one, if there is
    any."""
    if short:
        print(
            f"warning: {where}: {counted(len(short), 'utterance')} with too few samples for one "
            f"frame, such as {corpus.id(short[0])}; {then}",
            file=sys.stderr,
        )


def _refuse(corpus: AnyCorpus, short: list[int]) -> None:
    if short:
        raise InputError(
            f"{corpus.directory}: utterance {corpus.id(short[0])} has "
            f"{int(corpus.num_samples[short[0]])} samples, too few for one frame; prepare the "
            "split again without so short ones (--min-seconds 0.1)"
        )


def _samples(corpus: AnyCorpus, i: int) -> np.ndarray:
    if not corpus.verify(i):
        raise InputError(
            f"{corpus.directory}: the samples of {corpus.id(i)} differ from their checksum, on a "
            "bad disk or after a bad copy; copy or prepare the split again"
        )
    return corpus.read(i, 0, int(corpus.num_samples[i]))


def transcripts(
    network: Network,
    corpus: AnyCorpus,
    *,
    batch_seconds: float,
    decoder: Decoder | None = None,
    jobs: int = 1,
) -> list[str]:
    """The best transcript of every utterance of a corpus, in its order; greedy by default. Of one
    without a single frame it is empty."""
    if decoder is None:
        vocabulary = network.description.ctc_vocabulary
        decoder = GreedyDecoder(vocabulary.symbols, units=vocabulary.units)
    order: list[int] = []
    short = frozenset(too_short(network, corpus))

    def noted() -> Iterator[np.ndarray]:
        for index, logits in corpus_frames(
            network, corpus, network.logits, batch_seconds=batch_seconds, without=short
        ):
            order.append(index)
            if len(broken_frames(logits)):
                check_finite(logits, where=f"{corpus.directory}: utterance {corpus.id(index)}")
            yield logits

    texts = [""] * len(corpus)
    decoded = decode_many(decoder, noted(), jobs=jobs)
    for number, hypotheses in enumerate(decoded):
        texts[order[number]] = hypotheses[0].text
    return texts
