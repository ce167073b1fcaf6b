"""The pieces of a SentencePiece model file, which fairseq2's character tokenizers are.

The file is a protocol buffer. Only its field for the pieces is read (`sentencepiece_model.proto`:
ModelProto.pieces = 1, with piece = 1 and type = 3), so that no further package is needed. What is
written has a trainer_spec (2) and a normalizer_spec (3) as well.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from w2v2_jax.errors import InputError

MOST_BYTES = 64 << 20
NORMAL, UNKNOWN, CONTROL = 1, 2, 3
SPACE = "\u2581"  # a piece's sign for a space
CHARACTER_MODEL = 4  # TrainerSpec.model_type
# TrainerSpec's numbers of the fields that hold the ids of these pieces.
ID_FIELDS = {"<unk>": 40, "<s>": 41, "</s>": 42, "<pad>": 43}


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


def write_characters(path: str | Path, symbols: Sequence[str]) -> None:
    """A tokenizer of characters whose ids are the rows of `symbols`: those of `ID_FIELDS` among
    them, `|` for a space, the others one character each. Texts are taken as they are written."""
    pieces, trainer = b"", _number(3, CHARACTER_MODEL)
    for row, symbol in enumerate(symbols):
        kind = NORMAL
        if symbol in ID_FIELDS:
            kind = UNKNOWN if symbol == "<unk>" else CONTROL
            trainer += _number(ID_FIELDS[symbol], row)
        elif len(symbol) != 1:
            raise InputError(f"symbol {symbol!r} is not one character: {path} cannot name it")
        text = SPACE if symbol == "|" else symbol
        score = bytes([2 << 3 | 5]) + struct.pack("<f", -float(row))
        pieces += _bytes(1, _bytes(1, text.encode()) + score + _number(3, kind))
    # No prefix: our texts begin without a boundary. Several spaces are one.
    normalizer = _bytes(1, b"identity") + _number(3, 0) + _number(4, 1) + _number(5, 1)
    Path(path).write_bytes(pieces + _bytes(2, trainer) + _bytes(3, normalizer))


def _bytes(number: int, content: bytes) -> bytes:
    """A field with a length."""
    return _encoded(number << 3 | 2) + _encoded(len(content)) + content


def _number(number: int, value: int) -> bytes:
    """A field with a number."""
    return _encoded(number << 3) + _encoded(value)


def _encoded(value: int) -> bytes:
    """What `_varint` reads."""
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    return bytes([*content, value])


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
