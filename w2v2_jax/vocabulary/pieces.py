"""Subword pieces of a sentencepiece model (BPE or unigram). This is the only file that uses the
library, which is optional and loaded when a text is split. Joining pieces does not need it."""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Callable
from pathlib import Path

from w2v2_jax.errors import InputError, lacking
from w2v2_jax.vocabulary.units import DELIMITER, MARK

INSTALL = "pip install sentencepiece"
MOST_BYTES = 16 << 20  # of a model; one of 32 000 pieces has less than one MiB


def read_model(path: str | Path) -> str:
    """A model's file as text that a vocabulary keeps; InputError if it is none."""
    try:
        content = Path(path).read_bytes()[: MOST_BYTES + 1]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > MOST_BYTES:
        raise InputError(f"{path}: more than {MOST_BYTES >> 20} MiB are no sentencepiece model")
    return base64.b64encode(content).decode()


def model_bytes(model: str) -> bytes:
    """The model's file again; ValueError if the text is none."""
    try:
        return base64.b64decode(model, validate=True)
    except binascii.Error as error:
        raise ValueError(f"the sentencepiece model is damaged: {error}") from error


@functools.lru_cache(maxsize=8)
def _processor(model: str):
    try:
        import sentencepiece
    except ImportError as error:
        raise InputError(lacking(error, "pieces of words need sentencepiece", INSTALL)) from error
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model_bytes(model))
        processor.get_piece_size()
    except (RuntimeError, ValueError) as error:
        raise InputError(f"not a sentencepiece model: {str(error)[:100]}") from error
    return processor


def pieces_of(model: str) -> tuple[str, ...]:
    """The pieces that are text, in the model's order.

    Raises InputError for models whose pieces are bytes, or span or end words instead of beginning
    them: their text could not be put together symbol by symbol.
    """
    processor = _processor(model)
    pieces = []
    for number in range(processor.get_piece_size()):
        piece = processor.id_to_piece(number)
        if processor.is_byte(number):
            raise InputError(
                "the sentencepiece model has byte pieces (byte_fallback); train it without that"
            )
        if processor.is_control(number) or processor.is_unknown(number) or piece == DELIMITER:
            continue
        if MARK in piece[1:]:
            raise InputError(
                f"the sentencepiece model's piece {piece!r} does not begin a word at its mark; "
                "train it with split_by_whitespace and without treat_whitespace_as_suffix"
            )
        pieces.append(piece)
    return tuple(pieces)


def splitter(model: str) -> Callable[[str], list[str]]:
    """Cuts a text into pieces; what the model has no piece for stays as it is."""
    processor = _processor(model)
    return lambda text: processor.encode(text, out_type=str)
