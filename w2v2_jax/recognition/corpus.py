"""Runs a network on every utterance of a prepared corpus, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.transcribed import AnyCorpus
from w2v2_jax.decode.greedy import GreedyDecoder
from w2v2_jax.decode.hypothesis import Decoder, broken_frames, check_finite
from w2v2_jax.decode.many import decode_many
from w2v2_jax.errors import InputError
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.recognition.batches import batched
from w2v2_jax.recognition.network import Network
from w2v2_jax.system.progress import audio_bar

CHUNK = 1024  # utterances whose audio is held at once


def corpus_frames(
    network: Network, corpus: AnyCorpus, apply: Callable, *, batch_seconds: float
) -> Iterator[tuple[int, np.ndarray]]:
    """(index, [T, ...]) of every utterance of a corpus, in the order in which they are computed,
    with progress on stderr.

    apply: a method of the network, such as `network.logits`; see `batched`. Raises InputError that
    names an utterance whose samples have changed since they were prepared.
    """
    _refuse_too_short(network, corpus)
    seconds = corpus.num_samples / SAMPLE_RATE
    with audio_bar(float(seconds.sum())) as bar:
        for first in range(0, len(corpus), CHUNK):
            indices = range(first, min(first + CHUNK, len(corpus)))
            waveforms = [_samples(corpus, i).astype(np.float32) / 32768 for i in indices]
            for offset, frames in batched(network, apply, waveforms, batch_seconds=batch_seconds):
                yield first + offset, frames
                bar.update(float(seconds[first + offset]))


def _refuse_too_short(network: Network, corpus: AnyCorpus) -> None:
    """InputError, before the work, that names an utterance without a single frame."""
    if not len(corpus):
        return
    shortest = int(np.argmin(corpus.num_samples))
    samples = int(corpus.num_samples[shortest])
    if int(frame_counts(samples, network.description.model.output_layers)) < 1:
        raise InputError(
            f"{corpus.directory}: utterance {corpus.id(shortest)} has {samples} samples, too few "
            "for one frame; prepare the split again without so short ones (--min-seconds 0.1)"
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
    """The best transcript of every utterance of a corpus, in its order; greedy by default."""
    if decoder is None:
        vocabulary = network.description.ctc_vocabulary
        decoder = GreedyDecoder(vocabulary.symbols, units=vocabulary.units)
    order: list[int] = []

    def noted() -> Iterator[np.ndarray]:
        for index, logits in corpus_frames(
            network, corpus, network.logits, batch_seconds=batch_seconds
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
