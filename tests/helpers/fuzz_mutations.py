"""Ways to damage a file: bytes, lines of text, JSON values, headers, archives, pickles.

`damaged` asks a chooser for every decision, so that hypothesis can search and shrink, and a plain
random generator can serve where hypothesis is not installed.
"""

from __future__ import annotations

import io
import json
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np


class Chooser(Protocol):
    """number(low, high): a whole number of the closed range."""

    def number(self, low: int, high: int) -> int: ...


def one_of(choose: Chooser, options):
    return options[choose.number(0, len(options) - 1)]


NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1,
           2**40, 2**62, 2**63 - 1, 2**63, -(2**31), -(2**63))  # fmt: skip
TEXTS = (
    "", " ", "\t", "\0", "..", "../../etc/passwd", "/etc/passwd", "/", ".", "~", "\ufeff", "\udcff",
    "é", "e\u0301", "\u202e", "\x1b[2J", "%s%n", "nan", "inf", "-1", "0", "1e999", "9" * 30,
    "9" * 5000, "a" * 70000, "true", "null", "<s>", "<unk>", "|", "\\data\\", "\\1-grams:",
    "\r", "\n\n", "🙂", "__import__('os').abort()", "{}", "[[[[[[",
)  # fmt: skip
VALUES = (None, True, False, "", "x", "../x", [], {}, [[]], [None], {"a": 1}, 0.5, -0.5, 1e308,
          float("nan"), float("inf"), *NUMBERS, *TEXTS)  # fmt: skip
OPCODES = (
    b"(", b".", b"0", b"1", b"2", b"I1\n", b"I01\n", b"J\xff\xff\xff\x7f", b"K\x01", b"M\xff\xff",
    b"N", b"X\x04\0\0\0abcd", b"U\x02ab", b"]", b"}", b")", b"a", b"e", b"s", b"u", b"t", b"l",
    b"d", b"b", b"R", b"o", b"Q", b"q\0", b"r\xff\xff\xff\xff", b"h\0", b"j\xff\xff\xff\xff",
    b"p9999999999\n", b"\x81", b"\x82\x01", b"\x85", b"\x86", b"\x87", b"\x88", b"\x89",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x8b\xff\xff\xff\x7f", b"\x8e\xff\xff\xff\xff",
    b"\x8f", b"\x90", b"\x91", b"\x92", b"\x93", b"\x94", b"\x95\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x96\0\0\0\0\x01\0\0\0", b"\x97", b"\x98", b"\x80\x09", b"cbuiltins\nset\n",
    b"cbuiltins\nbytes\n", b"cbuiltins\nbytearray\n", b"cbuiltins\nstr\n", b"cbuiltins\ndict\n",
    b"cbuiltins\neval\n", b"cos\nsystem\n", b"cargparse\nNamespace\n", b"ctorch\nFloatStorage\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"cfairseq.x\nY\n",
    b"iargparse\nNamespace\n", b"2" * 40 + b"\x86" * 20,
)  # fmt: skip


def bytes_of(data: bytes, choose: Chooser) -> bytes:
    """Flips, sets, inserts, deletes, cuts, repeats; numbers of 1 to 8 bytes in both orders."""
    at = choose.number(0, max(0, len(data) - 1))
    kind = choose.number(0, 7)
    if kind == 0 and data:
        return data[:at] + bytes([data[at] ^ 1 << choose.number(0, 7)]) + data[at + 1 :]
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + data[at + choose.number(1, 64) :]
    if kind == 3:
        return data[:at] + one_of(choose, TEXTS).encode("utf-8", "surrogateescape") + data[at:]
    if kind == 4:
        return data[:at] + data[at : at + choose.number(1, 512)] * 2 + data[at:]
    if kind == 5:
        return data[:at] + bytes([choose.number(0, 255)]) + data[at + 1 :]
    size = one_of(choose, (1, 2, 4, 8))
    value = one_of(choose, NUMBERS) % 2 ** (8 * size)
    number = value.to_bytes(size, one_of(choose, ("little", "big")))
    at = min(at, choose.number(0, 64)) if kind == 6 else at  # headers are at the start
    return data[:at] + number + data[at + size :]


def text(data: bytes, choose: Chooser) -> bytes:
    """Lines dropped, repeated, exchanged; a field replaced."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    at, kind = choose.number(0, len(lines) - 1), choose.number(0, 4)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines[at:at] = [lines[at]] * choose.number(1, 3)
    elif kind == 2:
        other = choose.number(0, len(lines) - 1)
        lines[at], lines[other] = lines[other], lines[at]
    else:
        separator = one_of(choose, ("\t", " ", "=", ":", "/"))
        fields = lines[at].split(separator)
        place = choose.number(0, len(fields) - 1)
        fields[place : place + choose.number(0, 1)] = [one_of(choose, TEXTS)]
        lines[at] = separator.join(fields)
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def json_value(value: Any, choose: Chooser) -> Any:
    """A JSON value with one place of it replaced, removed, or wrapped."""
    if isinstance(value, (dict, list)) and value and choose.number(0, 5):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = one_of(choose, keys)
        changed = value.copy()
        if choose.number(0, 9):
            changed[key] = json_value(value[key], choose)
        else:
            del changed[key]
        return changed
    kind = choose.number(0, 9)
    if kind == 0:
        return [value, value]
    if kind == 1:
        return {one_of(choose, TEXTS): value}
    return one_of(choose, VALUES)


def json_text(data: bytes, choose: Chooser) -> bytes:
    if not choose.number(0, 30):
        return b'{"a":' * 100_000
    return json.dumps(json_value(json.loads(data), choose)).encode("utf-8", "surrogateescape")


def safetensors(data: bytes, choose: Chooser) -> bytes:
    """Another header, its length corrected or not."""
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    nested = header.get("__metadata__", {})
    if "w2v2_jax" in nested and choose.number(0, 1):
        changed = json_value(json.loads(nested["w2v2_jax"]), choose)
        header["__metadata__"] = {"w2v2_jax": json.dumps(changed)}
    else:
        header = json_value(header, choose)
    written = json.dumps(header).encode("utf-8", "surrogateescape")
    claimed = len(written) if choose.number(0, 9) else one_of(choose, NUMBERS) % 2**64
    return struct.pack("<Q", claimed) + written + data[8 + size :]


def pickled(data: bytes, choose: Chooser) -> bytes:
    """Steps of a pickle inserted, or put in place of others."""
    at = choose.number(0, len(data))
    steps = b"".join(one_of(choose, OPCODES) for _ in range(choose.number(1, 4)))
    return data[:at] + steps + data[at + choose.number(0, 8) :]


def npy(data: bytes, choose: Chooser) -> bytes:
    """An array with another value, header or length."""
    kind = choose.number(0, 3)
    if kind == 0:
        return bytes_of(data, choose)
    array = np.load(io.BytesIO(data), allow_pickle=False).copy()
    if kind == 1 and len(array) and array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        value = one_of(choose, NUMBERS)
        array[choose.number(0, len(array) - 1)] = min(max(value, limits.min), limits.max)
    elif kind == 2:
        array = array[: choose.number(0, len(array))]
    else:
        header = data[:128]
        digits = [i for i in range(len(header)) if header[i : i + 1].isdigit()]
        at = one_of(choose, digits) if digits else 0
        return header[:at] + b"%d" % choose.number(0, 9) + header[at + 1 :] + data[128:]
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def archive(data: bytes, choose: Chooser) -> bytes:
    """A zip with one member damaged by its kind, and right checksums; sometimes compressed."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        members = {name: source.read(name) for name in source.namelist()}
    name = one_of(choose, list(members))
    by_suffix: dict[str, Callable] = {"pkl": pickled, "npy": npy, "json": json_text}
    change = by_suffix.get(name.rsplit(".", 1)[-1], bytes_of)
    if choose.number(0, 9) == 0:
        members[one_of(choose, TEXTS).replace("\udcff", "") or "x"] = members.pop(name)
    else:
        members[name] = change(members[name], choose)
    out = io.BytesIO()
    how = zipfile.ZIP_STORED if choose.number(0, 9) else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(out, "w", how) as target:
        for key, content in members.items():
            target.writestr(zipfile.ZipInfo(key), content, compress_type=how)
    return out.getvalue()


BY_SUFFIX: dict[str, tuple[Callable, ...]] = {
    "json": (json_text, json_text, bytes_of),
    "safetensors": (safetensors, safetensors, bytes_of),
    "pt": (archive, archive, bytes_of),
    "bin": (archive, archive, bytes_of),
    "old": (pickled, bytes_of),  # torch's format before 1.6
    "npz": (archive, archive, bytes_of),
    "npy": (npy, bytes_of),
    "tsv": (text, text, bytes_of), "txt": (text, text, bytes_of), "ltr": (text, bytes_of),
    "wrd": (text, bytes_of), "arpa": (text, text, bytes_of), "phn": (text, bytes_of),
}  # fmt: skip


UNCHANGEABLE = (
    ValueError, KeyError, OSError, struct.error, zipfile.BadZipFile, zlib.error, TypeError,
    AttributeError, EOFError, NotImplementedError, RuntimeError, tokenize.TokenError,
)  # fmt: skip


def damaged(files: dict[str, bytes], choose: Chooser) -> dict[str, bytes]:
    """The files with one to three of them changed, now and then one missing."""
    files = dict(files)
    for _ in range(choose.number(1, 3)):
        name = one_of(choose, sorted(files))
        if len(files) > 1 and choose.number(0, 40) == 0:
            del files[name]
            continue
        changes = BY_SUFFIX.get(name.rsplit(".", 1)[-1], (bytes_of,))
        try:
            files[name] = one_of(choose, changes)(files[name], choose)
        except UNCHANGEABLE:
            files[name] = bytes_of(files[name], choose)  # damaged before: its kind is gone
    return files
