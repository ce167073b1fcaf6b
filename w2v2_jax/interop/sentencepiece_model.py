"""The pieces of a SentencePiece model file, which fairseq2's character tokenizers are.

The file is a protocol buffer. Only its field for the pieces is read (`sentencepiece_model.proto`:
ModelProto.pieces = 1, with piece = 1 and type = 3), so that no further package is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from w2v2_jax.errors import InputError

MOST_BYTES = 64 << 20
NORMAL, UNKNOWN, CONTROL = 1, 2, 3
SPACE = "\u2581"  # a piece's sign for a space


class Piece(NamedTuple):
    """text, and kind: NORMAL, UNKNOWN, CONTROL or one of the others."""

    text: str
    kind: int


def read_pieces(path: str | Path) -> list[Piece]:
    """The pieces in the order of their ids; InputError if the file is no such model."""
    path = Path(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: more than {MOST_BYTES >> 20} MiB, so no tokenizer")
        content = path.read_bytes()
        pieces = [_piece(value) for number, value in _fields(content) if number == 1]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a SentencePiece model: {error}") from error
    if not pieces:
        raise InputError(f"{path}: not a SentencePiece model: it has no pieces")
    return pieces


def _piece(message) -> Piece:
    fields = dict(_fields(message))
    text = bytes(fields.get(1, b"")).decode("utf-8")
    kind = fields.get(3, NORMAL)
    if not text or not isinstance(kind, int):
        raise ValueError("a piece without a text")
    return Piece(text, kind)


def _fields(content) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of every field: bytes of one with a length, else its number."""
    content, place = memoryview(content), 0
    while place < len(content):
        tag, place = _varint(content, place)
        kind = tag & 7
        if kind == 0:
            value, place = _varint(content, place)
        else:
            size = {1: 8, 5: 4}.get(kind)
            if kind == 2:
                size, place = _varint(content, place)
            if size is None or size > len(content) - place:
                raise ValueError(f"a field of wire type {kind} beyond its end")
            value, place = content[place : place + size], place + size
        yield tag >> 3, value


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(content):
            break
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("a number without an end")
