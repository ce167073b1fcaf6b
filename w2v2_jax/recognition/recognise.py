"""From files or arrays to transcripts: short ones batched by length, long ones in chunks.

Audio is read in groups, so memory depends neither on the number of files nor on their length.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.checkpoint.description import require_ctc
from w2v2_jax.decode import alignment, greedy
from w2v2_jax.decode.hypothesis import check_finite
from w2v2_jax.decode.lines import Line, align_spelled
from w2v2_jax.decode.spelling import spelled_lines
from w2v2_jax.errors import InputError
from w2v2_jax.models.frames import frame_counts
from w2v2_jax.recognition import vad
from w2v2_jax.recognition.batches import batched, stitched
from w2v2_jax.recognition.network import Network
from w2v2_jax.recognition.options import Options
from w2v2_jax.recognition.recordings import (
    Recording,
    as_inputs,
    as_recording,
    input_name,
    read_whole,
)
from w2v2_jax.recognition.transcript import Reading, Result, joined
from w2v2_jax.texts.romanise import romaniser

GROUP_SECONDS = 1200  # of short recordings held at once


class _Short(NamedTuple):
    name: str
    waveform: np.ndarray


def transcribe(network: Network, inputs, options: Options) -> Iterator[Result]:
    """Results in the order of the inputs, as soon as they are ready."""
    require_ctc(network.description, str(network.path))
    waiting: list[_Short] = []
    held = 0
    for number, item in enumerate(as_inputs(inputs)):
        read = _read_input(network, item, number, options)
        if read is None:
            continue
        recording, waveform = read
        if waveform is not None:
            waiting.append(_Short(recording.name, waveform))
            held += len(waveform)
        if waveform is None or held > GROUP_SECONDS * SAMPLE_RATE:
            yield from _short(network, waiting, options)
            waiting, held = [], 0
        if waveform is None:
            result = None
            with _told_errors(recording.name, options):
                result = transcribe_long(network, recording, options)
            if result is not None:
                yield result
    yield from _short(network, waiting, options)


def _read_input(
    network: Network, item, number: int, options: Options
) -> tuple[Recording, np.ndarray | None] | None:
    """A recording and its samples, None for those of a long one; None if it cannot be used."""
    with _told_errors(input_name(item, number), options):
        recording = as_recording(item, number, options.sample_rate)
        waveform = None if options.vad else read_whole(recording)
        if waveform is not None:
            check_length(network, recording.name, len(waveform))
        return recording, waveform
    return None


@contextlib.contextmanager
def _told_errors(name: str, options: Options) -> Iterator[None]:
    """Passes the error of an input to `on_error`, if there is one."""
    try:
        yield
    except InputError as error:
        if options.on_error is None:
            raise
        options.on_error(name, error)


def check_length(network: Network, name: str, samples: int) -> None:
    """InputError that names a waveform too short for one frame."""
    if frame_counts(samples, network.description.model.output_layers) < 1:
        raise InputError(f"{name}: {samples} samples are too short for one frame")


def _short(network: Network, group: list[_Short], options: Options) -> Iterator[Result]:
    results: dict[int, Result] = {}
    waveforms = [short.waveform for short in group]
    for i, logits in batched(
        network, network.logits, waveforms, batch_seconds=options.batch_seconds
    ):
        duration = len(waveforms[i]) / SAMPLE_RATE
        with _told_errors(group[i].name, options):
            reading = decode(network, [logits], options, where=group[i].name)
            results[i] = joined(group[i].name, [(0.0, reading)], duration)
        _tell(options, duration)
    yield from (results[i] for i in sorted(results))


def transcribe_long(network: Network, recording: Recording, options: Options) -> Result:
    """One recording of any length, in chunks or (with vad) in stretches of speech."""
    count = 0

    def blocks():
        nonlocal count
        count = 0
        for block in recording.blocks():
            count += len(block)
            yield block

    if options.vad:
        pieces = list(_speech(network, blocks(), options, where=recording.name))
    else:
        told = _told(network, blocks, options)
        pieces = [(0.0, decode(network, told, options, where=recording.name))]
    if count == 0:
        raise InputError(f"{recording.name}: no samples")
    return joined(recording.name, pieces, count / SAMPLE_RATE)


def _speech(
    network: Network, blocks, options: Options, *, where: str
) -> Iterator[tuple[float, Reading]]:
    """(start in seconds, what was said) for stretches of speech, each of which is normalised as a
    separate utterance."""
    stretches = vad.stretches(blocks, vad.silero())
    while group := list(itertools.islice(stretches, 64)):
        readings: dict[int, Reading] = {}
        waveforms = [stretch.samples for stretch in group]
        for i, logits in batched(
            network, network.logits, waveforms, batch_seconds=options.batch_seconds
        ):
            readings[i] = decode(network, [logits], options, where=where)
            _tell(options, len(waveforms[i]) / SAMPLE_RATE)
        yield from ((group[i].start / SAMPLE_RATE, readings[i]) for i in range(len(group)))


def decode(
    network: Network, pieces: Iterable[np.ndarray], options: Options, *, where: str
) -> Reading:
    """Decodes logits [t, C] that come in pieces; greedy decoding stores two numbers per frame.

    Raises InputError, which begins with `where`, if they are no finite numbers.
    """
    pieces = _checked(pieces, where)
    vocabulary = network.description.ctc_vocabulary
    read: dict[str, Any] = {
        "seconds_per_frame": network.description.model.seconds_per_frame,
        "units": vocabulary.units,
    }
    words = None
    if options.decoder is None:
        choices = [greedy.frame_choices(piece) for piece in pieces]
        path, probability = (np.concatenate(parts) for parts in zip(*choices, strict=True))
    else:
        logits = np.concatenate(list(pieces))
        best = options.decoder(logits)[0]
        words, path = list(best.words), np.asarray(best.tokens)
        probability = alignment.path_probability(path, logits)
    spoken = alignment.collapse(path, probability)
    if words is None:
        words = alignment.words(spoken, vocabulary.symbols, **read)
    return Reading(words, alignment.characters(spoken, vocabulary.symbols, **read))


def _checked(pieces: Iterable[np.ndarray], where: str) -> Iterator[np.ndarray]:
    frames = 0
    for piece in pieces:
        yield check_finite(piece, where=where, first=frames)
        frames += len(piece)


def _told(network: Network, blocks, options: Options) -> Iterator[np.ndarray]:
    """Stitched logits of a recording, with its progress."""
    pieces = stitched(
        network,
        network.logits,
        blocks,
        chunk_seconds=options.chunk_seconds,
        context_seconds=options.context_seconds,
        batch_seconds=options.batch_seconds,
    )
    for piece in pieces:
        yield piece
        _tell(options, len(piece) * network.description.model.seconds_per_frame)


def _tell(options: Options, seconds: float) -> None:
    if options.progress is not None:
        options.progress(seconds)


def align(network: Network, source, lines, options: Options, *, where: str = "text") -> list[Line]:
    """The lines of a transcript over one recording, a path or an array; see `align_spelled`."""
    require_ctc(network.description, str(network.path))
    lines = _text_lines(lines, where)
    vocabulary = network.description.ctc_vocabulary
    latin = romaniser() if options.romanise else None
    spelled = spelled_lines(lines, vocabulary, where=where, romanise=latin)
    if options.on_spelled is not None:
        options.on_spelled(spelled)
    sources = as_inputs(source)
    if len(sources) != 1:
        raise InputError(f"align takes one recording, not {len(sources)}")
    return align_spelled(
        whole_logits(network, sources[0], options),
        spelled.lines,
        where=where,
        seconds_per_frame=network.description.model.seconds_per_frame,
    ).lines


def _text_lines(lines, where: str) -> list[str]:
    """The lines of a text, a string or several; InputError for anything else."""
    if isinstance(lines, str):
        return lines.splitlines()
    lines = list(lines) if isinstance(lines, Iterable) else [lines]
    other = next((line for line in lines if not isinstance(line, str)), "")
    if other != "":
        raise InputError(f"{where}: {other!r} is no line of text; give a string, or several")
    return lines


def whole_logits(network: Network, source, options: Options) -> np.ndarray:
    """Logits [T, C] of one recording of any length, a path or an array; InputError names what
    cannot be used."""
    recording = as_recording(source, 0, options.sample_rate)
    waveform = read_whole(recording)
    if waveform is not None:
        check_length(network, recording.name, len(waveform))
        batches = batched(network, network.logits, [waveform], batch_seconds=options.batch_seconds)
        logits = next(iter(batches))[1]
    else:
        logits = np.concatenate(list(_told(network, recording.blocks, options)))
    return check_finite(logits, where=recording.name)
