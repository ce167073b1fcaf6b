"""Recordings -> classes, classes of frames, embeddings of speakers: heads that are not CTC's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.data.transcribed import AnyCorpus, TranscribedCorpus
from w2v2_jax.decode.hypothesis import check_finite
from w2v2_jax.errors import InputError
from w2v2_jax.recognition.batches import BATCH_SECONDS, WHOLE_SECONDS, batched
from w2v2_jax.recognition.corpus import corpus_frames
from w2v2_jax.recognition.network import Network
from w2v2_jax.recognition.recognise import GROUP_SECONDS, check_length
from w2v2_jax.recognition.recordings import as_inputs, as_recording, input_name, read_whole


class Classified(NamedTuple):
    """path: the input's name. label: its most likely class. scores: every class with its
    probability, the most likely first."""

    path: str
    label: str
    scores: dict[str, float]


def class_logits(network: Network, waveforms, num_samples=None) -> np.ndarray:
    """[B, S] raw 16 kHz waveforms -> logits [B, C] of a classifier of recordings."""
    _require(network, "classify")
    return np.asarray(network.head(waveforms, num_samples))


def frame_logits(network: Network, waveforms, num_samples=None) -> np.ndarray:
    """The same for a classifier of frames [B, T, C]; frames after a row's end have no meaning."""
    _require(network, "frames")
    return np.asarray(network.head(waveforms, num_samples)[0])


def embeddings(network: Network, waveforms, num_samples=None) -> np.ndarray:
    """The same for an x-vector model: [B, E], to be compared by their cosine."""
    _require(network, "xvector")
    return np.asarray(network.head(waveforms, num_samples).embeddings)


def _require(network: Network, kind: str) -> None:
    if network.description.objective != kind:
        raise InputError(
            f"{network.path} is a {network.description.objective} checkpoint, not one of {kind}"
        )


def classify(
    network: Network,
    inputs,
    *,
    batch_seconds: float = BATCH_SECONDS,
    on_error: Callable[[str, InputError], Any] | None = None,
) -> Iterator[Classified]:
    """Results in the order of the inputs, which are those of `recognise.transcribe`.

    Recordings are not cut, and may be up to WHOLE_SECONDS long. on_error: called with the name of
    an input that cannot be used and the reason; the others are still processed.
    """
    _require(network, "classify")
    names: list[str] = []
    waveforms: list[np.ndarray] = []
    for number, item in enumerate(as_inputs(inputs)):
        try:
            waveform = _whole(network, item, number)
        except InputError as error:
            if on_error is None:
                raise
            on_error(input_name(item, number), error)
            continue
        names.append(input_name(item, number))
        waveforms.append(waveform)
        if sum(map(len, waveforms)) > GROUP_SECONDS * SAMPLE_RATE:
            yield from _group(network, names, waveforms, batch_seconds, on_error)
            names, waveforms = [], []
    yield from _group(network, names, waveforms, batch_seconds, on_error)


def _whole(network: Network, item, number: int) -> np.ndarray:
    recording = as_recording(item, number)
    waveform = read_whole(recording)
    if waveform is None:
        raise InputError(f"{recording.name}: {_too_long()}")
    check_length(network, recording.name, len(waveform))
    return waveform


def _too_long() -> str:
    return f"longer than {WHOLE_SECONDS} s, and a class is for a whole recording; cut it"


def _as_frames(network: Network) -> Callable:
    """`class_logits` as `batched` takes it: with an axis of one frame."""
    return lambda waveforms, num_samples: class_logits(network, waveforms, num_samples)[:, None]


def _group(network, names, waveforms, batch_seconds, on_error) -> Iterator[Classified]:
    rows = dict(batched(network, _as_frames(network), waveforms, batch_seconds=batch_seconds))
    for number, name in enumerate(names):
        try:
            logits = check_finite(rows[number], where=name)[0]
        except InputError as error:
            if on_error is None:
                raise
            on_error(name, error)
            continue
        yield scored(network, name, logits)


def scored(network: Network, name: str, logits: np.ndarray) -> Classified:
    """Logits [C] as probabilities, the most likely first."""
    exponents = np.exp(logits.astype(np.float64) - logits.max())
    probabilities = exponents / exponents.sum()
    classes = network.description.vocabulary
    assert classes is not None  # a classifier has them
    symbols = classes.symbols
    order = np.argsort(-probabilities, kind="stable")
    scores = {symbols[row]: float(probabilities[row]) for row in order}
    return Classified(name, symbols[order[0]], scores)


def classify_corpus(
    network: Network,
    corpus: AnyCorpus,
    *,
    batch_seconds: float,
    on_error: Callable[[str, InputError], Any],
) -> dict[int, Classified]:
    """The utterances of a prepared corpus by number, in its order, without those that cannot be
    classified: on_error is called with the id of each and the reason."""
    where = f"{corpus.directory}: utterance"
    usable, results = [], {}
    for i, samples in enumerate(corpus.num_samples.tolist()):
        name = f"{where} {corpus.id(i)}"
        try:
            if samples > WHOLE_SECONDS * SAMPLE_RATE:
                raise InputError(f"{name}: {_too_long()}")
            check_length(network, name, samples)
        except InputError as error:
            on_error(corpus.id(i), error)
            continue
        usable.append(i)
    some = TranscribedCorpus(corpus, np.asarray(usable, np.int64))
    for row, logits in corpus_frames(
        network, some, _as_frames(network), batch_seconds=batch_seconds
    ):
        i = usable[row]
        try:
            finite = check_finite(logits, where=f"{where} {corpus.id(i)}")[0]
        except InputError as error:
            on_error(corpus.id(i), error)
            continue
        results[i] = scored(network, corpus.id(i), finite)
    return dict(sorted(results.items()))
