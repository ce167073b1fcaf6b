"""Logits on disk: computed once, decoded many times.

A folder with `logits.npy` (the frames of all utterances as they were computed, [frames, C]),
`index.npz` (their ids, frame counts, references and numbers in the corpus) and `emissions.json`
(symbols, case, seconds per frame and the origin of the logits), which is written last and completes
the folder.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.data.npz import DAMAGE, array_names, read_array
from w2v2_jax.decode.hypothesis import check_finite
from w2v2_jax.errors import InputError
from w2v2_jax.paths import MOST_LARGE_JSON, read_json, write_json, writing
from w2v2_jax.vocabulary import Vocabulary

DESCRIPTION, INDEX, LOGITS = "emissions.json", "index.npz", "logits.npy"
DTYPES = ("float32", "float16")


class Utterance(NamedTuple):
    """One row of a corpus: its id, logits [T, C] and reference, None if there is none. place: its
    number in the corpus; None for the order in which rows are written."""

    id: str
    logits: np.ndarray
    reference: str | None
    place: int | None = None


class Emissions:
    """A folder of logits, read through the page cache; processes that each open it share the pages.
    Utterances are in the order of their corpus, as `evaluate` has them: intervals depend on it.

    references: the transcript of each utterance, None if it has none.
    """

    def __init__(self, folder: str | Path):
        """Raises InputError when the folder is not whole."""
        self.folder = Path(folder)
        try:
            content = read_json(self.folder / DESCRIPTION, most=MOST_LARGE_JSON)
            self.vocabulary = Vocabulary.from_json(content)
            self.seconds_per_frame = float(content["seconds_per_frame"])
            if not 0 < self.seconds_per_frame < math.inf:
                raise ValueError(f"seconds_per_frame={self.seconds_per_frame}")
            index = self.folder / INDEX
            ids = read_array(index, "ids")
            lengths = read_array(index, "num_frames", dtype=np.int64, rows=len(ids))
            texts = read_array(index, "references", rows=len(ids))
            order = np.arange(len(ids))  # older folders have no places
            if "places" in array_names(index):
                places = read_array(index, "places", dtype=np.int64, rows=len(ids))
                order = np.argsort(places, kind="stable")
            self.ids = [str(ids[i]) for i in order]
            self.num_frames = lengths[order]  # [N]
            said = (str(texts[i]) for i in order)
            self.references = [
                t if self.vocabulary.has_words(t, words=True) else None for t in said
            ]
            self._logits = np.load(self.folder / LOGITS, mmap_mode="r")  # [frames, C]
        except DAMAGE as error:
            raise InputError(
                f"--logits {folder}: no saved logits (`w2v2 emit` makes them): {error}"
            ) from error
        ends = np.cumsum(lengths)
        self._starts = (ends - lengths)[order]
        wanted = (int(lengths.sum()), len(self.vocabulary))
        if self._logits.shape != wanted:
            raise InputError(f"--logits {folder}: {self._logits.shape} logits, not {wanted}")
        if not np.issubdtype(self._logits.dtype, np.floating):
            raise InputError(
                f"--logits {folder}: logits of {self._logits.dtype}; they must be float16, float32 "
                "or float64"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def referenced(self, *, words: bool) -> list[int]:
        """Numbers of the utterances that can be scored, `words` as in `Vocabulary.has_words`."""
        return self._referenced[words]

    @functools.cached_property
    def _referenced(self) -> dict[bool, list[int]]:
        texts = [(i, text) for i, text in enumerate(self.references) if text is not None]
        known = [i for i, text in texts if self.vocabulary.has_words(text)]
        return {True: [i for i, _ in texts], False: known}

    def reference(self, number: int, *, words: bool) -> str:
        """The transcript as it is scored against `words` or symbols (`Vocabulary.reference`); ""
        if there is none."""
        return self.vocabulary.reference(self.references[number] or "", words=words)

    def __getitem__(self, number: int) -> np.ndarray:
        """Logits [T, C] float32 of one utterance; InputError if they are no finite numbers."""
        start = self._starts[number]
        rows = self._logits[start : start + self.num_frames[number]]
        where = f"--logits {self.folder}: utterance {self.ids[number]}"
        return np.asarray(check_finite(rows, where=where), np.float32)

    def __reduce__(self):
        return type(self), (self.folder,)


def _header(dtype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """The header of a NumPy file in C order."""
    return {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }


def write(
    folder: Path,
    utterances: Iterable[Utterance],
    *,
    vocabulary: Vocabulary,
    num_frames: int,
    seconds_per_frame: float,
    dtype: str = "float32",
    **origin: Any,
) -> None:
    """Writes utterances with `num_frames` frames in all, one at a time.

    Raises InputError if the folder already has logits, or if logits are not finite in the dtype;
    ValueError if the sum of frames differs.
    """
    if (folder / DESCRIPTION).exists():
        raise InputError(f"--out {folder} holds saved logits already; remove it or name another")
    folder.mkdir(parents=True, exist_ok=True)
    shape = (num_frames, len(vocabulary))
    ids, counts, references = [], [], []
    places: list[int] = []
    with writing("--out", folder):
        # Not a memory map: if the disk is full, a signal would kill the process.
        with (folder / LOGITS).open("wb") as file:
            np.lib.format.write_array_header_1_0(file, _header(dtype, shape))
            for utterance in utterances:
                file.write(_storable(utterance, dtype, len(vocabulary)))
                ids.append(utterance.id)
                counts.append(len(utterance.logits))
                references.append(utterance.reference)
                places.append(len(places) if utterance.place is None else utterance.place)
        if sum(counts) != num_frames:
            raise ValueError(f"{sum(counts)} frames came, {num_frames} were announced")
        np.savez(
            folder / INDEX,
            ids=np.array(ids),
            num_frames=np.array(counts, np.int64),
            references=np.array([text or "" for text in references]),
            places=np.array(places, np.int64),
        )
    content = {
        **vocabulary.to_json(),
        "seconds_per_frame": seconds_per_frame,
        "has_references": any(references),
        **origin,
    }
    write_json(folder / DESCRIPTION, content)


def _storable(utterance: Utterance, dtype: str, classes: int) -> bytes:
    """Logits [T, C] in a dtype that can hold them."""
    logits = check_finite(utterance.logits, where=f"utterance {utterance.id}")
    largest = float(np.abs(logits[np.isfinite(logits)]).max(initial=0))
    if largest > float(np.finfo(dtype).max):
        raise InputError(
            f"utterance {utterance.id}: a logit of {largest:g} is beyond {dtype}; use --dtype "
            "float32"
        )
    if logits.shape[1] != classes:
        raise ValueError(f"utterance {utterance.id}: logits of {logits.shape[1]}, not {classes}")
    return logits.astype(dtype).tobytes()
