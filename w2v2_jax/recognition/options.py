"""How to transcribe or align: the keywords of `Model.transcribe` and `Model.align`."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.decode.spelling import Spelled
from w2v2_jax.errors import InputError
from w2v2_jax.recognition.batches import BATCH_SECONDS
from w2v2_jax.recognition.long_audio import CHUNK_SECONDS, CONTEXT_SECONDS
from w2v2_jax.recognition.waveforms import whole_rate
from w2v2_jax.system.arguments import DAY

NUMBERS = ("batch_seconds", "chunk_seconds", "context_seconds", "sample_rate")
SWITCHES = ("vad", "romanise")
FUNCTIONS = ("decoder", "progress", "on_error", "on_spelled")  # or None
# What a call has no use for: taken in silence, it would seem to work.
UNUSED = {
    "transcribe": ("romanise", "on_spelled"),
    "align": ("decoder", "vad", "on_error"),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """How to transcribe.

    batch_seconds: padded audio per call of the network, in seconds.
    chunk_seconds, context_seconds: see `long_audio`; recordings longer than WHOLE_SECONDS are
        processed in chunks.
    decoder: logits [T, C] -> readings, best first, each with words and tokens (the symbol [T] of
        each frame); None means greedy. Only of `transcribe`.
    vad: whether only stretches of speech are transcribed. Only of `transcribe`.
    sample_rate: sample rate of arrays in Hz.
    progress: called with the seconds of audio that were processed.
    on_error: called with the name of an input that cannot be used and the reason; the others are
        still transcribed. Without it the InputError of the first such input is raised. Only of
        `transcribe`.
    romanise: of `align`: whether every word is spelled in Latin letters (`texts.romanise`).
    on_spelled: of `align`: called with the text as it was spelled.
    """

    batch_seconds: float = BATCH_SECONDS
    chunk_seconds: float = CHUNK_SECONDS
    context_seconds: float = CONTEXT_SECONDS
    decoder: Callable[[np.ndarray], Any] | None = None
    vad: bool = False
    sample_rate: int = SAMPLE_RATE
    progress: Callable[[float], Any] | None = None
    on_error: Callable[[str, InputError], Any] | None = None
    romanise: bool = False
    on_spelled: Callable[[Spelled], Any] | None = None


def make_options(values: dict[str, Any], *, call: str = "transcribe") -> Options:
    """Options from the keywords of a call ("transcribe" or "align"); InputError for a keyword that
    it does not take, or for an impossible value."""
    known = [f.name for f in dataclasses.fields(Options) if f.name not in UNUSED[call]]
    for name in values:
        if name not in known:
            raise InputError(f"{call} has no option {name!r}; known: {', '.join(known)}")
    for name, value in values.items():
        _check_type(name, value)
    options = Options(**values)
    for name in ("batch_seconds", "chunk_seconds"):
        if not 0 < getattr(options, name) <= DAY:
            raise InputError(
                f"{name}={getattr(options, name)} must be a number above 0, at most {DAY:g}"
            )
    if not options.chunk_seconds > 2 * options.context_seconds >= 0:
        raise InputError(
            f"context_seconds={options.context_seconds:g} must be at least 0 and less than half of "
            f"chunk_seconds={options.chunk_seconds:g}"
        )
    return dataclasses.replace(options, sample_rate=whole_rate(options.sample_rate, "sample_rate"))


def _check_type(name: str, value: Any) -> None:
    if name in NUMBERS and (isinstance(value, bool) or not isinstance(value, numbers.Real)):
        raise InputError(f"{name}={value!r} must be a number")
    if name in SWITCHES and not isinstance(value, bool):
        raise InputError(f"{name}={value!r} must be True or False")
    if name in FUNCTIONS and value is not None and not callable(value):
        meant = "a function"
        if name == "decoder":
            meant += " of logits [T, C] (`w2v2_jax.decode.make.make`), or None for greedy decoding"
        raise InputError(f"{name}={value!r} must be {meant}")
